"""Books whose recomputed hash was not the one the venue sent."""

from datetime import timedelta

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import list_gaps
from truetape.quality.limit import LIMITS
from truetape.quality.market import has_table

_QUERY = """
    select venue, symbol, sum(batches)::bigint as batches, sum(proven)::bigint as proven, sum(broken)::bigint as broken,
        sum(unjudged)::bigint as unjudged, sum(mirrored)::bigint as mirrored,
        sum(mirror_broken)::bigint as mirror_broken, min(minute_at) as first_at,
        min(minute_at) filter (where mirror_broken > 0) as mirror_at
    from book_proof group by all order by venue, symbol"""
_BROKEN = (
    "select venue, symbol, minute_at, broken, tape_offset from book_proof where broken > 0 order by minute_at, symbol"
)
_MINUTE = timedelta(seconds=60)
"""What one row covers."""


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "book_proof"):
        return Outcome(0)
    streams = lake.sql(_QUERY).arrow().to_pylist()
    gaps = list_gaps(lake, channel="book_change") + list_gaps(lake, channel="*")
    findings = []
    for row in lake.sql(_BROKEN).arrow().to_pylist():
        span = (row["minute_at"], row["minute_at"] + _MINUTE)
        if not any(gap.covers(row["venue"], row["symbol"], "book_change", *span) for gap in gaps):
            what = "book differs from the venue's hash and no gap says so"
            place = (row["broken"], row["minute_at"], row["tape_offset"])
            findings.append(Finding("error", row["venue"], row["symbol"], what, *place))
    for row in streams:
        if row["unjudged"] > LIMITS.unjudged_share_max * row["batches"]:
            what = f"{row['unjudged'] / row['batches']:.1%} of book batches could not be judged"
            findings.append(Finding("warning", row["venue"], row["symbol"], what, row["unjudged"], row["first_at"]))
        if row["mirror_broken"]:
            what = f"not the mirror of the other outcome's book, of {row['mirrored']:,} comparisons"
            count, at = row["mirror_broken"], row["mirror_at"]
            findings.append(Finding("warning", row["venue"], row["symbol"], what, count, at))
    examined = sum(row["proven"] + row["broken"] for row in streams)
    return Outcome(examined, tuple(findings), sum(row["batches"] for row in streams))


CHECK = Check(
    "books_proven",
    "Every rebuilt book has the hash the venue sent with it, or a gap says since when it has not.",
    "book batches",
    _run,
)
