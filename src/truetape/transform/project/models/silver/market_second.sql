-- Every second of every market of this run that is over: exactly as many as its window has. A row stands for what had
-- been received by `t_us`; the first is the moment of opening, the last one second before the end.

select
    venue,
    slug,
    asset,
    opens_us,
    second,
    opens_us + second * 1000000 as t_us
from (
    select *, unnest(range(duration_s)) as second
    from {{ source('build', 'market') }}
    where is_wanted and is_over
)
