-- Times in which trades of a symbol were not observed: its gaps that were not repaired, and those of its whole
-- venue (no symbol, or channel *), merged where they touch. Microseconds; an open gap ends at the end of time.

with hole as (
    select
        stream.venue,
        stream.symbol,
        epoch_us(gap.from_at) - {{ var('gap_margin_ms') | int }} * 1000 as from_us,
        coalesce(epoch_us(gap.to_at), 9223372036854775807) as to_us,
        gap.available_at
    from (select distinct venue, symbol from {{ ref('counted_trade') }}) as stream
    inner join {{ ref('gap_state') }} as gap
        on gap.venue = stream.venue
        and (gap.symbol = stream.symbol or gap.symbol = '')
        and gap.channel in ('trade', '*')
    where gap.state <> 'repaired'
),

numbered as (
    select
        *,
        count_if(coalesce(from_us > reached_us, true)) over (
            partition by venue, symbol order by from_us, to_us rows unbounded preceding
        ) as island
    from (
        select
            *,
            max(to_us) over (
                partition by venue, symbol order by from_us, to_us rows between unbounded preceding and 1 preceding
            ) as reached_us
        from hole
    )
)

select
    venue,
    symbol,
    min(from_us) as from_us,
    max(to_us) as to_us,
    max(available_at) as available_at
from numbered
group by venue, symbol, island
