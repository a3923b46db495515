"""What decoding remembers of each stream and connection between frames; goes into every checkpoint."""

from typing import Any

import msgspec

from truetape.decode.book import Book
from truetape.decode.observation import Observation
from truetape.decode.sealed import SealedBook
from truetape.events.instrument import Stream
from truetape.events.rows import Rows
from truetape.venues import Venue
from truetape.venues._contract import Continuity

HOLES_MAX = 64
RECENT_IDS_MAX = 4096
BUFFER_UNSYNCED_MAX = 600
"""Changes kept for a snapshot to come: a minute of a stream that sends ten a second; they are in each checkpoint."""
BUFFER_SYNCED_MAX = 256


class Diff(msgspec.Struct, array_like=True):
    """A book change kept until a fetched snapshot can be joined to it."""

    first: int | None
    last: int | None
    previous: int | None
    bids: list[Any]
    asks: list[Any]


class Hole(msgspec.Struct, array_like=True):
    """Ids that did not come, and the gap that says so."""

    low: int
    high: int
    gap: str
    from_ns: int
    to_ns: int
    reason: str


BLANK_NS = 1_000_000_000
BLANKS_MAX = 16
"""Stretches of BLANK_NS and more without a frame that a connection remembers."""


OVER = "outcomes over"
"""What rows' memory calls the outcomes whose markets have ended: `venue token` → UNLABELLED, or when it got its label."""
UNLABELLED = 1


class StreamState(msgspec.Struct):
    """One stream: last id, whether its book is whole, its open gap."""

    rule: Continuity
    last: int | None = None
    seen_ns: int = 0
    """When its last row was received."""
    exchange_us: int = 0
    """Exchange time of its last row, where ids step by one."""
    rows: int = 0
    """Frames (books) or rows it has had."""
    is_synced: bool = False
    """A book that can be trusted; always true for other channels once they had a row."""
    is_joined: bool = True
    """False after a fetched snapshot until the first diff proved that it joins."""
    owner: str = ""
    """The connection whose ids count, when ids are connection-scoped."""
    holes: list[Hole] = []
    """Where ids step by one; the oldest are forgotten."""
    recent: dict[str, None] = {}
    buffer: list[Diff] = []
    book: Book | None = None
    sealed: SealedBook | None = None
    """The book of a stream whose rows are sealed; `book` is for all others."""
    observed: dict[int, list[Observation]] = {}
    """An oracle's newest observations: time in us → what was told of it."""
    gap: str = ""
    """gap_id of the open gap."""
    gap_from_ns: int = 0
    gap_reason: str = ""
    gap_missing: int | None = None
    """Events known to be missing in the open gap."""
    gaps: int = 0
    """Gaps declared so far."""
    wished_ns: int = 0
    connections: list[str] = []
    """Open connections that carry it."""


class ConnectionState(msgspec.Struct):
    """One connection: who carries what, and when it last spoke."""

    venue: str
    feed: str
    opened_ns: int
    seen_ns: int
    frames: int = 0
    asked: int = 0
    acked: int = 0
    streams: list[int] = []
    """Ascending."""
    silent: bool = False
    wished_ns: int = 0
    lost_ns: int = 0
    """Until when it lost frames, the last time it did."""
    holes: list[tuple[int, int]] = []
    """The newest stretches of BLANK_NS and more in which nothing at all came: loss when ids say so."""
    ticks: int = 0
    """Of the recorder, since it opened."""
    told: int = 0
    """Ticks before which a stream of it told something; answers to pings and heartbeats tell nothing."""
    told_ticks: int = 0
    """The tick before which that was last."""
    told_ns: int = 0
    """When the newest of its streams told something, as of the last tick."""


def fill_hole(holes: list[Hole], number: int) -> tuple[bool, Hole | None]:
    """Take a late id into its hole; say whether it had one, and return the hole when nothing of its gap is missing now."""
    for i, hole in enumerate(holes):
        if hole.low <= number <= hole.high:
            parts = (hole.low, number - 1), (number + 1, hole.high)
            told = hole.gap, hole.from_ns, hole.to_ns, hole.reason
            holes[i : i + 1] = [Hole(low, high, *told) for low, high in parts if low <= high]
            is_full = all(other.gap != hole.gap for other in holes)
            del holes[:-HOLES_MAX]
            return True, hole if is_full else None
    return False, None


def find_rule(venue: Venue, channel: str, feed: str, day: int) -> Continuity:
    """Return the rule in force for a channel on a day (days since 1970); the latest that has begun wins."""
    best = Continuity(channel, "none")
    for rule in venue.continuity:
        begun = (rule.since.toordinal() - 719163) <= day
        if rule.channel == channel and begun and (not rule.feeds or feed in rule.feeds):
            best = rule if best.rule == "none" or rule.since >= best.since else best
    return best


def find_label_s(rows: Rows, stream: Stream) -> int:
    """Return when a stream's market got its label, in seconds since 1970; 0 when it has none, or is none."""
    said: int = rows.memory.get(OVER, {}).get(f"{stream.venue} {stream.venue_symbol}", 0)
    return said if said != UNLABELLED else 0
