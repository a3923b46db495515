"""No free money: what both outcomes together can be sold for is at most 1, and bought for at least 1."""

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome, Severity
from truetape.quality.limit import LIMITS
from truetape.quality.market import has_table

_QUERY = f"""
    with judged as (
        select venue, market_id, t,
            coalesce(up_bid + down_bid > 1 + {LIMITS.sum_tolerance}, false) as bids,
            coalesce(up_ask + down_ask < 1 - {LIMITS.sum_tolerance}, false) as asks,
            coalesce(up_bid >= up_ask, false) or coalesce(down_bid >= down_ask, false) as crossed,
            coalesce(least(up_bid, down_bid, up_ask, down_ask) < 0, false)
                or coalesce(greatest(up_bid, down_bid, up_ask, down_ask) > 1, false) as outside,
            coalesce(abs(sum_bids - up_bid - down_bid) > {LIMITS.sum_tolerance}, false)
                or coalesce(abs(sum_asks - up_ask - down_ask) > {LIMITS.sum_tolerance}, false) as miscounted
        from canonical where up_state in ('observed', 'carried', 'before_open') and down_state in ('observed', 'carried', 'before_open')
    )
    select venue, market_id, count(*) as rows, count(*) filter (where bids) as bids, count(*) filter (where asks) as asks,
        count(*) filter (where crossed) as crossed, count(*) filter (where outside) as outside,
        count(*) filter (where miscounted) as miscounted,
        min(t) filter (where bids or asks or crossed or outside or miscounted) as first_at
    from judged group by all order by market_id, venue"""  # noqa: S608  # numbers of ours
_WORDS = {
    "bids": "bids add up to more than 1",
    "asks": "asks add up to less than 1",
    "crossed": "best bid is not below the best ask",
    "outside": "a price outside 0 to 1",
    "miscounted": "sum_bids or sum_asks is not the sum of its parts",
}


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "canonical"):
        return Outcome(0)
    rows = lake.sql(_QUERY).arrow().to_pylist()
    findings = []
    for row in rows:
        for name, what in _WORDS.items():
            count = row[name]
            if count:
                # Two books change one after the other: a second may fall between them. Prices outside never may.
                few = name in ("bids", "asks", "crossed") and count <= LIMITS.arbitrage_share_max * row["rows"]
                severity: Severity = "warning" if few else "error"
                findings.append(Finding(severity, row["venue"], row["market_id"], what, count, row["first_at"]))
    ((total,),) = lake.sql("select count(*) from canonical").duckdb().fetchall()
    return Outcome(sum(row["rows"] for row in rows), tuple(findings), total)


CHECK = Check(
    "book_sums",
    "Bids of both outcomes add up to at most 1, asks to at least 1, and no book is crossed.",
    "market-seconds with both books",
    _run,
)
