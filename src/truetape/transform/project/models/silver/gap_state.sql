-- The gap ledger folded: one row per gap with its state now. A gap's rows in tape order: its end is the first that
-- was declared, its state is the last.

select
    gap_id,
    any_value(venue) as venue,
    any_value(symbol) as symbol,
    any_value(channel) as channel,
    min(from_at) as from_at,
    case when arg_max(state, row(tape_offset, tape_row)) <> 'open'
        then arg_min(to_at, row(tape_offset, tape_row)) filter (where to_at is not null)
    end as to_at,
    arg_max(reason, row(tape_offset, tape_row)) as reason,
    arg_max(state, row(tape_offset, tape_row)) as state,
    max(available_at) as available_at
from {{ source('lake', 'gap') }}
group by gap_id
