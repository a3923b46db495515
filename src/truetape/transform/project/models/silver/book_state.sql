-- Cleaned order books: pictures as the venue sent them, and books rebuilt from changes at the end of each interval.
-- Levels without a price or an amount are taken out, the others put in order, the best 100 of each side kept.
-- Look-back: none for pictures, a day for rebuilt books (see book_sample).

{{ config(materialized='table', meta={'lookback_days': 1}) }}

{% set levels_max = 100 %}

with told as (
    select
        'snapshot' as origin,
        venue,
        symbol,
        venue_symbol,
        tape_offset,
        tape_row,
        epoch_us(coalesce(exchange_at, received_at)) as at_us,
        available_at,
        list_transform(range(1, len(bid_prices) + 1), lambda i: {'price': bid_prices[i], 'amount': bid_amounts[i]}) as bids,
        list_transform(range(1, len(ask_prices) + 1), lambda i: {'price': ask_prices[i], 'amount': ask_amounts[i]}) as asks
    from {{ source('lake', 'book_snapshot') }}
    union all by name
    select
        'changes' as origin,
        venue,
        symbol,
        venue_symbol,
        at_us,
        make_timestamp(at_us)::timestamptz as available_at,
        bids,
        asks
    from {{ ref('book_sample') }}
),

cleaned as (
    select
        * exclude (bids, asks),
        coalesce(len(bids), 0) + coalesce(len(asks), 0) as told_levels,
        {% for side in ('bids', 'asks') %}
        list_filter(
            coalesce({{ side }}, []),
            lambda level: level.price > 0 and level.price < 1e18 and level.amount > 0 and level.amount < 1e18
        ) as {{ side }},
        {% endfor %}
    from told
),

sorted as (
    select
        * exclude (bids, asks),
        told_levels - len(bids) - len(asks) as removed_levels,
        list_reverse_sort(bids)[:{{ levels_max }}] as bids,
        list_sort(asks)[:{{ levels_max }}] as asks
    from cleaned
),

measured as (
    select
        * exclude (bids, asks),
        list_transform(bids, lambda level: level.price) as bid_prices,
        list_transform(bids, lambda level: level.amount) as bid_amounts,
        list_transform(asks, lambda level: level.price) as ask_prices,
        list_transform(asks, lambda level: level.amount) as ask_amounts
    from sorted
)

select
    measured.venue,
    measured.symbol,
    measured.venue_symbol,
    measured.origin,
    measured.tape_offset,
    measured.tape_row,
    make_timestamp(measured.at_us)::timestamptz as happened_at,
    bid_prices[1] as bid,
    ask_prices[1] as ask,
    ask_prices[1] - bid_prices[1] as spread,
    (ask_prices[1] + bid_prices[1]) / 2 as mid,
    (ask_prices[1] - bid_prices[1]) / ((ask_prices[1] + bid_prices[1]) / 2) * 1e4 as spread_bps,
    coalesce(list_sum(bid_amounts), 0) as bid_depth,
    coalesce(list_sum(ask_amounts), 0) as ask_depth,
    (coalesce(list_sum(bid_amounts), 0) - coalesce(list_sum(ask_amounts), 0))
    / nullif(coalesce(list_sum(bid_amounts), 0) + coalesce(list_sum(ask_amounts), 0), 0) as imbalance,
    coalesce(bid_prices[1] >= ask_prices[1], false) as is_crossed,
    measured.removed_levels,
    bid_prices,
    bid_amounts,
    ask_prices,
    ask_amounts,
    measured.available_at,
    unit.date
from measured
inner join {{ source('build', 'unit') }} as unit
    on unit.venue = measured.venue
    and unit.date = make_timestamp(measured.at_us)::date
