"""Books in the venue's digits, changed by the run: each change is proven by the checksum that came with it."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain
from typing import Protocol

import numpy as np

from truetape import compiled
from truetape.decode.book import Book, Side
from truetape.events.rows import Levels
from truetape.events.run import TextRun, join_words, part_words
from truetape.venues._contract import Proof


class TextBook(Protocol):
    """A book whose levels are text."""

    def apply(self, run: TextRun, frames: Sequence[int]) -> int:
        """Take some frames; return how many come before one after which the book is not as its checksum says, or crossed.

        That one is applied, too: taking it again changes nothing.
        """

    def follow(self, bids: Levels, asks: Levels, check: int) -> bool:
        """Take one change; false when it breaks the book or must not be taken this way. Taking it again changes nothing."""

    def write(self, book: Book) -> None:
        """Put the levels back."""


class Latest:
    """The newest run as lists, which all books share that are kept by lists."""

    def __init__(self) -> None:
        self._changes: _Changes | None = None

    def read(self, run: TextRun) -> "_Changes":
        """Return the changes of a run."""
        if self._changes is None or self._changes.run is not run:
            self._changes = _Changes(run)
        return self._changes


def make_text_book(book: Book, proof: Proof, latest: Latest) -> TextBook:
    """Return the levels of a book, best first."""
    return FastTextBook(book, proof) if compiled.core else SlowTextBook(book, proof, latest)


class FastTextBook:
    """A book whose levels are text, kept by the compiled part."""

    def __init__(self, book: Book, proof: Proof) -> None:
        assert compiled.core
        self._depth = proof.depth
        sides = ((np.array(side.prices, np.float64), side.list_levels()) for side in (book.bids, book.asks))
        (bid_prices, bids), (ask_prices, asks) = sides
        self._ladder = compiled.core.TextLadder(bid_prices, bids, ask_prices, asks, book.depth_max)

    def write(self, book: Book) -> None:
        """Put the levels back."""
        bid_prices, bids, ask_prices, asks = self._ladder.write()
        book.bids = _make_side(np.frombuffer(bid_prices).tolist(), bids)
        book.asks = _make_side(np.frombuffer(ask_prices).tolist(), asks)

    def apply(self, run: TextRun, frames: Sequence[int]) -> int:
        """Take some frames; return how many come before one that breaks the book."""
        # hot: bench/decode.py
        counts, flat = run.books.side_counts, run.books.flat
        words, edges = run.words
        places = np.fromiter(frames, np.int64, len(frames))
        taken: int = self._ladder.apply(counts, flat, words, edges, run.checks, places, self._depth)
        return taken

    def follow(self, bids: Levels, asks: Levels, check: int) -> bool:
        """Take one change."""
        levels = [*bids, *asks]
        if not all(isinstance(price, str) for price, _ in levels):
            return False
        text, edges = join_words(list(map(":".join, levels)))
        flat = np.fromiter(map(float, chain.from_iterable(levels)), np.float64, 2 * len(levels))
        counts, checks, first = np.array([len(bids), len(asks)]), np.array([check]), np.zeros(1, np.int64)
        return bool(self._ladder.apply(counts, flat, text, edges, checks, first, self._depth))


def _make_side(prices: list[float], levels: list[tuple[str, str]]) -> Side:
    return Side(prices, dict(zip(prices, levels, strict=True)))


class SlowTextBook:
    """A book whose levels are text, kept by lists."""

    def __init__(self, book: Book, proof: Proof, latest: Latest) -> None:
        self._proof, self._depth, self._latest = proof, book.depth_max, latest
        self._bids, self._asks = _TextSide(book.bids, is_bid=True), _TextSide(book.asks, is_bid=False)

    def write(self, book: Book) -> None:
        """Put the levels back."""
        book.bids, book.asks = self._bids.write(), self._asks.write()

    def follow(self, bids: Levels, asks: Levels, check: int) -> bool:
        """Refuse: one change is cheaper level by level."""
        return False

    def apply(self, run: TextRun, frames: Sequence[int]) -> int:
        """Take some frames; return how many come before one that breaks the book."""
        # hot: bench/decode.py
        changes, bids, asks, depth = self._latest.read(run), self._bids, self._asks, self._depth
        proven, add_up = self._proof.depth, self._proof.add_up
        bid_words, ask_words, bid_keys, ask_keys = bids.words, asks.words, bids.keys, asks.keys
        cuts, apply_bids, apply_asks = changes.cuts, bids.apply, asks.apply
        for number, frame in enumerate(frames):
            begin, middle, end, check = cuts[frame]
            if middle > begin:
                apply_bids(changes, begin, middle)
            if end > middle:
                apply_asks(changes, middle, end)
            if depth:
                bids.cut(depth)
                asks.cut(depth)
            if add_up(bid_words[:proven], ask_words[:proven]) != check:
                return number
            if bid_keys and ask_keys and -bid_keys[0] >= ask_keys[0]:
                return number
        return len(frames)


class _TextSide:
    """One side in the venue's digits, the best level first."""

    def __init__(self, side: Side, *, is_bid: bool) -> None:
        self.is_bid = is_bid
        self.keys: list[float] = [-price for price in reversed(side.prices)] if is_bid else [*side.prices]
        """Ascending: prices of bids are negative here."""
        words = list(map(":".join, side.list_levels()))
        self.words: list[str] = words[::-1] if is_bid else words

    def write(self) -> Side:
        """Return the side as `Book` has it."""
        if self.is_bid:
            return _make_side([-key for key in reversed(self.keys)], part_words(self.words[::-1]))
        return _make_side([*self.keys], part_words(self.words))

    def apply(self, changes: "_Changes", begin: int, end: int) -> None:
        """Set the levels [begin, end) of a run; those without a word are removed."""
        # hot: bench/decode.py
        own, keys, words = self.keys, changes.keys, changes.words
        for i in range(begin, end):
            key, word = keys[i], words[i]
            at = bisect_left(own, key)
            if at < len(own) and own[at] == key:
                if word:
                    self.words[at] = word
                else:
                    del own[at], self.words[at]
            elif word:
                own.insert(at, key)
                self.words.insert(at, word)

    def cut(self, depth: int) -> None:
        """Forget the worst levels beyond a depth."""
        del self.keys[depth:], self.words[depth:]


class _Changes:
    """Levels of a run as lists."""

    def __init__(self, run: TextRun) -> None:
        self.run = run
        counts, flat = run.books.side_counts, run.books.flat
        edges = [0, *np.cumsum(counts).tolist()]
        self.cuts = list(zip(edges[0:-1:2], edges[1::2], edges[2::2], run.checks.tolist(), strict=True))
        """Of each frame where its bids begin and end, where its asks end, and its checksum."""
        signs = np.repeat(np.tile(np.array([-1.0, 1.0]), len(run.checks)), counts)
        self.keys: list[float] = (flat[0::2] * signs).tolist()
        self.words = run.words.list()
        """Empty where a level is removed."""
        for i in np.flatnonzero(flat[1::2] == 0).tolist():
            self.words[i] = ""
