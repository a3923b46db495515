"""Words on the tape about a past that is asked for again: what is missing, what became of it.

Whoever asks writes them as events, decoding reads them: the same tape gives the same rows and the same ledger.
"""

from typing import Literal

import msgspec

from truetape.events.rows import PlainRow

BACKFILL = "backfill"
"""Connections of backfills are called `<venue>/backfill`."""

Identity = Literal["step", "number", "text", "time"]
"""How rows of a channel are told apart: numbers without holes, numbers that only grow, text ids, when they were received.

Those of the last kind are taken where the lake has nothing at all: of all channels of the instrument, but where it is
for gaps, which are of one."""


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Numbers that are missing, both ends included; null where only a time tells where they begin or end."""

    low: int | None = None
    high: int | None = None
    merged: float | None = None
    """The row after it may be several fills under the last one's number: their amount together."""
    until: str | None = None
    """Text id of the row after it, where its number is not known."""
    from_us: int | None = None
    """Exchange times of the rows around it, where they are known."""
    to_us: int | None = None
    since_us: int | None = None
    """Exchange time: only what happened from then on is wanted; null: all of it."""
    before_us: int | None = None
    """Exchange time: only what happened until then is wanted; null: all of it."""

    def holds(self, number: int, at_us: int | None) -> bool:
        """Tell whether a number is in it, of something that happened then."""
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            return False
        is_early = at_us is not None and self.since_us is not None and at_us < self.since_us
        is_late = at_us is not None and self.before_us is not None and at_us > self.before_us
        return not is_early and not is_late


class Lost(msgspec.Struct, frozen=True):
    """A gap of the ledger that waits for a backfill."""

    gap_id: str
    from_us: int
    to_us: int
    reason: str
    ranges: tuple[int, ...] = ()
    """What of `Began.missing` lies in it, by place."""
    evidence: str = ""
    """What the ledger says of it; only for planning."""


class Began(msgspec.Struct, frozen=True, kw_only=True):
    """A backfill begins: what follows on its connection is history of this stream."""

    market: str
    channel: str
    venue_symbol: str
    identity: Identity
    from_us: int
    """Exchange time of the last row before, where there is one."""
    to_us: int
    missing: tuple[Range, ...] = ()
    known: tuple[int, ...] = ()
    """Numbers within that are there already."""
    known_ids: tuple[str, ...] = ()
    """Text ids within that are there already."""
    known_rows: tuple[tuple[int, int], ...] = ()
    """Rows of each answer, from one place to another, the last included, that are there already: for one block of a file."""
    interval: str = ""
    """Of candles."""
    gaps: tuple[Lost, ...] = ()
    venue: str = ""
    """Whose stream it is, where somebody else is asked; empty: that of the connection."""
    feed: str = ""
    """What carries the stream there."""
    quiet_us: int = 0
    """Rows told apart by when they were received have nothing missing between them when no further apart than this."""
    product: str = ""
    """What else shares channel and instrument, and has ids of its own; empty: nothing."""
    part: str = ""
    """Which part of the channel's rows it is about: open interest; empty: all."""
    place: int = 1
    """Which of `places` pieces it is, one after the other on the connection; gaps are judged when the last has ended."""
    places: int = 1
    file: str = ""
    """Name of the file that the rows come from; empty: the venue answers."""
    sha256: str = ""
    """Of that file."""
    is_alone: bool = False
    """Nobody else writes on the tape meanwhile: all rows until its end are its own."""

    def mark_known(self, count: int) -> list[bool]:
        """Tell of each row of an answer whether it is there already, by its place."""
        marks = [False] * count
        for first, last in self.known_rows:
            marks[first : last + 1] = [True] * (min(last + 1, count) - first)
        return marks


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A backfill is over."""

    status: Literal["answered", "failed", "impossible"]
    """The venue told all that it has; it did not answer; it cannot be asked."""
    reason: str = ""
    pages: int = 0


def is_backfill(connection: str) -> bool:
    """Tell a backfill's connection by its name."""
    return connection.partition("/")[2] == BACKFILL


def find_number(channel: str, row: PlainRow) -> int | None:
    """Return what numbers a row of a channel: its id, or the time it is about in microseconds."""
    place = {"trade": 4, "candle": 5, "funding": 5, "quote": 8}.get(channel, 1)
    number: int | None = row[place]
    return number
