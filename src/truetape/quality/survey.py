"""What a report shows of a lake, read once: streams, lags, activity over time, bars of the busiest symbols."""

import math
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from truetape.events.schema import CHANNELS
from truetape.lake import Lake
from truetape.quality.ledger import Coverage, Gap, list_gaps, measure_coverage

SYMBOLS_MAX = 6
CANDLES_MAX = 120
SLOTS = 96
LANES_MAX = 36
_TIMED = ("trade", "book_change", "quote")
_WIDTHS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class StreamLag(msgspec.Struct, frozen=True):
    """How long rows of a stream were on their way, in milliseconds; by two clocks, so it can be negative."""

    p50_ms: float
    p99_ms: float


class Candles(msgspec.Struct, frozen=True):
    """Bars of one symbol for a chart."""

    venue: str
    symbol: str
    interval: str
    width_s: float
    rows: list[dict[str, Any]]
    holes: tuple[tuple[datetime, datetime], ...]


class Lane(msgspec.Struct, frozen=True):
    """One stream over time."""

    name: str
    busy: tuple[float, ...]
    """Rows per slot as a share of the stream's busy slots, at most 1."""
    holes: tuple[tuple[datetime, datetime], ...]


class LagCurve(msgspec.Struct, frozen=True):
    """How a venue's lags are spread: share of rows per tenth of a decade of milliseconds."""

    venue: str
    points: list[tuple[float, float]]
    """(lower edge in ms, share)."""
    rows: int
    early: int
    """Rows received before the venue's own time: its clock or ours is off."""


class Survey(msgspec.Struct, frozen=True):
    """Everything a report shows."""

    coverage: list[Coverage]
    lags: dict[tuple[str, str, str], StreamLag]
    gaps: list[Gap]
    candles: list[Candles]
    lanes: list[Lane]
    lanes_left_out: int
    curves: list[LagCurve]
    """One per venue that says times; one without points has only early rows."""
    start: datetime | None
    end: datetime | None


def survey_lake(lake: Lake, markets: Collection[str] = ()) -> Survey:
    """Read what a report shows; outcomes of the named markets get no lanes: they have a picture of their own."""
    gaps = list_gaps(lake)
    coverage = measure_coverage(lake, gaps)
    start = min((c.first_at for c in coverage), default=None)
    end = max((c.last_at for c in coverage), default=None)
    stored = set(lake.versions())
    shown = [stream for stream in coverage if stream.symbol.split(":")[0] not in markets]
    lanes = _list_lanes(lake, shown, start, end) if start and end else []
    return Survey(
        coverage=coverage,
        lags=_measure_lags(lake, stored),
        gaps=gaps,
        candles=_read_candles(lake, coverage),
        lanes=lanes[:LANES_MAX],
        lanes_left_out=max(0, len(lanes) - LANES_MAX),
        curves=_list_curves(lake, stored),
        start=start,
        end=end,
    )


def _measure_lags(lake: Lake, stored: set[str]) -> dict[tuple[str, str, str], StreamLag]:
    lags = {}
    for channel in CHANNELS:
        if channel not in stored:
            continue
        query = f"""
            select venue, symbol, approx_quantile(ms, 0.5) as p50, approx_quantile(ms, 0.99) as p99
            from (select venue, symbol, (epoch_us(received_at) - epoch_us(exchange_at)) / 1000 as ms from {channel}
                where exchange_at is not null)
            group by all"""  # noqa: S608  # a kind's name
        for row in lake.sql(query).arrow().to_pylist():
            lags[row["venue"], row["symbol"], channel] = StreamLag(row["p50"], row["p99"])
    return lags


def _list_lanes(lake: Lake, coverage: list[Coverage], start: datetime, end: datetime) -> list[Lane]:
    width_us = max(1, math.ceil((end - start) / timedelta(microseconds=1) / SLOTS))
    origin_us = int((start - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    counts: dict[tuple[str, str, str], list[int]] = {}
    for channel in sorted({c.channel for c in coverage if c.rows}):
        query = f"""
            select venue, symbol, ((epoch_us(received_at) - {origin_us}) // {width_us})::int as slot, count(*) as rows
            from {channel} group by all"""  # noqa: S608  # a kind's name
        for row in lake.sql(query).arrow().to_pylist():
            slots = counts.setdefault((row["venue"], row["symbol"], channel), [0] * SLOTS)
            slots[min(row["slot"], SLOTS - 1)] += row["rows"]
    lanes = []
    for stream in coverage:
        slots = counts.get((stream.venue, stream.symbol, stream.channel), [0] * SLOTS)
        busy = sorted(rows for rows in slots if rows)
        most = busy[int(0.95 * (len(busy) - 1))] if busy else 1  # not the most: one snapshot would pale all else
        name = f"{stream.venue}  {stream.symbol}  {stream.channel}"
        lanes.append(Lane(name, tuple(min(1.0, rows / most) for rows in slots), stream.holes))
    return lanes


def _read_candles(lake: Lake, coverage: list[Coverage]) -> list[Candles]:
    if "bars" not in {row["name"] for row in lake.sql("show tables").arrow().to_pylist()}:
        return []
    if lake.sql("select count(*) as rows from bars").arrow()["rows"][0].as_py() == 0:
        return []
    top = lake.sql(
        f"""
        select venue, symbol, sum(trades) as trades from bars
        where interval = (select min_by(interval, epoch(close_at) - epoch(open_at)) from bars)
        group by all order by trades desc, venue, symbol limit {SYMBOLS_MAX}"""  # noqa: S608  # a number of ours
    ).arrow()
    holes = {(c.venue, c.symbol): c.holes for c in coverage if c.channel == "trade"}
    return [
        _read_symbol(lake, row["venue"], row["symbol"], holes.get((row["venue"], row["symbol"]), ()))
        for row in top.to_pylist()
    ]


def _read_symbol(lake: Lake, venue: str, symbol: str, holes: tuple[tuple[datetime, datetime], ...]) -> Candles:
    """Take the narrowest interval that fits a chart, else the newest bars of the widest."""
    counts = lake.sql(
        """
        select interval, epoch(any_value(close_at)) - epoch(any_value(open_at)) as width_s,
            (epoch(max(close_at)) - epoch(min(open_at))) / width_s as slots
        from bars where venue = $venue and symbol = $symbol group by interval order by width_s
        """,
        {"venue": venue, "symbol": symbol},
    ).arrow()
    choices = counts.to_pylist()
    choice = next((c for c in choices if c["slots"] <= CANDLES_MAX), choices[-1])
    rows = lake.sql(
        """
        select open_at, close_at, open, high, low, close, volume, is_complete from bars
        where venue = $venue and symbol = $symbol and interval = $interval order by open_at
        """,
        {"venue": venue, "symbol": symbol, "interval": choice["interval"]},
    ).arrow()
    return Candles(venue, symbol, choice["interval"], choice["width_s"], rows.to_pylist()[-CANDLES_MAX:], holes)


def _list_curves(lake: Lake, stored: set[str]) -> list[LagCurve]:
    kinds = [kind for kind in _TIMED if kind in stored]
    if not kinds:
        return []
    union = " union all ".join(
        f"select venue, (epoch_us(received_at) - epoch_us(exchange_at)) / 1000 as ms from {kind} "  # noqa: S608
        "where exchange_at is not null"
        for kind in kinds
    )
    rows = lake.sql(
        f"""
        select venue, case when ms > 0 then floor(10 * log10(greatest(ms, 0.01)))::int end as bin, count(*) as rows,
            count(*) filter (where ms < 0) as early
        from ({union}) group by venue, bin order by venue, bin"""  # noqa: S608  # kinds' names
    ).arrow()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["venue"], []).append(row)
    return [_make_curve(venue, bins) for venue, bins in found.items()]


def _make_curve(venue: str, bins: list[dict[str, Any]]) -> LagCurve:
    total = sum(row["rows"] for row in bins)
    shares = {row["bin"]: row["rows"] / total for row in bins if row["bin"] is not None}
    span = range(min(shares), max(shares) + 1) if shares else range(0)
    points = [(10 ** (i / 10), shares.get(i, 0.0)) for i in span]
    return LagCurve(venue, points, total, sum(row["early"] for row in bins))
