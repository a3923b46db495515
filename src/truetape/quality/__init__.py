"""Lake → what can be said of it: the gap ledger, checks (one file each), the report."""

from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import Coverage, Gap, list_gaps, measure_coverage
from truetape.quality.report import write_report
from truetape.quality.runner import CheckReport, CheckResult, list_checks, run_checks

__all__ = [
    "Check",
    "CheckReport",
    "CheckResult",
    "Coverage",
    "Finding",
    "Gap",
    "Outcome",
    "list_checks",
    "list_gaps",
    "measure_coverage",
    "run_checks",
    "write_report",
]
