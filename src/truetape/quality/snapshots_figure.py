"""Pictures of snapshots: prices of some markets side by side, and which turns were had."""

# mypy: allow-untyped-calls

import math
from datetime import UTC, datetime
from typing import Any

from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import MaxNLocator, PercentFormatter

from truetape.quality.figure import BUSY, GAP, SERIES, Paint, render_png, render_svg
from truetape.quality.snapshots import Hole, MarketLine, SnapshotSurvey

PANELS_MAX = 6
LANES_MAX = 40
TITLE_CHARS_MAX = 46
WIDTH = 11.6


def choose_panels(survey: SnapshotSurvey) -> list[MarketLine]:
    """Choose the markets to draw: those that move most, and whose prices are known."""
    moving = survey.volatile[:PANELS_MAX]
    still = [market for market in survey.markets if market.prices and market not in moving]
    return (moving + still)[:PANELS_MAX]


def render_overview(survey: SnapshotSurvey, title: str) -> bytes:
    """Draw everything on one PNG."""
    panels, lanes = choose_panels(survey), survey.markets[:LANES_MAX]
    heights = _find_heights(len(panels), len(lanes))

    def draw(figure: Any, paint: Paint) -> None:
        heading, *bodies = figure.subfigures(len(heights) + 1, 1, height_ratios=(0.75, *heights), squeeze=False)[:, 0]
        heading.text(0.012, 0.66, title, va="center", fontsize=15, fontweight="bold")
        heading.text(0.012, 0.22, describe_survey(survey), va="center", fontsize=9.5)
        if panels:
            draw_panels(bodies.pop(0), panels, survey, paint)
        if lanes:
            draw_lanes(bodies.pop(0), lanes, survey, paint)

    return render_png((WIDTH, sum(heights) + 0.75), draw)


def render_panels(survey: SnapshotSurvey) -> str:
    """Draw prices as SVG for the page."""
    panels = choose_panels(survey)
    return render_svg((WIDTH, _find_heights(len(panels), 0)[0]), lambda f, paint: draw_panels(f, panels, survey, paint))


def render_lanes(survey: SnapshotSurvey) -> str:
    """Draw which turns were had as SVG for the page."""
    lanes = survey.markets[:LANES_MAX]
    return render_svg((WIDTH, _find_heights(0, len(lanes))[0]), lambda f, paint: draw_lanes(f, lanes, survey, paint))


def describe_survey(survey: SnapshotSurvey) -> str:
    """Say in a line how complete the snapshots are."""
    missing = survey.expected - survey.observed
    share = f" ({math.floor(10_000 * survey.observed / survey.expected) / 100:g} %)" if survey.expected else ""
    failed = f"; {survey.listings_failed:,} listings failed" if survey.listings_failed else ""
    return (
        f"{survey.observed:,} of {survey.expected:,} snapshots{share}, {missing:,} missing, "
        f"{survey.unexplained:,} of them unexplained; {len(survey.markets)} markets{failed}"
    )


def _find_heights(panels: int, lanes: int) -> list[float]:
    heights = [0.35 + 2.05 * math.ceil(panels / 2)] if panels else []
    return heights + ([0.85 + 0.2 * lanes] if lanes else [])


def draw_panels(figure: Any, panels: list[MarketLine], survey: SnapshotSurvey, paint: Paint) -> None:
    """Draw a small picture for each market, all on one time; turns without a snapshot break the line."""
    rows, columns = math.ceil(len(panels) / 2), min(2, len(panels))
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, market, color in zip(grid.flat, panels, SERIES, strict=False):
        holes = [hole for hole in survey.holes if hole.symbol == market.symbol]
        for times, prices in _cut_line(market, holes):
            axes.plot(times, prices, color=paint[color], lw=1.5, marker="o" if len(market.prices) < 60 else "", ms=2.6)
        for hole in holes:
            axes.axvspan(_moment(hole.from_us), _moment(hole.to_us), color=paint[GAP], alpha=0.25, lw=0)
        title = market.question or market.symbol
        cut = title if len(title) <= TITLE_CHARS_MAX else f"{title[: TITLE_CHARS_MAX - 1]}…"
        axes.set_title(f"{cut}  ·  {market.symbol}", fontsize=9)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=_count_decimals(market)))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.grid(axis="x", visible=False)
        _pad(axes, [price for _, price in market.prices])
    for axes in grid[-1, :]:
        _format_time(axes)
    if len(panels) % 2 and rows > 1:  # the panel above the empty place needs times, too
        grid[-2, -1].tick_params(labelbottom=True)
        _format_time(grid[-2, -1])


def _count_decimals(market: MarketLine) -> int:
    """Show tenths of a percent only where the price moves little."""
    prices = [price for _, price in market.prices]
    return 0 if max(prices) - min(prices) >= 0.05 else 1


def _pad(axes: Any, prices: list[float]) -> None:
    low, high = min(prices), max(prices)
    margin = max((high - low) * 0.12, 0.005)
    axes.set_ylim(low - margin, high + margin)


def _cut_line(market: MarketLine, holes: list[Hole]) -> list[tuple[list[Any], list[float]]]:
    """Cut a market's prices where turns are missing."""
    parts: list[tuple[list[Any], list[float]]] = []
    last_us = None
    for due_us, price in market.prices:
        if last_us is None or any(last_us < hole.from_us < due_us for hole in holes):
            parts.append(([], []))
        parts[-1][0].append(_moment(due_us))
        parts[-1][1].append(price)
        last_us = due_us
    return parts


def draw_lanes(figure: Any, lanes: tuple[MarketLine, ...], survey: SnapshotSurvey, paint: Paint) -> None:
    """Draw a lane for each market: turns that were had, and those that were not."""
    axes = figure.subplots()
    held, missed = [], []
    begin, end = min(lane.first_us for lane in lanes), 0
    for y, lane in enumerate(lanes):
        interval_us = _find_interval(survey, lane.symbol)
        end = max(end, lane.last_us + interval_us)
        held.append(_make_box(lane.first_us, lane.last_us + interval_us, y))
        missed += [_make_box(hole.from_us, hole.to_us, y) for hole in survey.holes if hole.symbol == lane.symbol]
    axes.add_collection(PolyCollection(held, facecolor=paint[BUSY], alpha=0.55, lw=0))
    axes.add_collection(PolyCollection(missed, facecolor=paint[GAP], lw=0))
    axes.set_xlim(_moment(begin), _moment(end))
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    names = [f"{lane.symbol}  {lane.observed:,}/{lane.expected:,}" for lane in lanes]
    axes.set_yticks(range(len(lanes)), names, fontsize=7.5)
    axes.set_title("Turns with a snapshot, and without (orange)", fontsize=9)
    axes.grid(visible=False)
    _format_time(axes)


def _make_box(from_us: int, to_us: int, y: int) -> list[tuple[float, float]]:
    left, right = date2num(_moment(from_us)), date2num(_moment(to_us))
    return [(left, y - 0.36), (right, y - 0.36), (right, y + 0.36), (left, y + 0.36)]


def _find_interval(survey: SnapshotSurvey, symbol: str) -> int:
    name = symbol.split("/")[0]
    return next(round(line.interval_s * 1e6) for line in survey.services if line.service == name)


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _format_time(axes: Any) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("UTC")
