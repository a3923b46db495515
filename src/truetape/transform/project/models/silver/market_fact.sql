-- What is known now of each market of this run: per fact what was said last, for a version may know less than an
-- earlier one.

with said as (
    select
        venue,
        slug,
        arg_max(rule, version_number) as rule,
        arg_max(rule_window_s, version_number) filter (where rule = 'twap') as rule_window_s,
        arg_max(resolution_source, version_number) as resolution_source,
        arg_max(epoch_us(closed_at), version_number) as closed_us
    from {{ ref('market_version') }}
    group by all
),

price as (
    select venue, condition, strike, final_price, available_at, tape_offset, tape_row
    from {{ source('lake', 'prediction_market') }}
    union all
    select venue, condition, strike, final_price, available_at, tape_offset, tape_row
    from {{ source('lake', 'resolution') }}
),

venue_price as (
    select
        venue,
        condition,
        arg_max(strike, row(available_at, tape_offset, tape_row)) as venue_strike,
        arg_max(final_price, row(available_at, tape_offset, tape_row)) as venue_final
    from price
    group by all
)

select
    market.*,
    said.rule,
    said.rule_window_s,
    said.resolution_source,
    said.closed_us,
    venue_price.venue_strike,
    venue_price.venue_final
from {{ source('build', 'market') }} as market
left join said
    on said.venue = market.venue
    and said.slug = market.slug
left join venue_price
    on venue_price.venue = market.venue
    and venue_price.condition = market.condition
