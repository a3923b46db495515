-- The quarter hours in which a market of this run listens to its asset's prices: rows are joined to markets by these,
-- which keeps a market from meeting a whole day's rows.

select
    fact.venue,
    fact.slug,
    fact.asset,
    fact.opens_us,
    fact.ends_us,
    -- A market whose metadata name no rule has no price of its own: the spot price stands beside it.
    fact.rule_window_s as window_s,
    unnest(range(fact.opens_us // 900000000 - 1, (fact.ends_us - 1) // 900000000 + 1)) as bucket
from {{ ref('market_fact') }} as fact
where fact.is_wanted and fact.is_over
