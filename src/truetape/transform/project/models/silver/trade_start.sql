-- From when on the trades of a symbol are observed: its first trade, or the end of its first gap that says recording
-- had not started. Before that nobody looked, whether or not a gap says so.

select
    stream.venue,
    stream.symbol,
    least(stream.first_us, min(epoch_us(gap.to_at))) as start_us
from {{ source('build', 'stream') }} as stream
left join {{ ref('gap_state') }} as gap
    on gap.venue = stream.venue
    and gap.symbol = stream.symbol
    and gap.channel = 'trade'
    and gap.reason = 'not_started'
    and gap.state = 'closed'
where stream.kind = 'trade'
group by stream.venue, stream.symbol, stream.first_us
