-- Order books rebuilt from their changes, as known at the end of every interval `book_every`: only where a full picture
-- came within 23 hours, the stream spoke within the interval and no gap of it is open then; the best 100 levels of each side.
--
-- What a level said holds until the same level says something else or the next full picture begins. Changes received more
-- than an hour after they happened are too late for a book.
-- Look-back: a day.

{% set every_us = interval_us(var('book_every')) | trim | int %}
{% set hour_us = 3600000000 %}
{% set levels_max = 100 %}

with told as (
    select
        *,
        epoch_us(coalesce(exchange_at, received_at)) as event_us,
        greatest(epoch_us(available_at), epoch_us(coalesce(exchange_at, received_at))) as at_us
    from {{ source('lake', 'book_change') }}
),

change as (
    select
        *,
        is_snapshot and coalesce(
            lag(tape_offset) over own <> tape_offset or not lag(is_snapshot) over own, true
        ) as is_picture
    from told
    where at_us - event_us <= {{ hour_us }}
    window own as (partition by venue, symbol order by at_us, tape_offset, tape_row)
),

numbered as (
    select
        *,
        count_if(is_picture) over (
            partition by venue, symbol order by at_us, tape_offset, tape_row rows unbounded preceding
        ) as picture
    from change
),

picture as (
    select
        venue,
        symbol,
        picture,
        min(at_us) as begin_us,
        lead(min(at_us)) over (partition by venue, symbol order by picture) as end_us
    from numbered
    group by venue, symbol, picture
),

-- Which ends of intervals have a book that was heard of within them.
heard as (
    select distinct
        venue,
        symbol,
        at_us // {{ every_us }} + 1 as slot
    from numbered
),

version as (
    select
        numbered.*,
        lead(at_us) over (
            partition by venue, symbol, picture, side, price order by at_us, tape_offset, tape_row
        ) as next_us
    from numbered
    where picture > 0
),

alive as (
    select
        version.*,
        picture.begin_us,
        version.at_us // {{ every_us }} + 1 as first_slot,
        -- A level is no older than its picture may be.
        least(
            coalesce(version.next_us, picture.end_us, version.at_us + {{ 24 * hour_us }}),
            coalesce(picture.end_us, version.at_us + {{ 24 * hour_us }}),
            picture.begin_us + {{ 23 * hour_us }}
        ) // {{ every_us }} as last_slot
    from version
    inner join picture using (venue, symbol, picture)
    where version.amount > 0
),

level as (
    select
        alive.venue,
        alive.symbol,
        alive.venue_symbol,
        heard.slot,
        alive.side,
        alive.price,
        alive.amount
    from alive
    inner join heard
        on heard.venue = alive.venue
        and heard.symbol = alive.symbol
        and heard.slot between alive.first_slot and alive.last_slot
),

blind as (
    select distinct
        heard.venue,
        heard.symbol,
        heard.slot
    from heard
    inner join {{ ref('gap_state') }} as gap
        on gap.venue = heard.venue
        and (gap.symbol = heard.symbol or gap.symbol = '')
        and gap.channel in ('book_change', '*')
        and gap.state <> 'repaired'
        and epoch_us(gap.from_at) < heard.slot * {{ every_us }}
        and coalesce(epoch_us(gap.to_at), 9223372036854775807) >= heard.slot * {{ every_us }}
)

select
    level.venue,
    level.symbol,
    min(level.venue_symbol) as venue_symbol,
    level.slot * {{ every_us }} as at_us,
    max({'price': level.price, 'amount': level.amount}, {{ levels_max }}) filter (where level.side = 'bid') as bids,
    min({'price': level.price, 'amount': level.amount}, {{ levels_max }}) filter (where level.side = 'ask') as asks
from level
anti join blind
    on blind.venue = level.venue
    and blind.symbol = level.symbol
    and blind.slot = level.slot
group by level.venue, level.symbol, level.slot
