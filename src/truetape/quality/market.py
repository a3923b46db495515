"""Prediction markets as a lake tells of them: lifecycle, truth, coverage, gaps; read once, by market."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import msgspec

from truetape.events.schema import KINDS
from truetape.lake import Lake
from truetape.quality.ledger import Gap, list_gaps

STREAMS = ("oracle", "up", "down", "spot")
"""What a second of a market is made of, as the columns of `canonical` are named."""
STATES = ("observed", "carried", "gap", "before_open", "after_end", "missing")
"""What each of them can be in a second."""


class StateChange(msgspec.Struct, frozen=True):
    """One step of a market's life, as it is on the tape."""

    state: str
    previous: str | None
    reason: str | None
    at: datetime
    tape_offset: int


class Truth(msgspec.Struct, frozen=True):
    """What decided a market, and who says so: a row of the table `truth`."""

    strike: float | None = None
    strike_source: str | None = None
    strike_observed_at: datetime | None = None
    strike_age_ms: float | None = None
    settlement: float | None = None
    settlement_source: str | None = None
    settlement_observed_at: datetime | None = None
    settlement_age_ms: float | None = None
    rule: str | None = None
    rule_window_s: int | None = None
    resolution_source: str | None = None
    computed_outcome: str | None = None
    official_outcome: str | None = None
    official_source: str | None = None
    official_at: datetime | None = None
    is_match: bool | None = None
    venue_strike: float | None = None
    venue_final: float | None = None
    next_strike: float | None = None
    label: str | None = None
    label_source: str | None = None
    is_disputed: bool | None = None
    reason: str | None = None
    inputs: str | None = None
    """JSON: every observation used, with its place on the tape."""


class StreamCoverage(msgspec.Struct, frozen=True):
    """How many of a market's seconds one stream was what; they add up to `seconds`, the one denominator."""

    stream: str
    seconds: int
    observed: int = 0
    carried: int = 0
    gap: int = 0
    before_open: int = 0
    after_end: int = 0
    missing: int = 0

    @property
    def known(self) -> int:
        """Seconds with a value that may be used: observed then, or carried from before, even from before the opening."""
        return self.observed + self.carried + self.before_open

    @property
    def blind(self) -> int:
        """Seconds without: in a gap, or missing."""
        return self.gap + self.missing

    @property
    def blind_share(self) -> float:
        """The same as a share of all seconds; all of it where there are none."""
        return self.blind / self.seconds if self.seconds else 1.0


class Window(msgspec.Struct, frozen=True):
    """Which market it is, and when it runs."""

    venue: str
    slug: str
    asset: str
    series: str
    """By its length: 5m, 15m, 1h, 4h, daily, else in seconds; empty for a market without a window."""
    venue_series: str
    """The venue's own name of the series; empty where it gives none."""
    opens_at: datetime | None
    ends_at: datetime | None
    duration_s: int | None


class Market(msgspec.Struct, frozen=True):
    """One market, from all tables of the lake that know it."""

    venue: str
    slug: str
    asset: str
    series: str
    """By its length: 5m, 15m, 1h, 4h, daily, else in seconds; empty for a market without a window."""
    venue_series: str
    """The venue's own name of the series; empty where it gives none."""
    opens_at: datetime | None
    ends_at: datetime | None
    duration_s: int | None
    state: str
    """As the tape last said: listed, open, ending, ended, proposed, disputed, resolved, settled, unknown."""
    is_ended: bool
    """Whether the lake reaches beyond its end."""
    changes: tuple[StateChange, ...]
    truth: Truth | None
    """Null until `truetape build` made the table, and for markets it does not know."""
    coverage: tuple[StreamCoverage, ...]
    """Empty until `truetape build` made the table `canonical`."""
    gaps: tuple[Gap, ...]
    """Not repaired, touching its window."""
    crossed_seconds: int
    """Seconds in which bids add up to more than 1, or asks to less."""

    def find_coverage(self, stream: str) -> StreamCoverage | None:
        """Give one stream's coverage."""
        return next((c for c in self.coverage if c.stream == stream), None)


def has_table(lake: Lake, name: str) -> bool:
    """Say whether a model's table was built, or an event kind ever had rows."""
    return (lake.path / name / "_delta_log").is_dir()


def read_clock(lake: Lake) -> datetime | None:
    """Give the last moment the lake knows of: when anything was last received."""
    stored = [name for name in KINDS if has_table(lake, name)]
    if not stored:
        return None
    union = " union all ".join(f"select max(received_at) as heard_at from {name}" for name in stored)  # noqa: S608  # kinds
    last: datetime | None = lake.sql(f"select max(heard_at) as heard_at from ({union})").arrow()["heard_at"][0].as_py()  # noqa: S608
    return last


def read_markets(
    lake: Lake, slug: str | None = None, asset: str | None = None, series: str | None = None, state: str | None = None
) -> list[Market]:
    """Read all markets, or those asked for, ordered by when they opened."""
    wanted = [
        window
        for window in list_windows(lake)
        if (slug is None or window.slug == slug)
        and (asset is None or window.asset.lower() == asset.lower())
        and (series is None or series.lower() in (window.series, window.venue_series.lower()))
    ]
    if not wanted:
        return []
    reader = _Reader(lake)
    markets = [reader.make(window) for window in wanted]
    return [market for market in markets if state is None or market.state == state]


def list_windows(lake: Lake) -> list[Window]:
    """List every market that a table of the lake knows, by when they opened."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, query in _FACTS.items():  # truth first, then its metadata, then its lifecycle
        if has_table(lake, name):
            for row in lake.sql(query).arrow().to_pylist():
                known = found.setdefault((row["venue"], row["slug"]), row)
                known.update({key: row[key] for key in row if known.get(key) is None})
    latest = datetime.max.replace(tzinfo=UTC)
    windows = [_make_window(**fact) for fact in found.values()]
    return sorted(windows, key=lambda window: (window.opens_at or latest, window.venue, window.slug))


def _make_window(
    venue: str, slug: str, asset: str | None, series: str | None, opens_at: datetime | None, ends_at: datetime | None
) -> Window:
    duration_s = int((ends_at - opens_at).total_seconds()) if opens_at and ends_at else None
    named = "" if duration_s is None else _SERIES.get(duration_s, f"{duration_s}s")
    asset = asset or slug.split("-")[0].upper()
    return Window(venue, slug, asset, named, series or "", opens_at, ends_at, duration_s)


_SERIES = {300: "5m", 900: "15m", 3600: "1h", 14_400: "4h", 86_400: "daily"}

_FACTS = {
    "truth": """
        select venue, market_id as slug, any_value(asset) as asset, null::varchar as series,
            any_value(opens_at) as opens_at, any_value(ends_at) as ends_at from truth group by all""",
    "prediction_market": """
        select venue, slug, null::varchar as asset, arg_max(series, tape_offset) as series,
            arg_max(opens_at, tape_offset) as opens_at, arg_max(ends_at, tape_offset) as ends_at
        from prediction_market group by all""",
    "market_state": """
        select venue, slug, null::varchar as asset, null::varchar as series,
            arg_max(opens_at, tape_offset) as opens_at, arg_max(ends_at, tape_offset) as ends_at
        from market_state group by all""",
}


class _Reader:
    """Everything about markets, read in a handful of queries however many there are."""

    def __init__(self, lake: Lake) -> None:
        self._now = read_clock(lake)
        self._changes = _read_changes(lake)
        self._truths = _read_truths(lake)
        self._coverage = _read_coverage(lake)
        self._crossed = _count_crossed(lake)
        self._gaps = [gap for gap in list_gaps(lake) if gap.state != "repaired"]

    def make(self, window: Window) -> Market:
        """Put a market together."""
        key = (window.venue, window.slug)
        changes = self._changes.get(key, [])
        return Market(
            **msgspec.structs.asdict(window),
            state=changes[-1].state if changes else "unknown",
            is_ended=bool(window.ends_at and self._now and window.ends_at <= self._now),
            changes=tuple(changes),
            truth=self._truths.get(key),
            coverage=tuple(self._coverage.get(key, [])),
            gaps=tuple(gap for gap in self._gaps if _concerns(gap, window)),
            crossed_seconds=self._crossed.get(key, 0),
        )


def _concerns(gap: Gap, window: Window) -> bool:
    """Say whether a gap is a hole in this market: its own streams, its venue as a whole, or its asset's prices."""
    opens, ends = window.opens_at, window.ends_at
    if opens is None or ends is None or gap.from_at >= ends or (gap.to_at is not None and gap.to_at <= opens):
        return False
    if gap.symbol == "":
        return gap.venue == window.venue
    return gap.symbol.split(":")[0] == window.slug or gap.symbol.startswith(f"{window.asset}-USD")


def _read_changes(lake: Lake) -> dict[tuple[str, str], list[StateChange]]:
    changes: dict[tuple[str, str], list[StateChange]] = defaultdict(list)
    if has_table(lake, "market_state"):
        rows = lake.sql(
            """select venue, slug, state, previous, reason, coalesce(exchange_at, received_at) as "at", tape_offset
            from market_state order by tape_offset, tape_row"""
        )
        for row in rows.arrow().to_pylist():
            changes[row.pop("venue"), row.pop("slug")].append(StateChange(**row))
    return changes


def _read_truths(lake: Lake) -> dict[tuple[str, str], Truth]:
    if not has_table(lake, "truth"):
        return {}
    rows = lake.sql("select * from truth").arrow().to_pylist()
    return {(row["venue"], row["market_id"]): msgspec.convert(row, Truth, strict=False) for row in rows}


def _read_coverage(lake: Lake) -> dict[tuple[str, str], list[StreamCoverage]]:
    found: dict[tuple[str, str], list[StreamCoverage]] = defaultdict(list)
    if has_table(lake, "canonical"):
        for stream in STREAMS:
            counts = ", ".join(f"count(*) filter (where {stream}_state = '{state}') as {state}" for state in STATES)
            query = f"""
                select venue, market_id, '{stream}' as stream, count(*) as seconds, {counts}
                from canonical group by all"""  # noqa: S608  # names of ours
            for row in lake.sql(query).arrow().to_pylist():
                found[row.pop("venue"), row.pop("market_id")].append(StreamCoverage(**row))
    return found


def _count_crossed(lake: Lake) -> dict[tuple[str, str], int]:
    if not has_table(lake, "canonical"):
        return {}
    rows = lake.sql(
        """select venue, market_id, count(*) as seconds from canonical
        where sum_bids > 1 + 1e-9 or sum_asks < 1 - 1e-9 group by all"""
    )
    return {(row["venue"], row["market_id"]): row["seconds"] for row in rows.arrow().to_pylist()}
