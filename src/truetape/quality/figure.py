"""The report's pictures: drawn once, coloured by the page (light or dark) or for a file."""

# mypy: allow-untyped-calls

import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from truetape.quality.survey import SLOTS, Candles, LagCurve, Lane, Survey

# Each drawn colour stands for a variable of the page, which has a light and a dark value for it.
INK, MUTED, GRID, UP, DOWN, GAP, BUSY = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707"
SERIES = ("#080808", "#090909", "#0a0a0a", "#0b0b0b", "#0c0c0c", "#0d0d0d")
NAMES = dict(
    zip(
        (INK, MUTED, GRID, UP, DOWN, GAP, BUSY, *SERIES),
        ("ink", "muted", "grid", "up", "down", "gap", "busy", *(f"series{i}" for i in range(6))),
        strict=True,
    )
)
LIGHT = dict(
    zip(
        NAMES,
        (
            *("#1d2430", "#5d6878", "#e3e7ed", "#00796b", "#c2410c", "#d97706", "#2563a8"),
            *("#2563a8", "#c2410c", "#00796b", "#8b3fa8", "#8a6d00", "#5d6878"),
        ),
        strict=True,
    )
)
"""The same for a file on white."""

_STYLE = {
    "svg.fonttype": "none",  # text stays text: the page's font, selectable
    "svg.hashsalt": "truetape",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "timezone": "UTC",
}
_COLORS = {
    "text.color": "INK",
    "axes.labelcolor": "MUTED",
    "axes.edgecolor": "GRID",
    "axes.titlecolor": "INK",
    "xtick.color": "GRID",
    "ytick.color": "GRID",
    "xtick.labelcolor": "MUTED",
    "ytick.labelcolor": "MUTED",
    "grid.color": "GRID",
}
_PLACEHOLDER = {"INK": INK, "MUTED": MUTED, "GRID": GRID}
_COLOR = re.compile("|".join(NAMES))

Paint = dict[str, str]
"""Placeholder colour → the one to draw with."""
_AS_THEY_ARE: Paint = {name: name for name in NAMES}


def render_candles(candles: Candles, *, is_wide: bool) -> str:
    """Draw one symbol's candles and volumes as SVG for the page, half its width or all of it."""
    return render_svg(
        (11.6, 3.9) if is_wide else (5.6, 3.1), lambda figure, paint: draw_candles(figure, candles, paint)
    )


def render_lanes(survey: Survey) -> str:
    """Draw when each stream was observed as SVG for the page."""
    height = 0.75 + 0.235 * len(survey.lanes)
    return render_svg((11.6, height), lambda figure, paint: draw_lanes(figure, survey.lanes, survey, paint))


def render_curves(curves: list[LagCurve]) -> str:
    """Draw how lags are spread as SVG for the page."""
    return render_svg((11.6, 2.9), lambda figure, paint: draw_curves(figure, curves, paint))


def render_overview(survey: Survey, title: str) -> bytes:
    """Draw everything on one PNG."""
    shown = survey.candles
    rows = (len(shown) + 1) // 2
    curves = [curve for curve in survey.curves if curve.points]
    heights = [3.0 * rows] * bool(rows) + [0.75 + 0.235 * len(survey.lanes)] + [2.9] * bool(curves)
    with matplotlib.rc_context(_make_style(LIGHT)):
        figure = Figure(figsize=(11.6, sum(heights) + 0.6), layout="constrained", facecolor="white", dpi=130)
        heading, body = figure.subfigures(2, 1, height_ratios=(0.6, sum(heights)), squeeze=False)[:, 0]
        heading.text(0.012, 0.5, title, va="center", fontsize=15, fontweight="bold")
        parts = list(body.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        if rows:
            cells = parts.pop(0).subfigures(rows, 2, squeeze=False).flat
            for cell, candles in zip(cells, shown, strict=False):
                draw_candles(cell, candles, LIGHT)
        draw_lanes(parts.pop(0), survey.lanes, survey, LIGHT)
        if curves:
            draw_curves(parts.pop(0), curves, LIGHT)
        target = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(target, format="png", metadata={"Software": "truetape"})
    return target.getvalue()


def _make_style(paint: Paint) -> Any:
    return _STYLE | {key: paint[_PLACEHOLDER[name]] for key, name in _COLORS.items()}


def render_svg(size: tuple[float, float], draw: Callable[[Any, Paint], None]) -> str:
    """Draw a figure as SVG whose colours are the page's."""
    with matplotlib.rc_context(_make_style(_AS_THEY_ARE)):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        FigureCanvasSVG(figure)
        draw(figure, _AS_THEY_ARE)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None}, transparent=True)
    text = target.getvalue()
    return _COLOR.sub(lambda match: f"var(--{NAMES[match[0]]})", text[text.index("<svg") :])


def render_png(size: tuple[float, float], draw: Callable[[Any, Paint], None]) -> bytes:
    """Draw a figure as PNG on white."""
    with matplotlib.rc_context(_make_style(LIGHT)):
        figure = Figure(figsize=size, layout="constrained", facecolor="white", dpi=130)
        FigureCanvasAgg(figure)
        draw(figure, LIGHT)
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": "truetape"})
    return target.getvalue()


def draw_candles(figure: Any, candles: Candles, paint: Paint) -> None:
    """Draw open-high-low-close above volumes; a bar that is not whole is pale, a gap is a band."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    days = candles.width_s / 86400
    body = days * 0.7
    for is_rising, color in ((True, paint[UP]), (False, paint[DOWN])):
        for is_complete, alpha in ((True, 1.0), (False, 0.4)):
            rows = [
                r for r in candles.rows if (r["close"] >= r["open"]) == is_rising and r["is_complete"] == is_complete
            ]
            if not rows:
                continue
            middle = [date2num(r["open_at"]) + days / 2 for r in rows]
            for name, choose in (("low", min), ("high", max)):  # wicks end at the body: hollow bodies stay hollow
                ends = [choose(r["open"], r["close"]) for r in rows]
                top.vlines(middle, ends, [r[name] for r in rows], color=color, lw=0.9, alpha=alpha)
            heights = [r["close"] - r["open"] for r in rows]
            face = "none" if is_rising else color
            opens = [r["open"] for r in rows]
            top.bar(middle, heights, body, opens, color=face, edgecolor=color, lw=0.9, alpha=alpha)
            volumes = [r["volume"] or 0 for r in rows]
            bottom.bar(middle, volumes, body, color=color, alpha=0.75 * alpha, lw=0)
    first, last = candles.rows[0]["open_at"], candles.rows[-1]["close_at"]
    for start, end in candles.holes:
        if end > first and start < last:
            for axes in (top, bottom):
                axes.axvspan(max(start, first), min(end, last), color=paint[GAP], alpha=0.22, lw=0)
    base = candles.symbol.split("-")[0]
    quote = candles.symbol.split("-")[1] if "-" in candles.symbol else "quote"
    if ":" in candles.symbol:  # an outcome of a prediction market
        base, quote = "shares", "price"
    top.set_title(f"{candles.symbol}  ·  {candles.venue}  ·  {candles.interval}")
    top.set_ylabel(quote)
    bottom.set_ylabel(base)
    low, high = min(r["low"] for r in candles.rows), max(r["high"] for r in candles.rows)
    margin = (high - low) * 0.06 or high * 1e-4
    top.set_ylim(low - margin, high + margin)
    top.yaxis.set_major_locator(MaxNLocator(5))
    bottom.yaxis.set_major_locator(MaxNLocator(2))
    _format_numbers(top)
    _format_numbers(bottom)
    top.grid(axis="x", visible=False)
    bottom.grid(axis="x", visible=False)
    bottom.set_xlim(first - timedelta(seconds=candles.width_s / 2), last + timedelta(seconds=candles.width_s / 2))
    _format_time(bottom)


def draw_lanes(figure: Any, lanes: list[Lane], survey: Survey, paint: Paint) -> None:
    """Draw a lane per stream: the darker the busier, gaps as bands of another colour."""
    axes = figure.subplots()
    assert survey.start is not None and survey.end is not None
    start, end = date2num(survey.start), date2num(max(survey.end, survey.start + timedelta(milliseconds=1)))
    width = (end - start) / SLOTS
    levels = (0.14, 0.3, 0.5, 0.75, 1.0)
    cells: dict[float, list[Any]] = {level: [] for level in levels}
    for y, lane in enumerate(lanes):
        for first, last, level in _join_slots(lane.busy, levels):
            left, right = start + first * width, start + last * width
            cells[level].append([(left, y - 0.38), (right, y - 0.38), (right, y + 0.38), (left, y + 0.38)])
        for since, until in lane.holes:
            span = max(date2num(until) - date2num(since), (end - start) / 600)  # a short gap must be seen
            left = min(date2num(since), end - span)
            axes.barh(y, span, 0.76, left, color=paint[GAP], lw=0, zorder=3)
    for level, shapes in cells.items():
        axes.add_collection(
            PolyCollection(shapes, facecolor=paint[BUSY], alpha=0.12 + 0.8 * level, lw=0, antialiased=False)
        )
    axes.set_xlim(start, end)
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_yticks(range(len(lanes)), [lane.name for lane in lanes])
    axes.grid(visible=False)
    _format_time(axes)


def _join_slots(busy: tuple[float, ...], levels: tuple[float, ...]) -> list[tuple[int, int, float]]:
    """Cut a lane into (first slot, slot after the last, level), without its empty slots."""
    cut: list[tuple[int, int, float]] = []
    for slot, share in enumerate(busy):
        if share <= 0:
            continue
        level = next((level for level in levels if share <= level), levels[-1])
        if cut and cut[-1][1:] == (slot, level):
            cut[-1] = (cut[-1][0], slot + 1, level)
        else:
            cut.append((slot, slot + 1, level))
    return cut


def draw_curves(figure: Any, curves: list[LagCurve], paint: Paint) -> None:
    """Draw the share of rows by lag, a line per venue."""
    axes = figure.subplots()
    for i, curve in enumerate(curves[: len(SERIES)]):
        edges = [edge for edge, _ in curve.points] + [curve.points[-1][0] * 10**0.1]
        shares = [share for _, share in curve.points]
        color = paint[SERIES[i]]
        axes.stairs(shares, edges, color=color, lw=1.6, label=f"{curve.venue} ({curve.rows:,} rows)")
        axes.stairs(shares, edges, color=color, alpha=0.12, fill=True, lw=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("lag from the venue's time to reception (logarithmic)")
    axes.set_ylabel("share of rows")
    axes.legend(frameon=False, loc="upper right", fontsize=8.5)


def _format_time(axes: Any) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("UTC")


def _format_numbers(axes: Any) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
