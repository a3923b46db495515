"""Gaps that nothing has closed."""

from collections import Counter

from truetape.lake import Lake
from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import list_gaps


def _run(lake: Lake) -> Outcome:
    gaps = list_gaps(lake)
    blind = [gap for gap in gaps if gap.state == "open"]
    counts = Counter((gap.venue, gap.symbol) for gap in blind)
    findings = []
    for (venue, symbol), count in sorted(counts.items()):
        mine = [gap for gap in blind if (gap.venue, gap.symbol) == (venue, symbol)]
        reasons = ", ".join(sorted({f"{gap.channel} ({gap.reason})" for gap in mine}))
        findings.append(Finding("warning", venue, symbol, f"still blind: {reasons}", count, mine[0].from_at))
    return Outcome(len(gaps), tuple(findings))


CHECK = Check("gaps_open", "Every gap was closed.", "gaps", _run)
