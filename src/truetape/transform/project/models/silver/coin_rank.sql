-- The history of ranks by market cap: each snapshot of a coin with what its rank was before. Look-back: two days.
-- A rank counts as "before" while its snapshot was reckoned within two days of this one: older ones are not seen.

{{ config(materialized='table', meta={'lookback_days': 2}) }}

with snapshot as (
    select
        *,
        epoch_us(coalesce(exchange_at, received_at)) as at_us,
        epoch_us(received_at) as received_us
    from {{ source('lake', 'coin') }}
    where source = 'snapshot'
),
known as (
    select venue, symbol, rank, at_us, received_us, received_us + 86400000000 as day_later_us
    from snapshot
    qualify row_number() over (
        partition by venue, symbol, received_us order by tape_offset desc, tape_row desc
    ) = 1
),
joined as (
    select
        snapshot.*,
        case when earlier.at_us >= snapshot.at_us - 172800000000 then earlier.received_us end as before_us,
        case when earlier.at_us >= snapshot.at_us - 172800000000 then earlier.rank end as rank_before,
        case when yesterday.at_us >= snapshot.at_us - 172800000000 then yesterday.rank end as rank_24h_before
    from snapshot
    asof left join known as earlier
        on snapshot.venue = earlier.venue
        and snapshot.symbol = earlier.symbol
        and snapshot.received_us > earlier.received_us
    asof left join known as yesterday
        on snapshot.venue = yesterday.venue
        and snapshot.symbol = yesterday.symbol
        and snapshot.received_us >= yesterday.day_later_us
)

select
    joined.venue,
    joined.symbol,
    joined.venue_symbol,
    joined.tape_offset,
    joined.tape_row,
    joined.received_at as happened_at,
    joined.currency,
    joined.ticker,
    joined.rank,
    joined.rank_before,
    make_timestamp(joined.before_us)::timestamptz as before_at,
    joined.rank_before - joined.rank as rank_change,
    joined.rank_24h_before,
    joined.rank_24h_before - joined.rank as rank_change_24h,
    joined.before_us is null as is_first,
    joined.before_us is not null and joined.rank_before is distinct from joined.rank as is_change,
    joined.price,
    joined.market_cap,
    joined.available_at,
    unit.date
from joined
inner join {{ source('build', 'unit') }} as unit
    on unit.venue = joined.venue
    and unit.date = make_timestamp(joined.at_us)::date
