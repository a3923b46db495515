-- By the second: whether a market's stream was in a hole, and when the last hole before ended. A hole counts even if it
-- was repaired: what came later was not known then. Where several streams tell the oracle's price, all must be blind.

with hole as (
    select
        stream.venue,
        stream.slug,
        stream.role,
        stream.symbol,
        epoch_us(gap.from_at) as from_us,
        epoch_us(gap.to_at) as to_us
    from {{ ref('market_stream') }} as stream
    inner join {{ ref('gap_state') }} as gap
        on gap.venue = stream.of_venue
        and (gap.symbol = stream.symbol or gap.symbol = '')
        and gap.channel in (stream.channel, '*')
),

streams as (
    select venue, slug, role, count(*) as streams
    from {{ ref('market_stream') }}
    group by all
),

touched as (
    select
        hole.venue,
        hole.slug,
        hole.role,
        hole.symbol,
        moment.second,
        bool_or(moment.t_us < coalesce(hole.to_us, 9223372036854775807)) as is_blind,
        max(hole.to_us) filter (where hole.to_us <= moment.t_us) as mended_us
    from hole
    inner join {{ ref('market_second') }} as moment
        on moment.venue = hole.venue
        and moment.slug = hole.slug
        and moment.t_us > hole.from_us
    where coalesce(hole.to_us, 9223372036854775807) > moment.opens_us - 86400000000
    group by all
)

select
    touched.venue,
    touched.slug,
    touched.role,
    touched.second,
    count_if(touched.is_blind) = any_value(streams.streams) as is_blind,
    case when count(*) = any_value(streams.streams) then min(touched.mended_us) end as mended_us
from touched
inner join streams
    on streams.venue = touched.venue
    and streams.slug = touched.slug
    and streams.role = touched.role
group by all
