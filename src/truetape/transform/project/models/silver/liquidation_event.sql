-- Forced orders with the position that was closed and how grave it was: a selling order closes a long.
-- Look-back: none.

{{ config(materialized='table') }}

with forced as (
    select
        *,
        epoch_us(coalesce(exchange_at, received_at)) as at_us,
        price * amount as notional
    from {{ source('lake', 'liquidation') }}
    where side in ('buy', 'sell')
        and price > 0 and price < 1e18
        and (amount is null or (amount >= 0 and amount < 1e18))
)

select
    forced.venue,
    forced.symbol,
    forced.venue_symbol,
    forced.tape_offset,
    forced.tape_row,
    make_timestamp(forced.at_us)::timestamptz as happened_at,
    forced.side,
    case forced.side when 'sell' then 'long' else 'short' end as position,
    forced.price,
    forced.amount,
    forced.notional,
    case
        when forced.notional >= 1e6 then 'extreme'
        when forced.notional >= 1e5 then 'major'
        when forced.notional >= 1e4 then 'notable'
        when forced.notional >= 0 then 'minor'
    end as severity,
    forced.available_at,
    unit.date
from forced
inner join {{ source('build', 'unit') }} as unit
    on unit.venue = forced.venue
    and unit.date = make_timestamp(forced.at_us)::date
