"""A book that the venue seals: every level in the venue's own text, and what is known of its proof."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import msgspec

from truetape.events.rows import Levels, Seal

Level = tuple[str, str]
"""Price and size as the venue wrote them."""


class Late(msgspec.Struct, array_like=True):
    """A change of a book that cannot be trusted, kept for a picture to come."""

    at_us: int
    bids: list[Level]
    asks: list[Level]
    seal: Seal | None


class Doubt(msgspec.Struct, array_like=True):
    """A batch whose hash did not come out yet: more of it may follow."""

    seal: Seal
    made: str
    offset: int
    received_ns: int
    rows: list[Late]
    """The changes of the batch so far; the oldest are forgotten."""


class Rival(msgspec.Struct, array_like=True):
    """A fetched book that is newer than ours, and another one: the stream must bring it soon."""

    at_us: int
    expected: str
    received_ns: int
    offset: int


class Tally(msgspec.Struct, array_like=True):
    """What was proven in one minute; becomes a `book_proof` row."""

    minute: int = 0
    epoch: str = ""
    batches: int = 0
    proven: int = 0
    broken: int = 0
    unjudged: int = 0
    pictures: int = 0
    fetched: int = 0
    confirmed: int = 0
    mirrored: int = 0
    mirror_broken: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.batches or self.fetched or self.mirrored)


class SealedBook(msgspec.Struct):
    """One stream's book; goes into every checkpoint."""

    bids: list[Level] = []
    """Worst first, as the asks: the order in which levels are hashed."""
    asks: list[Level] = []
    market: str = ""
    sibling: int = -1
    """Stream of the market's other outcome; -1: none was seen."""
    at_us: int = 0
    """The venue's time of the newest change in it."""
    fetched_us: int = 0
    """Changes up to here were in the fetched picture that it began with."""
    context: tuple[Any, ...] = ()
    """What the newest proof was made in."""
    batch: str = ""
    """The newest batch that was judged."""
    hash: str = ""
    """The newest text that was proven."""
    proven_ns: int = 0
    """When that was received."""
    is_blind: bool = False
    """Its market's constants are not known, so nothing can be judged."""
    is_odd: bool = False
    """It did not mirror its sibling when both were last compared."""
    doubt: Doubt | None = None
    late: list[Late] = []
    rival: Rival | None = None
    tally: Tally = msgspec.field(default_factory=Tally)
    tries: int = 0
    """Remedies asked for since it was last whole."""
    probed_ns: int = 0
    """When a quiet book was last asked for."""
    confirmed_ns: int = 0
    """When an answer last said that it is as the venue has it."""
    pause_ns: int = 0
    """How long it may be quiet before it is asked for again."""
    other_us: int = 0
    """Newest change that another connection than the book's told."""
    seen_sibling: int = 0
    """Rows of the sibling when this book was last not behind it."""


class Ladder:
    """One side of a book, its levels also as they are hashed."""

    __slots__ = ("_joined", "_keys", "_sign", "_texts", "_write", "levels")

    def __init__(self, levels: list[Level], write: Callable[[str, str], str], *, is_ask: bool) -> None:
        self.levels = levels
        """Worst first; the list given, kept up to date."""
        self._write = write
        self._sign = -1.0 if is_ask else 1.0
        self._keys = [float(price) * self._sign for price, _ in levels]
        self._texts = [write(price, size) for price, size in levels]
        self._joined: str | None = None

    def apply(self, changes: Levels) -> None:
        """Set levels to their new totals; zero removes."""
        # hot: bench/prove_books.py
        keys, levels, texts, sign, write = self._keys, self.levels, self._texts, self._sign, self._write
        for level in changes:
            price, size = level
            key = float(price) * sign
            at = bisect_left(keys, key)
            is_there = at < len(keys) and keys[at] == key
            if float(size) == 0.0:
                if is_there:
                    del keys[at], levels[at], texts[at]
            elif is_there:
                levels[at] = level  # type: ignore[assignment]
                texts[at] = write(price, size)  # type: ignore[arg-type]
            else:
                keys.insert(at, key)
                levels.insert(at, level)  # type: ignore[arg-type]
                texts.insert(at, write(price, size))  # type: ignore[arg-type]
        if changes:
            self._joined = None

    def replace(self, levels: Levels) -> None:
        """Forget everything and take these levels, in whatever order."""
        self._keys.clear()
        self.levels.clear()
        self._texts.clear()
        self._joined = None
        self.apply(levels)

    def join(self) -> str:
        """Return the side as it is hashed."""
        joined = self._joined
        if joined is None:
            joined = self._joined = ",".join(self._texts)
        return joined

    @property
    def best(self) -> float | None:
        """The best price; null when the side is empty."""
        return self._keys[-1] * self._sign if self._keys else None


def is_crossed(bids: Ladder, asks: Ladder) -> bool:
    """Tell whether the best bid is at or above the best ask."""
    bid, ask = bids.best, asks.best
    return bid is not None and ask is not None and bid >= ask


def mirrors_best(bids: Ladder, asks: Ladder) -> bool:
    """Tell whether the best bid of one outcome is the best ask of the other: 1 - p, of the same size."""
    bid, ask = bids.best, asks.best
    if bid is None or ask is None:
        return bid is ask
    return abs(bid + ask - 1.0) < 1e-9 and (
        bids.levels[-1][1] == asks.levels[-1][1] or float(bids.levels[-1][1]) == float(asks.levels[-1][1])
    )
