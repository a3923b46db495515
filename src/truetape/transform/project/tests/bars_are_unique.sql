select venue, symbol, interval, open_at
from {{ ref('bars') }}
group by all
having count(*) > 1
