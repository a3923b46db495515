"""What a report shows of prediction markets, read once: verdicts, coverage by stream and minute, gaps, prices."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from truetape.lake import Lake
from truetape.quality.ledger import Gap
from truetape.quality.market import STREAMS, Market, has_table, read_markets
from truetape.quality.verdict import DayVerdict, Verdict, judge_days, judge_market

PANELS_MAX = 12
SLOTS_MAX = 1440
"""Columns of the heat map: minutes, and more of them at once where there are more."""
_POINTS_MAX = 300
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Cell(msgspec.Struct, frozen=True):
    """One stream in one slot: shares of its market-seconds, adding up to at most 1."""

    observed: float
    carried: float
    gap: float
    missing: float


class GapBar(msgspec.Struct, frozen=True):
    """One gap on a lane."""

    start: datetime
    end: datetime
    reason: str


class MarketLane(msgspec.Struct, frozen=True):
    """One stream of an asset's series over time."""

    name: str
    cells: tuple[Cell | None, ...]
    """Null where no market was."""
    gaps: tuple[GapBar, ...]


class MarketPanel(msgspec.Struct, frozen=True):
    """One market's prices, thinned for a picture; null where not known."""

    market: Market
    verdict: Verdict
    times: tuple[datetime, ...]
    oracle: tuple[float | None, ...]
    up_bid: tuple[float | None, ...]
    up_ask: tuple[float | None, ...]
    holes: tuple[tuple[datetime, datetime], ...]


class MarketSurvey(msgspec.Struct, frozen=True):
    """Everything a report shows of markets."""

    markets: list[Market]
    verdicts: list[Verdict]
    days: list[DayVerdict]
    lanes: list[MarketLane]
    slot_s: float
    panels: list[MarketPanel]
    start: datetime | None
    end: datetime | None


def survey_markets(lake: Lake) -> MarketSurvey:
    """Read what a report shows of a lake's markets."""
    markets = [m for m in read_markets(lake) if m.opens_at and m.ends_at]
    verdicts = [judge_market(market) for market in markets]
    shown = [market for market in markets if market.coverage]
    start = min((m.opens_at for m in shown if m.opens_at), default=None)
    end = max((m.ends_at for m in shown if m.ends_at), default=None)
    slot_s = 60.0 * max(1, math.ceil((end - start).total_seconds() / 60 / SLOTS_MAX)) if start and end else 60.0
    return MarketSurvey(
        markets=markets,
        verdicts=verdicts,
        days=judge_days(markets, verdicts),
        lanes=_list_lanes(lake, shown, start, end, slot_s) if start and end else [],
        slot_s=slot_s,
        panels=_list_panels(lake, markets, verdicts),
        start=start,
        end=end,
    )


def _list_lanes(lake: Lake, markets: list[Market], start: datetime, end: datetime, slot_s: float) -> list[MarketLane]:
    groups: dict[tuple[str, str, str], list[Market]] = defaultdict(list)
    for market in markets:
        groups[market.venue, market.asset, market.series].append(market)
    slots = math.ceil((end - start).total_seconds() / slot_s)
    is_many = len({(venue, asset) for venue, asset, _ in groups}) < len(groups)
    lanes = []
    counts = _count_states(lake, start, slot_s)
    for (venue, asset, series), mine in sorted(groups.items()):
        head = f"{asset} {series}" if is_many else asset
        if len({group[0] for group in groups}) > 1:
            head = f"{venue} {head}"
        for stream in STREAMS:
            sums = [[0] * 5 for _ in range(slots)]
            for market in mine:
                for slot, *numbers in counts.get((venue, market.slug, stream), []):
                    if 0 <= slot < slots:
                        sums[slot] = [a + b for a, b in zip(sums[slot], numbers, strict=True)]
            bars = _list_bars(mine, stream, end)
            lanes.append(MarketLane(f"{head}  {_WORDS[stream]}", tuple(_make_cell(*s) for s in sums), tuple(bars)))
    return lanes


_WORDS = {"oracle": "oracle", "up": "Up book", "down": "Down book", "spot": "spot"}


def _make_cell(seconds: int, observed: int, carried: int, gap: int, missing: int) -> Cell | None:
    if not seconds:
        return None
    return Cell(observed / seconds, carried / seconds, gap / seconds, missing / seconds)


def _count_states(
    lake: Lake, start: datetime, slot_s: float
) -> dict[tuple[str, str, str], list[tuple[int, int, int, int, int, int]]]:
    found: dict[tuple[str, str, str], list[tuple[int, int, int, int, int, int]]] = defaultdict(list)
    origin_us = int((start - _EPOCH) / _MICROSECOND)
    for stream in STREAMS:
        counts = ", ".join(
            f"count(*) filter (where {stream}_state = '{state}')" for state in ("observed", "carried", "gap", "missing")
        )
        query = f"""
            select venue, market_id, ((epoch_us(t) - {origin_us}) // {int(slot_s * 1e6)})::int as slot, count(*), {counts}
            from canonical group by all order by all"""  # noqa: S608  # names of ours
        for venue, slug, *numbers in lake.sql(query).duckdb().fetchall():
            found[venue, slug, stream].append(tuple(numbers))
    return found


def _list_bars(markets: Sequence[Market], stream: str, end: datetime) -> list[GapBar]:
    bars = {
        (max(gap.from_at, market.opens_at), min(gap.to_at or end, market.ends_at), gap.reason)
        for market in markets
        for gap in market.gaps
        if market.opens_at and market.ends_at and _is_of(gap, market, stream)
    }
    return [GapBar(*bar) for bar in sorted(bars)]


def _is_of(gap: Gap, market: Market, stream: str) -> bool:
    if gap.symbol == "":
        return stream != "spot"  # the venue of the market as a whole
    if stream in ("up", "down"):
        return gap.symbol.lower() == f"{market.slug}:{stream}".lower()
    is_oracle = gap.channel == "oracle_price"
    return gap.symbol.startswith(f"{market.asset}-USD") and is_oracle == (stream == "oracle")


def _list_panels(lake: Lake, markets: list[Market], verdicts: list[Verdict]) -> list[MarketPanel]:
    """Choose what to draw: the worst first, then the newest; drawn in the order of time."""
    if not has_table(lake, "canonical"):
        return []
    order = {"bad": 0, "degraded": 1, "good": 2, "unfinished": 3}
    known = [pair for pair in zip(markets, verdicts, strict=True) if pair[0].coverage]
    known.reverse()
    chosen = sorted(known, key=lambda pair: order[pair[1].grade])[:PANELS_MAX]
    chosen.sort(key=lambda pair: (pair[0].opens_at or _EPOCH, pair[0].asset))
    return [_read_panel(lake, market, verdict) for market, verdict in chosen]


def _read_panel(lake: Lake, market: Market, verdict: Verdict) -> MarketPanel:
    step = max(1, math.ceil((market.duration_s or 1) / _POINTS_MAX))
    rows = lake.sql(
        f"""select t, oracle_mid, up_bid, up_ask from canonical where venue = $venue and market_id = $slug
        and (epoch_us(t) // 1000000) % {step} = 0 order by t""",  # noqa: S608  # a number of ours
        {"venue": market.venue, "slug": market.slug},
    ).arrow()
    bars = [
        bar for stream in ("oracle", "up", "down") for bar in _list_bars([market], stream, market.ends_at or _EPOCH)
    ]
    return MarketPanel(
        market=market,
        verdict=verdict,
        times=tuple(rows["t"].to_pylist()),
        oracle=tuple(rows["oracle_mid"].to_pylist()),
        up_bid=tuple(rows["up_bid"].to_pylist()),
        up_ask=tuple(rows["up_ask"].to_pylist()),
        holes=tuple(sorted({(bar.start, bar.end) for bar in bars})),
    )
