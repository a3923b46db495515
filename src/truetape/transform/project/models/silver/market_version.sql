-- Every version of a market's metadata with the time in which it was the newest one known: history only grows.

select
    *,
    available_at as valid_from,
    lead(available_at) over (
        partition by venue, slug order by available_at, tape_offset, tape_row
    ) as valid_to,
    row_number() over (partition by venue, slug order by available_at, tape_offset, tape_row) as version_number
from {{ source('lake', 'prediction_market') }}
