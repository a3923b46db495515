"""Lake → what can be said of it: the gap ledger, checks (one file each), markets and verdicts, the report."""

from truetape.quality._contract import Check, Finding, Outcome
from truetape.quality.ledger import Coverage, Gap, list_gaps, measure_coverage
from truetape.quality.limit import LIMITS, Limits
from truetape.quality.market import Market, StreamCoverage, Truth, Window, has_table, list_windows, read_markets
from truetape.quality.report import write_report
from truetape.quality.runner import CheckReport, CheckResult, list_checks, run_checks
from truetape.quality.verdict import DayVerdict, judge_days, judge_market
from truetape.quality.verdict import Verdict as MarketVerdict

__all__ = [
    "LIMITS",
    "Check",
    "CheckReport",
    "CheckResult",
    "Coverage",
    "DayVerdict",
    "Finding",
    "Gap",
    "Limits",
    "Market",
    "MarketVerdict",
    "Outcome",
    "StreamCoverage",
    "Truth",
    "Window",
    "has_table",
    "judge_days",
    "judge_market",
    "list_checks",
    "list_gaps",
    "list_windows",
    "measure_coverage",
    "read_markets",
    "run_checks",
    "write_report",
]
