-- What was traded of an outcome in each second of a market, by when it was received: the second that ends at `t`.
-- Trades that a service tells of afterwards, by wallet, are the socket's once more and left out: their id has the wallet
-- where the socket's has the side.

select
    market.venue,
    market.slug,
    trade.symbol,
    ceil((epoch_us(trade.available_at) - market.opens_us) / 1e6)::bigint as second,
    coalesce(sum(trade.amount::decimal(38, 18)) filter (where trade.side = 'buy'), 0)::double as buy_amount,
    coalesce(sum(trade.amount::decimal(38, 18)) filter (where trade.side = 'sell'), 0)::double as sell_amount,
    count(*) as trades
from {{ source('build', 'market') }} as market
inner join {{ source('lake', 'trade') }} as trade
    on trade.venue = market.venue
    and trade.symbol in (market.up_symbol, market.down_symbol)
where market.is_wanted and market.is_over
    and epoch_us(trade.available_at) > market.opens_us - 1000000
    and epoch_us(trade.available_at) < market.ends_us
    and trade.flag is null
    and trade.amount >= 0 and trade.amount < 1e18
    and not starts_with(split_part(trade.trade_id, ':', 2), '0x')
group by all
