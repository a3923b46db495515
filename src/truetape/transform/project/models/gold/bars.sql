-- Open, high, low, close and volumes per interval. A bar holds the trades with open_at <= time < close_at, time being
-- the venue's where it says one. An interval without trades has no bar: nothing is invented.
--
-- Sums are made in decimals of 18 places: exact, whatever the order of the rows, so two builds are equal to the bit and
-- narrow bars add up to wide ones. (0.1 + 0.2 is 0.3 here, as it is at the venue.)

{% set intervals = var('intervals') %}
{% set base_us = common_us(intervals) | trim | int %}

with base as (
    select
        venue,
        symbol,
        at_us // {{ base_us }} as slot,
        min(venue_symbol) as venue_symbol,
        arg_min(price, place) as open,
        max(price) as high,
        min(price) as low,
        arg_max(price, place) as close,
        sum(amount::decimal(38, 18)) as volume,
        sum((price * amount)::decimal(38, 18)) as quote_volume,
        sum(amount::decimal(38, 18)) filter (where side = 'buy') as taker_buy_volume,
        count(*) as trades,
        count(amount) as amounts,
        count(side) as sides,
        min(place) as first_place,
        max(place) as last_place,
        min(at_us) as first_us,
        max(at_us) as last_us,
        max(available_at) as available_at
    from {{ ref('counted_trade') }}
    group by all
),

span (interval, width_us) as (
    values
    {% for name in intervals %}
        ('{{ name }}', {{ interval_us(name) | trim }}::bigint){{ ',' if not loop.last }}
    {% endfor %}
),

bar as (
    select
        base.venue,
        base.symbol,
        span.interval,
        (base.slot * {{ base_us }}) // span.width_us * span.width_us as open_us,
        any_value(span.width_us) as width_us,
        min(base.venue_symbol) as venue_symbol,
        arg_min(base.open, base.first_place) as open,
        max(base.high) as high,
        min(base.low) as low,
        arg_max(base.close, base.last_place) as close,
        -- A sum with an unknown part is unknown.
        case when sum(base.amounts) = sum(base.trades) then sum(base.volume) end as volume,
        case when sum(base.amounts) = sum(base.trades) then sum(base.quote_volume) end as quote_volume,
        case when sum(base.amounts) = sum(base.trades) and sum(base.sides) = sum(base.trades)
            then coalesce(sum(base.taker_buy_volume), 0)
        end as taker_buy_volume,
        sum(base.trades)::bigint as trades,
        min(base.first_us) as first_us,
        max(base.last_us) as last_us,
        max(base.available_at) as available_at
    from base
    cross join span
    group by base.venue, base.symbol, span.interval, open_us
),

blind as (
    select
        bar.venue,
        bar.symbol,
        bar.interval,
        bar.open_us,
        sum(least(hole.to_us, bar.open_us + bar.width_us) - greatest(hole.from_us, bar.open_us)) / 1e6 as gap_seconds,
        max(hole.available_at) as available_at
    from bar
    inner join {{ ref('trade_hole') }} as hole
        on hole.venue = bar.venue
        and hole.symbol = bar.symbol
        and hole.from_us < bar.open_us + bar.width_us
        and hole.to_us > bar.open_us
    group by all
)

select
    bar.venue,
    bar.symbol,
    bar.venue_symbol,
    bar.interval,
    make_timestamp(bar.open_us)::timestamptz as open_at,
    make_timestamp(bar.open_us + bar.width_us)::timestamptz as close_at,
    bar.open,
    bar.high,
    bar.low,
    bar.close,
    bar.volume::double as volume,
    bar.quote_volume::double as quote_volume,
    bar.taker_buy_volume::double as taker_buy_volume,
    bar.quote_volume::double / nullif(bar.volume::double, 0) as vwap,
    bar.trades,
    make_timestamp(bar.first_us)::timestamptz as first_trade_at,
    make_timestamp(bar.last_us)::timestamptz as last_trade_at,
    -- Not before its last trade, not before its end once it has ended, not before a hole in it was known.
    greatest(
        bar.available_at,
        blind.available_at,
        case when make_timestamp(bar.open_us + bar.width_us)::timestamptz <= unit.heard_at
            then make_timestamp(bar.open_us + bar.width_us)::timestamptz
        end
    ) as available_at,
    coalesce(blind.gap_seconds, 0) as gap_seconds,
    blind.gap_seconds is null
    and coalesce(bar.open_us >= trade_start.start_us, false)
    and make_timestamp(bar.open_us + bar.width_us)::timestamptz <= unit.heard_at as is_complete,
    unit.date
from bar
inner join {{ source('build', 'unit') }} as unit
    on unit.venue = bar.venue
    and unit.date = make_timestamp(bar.open_us)::date
left join {{ ref('trade_start') }} as trade_start
    on trade_start.venue = bar.venue
    and trade_start.symbol = bar.symbol
left join blind
    on blind.venue = bar.venue
    and blind.symbol = bar.symbol
    and blind.interval = bar.interval
    and blind.open_us = bar.open_us
