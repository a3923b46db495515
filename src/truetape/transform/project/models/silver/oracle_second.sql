-- The oracle's newest price as known at each second of a market: of the stream that the market settles on, whoever
-- delivered it first. What came late, as history sent on subscribing does, never replaces a newer observation.

with heard as (
    select
        span.venue,
        span.slug,
        greatest(ceil((tick.available_us - span.opens_us) / 1e6)::bigint, 0) as second,
        max({
            'observed_us': tick.observed_us,
            'rank': -tick.rank,
            'earliness': -tick.available_us,
            'price': tick.price,
            'bid': tick.bid,
            'ask': tick.ask,
            'source': tick.source
        }) as newest,
        max(tick.available_us) as heard_us
    from {{ ref('market_span') }} as span
    inner join {{ ref('oracle_tick') }} as tick
        on tick.asset = span.asset
        and tick.available_us // 900000000 = span.bucket
        and tick.window_s is not distinct from span.window_s
    where tick.available_us < span.ends_us
    group by all
)

select
    moment.venue,
    moment.slug,
    moment.second,
    max(heard.newest) over known as newest,
    max(heard.heard_us) over known as heard_us
from {{ ref('market_second') }} as moment
left join heard
    on heard.venue = moment.venue
    and heard.slug = moment.slug
    and heard.second = moment.second
window known as (partition by moment.venue, moment.slug order by moment.second rows unbounded preceding)
