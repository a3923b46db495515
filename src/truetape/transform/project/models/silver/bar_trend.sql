-- Rolling averages and volatility of bars, over the last n intervals each (`trend_windows`), this bar's included.
-- The average is of the closes of the bars there are; volatility is the sample deviation of the logarithmic returns
-- between bars that follow each other without a hole, per interval, not annualised. Sums are of decimals, so exact; those of
-- returns have 27 places, as the square of a hundredth on 60,000 has 14 before its first digit.
-- Look-back: n intervals and one; windows that reach further than a day have no values.

{{ config(materialized='table', meta={'lookback_days': 1}) }}

{% set windows = var('trend_windows') %}

with span (interval, width_us) as (
    values
    {% for name in var('intervals') %}
        ('{{ name }}', {{ interval_us(name) | trim }}::bigint){{ ',' if not loop.last }}
    {% endfor %}
),

bar as (
    select
        bars.*,
        span.width_us,
        epoch_us(bars.open_at) // span.width_us as slot,
        lag(bars.close) over own as last_close,
        lag(epoch_us(bars.open_at) // span.width_us) over own as last_slot
    from {{ ref('bars') }} as bars
    inner join span
        on span.interval = bars.interval
    window own as (partition by bars.venue, bars.symbol, bars.interval order by bars.open_at)
),

step as (
    select
        *,
        case when last_slot = slot - 1 then ln(close / last_close) end as log_return
    from bar
),

summed as (
    select
        *,
        {% for n in windows %}
        count(*) over last_{{ n }} as bars_{{ n }},
        sum(close::decimal(38, 18)) over last_{{ n }} as closes_{{ n }},
        count(log_return) over last_{{ n }} as returns_{{ n }},
        sum(log_return::decimal(38, 27)) over last_{{ n }} as sum_{{ n }},
        sum((log_return * log_return)::decimal(38, 27)) over last_{{ n }} as squares_{{ n }},
        bool_and(is_complete) over last_{{ n }} as is_complete_{{ n }},
        max(available_at) over last_{{ n }} as available_{{ n }},
        {% endfor %}
    from step
    window
    {% for n in windows %}
        last_{{ n }} as (
            partition by venue, symbol, interval order by slot range between {{ n - 1 }} preceding and current row
        ){{ ',' if not loop.last }}
    {% endfor %}
)

select
    venue,
    symbol,
    venue_symbol,
    interval,
    open_at,
    close_at,
    close,
    log_return,
    {% for n in windows %}
    {% set fits = 'width_us * ' ~ (n + 1) ~ ' <= 86400000000' %}
    case when {{ fits }} then bars_{{ n }} end as bars_{{ n }},
    case when {{ fits }} then closes_{{ n }}::double / bars_{{ n }} end as sma_{{ n }},
    case when {{ fits }} and returns_{{ n }} > 1
        then sqrt(greatest(
            squares_{{ n }}::double - sum_{{ n }}::double * sum_{{ n }}::double / returns_{{ n }}, 0
        ) / (returns_{{ n }} - 1))
    end as volatility_{{ n }},
    {% endfor %}
    is_complete_{{ windows | max }} as is_complete,
    greatest({% for n in windows %}available_{{ n }}{{ ', ' if not loop.last }}{% endfor %}) as available_at,
    date
from summed
