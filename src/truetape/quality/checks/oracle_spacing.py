"""Seconds that an oracle skipped without a gap row that says so."""

from datetime import timedelta
from typing import Any

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import list_gaps
from truetape.quality.limit import LIMITS

_QUERY = f"""
    with seen as (select venue, symbol, exchange_at, min(received_at) as received_at, min(tape_offset) as tape_offset
        from oracle_price where exchange_at is not null group by all),
    spaced as (
        select *, lag(exchange_at) over stream as before, lag(received_at) over stream as heard,
            epoch(exchange_at) - epoch(lag(exchange_at) over stream) as spacing_s
        from seen window stream as (partition by venue, symbol order by exchange_at)
    )
    select * from spaced where spacing_s > {LIMITS.hole_s_max} order by venue, symbol, exchange_at"""  # noqa: S608
_COUNT = """
    select venue, symbol, count(*) as rows, quantile_cont(spacing_s, 0.5) as usual_s from (
        select venue, symbol, epoch(exchange_at) - epoch(lag(exchange_at) over (
            partition by venue, symbol order by exchange_at)) as spacing_s
        from (select distinct venue, symbol, exchange_at from oracle_price where exchange_at is not null)
    ) group by all"""
_PUBLISH_MAX = timedelta(seconds=3)
"""A gap is told by reception, a second by the oracle's clock: publishing takes up to this."""


def _run(lake: Lake) -> Outcome:
    streams = lake.sql(_COUNT).arrow().to_pylist()
    # A feed that speaks on change or every few seconds has no second to miss.
    steady = {(row["venue"], row["symbol"]) for row in streams if row["usual_s"] is not None and row["usual_s"] <= 1}
    examined = sum(row["rows"] for row in streams if (row["venue"], row["symbol"]) in steady)
    if not examined:
        return Outcome(0, (), sum(row["rows"] for row in streams))
    gaps = list_gaps(lake, channel="oracle_price") + list_gaps(lake, channel="*")
    silent: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in lake.sql(_QUERY).arrow().to_pylist():
        key = (row["venue"], row["symbol"])
        span = (row["before"], max(row["exchange_at"], min(row["received_at"], row["exchange_at"] + _PUBLISH_MAX)))
        if key in steady and not any(gap.covers(*key, "oracle_price", *span) for gap in gaps):
            silent.setdefault(key, []).append(row)
    findings = []
    for (venue, symbol), rows in sorted(silent.items()):
        longest = max(row["spacing_s"] for row in rows)
        what = f"no observation for up to {longest:.0f} s and no gap says so"
        findings.append(Finding("error", venue, symbol, what, len(rows), rows[0]["before"], rows[0]["tape_offset"]))
    return Outcome(examined, tuple(findings), sum(row["rows"] for row in streams))


CHECK = Check(
    "oracle_spacing",
    f"An oracle of one price per second never skips more than {LIMITS.hole_s_max:g} s without a gap row.",
    "observations",
    _run,
)
