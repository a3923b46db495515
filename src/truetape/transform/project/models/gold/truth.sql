-- What a market settled to and why: one row per market that has opened. The strike and the settlement are read by the
-- rule in the market's own metadata, from observations of that stream within settle_tolerance_ms of the boundary; a tie
-- is Up. Nothing is guessed: no rule, no observation, or neighbours that tell different outcomes make the computed outcome
-- indeterminate; no strict resolution, a pending dispute or sources that disagree leave the official one unknown.

with price as (
    select
        venue,
        slug,
        role,
        any_value(low) as low,
        any_value(high) as high,
        any_value(price) filter (where is_used) as price,
        any_value(source) filter (where is_used) as source,
        any_value(observed_us) filter (where is_used) as observed_us,
        any_value(available_us) filter (where is_used) as available_us,
        any_value(age_us) filter (where is_used) as age_us
    from {{ ref('boundary_price') }}
    group by all
),

input as (
    select
        venue,
        slug,
        to_json(list({
            'role': role,
            'is_used': is_used,
            'venue': oracle_venue,
            'source': source,
            'feed': feed_id,
            'observed_at': {{ write_time('observed_us') }},
            'received_at': {{ write_time('received_us') }},
            'value': coalesce(exact_price, price::varchar),
            'tape_offset': tape_offset,
            'tape_row': tape_row
        } order by role desc, observed_us, rank, oracle_venue, feed_id))::varchar as inputs
    from {{ ref('boundary_price') }}
    group by all
),

computed as (
    select
        fact.*,
        strike.price as strike,
        strike.source as strike_source,
        strike.observed_us as strike_observed_us,
        strike.available_us as strike_available_us,
        strike.age_us as strike_age_us,
        settlement.price as settlement,
        settlement.source as settlement_source,
        settlement.observed_us as settlement_observed_us,
        settlement.available_us as settlement_available_us,
        settlement.age_us as settlement_age_us,
        case
            when settlement.low >= strike.high then 'Up'
            when settlement.high < strike.low then 'Down'
            else 'indeterminate'
        end as computed_outcome,
        case
            when computed_outcome <> 'indeterminate' then null
            when fact.rule is null then 'the metadata name no rule'
            when fact.rule = 'twap' and fact.rule_window_s is null then 'the metadata name no window of the average'
            when strike.price is null and settlement.price is null then 'no observation at start and end'
            when strike.price is null then 'no observation at the start'
            when settlement.price is null and not fact.is_over then 'not ended'
            when settlement.price is null then 'no observation at the end'
            else 'observations around a boundary tell different outcomes'
        end as computed_reason
    from {{ ref('market_fact') }} as fact
    left join price as strike
        on strike.venue = fact.venue
        and strike.slug = fact.slug
        and strike.role = 'strike'
    left join price as settlement
        on settlement.venue = fact.venue
        and settlement.slug = fact.slug
        and settlement.role = 'settlement'
)

select
    market.venue,
    market.slug as symbol,
    market.slug as market_id,
    market.asset,
    market.series,
    make_timestamp(market.opens_us)::timestamptz as opens_at,
    make_timestamp(market.ends_us)::timestamptz as ends_at,
    market.duration_s,
    market.rule,
    market.rule_window_s,
    market.resolution_source,
    market.strike,
    market.strike_source,
    make_timestamp(market.strike_observed_us)::timestamptz as strike_observed_at,
    market.strike_age_us / 1000 as strike_age_ms,
    make_timestamp(market.strike_available_us)::timestamptz as strike_available_at,
    market.settlement,
    market.settlement_source,
    make_timestamp(market.settlement_observed_us)::timestamptz as settlement_observed_at,
    market.settlement_age_us / 1000 as settlement_age_ms,
    make_timestamp(market.settlement_available_us)::timestamptz as settlement_available_at,
    market.computed_outcome,
    coalesce(official.outcome, 'unknown') as official_outcome,
    official.source as official_source,
    official.official_at,
    official.known_at as official_known_at,
    case when official.outcome in ('Up', 'Down') and market.computed_outcome <> 'indeterminate'
        then official.outcome = market.computed_outcome
    end as is_match,
    market.venue_strike,
    market.venue_final,
    -- The end of one market is the start of the next, where both settle by one rule.
    case when following.rule = market.rule and following.rule_window_s is not distinct from market.rule_window_s
        then following.strike
    end as next_strike,
    case when following.rule = market.rule and following.rule_window_s is not distinct from market.rule_window_s
        then following.venue_strike
    end as next_venue_strike,
    case
        when official.outcome is not null then official.outcome
        when official.is_contradicted or official.is_disputed then 'unknown'
        when market.computed_outcome <> 'indeterminate' then market.computed_outcome
        else 'unknown'
    end as label,
    case
        when official.outcome is not null then 'official'
        when label <> 'unknown' then 'computed'
        else 'none'
    end as label_source,
    official.is_disputed,
    nullif(concat_ws('; ', market.computed_reason, official.reason), '') as reason,
    coalesce(input.inputs, '[]') as inputs,
    make_timestamp(market.opens_us)::date as date
from computed as market
left join computed as following
    on following.venue = market.venue
    and following.slug = market.next_slug
inner join {{ ref('official_outcome') }} as official
    on official.venue = market.venue
    and official.slug = market.slug
left join input
    on input.venue = market.venue
    and input.slug = market.slug
where market.is_wanted
