-- Both outcomes' books as known at each second of a market: from the changes of the book, or from a quote that is newer.

with quoted as (
    select
        market.venue,
        market.slug,
        quote.symbol,
        greatest(ceil((epoch_us(quote.available_at) - market.opens_us) / 1e6)::bigint, 0) as second,
        max({
            'heard_us': epoch_us(quote.available_at),
            'tape_offset': quote.tape_offset,
            'tape_row': quote.tape_row,
            'bid': quote.bid_price,
            'ask': quote.ask_price
        }) as last_quote
    from {{ source('build', 'market') }} as market
    inner join {{ source('lake', 'quote') }} as quote
        on quote.venue = market.venue
        and quote.symbol in (market.up_symbol, market.down_symbol)
    where market.is_wanted and market.is_over
        and epoch_us(quote.available_at) < market.ends_us
    group by all
),

seen as (
    select
        moment.venue,
        moment.slug,
        moment.second,
        moment.t_us,
        moment.opens_us,
        side.role,
        side.symbol,
        max(quoted.last_quote) over (
            partition by moment.venue, moment.slug, side.role order by moment.second rows unbounded preceding
        ) as quote
    from {{ ref('market_second') }} as moment
    inner join {{ ref('market_stream') }} as side
        on side.venue = moment.venue
        and side.slug = moment.slug
        and side.role in ('up', 'down')
    left join quoted
        on quoted.venue = moment.venue
        and quoted.slug = moment.slug
        and quoted.symbol = side.symbol
        and quoted.second = moment.second
),

told as (
    select
        seen.*,
        book.bid_depth,
        book.ask_depth,
        book.large_orders,
        greatest(book.heard_us, seen.quote.heard_us) as heard_us,
        coalesce(seen.quote.heard_us > book.heard_us, book.heard_us is null) as is_quoted,
        case when is_quoted then seen.quote.bid else book.bid end as bid,
        case when is_quoted then seen.quote.ask else book.ask end as ask,
        coalesce(hole.is_blind, false) or coalesce(heard_us < hole.mended_us, false) as is_blind
    from seen
    left join {{ source('build', 'book_second') }} as book
        on book.venue = seen.venue
        and book.slug = seen.slug
        and book.symbol = seen.symbol
        and book.second = seen.second
    left join {{ ref('market_hole') }} as hole
        on hole.venue = seen.venue
        and hole.slug = seen.slug
        and hole.role = seen.role
        and hole.second = seen.second
),

judged as (
    select
        told.*,
        case
            when told.t_us >= fact.closed_us then 'after_end'
            when told.is_blind then 'gap'
            when told.heard_us is null then 'missing'
            when told.heard_us < told.opens_us then 'before_open'
            when told.heard_us > told.t_us - 1000000 then 'observed'
            else 'carried'
        end as state,
        state in ('before_open', 'observed', 'carried') as is_known
    from told
    inner join {{ ref('market_fact') }} as fact
        on fact.venue = told.venue
        and fact.slug = told.slug
)

select
    judged.venue,
    judged.slug,
    judged.role,
    judged.second,
    judged.state,
    case when judged.is_known then judged.bid end as bid,
    case when judged.is_known then judged.ask end as ask,
    case when judged.is_known then (judged.t_us - judged.heard_us) / 1000 end as age_ms,
    case when judged.is_known then judged.bid_depth end as bid_depth,
    case when judged.is_known then judged.ask_depth end as ask_depth,
    case when judged.is_known then judged.large_orders end as large_orders,
    case when not coalesce(hole.is_blind, false) and judged.state <> 'missing' then coalesce(trade.buy_amount, 0) end as buy_amount,
    case when not coalesce(hole.is_blind, false) and judged.state <> 'missing' then coalesce(trade.sell_amount, 0) end as sell_amount,
    case when not coalesce(hole.is_blind, false) and judged.state <> 'missing' then coalesce(trade.trades, 0) end as trades
from judged
left join {{ ref('outcome_trade_second') }} as trade
    on trade.venue = judged.venue
    and trade.slug = judged.slug
    and trade.symbol = judged.symbol
    and trade.second = judged.second
left join {{ ref('market_hole') }} as hole
    on hole.venue = judged.venue
    and hole.slug = judged.slug
    and hole.role = judged.role || '_trade'
    and hole.second = judged.second
