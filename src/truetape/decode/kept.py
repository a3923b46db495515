"""Books kept by the run: changes of many frames at once, and yet no frame goes by that leaves a book crossed or unproven.

The same levels as `book.Book` holds, in another shape: a book is read from there, and put back for whoever goes row by row.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from truetape.decode.book import Book, Side
from truetape.decode.state import StreamState
from truetape.events.instrument import Instrument, Stream
from truetape.events.run import BookRun, Floats, Integers, TextRun
from truetape.venues import load_venue
from truetape.venues._contract import Proof

LEVELS_MIN = 512
"""So many levels of one book are worth being changed at one blow."""


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
    sizes = [side.sizes[price][1] for price in side.prices]
    return NumberSide(np.array(side.prices, np.float64), np.array(sizes, np.float64))


class NumberBook:
    """A book whose levels are numbers."""

    def __init__(self, book: Book) -> None:
        self.bids, self.asks = _read_side(book.bids), _read_side(book.asks)

    def write(self, book: Book) -> None:
        """Put the levels back."""
        book.bids, book.asks = self.bids.write(), self.asks.write()

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


class TextSide:
    """One side in the venue's digits, the best level first."""

    def __init__(self, side: Side, spell: Callable[[list[tuple[str, str]]], list[str]], *, is_bid: bool) -> None:
        prices = side.prices[::-1] if is_bid else side.prices
        self.is_bid = is_bid
        self.keys: list[float] = [-price for price in prices] if is_bid else [*prices]
        """Ascending: prices of bids are negative here."""
        self.levels: list[tuple[str, str]] = [side.sizes[price] for price in prices]
        self.words: list[str] = spell(self.levels)

    def write(self) -> Side:
        """Return the side as `Book` has it."""
        if self.is_bid:
            prices = [-key for key in reversed(self.keys)]
            return Side(prices, dict(zip(prices, reversed(self.levels), strict=True)))
        return Side([*self.keys], dict(zip(self.keys, self.levels, strict=True)))

    def apply(self, changes: "TextChanges", begin: int, end: int) -> None:
        """Set the levels [begin, end) of a run; those without a word are removed."""
        # hot: bench/decode.py
        own, keys, words = self.keys, changes.keys, changes.words
        for i in range(begin, end):
            key, word = keys[i], words[i]
            at = bisect_left(own, key)
            if at < len(own) and own[at] == key:
                if word:
                    self.levels[at], self.words[at] = changes.levels[i], word
                else:
                    del own[at], self.levels[at], self.words[at]
            elif word:
                own.insert(at, key)
                self.levels.insert(at, changes.levels[i])
                self.words.insert(at, word)

    def cut(self, depth: int) -> None:
        """Forget the worst levels beyond a depth."""
        del self.keys[depth:], self.levels[depth:], self.words[depth:]


class TextBook:
    """A book whose levels are text, proven by a checksum after each change."""

    def __init__(self, book: Book, proof: Proof, instrument: Instrument) -> None:
        self.instrument = instrument
        self._proof, self._depth = proof, book.depth_max
        self.bids, self.asks = (
            TextSide(side, partial(proof.spell, instrument), is_bid=side is book.bids)
            for side in (book.bids, book.asks)
        )

    def write(self, book: Book) -> None:
        """Put the levels back."""
        book.bids, book.asks = self.bids.write(), self.asks.write()

    def apply(self, changes: "TextChanges", frames: Sequence[int]) -> int:
        """Take some frames; return how many come before one after which the book is not as its checksum says, or crossed.

        That one is applied, too: taking it again changes nothing.
        """
        # hot: bench/decode.py
        bids, asks, depth = self.bids, self.asks, self._depth
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


class TextChanges:
    """Levels of a run as lists."""

    def __init__(self, run: TextRun) -> None:
        counts, flat = run.books.side_counts, run.books.flat
        edges = [0, *np.cumsum(counts).tolist()]
        self.cuts = list(zip(edges[0:-1:2], edges[1::2], edges[2::2], run.checks, strict=True))
        """Of each frame where its bids begin and end, where its asks end, and its checksum."""
        signs = np.repeat(np.tile(np.array([-1.0, 1.0]), len(run.checks)), counts)
        self.keys: list[float] = (flat[0::2] * signs).tolist()
        self.levels = run.levels
        self.words = run.words


def _apply_singly(book: Book, side_counts: Integers, flat: Floats) -> int:
    """Take few changes; return how many frames come before one that leaves the book crossed. That one is applied, too."""
    # hot: bench/decode.py
    levels = list(zip(flat[0::2].tolist(), flat[1::2].tolist(), strict=True))
    edges = [0, *np.cumsum(side_counts).tolist()]
    for number, (begin, middle, end) in enumerate(zip(edges[0:-1:2], edges[1::2], edges[2::2], strict=True)):
        book.apply(levels[begin:middle], levels[middle:end])
        if book.is_crossed:
            return number
    return len(side_counts) // 2


FindInstrument = Callable[[Stream], Instrument]


class Keeper:
    """Books that runs change."""

    def __init__(self, streams: Sequence[Stream], find_instrument: FindInstrument) -> None:
        self._streams = streams
        self._find_instrument = find_instrument
        self._kept: dict[int, tuple[Book, NumberBook | TextBook]] = {}
        """Stream → the book of its state, which is behind, and the same one as it is now."""
        self._changes: TextChanges | None = None
        """Of the newest run with checksums."""

    def apply(
        self,
        state: StreamState,
        index: int,
        run: BookRun | TextRun,
        pick_levels: Callable[[], tuple[Integers, Floats]],
        frames: Sequence[int],
    ) -> int:
        """Change a stream's book by some frames of a run, given what picks their levels and where they are in the run.

        Return how many come before one that breaks the book; 0 also when it cannot be kept this way.
        """
        # hot: bench/decode.py
        if isinstance(run, TextRun):
            text = self._find_text(state, index)
            if text is None:
                return 0
            if self._changes is None or self._changes.levels is not run.levels:
                self._changes = TextChanges(run)
            return text.apply(self._changes, frames)
        side_counts, flat = pick_levels()
        numbers = self._find_numbers(state, index, len(flat) // 2)
        if numbers is not None:
            return numbers.apply(side_counts, flat)
        if state.book is None or state.book.is_text:
            return 0
        return _apply_singly(state.book, side_counts, flat)

    def _find_numbers(self, state: StreamState, index: int, levels: int) -> NumberBook | None:
        book, kept = state.book, self._kept.get(index)
        if kept is not None and kept[0] is book:
            if isinstance(kept[1], NumberBook):
                return kept[1]
            self.put_back(index, state)
        if book is None or book.is_text or book.depth_max or levels < LEVELS_MIN:
            return None
        made = NumberBook(book)
        self._kept[index] = book, made
        return made

    def _find_text(self, state: StreamState, index: int) -> TextBook | None:
        book, kept, stream = state.book, self._kept.get(index), self._streams[index]
        instrument, proof = self._find_instrument(stream), load_venue(stream.venue).proof
        if kept is not None and kept[0] is book:
            if not isinstance(kept[1], TextBook) or kept[1].instrument is instrument:
                return kept[1] if isinstance(kept[1], TextBook) else None
            kept[1].write(kept[0])  # what is known of the instrument has changed
        if book is None or proof is None or (book.has_levels and not book.is_text):
            return None
        made = TextBook(book, proof, instrument)
        self._kept[index] = book, made
        return made

    def put_back(self, index: int, state: StreamState) -> None:
        """Make the book of a state what it is now."""
        if index in self._kept:
            book, kept = self._kept.pop(index)
            if state.book is book:
                kept.write(book)

    def put_back_all(self, states: list[StreamState | None]) -> None:
        """Make the books of all states what they are now, the same whichever way they were kept."""
        for index, state in enumerate(states):
            if state is not None and state.book is not None:
                self.put_back(index, state)
                state.book.sort()
        self._kept.clear()
        self._changes = None
