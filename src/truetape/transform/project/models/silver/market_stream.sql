-- The streams whose holes are holes of a market, by what they are to it.

with oracle as (
    select venue, symbol, asset, window_s from {{ ref('oracle_tick') }} group by all
    union
    -- One that was blind all the time shows in the ledger only. Its name says whose price it is.
    select
        venue,
        symbol,
        split_part(symbol, '-', 1) as asset,
        try_cast(nullif(regexp_extract(symbol, '_twap([0-9]+)$', 1), '') as bigint) as window_s
    from {{ ref('gap_state') }}
    where channel = 'oracle_price' and symbol like '%-USD:%chainlink%'
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
select market.venue, market.slug, 'oracle', oracle.venue, oracle.symbol, 'oracle_price'
from (select distinct venue, slug, asset, window_s from {{ ref('market_span') }}) as market
inner join oracle
    on oracle.asset = market.asset
    and oracle.window_s is not distinct from market.window_s
