-- Prices lie within low and high, sums within each other, times within the bar and before it could be used.
select *
from {{ ref('bars') }}
where high < greatest(open, close, low)
    or low > least(open, close)
    or low <= 0
    or trades < 1
    or volume <= 0
    or taker_buy_volume < 0
    or taker_buy_volume > volume * (1 + 1e-12)
    or vwap > high * (1 + 1e-9)
    or vwap < low * (1 - 1e-9)
    or first_trade_at < open_at
    or last_trade_at >= close_at
    or first_trade_at > last_trade_at
    or gap_seconds < 0
    or gap_seconds > epoch(close_at) - epoch(open_at)
    or (is_complete and available_at < close_at)
