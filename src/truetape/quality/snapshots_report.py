"""What snapshots tell, as tables, one page and one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from truetape.errors import MissingExtra
from truetape.lake import Lake
from truetape.quality.snapshots import LINES_MAX, MarketLine, SnapshotSurvey, show_time, survey_snapshots

Table = tuple[str, str, list[dict[str, Any]]]
"""(title, what it means, rows)."""


def make_tables(survey: SnapshotSurvey) -> list[Table]:
    """Return everything as tables, for a terminal or a page."""
    return [
        ("Completeness", "snapshots against the schedule; what is missing is explained by the gap ledger, or not",
         [_describe_service(line) for line in survey.services]),
        ("Longest gaps", "turns in a row without a snapshot, and why", [
            {"market": h.symbol, "from": show_time(h.from_us), "turns": h.turns, "reason": h.reason}
            for h in survey.holes[:LINES_MAX]
        ]),
        ("Snapshots per market", "fewest first", [_describe_market(market) for market in _order(survey.markets)]),
        ("Most volatile", "standard deviation of the price's steps", [
            {"market": m.symbol, "question": m.question, "volatility": round(m.volatility, 5),
             "low": min(p for _, p in m.prices), "high": max(p for _, p in m.prices), "last": m.prices[-1][1]}
            for m in survey.volatile[:LINES_MAX]
        ]),
        ("Categories", "markets of each", [{"category": name, "markets": n} for name, n in survey.categories]),
        ("Overround", "what all outcomes cost together, minus 1", [
            {"service": s.service, "mean": _round(s.overround), "most": _round(s.overround_max)}
            for s in survey.services if s.overround is not None
        ]),
        ("Stale prices", "markets that trade and whose price has stood still", [
            {"market": m.symbol, "turns": m.stale_turns, "price": m.prices[-1][1]} for m in survey.stale[:LINES_MAX]
        ]),
        ("Prices that make no sense", "out of 0 to 1, or Yes and No that do not make 1", [
            {"market": o.symbol, "turn": show_time(o.due_us), "what": o.what} for o in survey.oddities[:LINES_MAX]
        ]),
    ]  # fmt: skip


def write_snapshot_report(
    lake: Lake, out_dir: Path | str, title: str, *, facts: Mapping[str, object] | None = None
) -> tuple[SnapshotSurvey, Path]:
    """Write `snapshots.html` and `snapshots.png` into a folder; return what they say and the page.

    `facts` are shown beside: how the requests of a run went. Nothing on the page is loaded from elsewhere.
    """
    try:
        from jinja2 import Environment, FileSystemLoader

        from truetape.quality import snapshots_figure as figure
    except ImportError as error:
        raise MissingExtra("the report", "report") from error
    survey = survey_snapshots(lake)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    has_markets = bool(survey.markets)
    page = environment.get_template("snapshots.html.j2").render(
        title=title,
        line=figure.describe_survey(survey),
        tiles=_make_tiles(survey, facts or {}),
        panels=figure.render_panels(survey) if figure.choose_panels(survey) else "",
        lanes=figure.render_lanes(survey) if has_markets else "",
        tables=make_tables(survey),
    )
    path = folder / "snapshots.html"
    path.write_text(page, encoding="utf-8")
    picture = folder / "snapshots.png"
    if has_markets:
        picture.write_bytes(figure.render_overview(survey, title))
    else:
        picture.unlink(missing_ok=True)  # that of an earlier run
    return survey, path


def _make_tiles(survey: SnapshotSurvey, facts: Mapping[str, object]) -> list[dict[str, str]]:
    missing = survey.expected - survey.observed
    tiles = [
        {"name": "snapshots", "value": f"{survey.observed:,}", "note": f"of {survey.expected:,} expected"},
        {"name": "missing", "value": f"{missing:,}", "note": f"{survey.explained:,} explained by the ledger",
         "state": "failed" if survey.unexplained else "warned" if missing else "passed"},
        {"name": "unexplained", "value": f"{survey.unexplained:,}", "note": "snapshots missing without a reason",
         "state": "failed" if survey.unexplained else "passed"},
        {"name": "failed listings", "value": f"{survey.listings_failed:,}", "note": "turns that told of no new markets",
         "state": "warned" if survey.listings_failed else "passed"},
        {"name": "markets", "value": f"{len(survey.markets):,}",
         "note": f"{len(survey.services)} services, {len(survey.categories)} categories"},
    ]  # fmt: skip
    return tiles + [{"name": name, "value": str(value), "note": "of this run"} for name, value in facts.items()]


def _describe_service(line: Any) -> dict[str, Any]:
    return {
        "service": line.service, "interval": f"{line.interval_s:g} s", "turns": line.turns, "markets": line.markets,
        "expected": line.expected, "observed": line.observed, "explained": line.explained,
        "unexplained": line.expected - line.observed - line.explained, "complete": _show_share(line.completeness),
        "failed requests": line.failures, "failed listings": line.listings_failed,
    }  # fmt: skip


def _describe_market(market: MarketLine) -> dict[str, Any]:
    return {
        "market": market.symbol, "category": market.category, "snapshots": market.observed, "of": market.expected,
        "complete": _show_share(market.completeness), "first": show_time(market.first_us),
        "last": show_time(market.last_us), "volume": market.volume, "ended": "yes" if market.is_final else "",
    }  # fmt: skip


def _order(markets: Sequence[MarketLine]) -> list[MarketLine]:
    return sorted(markets, key=lambda market: (market.completeness, market.symbol))[: 2 * LINES_MAX]


def _show_share(share: float | None) -> str:
    """Round down: what is not whole never reads as 100 %."""
    if share is None:
        return "n/a"
    return "100 %" if share >= 1 else f"{int(share * 10_000) / 100:.2f} %"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
