-- Trades that make prices: ordinary ones and liquidations, which meet the book like any other order.
-- Left out: block and combo (agreed away from the book), insurance (a transfer of the venue's own), and aggregate
-- (the same executions once more, summed up). Also left out: prints no market could have made (a price or amount
-- that is null, not a number, not positive or 1e18 and more): the check `prices` names them.
--
-- `place` orders the trades of one symbol: by the venue's time, then by the venue's own number where it has
-- numbers, then by the place on the tape. So a trade that reached us late still stands where it happened.

select
    venue,
    symbol,
    venue_symbol,
    epoch_us(coalesce(exchange_at, received_at)) as at_us,
    epoch_us(coalesce(exchange_at, received_at))::hugeint * 9444732965739290427392 -- 2^73: room for any number below
    + coalesce(try_cast(trade_id as bigint), tape_offset * 16777216 + tape_row) as place,
    price,
    amount,
    side,
    available_at,
    trade_id,
    tape_offset,
    tape_row
from {{ source('lake', 'trade') }}
where (flag is null or flag = 'liquidation')
    and price > 0 and price < 1e18
    and (amount is null or (amount > 0 and amount < 1e18 and price * amount < 1e18))
