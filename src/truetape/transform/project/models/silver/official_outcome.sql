-- What venues and chains say a market resolved to. Only a row that is resolved in the strict sense makes a label; the
-- others can contradict it, and then nobody is believed.

with word as (
    select
        market.venue,
        market.slug,
        resolution.source,
        resolution.status,
        resolution.is_resolved,
        resolution.is_disputed,
        resolution.available_at,
        resolution.tape_offset,
        resolution.tape_row,
        coalesce(resolution.resolved_at, resolution.available_at) as resolved_at,
        -- Payouts by name, or by the outcome's place where a source knows no names.
        coalesce(
            json_extract(resolution.payouts, '$."' || market.up_name || '"'),
            json_extract(resolution.payouts, '$."' || (list_position(market.outcomes, market.up_name) - 1) || '"')
        )::double as up_paid,
        case
            when resolution.winner = market.up_name then 'Up'
            when resolution.winner = market.down_name then 'Down'
            when up_paid = 1 then 'Up'
            when up_paid = 0 then 'Down'
            when up_paid = 0.5 then 'split'
        end as outcome
    from {{ source('build', 'market') }} as market
    inner join {{ source('lake', 'resolution') }} as resolution
        on resolution.venue = market.venue
        and resolution.condition = market.condition
),

last_word as (
    select
        venue,
        slug,
        source,
        arg_max_null(outcome, row(available_at, tape_offset, tape_row)) as outcome,
        arg_max(is_resolved, row(available_at, tape_offset, tape_row)) as is_resolved,
        arg_max(status, row(available_at, tape_offset, tape_row)) as status
    from word
    group by all
),

first_told as (
    select venue, slug, outcome, min(resolved_at) as official_at, min(available_at) as known_at
    from word
    where is_resolved and outcome is not null
    group by all
),

verdict as (
    select
        venue,
        slug,
        list_sort(list(distinct outcome) filter (where outcome is not null)) as outcomes,
        any_value(outcome) filter (where is_resolved) as outcome,
        string_agg(source, ',' order by source) filter (where is_resolved and outcome is not null) as sources,
        string_agg(source || ' ' || outcome, ', ' order by source) filter (where outcome is not null) as words,
        string_agg(source || ' ' || status, ', ' order by source) filter (where status is not null) as statuses
    from last_word
    group by all
),

dispute as (
    select venue, slug, bool_or(coalesce(is_disputed, false) or coalesce(status, '') = 'disputed') as is_disputed
    from word
    group by all
)

select
    market.venue,
    market.slug,
    case when verdict.sources is not null and len(verdict.outcomes) = 1 then verdict.outcome end as outcome,
    case when verdict.sources is not null and len(verdict.outcomes) = 1 then verdict.sources end as source,
    case when verdict.sources is not null and len(verdict.outcomes) = 1 then first_told.official_at end as official_at,
    case when verdict.sources is not null and len(verdict.outcomes) = 1 then first_told.known_at end as known_at,
    coalesce(dispute.is_disputed, false) as is_disputed,
    coalesce(len(verdict.outcomes) > 1, false) as is_contradicted,
    case
        when len(verdict.outcomes) > 1 then 'sources disagree: ' || verdict.words
        when verdict.sources is null and verdict.words is not null
            then 'not resolved by a source that tells all: ' || verdict.words
        when verdict.sources is null and verdict.statuses is not null then 'not resolved: ' || verdict.statuses
        when verdict.sources is null then 'not resolved: nobody said so'
    end as reason
from {{ source('build', 'market') }} as market
left join verdict
    on verdict.venue = market.venue
    and verdict.slug = market.slug
left join first_told
    on first_told.venue = verdict.venue
    and first_told.slug = verdict.slug
    and first_told.outcome = verdict.outcome
left join dispute
    on dispute.venue = market.venue
    and dispute.slug = market.slug
