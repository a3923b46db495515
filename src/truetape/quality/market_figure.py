"""Pictures of prediction markets: coverage by stream and minute, gaps by reason, price against strike."""

# mypy: allow-untyped-calls

from datetime import timedelta
from typing import Any

from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, DateFormatter, date2num
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from truetape.quality.figure import BUSY, DOWN, GAP, GRID, INK, MUTED, SERIES, UP, Paint, render_png, render_svg
from truetape.quality.market_survey import Cell, MarketLane, MarketPanel, MarketSurvey

_LEVELS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.999)
"""Least observed share of each strength of colour."""
_STRENGTHS = (0.1, 0.22, 0.36, 0.52, 0.7, 0.92)


def render_heat(survey: MarketSurvey) -> str:
    """Draw coverage by stream and minute as SVG for the page."""
    return render_svg((11.6, _measure_lanes(survey)), lambda figure, paint: draw_heat(figure, survey, paint))


def render_gap_lanes(survey: MarketSurvey) -> str:
    """Draw every gap by stream and reason as SVG for the page."""
    height = _measure_lanes(survey) + 0.3
    return render_svg((11.6, height), lambda figure, paint: draw_gap_lanes(figure, survey, paint))


def render_panel(panel: MarketPanel) -> str:
    """Draw one market's prices as SVG for the page."""
    return render_svg((4.1, 2.9), lambda figure, paint: draw_panel(figure, panel, paint))


def render_pictures(survey: MarketSurvey) -> dict[str, bytes]:
    """Draw the same as PNG files, by name."""
    pictures = {}
    if survey.lanes:
        height = _measure_lanes(survey)
        pictures["coverage.png"] = render_png((11.6, height), lambda f, paint: draw_heat(f, survey, paint))
        if any(lane.gaps for lane in survey.lanes):
            pictures["gaps.png"] = render_png((11.6, height + 0.3), lambda f, paint: draw_gap_lanes(f, survey, paint))
    if survey.panels:
        rows = (len(survey.panels) + 2) // 3
        pictures["markets.png"] = render_png((12.3, 2.9 * rows), lambda f, paint: _draw_panels(f, survey, paint))
    return pictures


def _measure_lanes(survey: MarketSurvey) -> float:
    return 0.8 + 0.25 * len(survey.lanes)


def _draw_panels(figure: Any, survey: MarketSurvey, paint: Paint) -> None:
    rows = (len(survey.panels) + 2) // 3
    for cell, panel in zip(figure.subfigures(rows, 3, squeeze=False).flat, survey.panels, strict=False):
        draw_panel(cell, panel, paint)


def draw_heat(figure: Any, survey: MarketSurvey, paint: Paint) -> None:
    """Draw each stream as a lane of cells: the stronger, the more seconds observed.

    What is lost stands in the cell as high as its share, and wide and high enough to be seen.
    """
    axes = figure.subplots()
    base: dict[float, list[Any]] = {}
    lost: dict[str, list[Any]] = {GAP: [], DOWN: []}
    least = (_place(survey, len(survey.lanes[0].cells)) - _place(survey, 0)) / 500
    for y, lane in enumerate(survey.lanes):
        for first, last, strength in _join_cells(lane.cells):
            base.setdefault(strength, []).append(_make_box(_place(survey, first), _place(survey, last), y, 1.0))
        for slot, cell in enumerate(lane.cells):
            left, right = _place(survey, slot), _place(survey, slot + 1)
            gap = cell.gap + cell.missing if cell and cell.gap else 0.0  # the missing stands before it
            for color, share in ((GAP, gap), (DOWN, cell.missing)) if cell else ():
                if share > 0:
                    lost[color].append(_make_box(left, max(right, left + least), y, max(share, _SHARE_MIN)))
    for strength, boxes in sorted(base.items()):
        _add_boxes(axes, boxes, paint[BUSY], strength)
    for color, boxes in lost.items():
        _add_boxes(axes, boxes, paint[color], 1.0)
    _shape_lanes(axes, survey)


_SHARE_MIN = 0.35
"""A second lost of a minute is drawn as high as this."""


def _make_box(left: float, right: float, y: float, share: float) -> list[tuple[float, float]]:
    top = y + 0.4 - 0.8 * share
    return [(left, y + 0.4), (right, y + 0.4), (right, top), (left, top)]


def _add_boxes(axes: Any, boxes: list[Any], color: str, strength: float) -> None:
    if boxes:
        axes.add_collection(PolyCollection(boxes, facecolor=color, alpha=strength, lw=0, antialiased=False))


def _join_cells(cells: tuple[Cell | None, ...]) -> list[tuple[int, int, float]]:
    """Cut a lane into (first slot, slot after the last, strength of colour), without slots in which nothing is known."""
    cut: list[tuple[int, int, float]] = []
    for slot, cell in enumerate(cells):
        if cell is None or cell.gap + cell.missing > 0.999:
            continue
        strength = _STRENGTHS[max(i for i, least in enumerate(_LEVELS) if cell.observed >= least)]
        if cut and cut[-1][1:] == (slot, strength):
            cut[-1] = (cut[-1][0], slot + 1, strength)
        else:
            cut.append((slot, slot + 1, strength))
    return cut


def _place(survey: MarketSurvey, slot: int) -> float:
    assert survey.start is not None
    return float(date2num(survey.start + timedelta(seconds=slot * survey.slot_s)))


def _shape_lanes(axes: Any, survey: MarketSurvey) -> None:
    axes.set_xlim(date2num(survey.start), date2num(survey.end))
    axes.set_ylim(len(survey.lanes) - 0.4, -0.6)
    axes.set_yticks(range(len(survey.lanes)), [lane.name for lane in survey.lanes])
    axes.grid(visible=False)
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("UTC")


def draw_gap_lanes(figure: Any, survey: MarketSurvey, paint: Paint) -> None:
    """Draw gaps as bars on the same lanes, coloured by reason; a short one is drawn wide enough to be seen."""
    axes = figure.subplots()
    reasons = sorted({bar.reason for lane in survey.lanes for bar in lane.gaps})
    colors = {reason: paint[SERIES[i % len(SERIES)]] for i, reason in enumerate(reasons)}
    start, end = date2num(survey.start), date2num(survey.end)
    for y, lane in enumerate(survey.lanes):
        axes.axhline(y, color=paint[GRID], lw=0.8, zorder=1)
        for bar in lane.gaps:
            span = max(date2num(bar.end) - date2num(bar.start), (end - start) / 400)
            axes.barh(y, span, 0.66, min(date2num(bar.start), end - span), color=colors[bar.reason], lw=0, zorder=3)
    _shape_lanes(axes, survey)
    names = [f"{reason} ({_count_bars(survey.lanes, reason)})" for reason in reasons]
    patches = [Patch(color=colors[reason]) for reason in reasons]
    if reasons:
        axes.legend(
            patches, names, ncols=6, frameon=False, fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1),
            handlelength=1, handleheight=0.8, borderaxespad=0.2,
        )  # fmt: skip


def _count_bars(lanes: list[MarketLane], reason: str) -> int:
    return sum(bar.reason == reason for lane in lanes for bar in lane.gaps)


def draw_panel(figure: Any, panel: MarketPanel, paint: Paint) -> None:
    """Draw the oracle against the strike, and below it what the market thought of Up."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    market, truth = panel.market, panel.market.truth
    times = date2num(list(panel.times))
    for start, end in panel.holes:
        for axes in (top, bottom):
            axes.axvspan(date2num(start), date2num(end), color=paint[GAP], alpha=0.3, lw=0)
    prices = [float("nan") if value is None else value for value in panel.oracle]
    strike = truth.strike if truth else None
    if strike is not None:
        for is_above, color in ((True, paint[UP]), (False, paint[DOWN])):
            where = [(price >= strike) == is_above for price in prices]
            top.fill_between(times, prices, strike, where=where, interpolate=True, color=color, alpha=0.18, lw=0)
        top.axhline(strike, color=paint[INK], lw=0.9, ls=(0, (4, 3)))
    top.plot(times, prices, color=paint[INK], lw=1.0)
    if truth is not None and truth.settlement is not None and market.ends_at is not None:
        color = paint[UP] if strike is not None and truth.settlement >= strike else paint[DOWN]
        top.plot([date2num(market.ends_at)], [truth.settlement], "o", ms=4.5, color=color, clip_on=False, zorder=5)
    bids = [float("nan") if value is None else value for value in panel.up_bid]
    asks = [float("nan") if value is None else value for value in panel.up_ask]
    bottom.axhline(0.5, color=paint[MUTED], lw=0.6, ls=(0, (2, 3)))
    bottom.fill_between(times, bids, asks, color=paint[BUSY], alpha=0.45, lw=0)
    bottom.plot(times, [(bid + ask) / 2 for bid, ask in zip(bids, asks, strict=True)], color=paint[BUSY], lw=0.9)
    _shape_panel(top, bottom, panel, paint)


def _shape_panel(top: Any, bottom: Any, panel: MarketPanel, paint: Paint) -> None:
    market, truth = panel.market, panel.market.truth
    assert market.opens_at is not None and market.ends_at is not None  # only such are surveyed
    label = (truth.label if truth else None) or "no label"
    span = f"{market.opens_at:%d %b %H:%M} to {market.ends_at:%H:%M}"
    top.set_title(f"{market.asset}  {span}  ·  {label}")
    top.set_title(panel.verdict.grade, loc="right", fontsize=8.5, color=paint[_GRADES[panel.verdict.grade]])
    top.yaxis.set_major_locator(MaxNLocator(4))
    top.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    bottom.set_ylim(-0.02, 1.02)
    bottom.set_yticks([0, 0.5, 1])
    bottom.set_ylabel("Up")
    bottom.set_xlim(date2num(market.opens_at), date2num(market.ends_at))
    bottom.xaxis.set_major_locator(MaxNLocator(4))
    locator = AutoDateLocator(minticks=3, maxticks=5)
    bottom.xaxis.set_major_locator(locator)
    seconds = (market.ends_at - market.opens_at).total_seconds()
    bottom.xaxis.set_major_formatter(DateFormatter("%H:%M" if seconds >= 240 else "%H:%M:%S"))


_GRADES = {"good": UP, "degraded": GAP, "bad": DOWN, "unfinished": MUTED}
