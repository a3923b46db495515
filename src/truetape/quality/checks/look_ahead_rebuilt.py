"""The canonical table built from history cut off at a second, against the one that knows all."""

from truetape.datasets import Difference, audit_canonical
from truetape.errors import BuildError
from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.market import has_table

_MARKETS_MAX = 1
_CUTS = 1
"""Each is a build: a sample, and a different one only when the table is."""


def _run(lake: Lake) -> Outcome:
    if not has_table(lake, "canonical") or not has_table(lake, "truth"):
        return Outcome(0)
    try:
        audit = audit_canonical(lake.path, markets_max=_MARKETS_MAX, cuts=_CUTS)
    except BuildError as error:
        return Outcome(0, (Finding("error", "", "canonical", f"does not build from its past: {error}", 1),))
    columns: dict[tuple[str, str, str], int] = {}
    firsts: dict[tuple[str, str, str], Difference] = {}
    for found in audit.differences:
        key = (found.venue, found.market_id, found.column)
        columns[key] = columns.get(key, 0) + 1
        firsts.setdefault(key, found)
    findings = []
    for (venue, market, column), count in sorted(columns.items()):
        first = firsts[venue, market, column]
        what = f"{column} is {first.value}, and was {first.known} when that second ended"
        findings.append(Finding("error", venue, market, what, count, first.t))
    return Outcome(audit.cells, tuple(findings))


CHECK = Check(
    "look_ahead_rebuilt",
    "Built again from what had been received by a second, a market's rows up to it are the same (one market, one cut).",
    "cells",
    _run,
    is_deep=True,
)
