"""Books kept by the run: the same levels as `book.Book` holds, in another shape.

A book is read from there, and put back for whoever goes row by row.
"""

from collections.abc import Callable, Sequence

import numpy as np

from truetape import compiled
from truetape.decode.book import Book
from truetape.decode.numberbook import NumberBook, make_number_book
from truetape.decode.state import StreamState
from truetape.decode.textbook import Latest, TextBook, make_text_book
from truetape.events.instrument import Stream
from truetape.events.rows import Levels
from truetape.events.run import BookRun, Floats, Integers, TextRun
from truetape.venues import load_venue

LEVELS_MIN = 24 if compiled.core else 512
"""So many levels of one book are worth being changed at one blow."""
WORTH = 16 if compiled.core else 4
"""Reading a book and putting it back costs what changing one in so many of its levels does."""


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


class Keeper:
    """Books that runs change."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams
        self._numbers: dict[int, tuple[Book, NumberBook]] = {}
        """Stream → the book of its state, which is behind, and the same one as it is now."""
        self._texts: dict[int, tuple[Book, TextBook]] = {}
        self._latest = Latest()
        self._changed: dict[int, int] = {}
        """Stream → levels that runs changed one by one since its book was put back last."""

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
            return 0 if text is None else text.apply(run, frames)
        side_counts, flat = pick_levels()
        numbers = self._find_numbers(state, index, len(flat) // 2)
        if numbers is not None:
            return numbers.apply(side_counts, flat)
        if state.book is None or state.book.is_text:
            return 0
        return _apply_singly(state.book, side_counts, flat)

    def _find_numbers(self, state: StreamState, index: int, levels: int) -> NumberBook | None:
        book, kept = state.book, self._numbers.get(index)
        if kept is not None and kept[0] is book:
            return kept[1]
        self.put_back(index, state)
        if book is None or book.is_text or book.depth_max:
            return None
        changed = self._changed[index] = self._changed.get(index, 0) + levels
        if levels < LEVELS_MIN or changed * WORTH < len(book.bids.prices) + len(book.asks.prices):
            return None
        del self._changed[index]
        made = make_number_book(book)
        self._numbers[index] = book, made
        return made

    def _find_text(self, state: StreamState, index: int) -> TextBook | None:
        book, kept = state.book, self._texts.get(index)
        if kept is not None and kept[0] is book:
            return kept[1]
        self.put_back(index, state)
        proof = load_venue(self._streams[index].venue).proof
        if book is None or proof is None or not proof.is_of_words or (book.has_levels and not book.is_text):
            return None
        made = make_text_book(book, proof, self._latest)
        self._texts[index] = book, made
        return made

    def follow(self, state: StreamState, index: int, bids: Levels, asks: Levels, check: int | None) -> bool:
        """Take one change into a book that is kept here; false: it is not, or not any more."""
        # hot: bench/decode.py
        if check is None:
            numbers = self._numbers.get(index)
            is_taken = numbers is not None and numbers[0] is state.book and numbers[1].follow(bids, asks)
        else:
            text = self._texts.get(index)
            is_taken = text is not None and text[0] is state.book and text[1].follow(bids, asks, check)
        if not is_taken:
            self.put_back(index, state)
        return is_taken

    def put_back(self, index: int, state: StreamState) -> None:
        """Make the book of a state what it is now."""
        for kept in (self._numbers.pop(index, None), self._texts.pop(index, None)):
            if kept is not None and state.book is kept[0]:
                kept[1].write(kept[0])

    def put_back_all(self, states: list[StreamState | None]) -> None:
        """Make the books of all states what they are now, the same whichever way they were kept."""
        for index, state in enumerate(states):
            if state is not None and state.book is not None:
                self.put_back(index, state)
                state.book.sort()
        self._numbers.clear()
        self._texts.clear()
