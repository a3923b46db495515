-- As many rows as the market has seconds, each once, with values where and only where its state says so.
select
    market_id,
    count(*) as rows
from {{ ref('canonical') }}
group by market_id
having count(*) <> max(tau)
    or count(distinct t) <> count(*)
    or min(tau) <> 1
    or count_if(oracle_mid is not null and oracle_state in ('gap', 'missing')) > 0
    or count_if(oracle_mid is null and oracle_state in ('observed', 'carried')) > 0
    or count_if(up_bid is not null and up_state in ('gap', 'missing', 'after_end')) > 0
    or count_if(down_bid is not null and down_state in ('gap', 'missing', 'after_end')) > 0
    or count_if(spot_price is null and spot_state in ('observed', 'carried')) > 0
