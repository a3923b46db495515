-- Observations of a market's own oracle around its start and its end, and which of them is the price there: the one of
-- that very second; else the nearest, the earlier of two as near; none beyond settle_tolerance_ms. Where several deliver
-- the same second the order of `rank_source` decides, and one that gives all digits before one that gives a float.
-- `low` and `high` are what the price can be: all who tell that second, or the neighbours on both sides of it.

{% set tolerance_us = var('settle_tolerance_ms') | int * 1000 %}

with boundary as (
    select venue, slug, asset, rule, rule_window_s, 'strike' as role, opens_us as at_us
    from {{ ref('market_fact') }}
    union all
    select venue, slug, asset, rule, rule_window_s, 'settlement' as role, ends_us as at_us
    from {{ ref('market_fact') }}
),

near as (
    -- Joined by whole seconds, which is fast, then by the exact distance.
    select *, unnest(range(at_us // 1000000 - {{ tolerance_us // 1000000 + 1 }}, at_us // 1000000 + {{ tolerance_us // 1000000 + 2 }})) as second
    from boundary
    where rule = 'spot' or (rule = 'twap' and rule_window_s is not null)
),

told as (
    select
        near.venue,
        near.slug,
        near.role,
        near.at_us - tick.observed_us as age_us,
        tick.* exclude (venue),
        tick.venue as oracle_venue
    from near
    inner join {{ ref('oracle_tick') }} as tick
        on tick.asset = near.asset
        and tick.observed_us // 1000000 = near.second
        and tick.window_s is not distinct from near.rule_window_s
    where abs(near.at_us - tick.observed_us) <= {{ tolerance_us }}
    -- One observation may come several times: over two connections, and in the history that a new one begins with.
    qualify row_number() over (
        partition by near.venue, near.slug, near.role, tick.venue, tick.source, tick.feed_id, tick.observed_us
        order by tick.exact_price is null, tick.available_us, tick.tape_offset, tick.tape_row
    ) = 1
),

ordered as (
    select
        *,
        row_number() over (
            partition by venue, slug, role
            order by abs(age_us), age_us < 0, exact_price is null, rank, available_us, tape_offset, tape_row
        ) as place,
        -- Of each side of the boundary the nearest observation, and all that say the same second.
        dense_rank() over (partition by venue, slug, role, sign(age_us) order by abs(age_us), exact_price is null) as side_place,
        min(abs(age_us)) over (partition by venue, slug, role) as nearest_us
    from told
),

judged as (
    -- Sources round differently: what differs by rounding alone is the same price.
    select
        *,
        first_value(exact) over (partition by venue, slug, role order by place) as used,
        case when abs(exact - used)::double < used::double * 1e-9 then used else exact end as said,
        side_place = 1 and (nearest_us > 0 or age_us = 0) as is_counted
    from ordered
)

select
    * exclude (place, side_place, nearest_us, used, said, is_counted),
    place = 1 as is_used,
    min(said) filter (where is_counted) over (partition by venue, slug, role) as low,
    max(said) filter (where is_counted) over (partition by venue, slug, role) as high
from judged
