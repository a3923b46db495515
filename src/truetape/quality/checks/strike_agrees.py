"""Strike and settlement as observed against what the venue published of them later."""

from typing import Any

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.limit import LIMITS
from truetape.quality.market import has_table

_QUERY = """
    select venue, market_id, opens_at, ends_at, strike, strike_age_ms, venue_strike, settlement, settlement_age_ms,
        venue_final from truth order by opens_at, venue, market_id"""
_PAIRS = (
    ("strike", "venue_strike", "priceToBeat", "opens_at"),
    ("settlement", "venue_final", "finalPrice", "ends_at"),
)


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "truth"):
        return Outcome(0)
    rows = lake.sql(_QUERY).arrow().to_pylist()
    examined, findings = 0, []
    for row in rows:
        for ours, theirs, name, at in _PAIRS:
            if row[ours] is not None and row[theirs] is not None:
                examined += 1
                findings += _compare(row, ours, theirs, name, at)
    return Outcome(examined, tuple(findings), 2 * len(rows))


def _compare(row: dict[str, Any], ours: str, theirs: str, name: str, at: str) -> list[Finding]:
    apart_bps = abs(row[ours] / row[theirs] - 1) * 10_000 if row[theirs] else float("inf")
    if apart_bps <= LIMITS.price_difference_bps_max:
        return []
    age_ms = abs(row[f"{ours}_age_ms"] or 0)
    aged = f", observed {age_ms / 1000:g} s from the boundary" if age_ms else ""
    what = f"{ours} {row[ours]} is {apart_bps:.3g} bps from the venue's {name} {row[theirs]}{aged}"
    # Another second's price may differ; the boundary's own may not.
    return [Finding("warning" if age_ms else "error", row["venue"], row["market_id"], what, 1, row[at])]


CHECK = Check(
    "strike_agrees",
    f"Strike and settlement are the venue's priceToBeat and finalPrice within {LIMITS.price_difference_bps_max:g} bps.",
    "prices the venue published",
    _run,
)
