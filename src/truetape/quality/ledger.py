"""The gap ledger as it is read: gap rows folded to their state, and how much of each stream was observed."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from truetape.events.schema import CHANNELS
from truetape.lake import Lake

_ENDLESS = datetime.max.replace(tzinfo=UTC)


class Gap(msgspec.Struct, frozen=True):
    """One interval in which a stream was not observed, as it stands now."""

    gap_id: str
    venue: str
    symbol: str
    """Empty: all of the venue."""
    channel: str
    """`*`: all channels."""
    from_at: datetime
    to_at: datetime | None
    """Null while open."""
    seconds: float | None
    reason: str
    state: str
    missing: int | None
    """Events known to be missing, where ids tell."""
    evidence: str

    @property
    def length_s(self) -> float:
        """Give its length for ordering; an open gap is longer than any other."""
        return float("inf") if self.seconds is None else self.seconds

    def covers(self, venue: str, symbol: str, channel: str, start: datetime, end: datetime) -> bool:
        """Say whether the gap declares a hole in this stream that touches [start, end]."""
        return (
            self.state != "repaired"
            and self.venue == venue
            and self.symbol in ("", symbol)
            and self.channel in ("*", channel)
            and self.from_at <= end
            and (self.to_at or _ENDLESS) >= start
        )


class Coverage(msgspec.Struct, frozen=True):
    """How much of a stream was observed between its first and last moment."""

    venue: str
    symbol: str
    channel: str
    rows: int
    first_at: datetime
    last_at: datetime
    gaps: int
    """Gaps not repaired."""
    open_gaps: int
    gap_seconds: float
    """Overlapping gaps counted once."""
    observed_seconds: float
    holes: tuple[tuple[datetime, datetime], ...]
    """The gaps merged, within first and last moment."""

    @property
    def share(self) -> float:
        """Observed part of the whole, 0 to 1."""
        whole = self.observed_seconds + self.gap_seconds
        return self.observed_seconds / whole if whole else 1.0


def list_gaps(lake: Lake, venue: str | None = None, symbol: str | None = None, channel: str | None = None) -> list[Gap]:
    """List gaps by when they began: the end is the first one declared, the state is the last row's."""
    rows = lake.sql(
        """
        with numbered as (select *, row(tape_offset, tape_row) as place from gap)
        select gap_id, arg_min(venue, place) as venue, arg_min(symbol, place) as symbol,
            arg_min(channel, place) as channel, min(from_at) as from_at,
            case when arg_max(state, place) <> 'open' then arg_min(to_at, place) filter (where to_at is not null)
                end as to_at,
            arg_min(reason, place) as reason, arg_max(state, place) as state,
            arg_max(missing, place) as missing, arg_max(evidence, place) as evidence
        from numbered
        where ($venue::varchar is null or venue = $venue) and ($symbol::varchar is null or symbol = $symbol)
            and ($channel::varchar is null or channel = $channel)
        group by gap_id order by from_at, venue, symbol, channel, gap_id
        """,
        {"venue": venue, "symbol": symbol, "channel": channel},
    ).arrow()
    return [_make_gap(**row) for row in rows.to_pylist()]


def _make_gap(from_at: datetime, to_at: datetime | None, **row: str) -> Gap:
    seconds = (to_at - from_at).total_seconds() if to_at else None
    return msgspec.convert({**row, "from_at": from_at, "to_at": to_at, "seconds": seconds}, Gap)


def measure_coverage(lake: Lake, gaps: list[Gap] | None = None) -> list[Coverage]:
    """Measure every stream that has rows or gaps of its own, ordered by venue, symbol, channel."""
    known = list_gaps(lake) if gaps is None else gaps
    real = [gap for gap in known if gap.state != "repaired"]
    seen = _find_streams(lake)
    heard: dict[str, datetime] = {}
    for (venue, _, _), (_, _, last) in seen.items():
        heard[venue] = max(last, heard.get(venue, last))
    for gap in real:
        end = gap.to_at or heard.get(gap.venue, gap.from_at)
        heard[gap.venue] = max(heard.get(gap.venue, end), end)
        if gap.symbol and gap.channel != "*":
            seen.setdefault((gap.venue, gap.symbol, gap.channel), (0, gap.from_at, end))
    by_venue = defaultdict(list)
    for gap in real:
        by_venue[gap.venue].append(gap)
    return [_measure_stream(stream, seen[stream], by_venue[stream[0]], heard[stream[0]]) for stream in sorted(seen)]


Stream = tuple[str, str, str]


def _find_streams(lake: Lake) -> dict[Stream, tuple[int, datetime, datetime]]:
    found: dict[Stream, tuple[int, datetime, datetime]] = {}
    stored = lake.versions()
    for channel in CHANNELS:
        if channel not in stored:
            continue
        query = f"""
            select venue, symbol, count(*) as rows, min(received_at) as first, max(received_at) as last
            from {channel} group by all"""  # noqa: S608  # a kind's name
        for row in lake.sql(query).arrow().to_pylist():
            found[row["venue"], row["symbol"], channel] = (row["rows"], row["first"], row["last"])
    return found


def _measure_stream(stream: Stream, seen: tuple[int, datetime, datetime], gaps: list[Gap], heard: datetime) -> Coverage:
    rows, first, last = seen
    mine = [gap for gap in gaps if gap.symbol in ("", stream[1]) and gap.channel in ("*", stream[2])]
    own = [gap for gap in mine if gap.symbol]
    first = min([first, *(gap.from_at for gap in own)])
    last = max([last, *(gap.to_at or heard for gap in own)])
    holes = merge_spans((max(gap.from_at, first), min(gap.to_at or heard, last)) for gap in mine)
    lost = sum((end - start for start, end in holes), timedelta()).total_seconds()
    return Coverage(
        venue=stream[0],
        symbol=stream[1],
        channel=stream[2],
        rows=rows,
        first_at=first,
        last_at=last,
        gaps=len(mine),
        open_gaps=sum(gap.to_at is None for gap in mine),
        gap_seconds=lost,
        observed_seconds=(last - first).total_seconds() - lost,
        holes=tuple(holes),
    )


def count_rows(lake: Lake) -> int:
    """Count the rows of all channels."""
    return sum(
        int(lake.sql(f"select count(*) as rows from {channel}").arrow()["rows"][0].as_py())  # noqa: S608  # a kind's name
        for channel in CHANNELS
        if channel in lake.versions()
    )


def merge_spans(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Join spans that touch; empty and inverted ones vanish."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
