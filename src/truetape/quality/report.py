"""One page that shows what a lake holds and how far it can be trusted: self-contained, light and dark."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from truetape.errors import MissingExtra
from truetape.lake import Lake
from truetape.quality.ledger import Coverage
from truetape.quality.market_survey import MarketSurvey, survey_markets
from truetape.quality.runner import CheckReport, run_checks
from truetape.quality.survey import Survey, survey_lake
from truetape.quality.validation import Validation, make_validation, write_validation

_GAPS_MAX = 40
_FINDINGS_MAX = 12
_NOTES_MAX = 30
_MARKETS_MAX = 120
_STREAMS_MAX = 150


def write_report(
    lake: Lake,
    out_dir: Path | str,
    title: str,
    *,
    balance: Mapping[str, Any] | None = None,
    checks: CheckReport | None = None,
) -> Path:
    """Write the report into a folder and return the path of its page, `report.html`.

    Beside it: `VALIDATION_REPORT.md` and `validation.json`, which say the same, and the pictures as PNG.
    `balance` is what `verify` says; checks are run unless given. Nothing on the page is loaded from elsewhere.
    """
    try:
        from truetape.quality import figure, market_figure

        template = _load_template()
    except ImportError as error:
        raise MissingExtra("the report", "report") from error
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    markets = survey_markets(lake)
    survey = survey_lake(lake, {market.slug for market in markets.markets})
    outcome = run_checks(lake) if checks is None else checks
    validation = make_validation(lake, title, checks=outcome, survey=markets)
    page = template.render(
        title=title,
        survey=survey,
        streams=_describe_streams(survey, markets),
        streams_left_out=max(0, len(survey.coverage) - _STREAMS_MAX),
        tiles=_make_tiles(survey, outcome, balance) + _make_market_tiles(validation),
        markets=markets,
        validation=validation,
        lines=_choose_lines(validation),
        markets_max=_MARKETS_MAX,
        pictures=_draw_pictures(survey, markets),
        checks=outcome,
        balance=balance,
        notes=_read_notes(lake),
        gaps_max=_GAPS_MAX,
        findings_max=_FINDINGS_MAX,
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    if survey.lanes:
        (folder / "overview.png").write_bytes(figure.render_overview(survey, title))
    drawings = market_figure.render_pictures(markets)
    for name, content in drawings.items():
        (folder / name).write_bytes(content)
    write_validation(validation, folder, tuple(drawings))
    return path


def _load_template() -> Any:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        moment=_format_moment,
        clock=_format_clock,
        span=_format_span,
        whole=_format_whole,
        ms=_format_ms,
        share=_format_share,
        price=_format_price,
    )
    return environment.get_template("report.html.j2")


def _draw_pictures(survey: Survey, markets: MarketSurvey) -> dict[str, Any]:
    from truetape.quality import figure, market_figure

    drawn = [curve for curve in survey.curves if curve.points]
    return {
        "candles": [figure.render_candles(c, is_wide=len(survey.candles) == 1) for c in survey.candles],
        "lanes": figure.render_lanes(survey) if survey.lanes else "",
        "curves": figure.render_curves(drawn) if drawn else "",
        "heat": market_figure.render_heat(markets) if markets.lanes else "",
        "gap_lanes": market_figure.render_gap_lanes(markets) if any(lane.gaps for lane in markets.lanes) else "",
        "panels": [market_figure.render_panel(panel) for panel in markets.panels],
    }


def _describe_streams(survey: Survey, markets: MarketSurvey) -> list[dict[str, Any]]:
    """Describe streams; of many, those of markets come last: the markets' own tables tell of them."""
    slugs = {market.slug for market in markets.markets}
    ordered = sorted(survey.coverage, key=lambda stream: stream.symbol.split(":")[0] in slugs)
    return [_describe_stream(stream, survey) for stream in ordered[:_STREAMS_MAX]]


def _choose_lines(validation: Validation) -> list[Any]:
    """Choose the markets to list: all of few, of many those that are not good."""
    lines = list(validation.markets)
    return lines if len(lines) <= _MARKETS_MAX else [line for line in lines if line.grade != "good"]


def _make_market_tiles(validation: Validation) -> list[dict[str, str]]:
    if not validation.markets:
        return []
    labels, grades = validation.labels, [line.grade for line in validation.markets]
    is_whole = labels.matched == labels.compared
    told = {"value": "n/a", "state": ""}
    if labels.compared:
        told = {"value": f"{labels.matched:,} of {labels.compared:,}", "state": "passed" if is_whole else "failed"}
    bad = grades.count("bad")
    return [
        {"name": "outcomes reproduced", "note": f"{labels.indeterminate} indeterminate, never guessed", **told},
        {
            "name": "good markets",
            "value": f"{grades.count('good'):,} of {len(grades):,}",
            "note": f"{grades.count('degraded')} degraded, {bad} bad",
            "state": "failed" if bad else "warned" if grades.count("degraded") else "passed",
        },
    ]


def _describe_stream(stream: Coverage, survey: Survey) -> dict[str, Any]:
    seconds = (stream.last_at - stream.first_at).total_seconds()
    lag = survey.lags.get((stream.venue, stream.symbol, stream.channel))
    return {"it": stream, "rate": stream.rows / seconds if seconds > 0 else None, "lag": lag}


def _make_tiles(survey: Survey, checks: CheckReport, balance: Mapping[str, Any] | None) -> list[dict[str, str]]:
    whole = sum(c.observed_seconds + c.gap_seconds for c in survey.coverage)
    seen = sum(c.observed_seconds for c in survey.coverage)
    real = [gap for gap in survey.gaps if gap.state != "repaired"]
    blind = sum(gap.state == "open" for gap in real)
    failed = [r.name for r in checks.results if r.verdict == "failed"]
    warned = [r.name for r in checks.results if r.verdict == "warned"]
    tiles = [
        {"name": "rows", "value": _format_whole(sum(c.rows for c in survey.coverage)), "note": "of all event kinds"},
        {
            "name": "streams",
            "value": str(len(survey.coverage)),
            "note": _count(len({c.venue for c in survey.coverage}), "venue"),
        },
        {
            "name": "observed",
            "value": _format_share(seen / whole) if whole else "n/a",
            "note": "of all streams' time",
            "state": "" if whole and seen == whole else "warned",
        },
        {
            "name": "gaps",
            "value": str(len(real)),
            "note": f"{blind} open; besides, {len(survey.gaps) - len(real)} repaired",
            "state": "warned" if real else "passed",
        },
        {
            "name": "checks",
            "value": f"{len(failed)} failed" if failed else f"{len(warned)} warned" if warned else "passed",
            "note": ", ".join(failed or warned) or "no findings",
            "state": "failed" if failed else "warned" if warned else "passed",
        },
    ]
    if balance is not None:
        fine = bool(balance.get("balanced"))
        word = {"value": "balanced" if fine else "not balanced", "state": "passed" if fine else "failed"}
        tiles.append({"name": "tape and lake", "note": f"{balance.get('frames', 0):,} frames", **word})
    return tiles


def _read_notes(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    queries = {
        "quarantine": """select venue, feed, reason, path, excerpt, count(*) as count, min(received_at) as first
            from quarantine group by all order by count desc, venue, feed, reason, path, excerpt""",
        "drift": """select venue, feed, message, change, path, was, now, min(received_at) as first
            from drift group by all order by first, venue, path""",
    }
    return {name: lake.sql(f"{query} limit {_NOTES_MAX}").arrow().to_pylist() for name, query in queries.items()}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _format_moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else "n/a"


def _format_clock(moment: datetime, survey: Survey) -> str:
    """Leave the day out where all of the lake is of one day."""
    is_one_day = survey.start is not None and survey.end is not None and survey.start.date() == survey.end.date()
    return moment.strftime("%H:%M:%S") if is_one_day else _format_moment(moment)


def _format_span(seconds: float | None) -> str:
    if seconds is None:
        return "open"
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _format_whole(number: int) -> str:
    return f"{number:,}"


def _format_ms(number: float) -> str:
    return (
        f"{number / 1000:,.1f} s"
        if abs(number) >= 10_000
        else f"{number:,.3g} ms"
        if abs(number) < 100
        else f"{number:,.0f} ms"
    )


def _format_price(price: float | None) -> str:
    return "n/a" if price is None else f"{price:,.10g}"


def _format_share(share: float) -> str:
    """Round down: what is not whole never reads as 100 %."""
    return "100 %" if share >= 1 else f"{int(share * 10_000) / 100:.2f} %"
