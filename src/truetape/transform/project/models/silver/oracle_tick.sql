-- Prices that markets settle on, whoever delivered them: Chainlink's streams against the dollar, spot and averages.

select
    venue,
    symbol,
    split_part(symbol, '-', 1) as asset,
    source,
    feed_id,
    window_s,
    {{ rank_source('source') }} as rank,
    epoch_us(exchange_at) as observed_us,
    epoch_us(received_at) as received_us,
    epoch_us(available_at) as available_us,
    price,
    bid,
    ask,
    exact_price,
    coalesce(try_cast(exact_price as decimal(38, 18)), price::decimal(38, 18)) as exact,
    tape_offset,
    tape_row
from {{ source('lake', 'oracle_price') }}
where exchange_at is not null
    and price > 0 and price < 1e18
    and rank is not null
    and split_part(split_part(symbol, ':', 1), '-', 2) = 'USD'
