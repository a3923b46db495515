"""Times that cannot be, lags out of proportion, and silences nobody declared."""

from datetime import timedelta
from typing import Any

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import Gap, list_gaps

_KINDS = ("trade", "book_change", "quote")
_LAG_MAX_S = 10
_LEAD_MAX_S = 1
_SILENCE_MIN_S = 30
_SILENCE_TIMES = 100
"""A silence is this many times longer than nine of ten spacings of the stream."""
_CLOCK = timedelta(seconds=1)
_HOLES_MAX = 10_000

_RULES = (
    ("error", "available before it was received", "available_at < received_at"),
    ("warning", f"received more than {_LAG_MAX_S} s after the venue's time", f"lag_s > {_LAG_MAX_S}"),
    ("warning", f"received more than {_LEAD_MAX_S} s before the venue's time", f"lag_s < -{_LEAD_MAX_S}"),
)


def _run(lake: Lake) -> Outcome:
    gaps = list_gaps(lake)
    stored = lake.versions()
    examined, findings = 0, []
    for kind in _KINDS:
        if kind in stored:
            rows = _count_times(lake, kind)
            examined += sum(row["rows"] for row in rows)
            findings += [finding for row in rows for finding in _report_times(kind, row)]
            findings += _report_silences(kind, _find_silences(lake, kind), gaps)
    return Outcome(examined, tuple(findings))


def _count_times(lake: Lake, kind: str) -> list[dict[str, Any]]:
    counts = ", ".join(
        f"count(*) filter (where {rule}) as count{i}, min(received_at) filter (where {rule}) as at{i}, "
        f"arg_min(tape_offset, received_at) filter (where {rule}) as offset{i}"
        for i, (_, _, rule) in enumerate(_RULES)
    )
    query = f"""
        select venue, symbol, count(*) as rows, {counts}
        from (select *, epoch(received_at) - epoch(exchange_at) as lag_s from {kind})
        group by all order by venue, symbol"""  # noqa: S608  # texts of this file
    found: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    return found


def _report_times(kind: str, row: dict[str, Any]) -> list[Finding]:
    return [
        Finding(
            "error" if severity == "error" else "warning",
            row["venue"],
            row["symbol"],
            f"{kind} {what}",
            row[f"count{i}"],
            row[f"at{i}"],
            row[f"offset{i}"],
        )
        for i, (severity, what, _) in enumerate(_RULES)
        if row[f"count{i}"]
    ]


def _find_silences(lake: Lake, kind: str) -> list[dict[str, Any]]:
    query = f"""
        with spaced as (
            select venue, symbol, received_at, tape_offset, lag(received_at) over stream as before,
                epoch(received_at) - epoch(lag(received_at) over stream) as spacing_s
            from (select venue, symbol, received_at, min(tape_offset) as tape_offset from {kind} group by all)
            window stream as (partition by venue, symbol order by received_at)
        ),
        usual as (
            select venue, symbol, quantile_cont(spacing_s, 0.9) as spacing_s, count(*) as rows from spaced group by all
        )
        select spaced.* from spaced join usual using (venue, symbol)
        where usual.rows >= 100
            and spaced.spacing_s > greatest({_SILENCE_MIN_S}, {_SILENCE_TIMES} * usual.spacing_s)
        order by spaced.venue, spaced.symbol, spaced.received_at limit {_HOLES_MAX}"""  # noqa: S608  # as above
    found: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    return found


def _report_silences(kind: str, silences: list[dict[str, Any]], gaps: list[Gap]) -> list[Finding]:
    streams: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in silences:
        start, end = row["before"] - _CLOCK, row["received_at"] + _CLOCK
        if not any(gap.covers(row["venue"], row["symbol"], kind, start, end) for gap in gaps):
            streams.setdefault((row["venue"], row["symbol"]), []).append(row)
    findings = []
    for (venue, symbol), mine in sorted(streams.items()):
        longest = max(row["spacing_s"] for row in mine)
        what = f"{kind} silent up to {longest:.0f} s and no gap says so"
        findings.append(Finding("warning", venue, symbol, what, len(mine), mine[0]["before"], mine[0]["tape_offset"]))
    return findings


CHECK = Check(
    "timestamps",
    "Nothing is available before it was received, lags are small, and no busy stream falls silent undeclared.",
    "rows",
    _run,
)
