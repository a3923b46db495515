"""Books of numbers, changed by the run: many frames at once, and yet none goes by that leaves a book crossed."""

from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from truetape import compiled
from truetape.decode.book import Book, Side
from truetape.events.rows import Levels
from truetape.events.run import Floats, Integers


class NumberBook(Protocol):
    """A book whose levels are numbers."""

    def apply(self, side_counts: Integers, flat: Floats) -> int:
        """Take changes of frames, levels of bids and asks in turn; return how many come before one that crosses the book.

        No more than these are applied.
        """

    def follow(self, bids: Levels, asks: Levels) -> bool:
        """Take one change; false, and nothing is done, when it crosses the book or must not be taken this way."""

    def write(self, book: Book) -> None:
        """Put the levels back."""


def make_number_book(book: Book) -> NumberBook:
    """Return the levels of a book."""
    return FastNumberBook(book) if compiled.core else SlowNumberBook(book)


class FastNumberBook:
    """A book whose levels are numbers, kept by the compiled part."""

    def __init__(self, book: Book) -> None:
        assert compiled.core
        self._ladder = compiled.core.NumberLadder(*_read_side(book.bids), *_read_side(book.asks))

    def write(self, book: Book) -> None:
        """Put the levels back."""
        bid_prices, bid_sizes, ask_prices, ask_sizes = map(np.frombuffer, self._ladder.write())
        book.bids = NumberSide(bid_prices, bid_sizes).write()
        book.asks = NumberSide(ask_prices, ask_sizes).write()

    def apply(self, side_counts: Integers, flat: Floats) -> int:
        """Take changes of frames; return how many come before one that crosses the book."""
        # hot: bench/decode.py
        taken: int = self._ladder.apply(np.ascontiguousarray(side_counts), np.ascontiguousarray(flat))
        return taken

    def follow(self, bids: Levels, asks: Levels) -> bool:
        """Take one change."""
        # hot: bench/decode.py
        levels = [*bids, *asks]
        if levels and isinstance(levels[0][0], str):
            return False
        flat = np.fromiter(chain.from_iterable(levels), np.float64, 2 * len(levels))
        return bool(self._ladder.apply(np.array([len(bids), len(asks)]), flat))


class NumberSide(NamedTuple):
    """One side, prices ascending."""

    prices: Floats
    sizes: Floats

    def write(self) -> Side:
        """Return the side as `Book` has it."""
        prices = self.prices.tolist()
        levels = zip(prices, self.sizes.tolist(), strict=True)
        return Side(prices, dict(zip(prices, levels, strict=True)))

    def apply(self, changes: "_Changes") -> "NumberSide":
        """Return the side after changes, one after the other; zero removes."""
        # hot: bench/decode.py
        if not len(changes.prices):
            return self
        found = pa.array(np.concatenate((self.prices, changes.prices))).dictionary_encode()
        count = len(self.prices)
        prices, sizes = found.dictionary.to_numpy(), np.empty(len(found.dictionary))
        sizes[:count] = self.sizes
        sizes[found.indices.to_numpy()[count:]] = changes.sizes  # of one price the last
        is_left = sizes != 0
        if not is_left.all():
            prices, sizes = prices[is_left], sizes[is_left]
        if len(found.dictionary) > count:
            order = np.argsort(prices, kind="stable")
            prices, sizes = prices[order], sizes[order]
        return NumberSide(prices, sizes)


def _read_side(side: Side) -> NumberSide:
    sizes = [size for _, size in side.list_levels()]
    return NumberSide(np.array(side.prices, np.float64), np.array(sizes, np.float64))


class SlowNumberBook:
    """A book whose levels are numbers, kept by numpy."""

    def __init__(self, book: Book) -> None:
        self.bids, self.asks = _read_side(book.bids), _read_side(book.asks)

    def write(self, book: Book) -> None:
        """Put the levels back."""
        book.bids, book.asks = self.bids.write(), self.asks.write()

    def follow(self, bids: Levels, asks: Levels) -> bool:
        """Refuse: one change is cheaper level by level."""
        return False

    def apply(self, side_counts: Integers, flat: Floats) -> int:
        """Take changes of frames, levels of bids and asks in turn; return how many come before one that crosses the book.

        No more than these are applied.
        """
        # hot: bench/decode.py
        frames = len(side_counts) // 2
        is_ask = np.repeat(np.tile(np.array([False, True]), frames), side_counts)
        frame = np.repeat(np.arange(frames), side_counts[0::2] + side_counts[1::2])
        prices, sizes = flat[0::2], flat[1::2]
        bids, asks = (_Changes(prices[own], sizes[own], frame[own]) for own in (~is_ask, is_ask))
        whole = self._count_whole(bids, asks, frames)
        if whole < frames:
            bids, asks = bids.cut(whole), asks.cut(whole)
        self.bids, self.asks = self.bids.apply(bids), self.asks.apply(asks)
        return whole

    def _count_whole(self, bids: "_Changes", asks: "_Changes", frames: int) -> int:
        """Return how many frames come before one that leaves the book crossed."""
        # hot: bench/decode.py
        highest = max(bids.list_set().max(initial=-np.inf), self.bids.prices[-1:].max(initial=-np.inf))
        lowest = min(asks.list_set().min(initial=np.inf), self.asks.prices[:1].min(initial=np.inf))
        if highest < lowest:
            return frames
        # Only a bid that some ask, now or later, is not above can ever cross, and the other way round.
        first = int(np.searchsorted(self.bids.prices, lowest))
        last = int(np.searchsorted(self.asks.prices, highest, "right"))
        best_bids = _follow_best(-self.bids.prices[first:], bids.pick(bids.prices >= lowest).negate(), frames)
        best_asks = _follow_best(self.asks.prices[:last], asks.pick(asks.prices <= highest), frames)
        crossed = np.flatnonzero(best_bids <= -best_asks)
        return int(crossed[0]) if len(crossed) else frames


class _Changes(NamedTuple):
    """Changes of one side in some frames."""

    prices: Floats
    sizes: Floats
    frames: Integers

    def cut(self, frames: int) -> "_Changes":
        """Return those of the first frames."""
        end = int(np.searchsorted(self.frames, frames))
        return _Changes(self.prices[:end], self.sizes[:end], self.frames[:end])

    def pick(self, wanted: npt.NDArray[np.bool_]) -> "_Changes":
        """Return some."""
        return _Changes(self.prices[wanted], self.sizes[wanted], self.frames[wanted])

    def negate(self) -> "_Changes":
        """Return them with prices below zero, so that lower is better for bids, too."""
        return self._replace(prices=-self.prices)

    def list_set(self) -> Floats:
        """Return the prices that are not removed."""
        found: Floats = self.prices[self.sizes != 0]
        return found


def _follow_best(old: Floats, changes: _Changes, frames: int) -> Floats:
    """Return the lowest price after each frame, infinity where there is none, of those of before and of changes."""
    # hot: bench/decode.py
    found = pa.array(np.concatenate((old, changes.prices))).dictionary_encode()
    prices = found.dictionary.to_numpy()
    if not len(prices):
        return np.full(frames, np.inf)
    order = np.argsort(prices)
    ranks = np.empty(len(prices), np.int16 if len(prices) < _SMALL else np.int64)
    ranks[order] = np.arange(len(prices))
    places = ranks[found.indices.to_numpy()]
    was_there = np.zeros(len(old), np.int64)
    spans = _list_spans(places, np.concatenate((was_there, changes.frames)), frames, len(old), changes.sizes != 0)
    best = _find_lowest(*spans, frames)
    lowest: Floats = np.append(prices[order], np.inf)[np.minimum(best, len(prices))]
    return lowest


_SMALL = 1 << 15
"""Numbers below are sorted by their digits, in no time."""


def _list_spans(
    places: Integers, begins: Integers, frames: int, old: int, is_set: npt.NDArray[np.bool_]
) -> tuple[Integers, Integers, Integers]:
    """Return which levels there are from which frame on and until which, given where changes are, the old levels first."""
    by_place = np.argsort(places, kind="stable")
    places, begins = places[by_place], begins[by_place]
    is_there = np.concatenate((np.ones(old, bool), is_set))[by_place]
    is_news = is_there.copy()
    is_news[1:] = np.where(places[1:] == places[:-1], is_there[1:] != is_there[:-1], is_there[1:])
    places, begins, is_there = places[is_news], begins[is_news], is_there[is_news]
    ends = np.full(len(places), frames)
    ends[:-1] = np.where(places[1:] == places[:-1], begins[1:], frames)
    is_span = is_there & (ends > begins)
    return places[is_span].astype(np.int64), begins[is_span], ends[is_span]


def _find_lowest(places: Integers, begins: Integers, ends: Integers, frames: int) -> Integers:
    """Return of each frame the lowest number among the spans that cover it, a huge one where there is none.

    A span is two overlapping blocks of 2**n frames, which are halved until they are one frame each.
    """
    sizes = np.frexp(ends - begins)[1] - 1
    levels = int(sizes.max(initial=0)) + 1
    lowest = np.full((levels, frames), _NONE)
    np.minimum.at(lowest, (sizes, begins), places)
    np.minimum.at(lowest, (sizes, ends - (1 << sizes)), places)
    for level in range(levels - 1, 0, -1):
        half = 1 << (level - 1)
        whole, parts = lowest[level], lowest[level - 1]
        np.minimum(parts, whole, out=parts)
        np.minimum(parts[half:], whole[:-half], out=parts[half:])
    found: Integers = lowest[0]
    return found


_NONE = np.int64(2**62)
