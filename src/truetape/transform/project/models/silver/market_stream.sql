-- The streams whose holes are holes of a market, by what they are to it.

with told as (
    select distinct venue, symbol, asset, window_s, available_us // 900000000 as bucket
    from {{ ref('oracle_tick') }}
),

blind as (
    select distinct
        venue,
        symbol,
        split_part(symbol, '-', 1) as asset,
        try_cast(nullif(regexp_extract(symbol, '_twap([0-9]+)$', 1), '') as bigint) as window_s
    from {{ ref('gap_state') }}
    where channel = 'oracle_price' and symbol like '%-USD:%chainlink%'
),

oracle as (
    -- Who told the price around the market's time: one that told it at another time of the day saw nothing of this one.
    select distinct span.venue, span.slug, told.venue as of_venue, told.symbol
    from {{ ref('market_span') }} as span
    inner join told
        on told.asset = span.asset
        and told.bucket = span.bucket
        and told.window_s is not distinct from span.window_s
    union
    -- One that was blind all the time shows in the ledger only. Its name says whose price it is.
    select distinct span.venue, span.slug, blind.venue, blind.symbol
    from {{ ref('market_span') }} as span
    inner join blind
        on blind.asset = span.asset
        and blind.window_s is not distinct from span.window_s
)

select venue, slug, 'up' as role, venue as of_venue, up_symbol as symbol, 'book_change' as channel
from {{ source('build', 'market') }}
union all
select venue, slug, 'down', venue, down_symbol, 'book_change' from {{ source('build', 'market') }}
union all
select venue, slug, 'up_trade', venue, up_symbol, 'trade' from {{ source('build', 'market') }}
union all
select venue, slug, 'down_trade', venue, down_symbol, 'trade' from {{ source('build', 'market') }}
union all
select venue, slug, 'spot', '{{ var("underlying") }}', asset || '-USD', 'trade' from {{ source('build', 'market') }}
union all
select venue, slug, 'oracle', of_venue, symbol, 'oracle_price' from oracle
