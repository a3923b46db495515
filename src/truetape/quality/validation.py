"""What can be said of a lake, as a document: VALIDATION_REPORT.md for people, validation.json for programs."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from truetape.lake import Lake
from truetape.quality.limit import LIMITS, Limits
from truetape.quality.market import Market
from truetape.quality.market_survey import MarketSurvey, survey_markets
from truetape.quality.runner import CheckReport, CheckResult, run_checks
from truetape.quality.verdict import DayVerdict, Verdict

REPORT_NAME = "VALIDATION_REPORT.md"
JSON_NAME = "validation.json"
_FINDINGS_MAX = 20
_FORMAT = 1
_MARKS = {"passed": "✓ passed", "warned": "! warned", "failed": "✗ failed", "not applicable": "not applicable"}


class MarketLine(msgspec.Struct, frozen=True):
    """One market as the document tells it."""

    market: str
    venue: str
    asset: str
    opens_at: datetime | None
    strike: float | None
    settlement: float | None
    computed: str | None
    official: str | None
    label: str | None
    known_shares: dict[str, float]
    """Stream → share of the market's seconds with a value, observed or carried."""
    gaps: int
    grade: str
    reasons: tuple[str, ...]


class Labels(msgspec.Struct, frozen=True):
    """How many finished markets have which label, and how often ours is the official one."""

    markets: int
    up: int
    down: int
    split: int
    unknown: int
    indeterminate: int
    """Not computed: no observation at a boundary."""
    compared: int
    matched: int


class Validation(msgspec.Struct, frozen=True):
    """All of it."""

    format: int
    title: str
    is_fine: bool
    summary: str
    checks: tuple[dict[str, Any], ...]
    labels: Labels
    days: tuple[DayVerdict, ...]
    markets: tuple[MarketLine, ...]
    limits: Limits


def make_validation(
    lake: Lake, title: str, *, checks: CheckReport | None = None, survey: MarketSurvey | None = None
) -> Validation:
    """Run the checks and judge the markets, unless that was done."""
    report = run_checks(lake) if checks is None else checks
    seen = survey_markets(lake) if survey is None else survey
    return Validation(
        format=_FORMAT,
        title=title,
        is_fine=report.is_fine,
        summary=report.summary,
        checks=tuple(_describe_check(result) for result in report.results),
        labels=_count_labels(seen.markets),
        days=tuple(seen.days),
        markets=tuple(_describe_market(m, v) for m, v in zip(seen.markets, seen.verdicts, strict=True)),
        limits=LIMITS,
    )


def write_validation(validation: Validation, folder: Path, pictures: tuple[str, ...] = ()) -> Path:
    """Write both documents and return the readable one's path; pictures are named by it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(validation), indent=1)
    (folder / JSON_NAME).write_bytes(text + b"\n")
    path = folder / REPORT_NAME
    path.write_text(render_markdown(validation, pictures), encoding="utf-8")
    return path


def render_markdown(validation: Validation, pictures: tuple[str, ...] = ()) -> str:
    """Write the document for people."""
    parts = [f"# {validation.title}", _tell_verdict(validation), "## Checks", _tell_checks(validation)]
    findings = _tell_findings(validation)
    if findings:
        parts += ["### Findings", findings]
    if validation.markets:
        parts += ["## Labels", _tell_labels(validation.labels), "## Days", _tell_days(validation)]
        parts += [f"![{name.removesuffix('.png')}]({name})" for name in pictures]
        parts += ["## Markets", _tell_markets(validation)]
        parts += ["## Thresholds", _tell_limits(validation.limits)]
    return "\n\n".join(parts) + "\n"


def _describe_check(result: CheckResult) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(result)
    told.pop("seconds")  # the same lake gives the same document
    return {"verdict": result.verdict, **told}


def _describe_market(market: Market, verdict: Verdict) -> MarketLine:
    truth = market.truth
    return MarketLine(
        market=market.slug,
        venue=market.venue,
        asset=market.asset,
        opens_at=market.opens_at,
        strike=truth.strike if truth else None,
        settlement=truth.settlement if truth else None,
        computed=truth.computed_outcome if truth else None,
        official=truth.official_outcome if truth else None,
        label=truth.label if truth else None,
        known_shares={c.stream: round(c.known / c.seconds, 6) if c.seconds else 0.0 for c in market.coverage},
        gaps=len(market.gaps),
        grade=verdict.grade,
        reasons=verdict.reasons,
    )


def _count_labels(markets: list[Market]) -> Labels:
    truths = [market.truth for market in markets if market.is_ended and market.truth is not None]
    labels = [truth.label for truth in truths]
    compared = [truth.is_match for truth in truths if truth.is_match is not None]
    return Labels(
        markets=len(truths),
        up=labels.count("Up"),
        down=labels.count("Down"),
        split=labels.count("split"),
        unknown=sum(label in (None, "unknown") for label in labels),
        indeterminate=sum(truth.computed_outcome == "indeterminate" for truth in truths),
        compared=len(compared),
        matched=sum(compared),
    )


def _tell_verdict(validation: Validation) -> str:
    word = "No check failed" if validation.is_fine else "**Checks failed**"
    return f"{word}: {validation.summary}."


def _tell_checks(validation: Validation) -> str:
    rows = [
        (
            f"`{check['name']}`",
            _MARKS[check["verdict"]],
            f"{check['examined']:,}"
            + ("" if check["total"] is None else f" of {check['total']:,}")
            + f" {check['examines']}",
            check["doc"],
        )
        for check in validation.checks
    ]
    return _make_table(("check", "verdict", "examined", "what holds"), rows)


def _tell_findings(validation: Validation) -> str:
    lines = []
    for check in validation.checks:
        for finding in check["findings"][:_FINDINGS_MAX]:
            at = f", first {finding['at'][:19].replace('T', ' ')}" if finding["at"] else ""
            where = " ".join(filter(None, (finding["venue"], finding["symbol"])))
            what = f"{finding['what']}: {finding['count']:,}{at}"
            lines.append(f"* {finding['severity']}, `{check['name']}`, {where}: {what}")
        more = len(check["findings"]) - _FINDINGS_MAX
        if more > 0:
            lines.append(f"* `{check['name']}`: {more:,} more")
    return "\n".join(lines)


def _tell_labels(labels: Labels) -> str:
    share = f" ({labels.matched / labels.compared:.2%})" if labels.compared else ""
    told = f"{labels.matched:,} of {labels.compared:,}{share}" if labels.compared else "not applicable"
    rows = [
        ("markets that ended", f"{labels.markets:,}"),
        ("labelled Up / Down / split", f"{labels.up:,} / {labels.down:,} / {labels.split:,}"),
        ("unknown", f"{labels.unknown:,}"),
        ("computed outcome is the official one", told),
        ("indeterminate: no observation at a boundary", f"{labels.indeterminate:,}"),
    ]
    return _make_table(("what", "how many"), rows)


def _tell_days(validation: Validation) -> str:
    rows = [
        (str(d.day), d.venue, f"{d.asset} {d.series}", d.markets, d.good, d.degraded, d.bad, d.unfinished,
         f"**{d.grade}**", "; ".join(d.reasons))
        for d in validation.days
    ]  # fmt: skip
    head = ("day", "venue", "series", "markets", "good", "degraded", "bad", "unfinished", "verdict", "reasons")
    return _make_table(head, rows)


def _tell_markets(validation: Validation) -> str:
    rows = [
        (
            f"`{m.market}`",
            _show_price(m.strike),
            _show_price(m.settlement),
            m.computed or "",
            m.official or "",
            m.label or "",
            *(_show_share(m.known_shares.get(stream)) for stream in ("oracle", "up", "down")),
            f"**{m.grade}**" if m.grade != "good" else m.grade,
            "; ".join(m.reasons),
        )
        for m in validation.markets
    ]
    head = (
        "market",
        "strike",
        "settlement",
        "computed",
        "official",
        "label",
        "oracle",
        "Up",
        "Down",
        "verdict",
        "reasons",
    )
    return _make_table(head, rows)


def _tell_limits(limits: Limits) -> str:
    rows = [(f"`{name}`", f"{value:g}") for name, value in msgspec.structs.asdict(limits).items()]
    return _make_table(("threshold", "value"), rows)


def _make_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _show_price(price: float | None) -> str:
    return "" if price is None else f"{price:,.10g}"


def _show_share(share: float | None) -> str:
    """Round down: what is not whole never reads as 100 %."""
    return "" if share is None else "100 %" if share >= 1 else f"{int(share * 1000) / 10:.1f} %"
