-- The underlying's price as known at each second of a market: its last trade, and beside it the middle of its last quote.

with print as (
    select
        span.venue,
        span.slug,
        greatest(ceil((epoch_us(trade.available_at) - span.opens_us) / 1e6)::bigint, 0) as second,
        max({
            'available_us': epoch_us(trade.available_at),
            'tape_offset': trade.tape_offset,
            'tape_row': trade.tape_row,
            'price': trade.price
        }) as last_trade
    from {{ ref('market_span') }} as span
    inner join {{ source('lake', 'trade') }} as trade
        on trade.venue = '{{ var("underlying") }}'
        and trade.symbol = span.asset || '-USD'
        and epoch_us(trade.available_at) // 900000000 = span.bucket
    where epoch_us(trade.available_at) < span.ends_us
        and trade.price > 0 and trade.price < 1e18
        and (trade.flag is null or trade.flag = 'liquidation')
    group by all
),

offer as (
    select
        span.venue,
        span.slug,
        greatest(ceil((epoch_us(quote.available_at) - span.opens_us) / 1e6)::bigint, 0) as second,
        max({
            'available_us': epoch_us(quote.available_at),
            'tape_offset': quote.tape_offset,
            'tape_row': quote.tape_row,
            'price': (quote.bid_price + quote.ask_price) / 2
        }) as last_quote
    from {{ ref('market_span') }} as span
    inner join {{ source('lake', 'quote') }} as quote
        on quote.venue = '{{ var("underlying") }}'
        and quote.symbol = span.asset || '-USD'
        and epoch_us(quote.available_at) // 900000000 = span.bucket
    where epoch_us(quote.available_at) < span.ends_us
        and quote.bid_price > 0 and quote.ask_price >= quote.bid_price and quote.ask_price < 1e18
    group by all
)

select
    moment.venue,
    moment.slug,
    moment.second,
    max(print.last_trade) over known as last_trade,
    max(offer.last_quote) over known as last_quote
from {{ ref('market_second') }} as moment
left join print
    on print.venue = moment.venue
    and print.slug = moment.slug
    and print.second = moment.second
left join offer
    on offer.venue = moment.venue
    and offer.slug = moment.slug
    and offer.second = moment.second
window known as (partition by moment.venue, moment.slug order by moment.second rows unbounded preceding)
