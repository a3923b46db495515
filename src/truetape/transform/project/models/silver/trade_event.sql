-- Trades that make prices, each with what follows from it and from the trades before it: notional, price change, whether
-- it is large, whether its price is out of line. Nothing here was unknown when the row could be used.
--
-- Large and out of line are told by the hour of trades that ended `trade_delay_s` before the trade: all that happened then
-- and was received within that delay was known by the time of the trade. What was received later counts in no
-- hour, and is not judged itself.
-- Quantiles are trades of that hour, not numbers between two, so that builds are equal to the bit.
-- Look-back: an hour and the delay; the previous trade counts when it is no older than an hour.

{{ config(materialized='table', meta={'lookback_days': 1}) }}

{% set delay_us = (var('trade_delay_s') * 1000000) | int %}
{% set hour_us = 3600000000 %}

with trade as (
    select
        *,
        price * amount as notional,
        epoch_us(available_at) - at_us <= {{ delay_us }} as is_punctual,
        lag(price) over own as last_price,
        lag(at_us) over own as last_us,
        lag(available_at) over own as last_available_at
    from {{ ref('counted_trade') }}
    window own as (partition by venue, symbol order by place, tape_offset, tape_row)
),

-- Late ones apart, not by a filter: quantiles over windows with holes cost many times as much.
punctual as (
    select
        venue,
        symbol,
        tape_offset,
        tape_row,
        count(*) over hour as hour_trades,
        quantile_disc(notional, 0.95) over hour as large_from,
        quantile_disc(price, [0.25, 0.5, 0.75]) over hour as price_quartiles
    from trade
    where is_punctual
    window hour as (
        partition by venue, symbol
        order by at_us
        range between {{ hour_us + delay_us }} preceding and {{ delay_us + 1 }} preceding
    )
),

judged as (
    select
        trade.*,
        trade.at_us - trade.last_us <= {{ hour_us }} as is_followed,
        coalesce(punctual.hour_trades, 0) as hour_trades,
        punctual.large_from,
        punctual.price_quartiles
    from trade
    left join punctual using (venue, symbol, tape_offset, tape_row)
)

select
    judged.venue,
    judged.symbol,
    judged.venue_symbol,
    judged.trade_id,
    judged.tape_offset,
    judged.tape_row,
    make_timestamp(judged.at_us)::timestamptz as happened_at,
    judged.price,
    judged.amount,
    judged.side,
    judged.side = 'buy' as is_buy,
    judged.notional,
    case when judged.is_followed then judged.price - judged.last_price end as price_change,
    case when judged.is_followed then (judged.price / judged.last_price - 1) * 1e4 end as price_change_bps,
    judged.hour_trades,
    case when judged.hour_trades >= {{ var('trade_hour_min') }} then judged.large_from end as large_from,
    case when judged.hour_trades >= {{ var('trade_hour_min') }} then judged.notional >= judged.large_from end as is_large,
    -- A market that stands still is allowed a basis point.
    case when judged.hour_trades >= {{ var('trade_hour_min') }}
        then abs(judged.price - judged.price_quartiles[2]) > {{ var('outlier_ranges') }}
            * greatest(judged.price_quartiles[3] - judged.price_quartiles[1], judged.price_quartiles[2] * 1e-4)
    end as is_outlier,
    greatest(
        judged.available_at,
        case when judged.is_followed then judged.last_available_at end,
        make_timestamp(judged.at_us)::timestamptz
    ) as available_at,
    unit.date
from judged
inner join {{ source('build', 'unit') }} as unit
    on unit.venue = judged.venue
    and unit.date = make_timestamp(judged.at_us)::date
