"""The sealed books of all streams, at hand while decoding: made anew from what streams remember after a restart."""

from collections.abc import Iterator
from typing import Any

from truetape.decode.sealed import Ladder, SealedBook
from truetape.decode.state import StreamState
from truetape.events.instrument import Stream
from truetape.events.rows import Levels, Rows, Seal
from truetape.venues import load_venue
from truetape.venues._sealing import Sealing


class Live:
    """What is at hand of one book while decoding, made anew after a restart."""

    __slots__ = ("asks", "bids", "book", "sealing", "state", "stream")

    def __init__(self, stream: Stream, state: StreamState, book: SealedBook, sealing: Sealing) -> None:
        self.stream = stream
        self.state = state
        self.book = book
        self.sealing = sealing
        self.bids = Ladder(book.bids, sealing.write_level, is_ask=False)
        self.asks = Ladder(book.asks, sealing.write_level, is_ask=True)

    def make_seal(self, context: tuple[Any, ...]) -> str:
        """Return the text that a seal of this book should be."""
        return self.sealing.seal(self.bids.join(), self.asks.join(), context)

    def name_market(self) -> str:
        """Name what it is an outcome of, across venues."""
        return f"{self.stream.venue} {self.book.market}"

    def search(self, seal: Seal, others: list[tuple[Any, ...]]) -> tuple[Any, ...] | None:
        """Return a context that the seal comes out in, when its own is not the one."""
        for context in self.sealing.list_contexts(seal.context, others):
            if self.make_seal(context) == seal.expected:
                return context
        return None

    def guess(self, seal: Seal) -> tuple[Any, ...] | None:
        """Return the constants that a picture comes out with, when nothing told them."""
        return next((c for c in self.sealing.list_guesses(seal.context) if self.make_seal(c) == seal.expected), None)

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Start anew from a full picture."""
        self.bids.replace(bids)
        self.asks.replace(asks)


class Shelf:
    """Finds books by their stream, and by the market whose outcomes they are of."""

    def __init__(self, rows: Rows, states: list[StreamState | None]) -> None:
        self._rows = rows
        self._states = states
        self.held: dict[int, Live] = {}
        """By stream, as far as they were looked for."""
        self._markets: dict[str, list[int]] = {}

    def find(self, index: int) -> Live | None:
        """Return a stream's book; null when it has none."""
        live = self.held.get(index)
        state = self._states[index] if live is None and index < len(self._states) else None
        if state is None or state.sealed is None:
            return live
        sealing = load_venue(self._rows.streams[index].venue).sealing
        if sealing is None:
            return None
        live = self.held[index] = Live(self._rows.streams[index], state, state.sealed, sealing)
        return live

    def list_all(self) -> Iterator[Live]:
        """List all books, in the order of their streams."""
        for index, state in enumerate(self._states):
            if state is not None and state.sealed is not None:
                live = self.find(index)
                if live is not None:
                    yield live

    def forget(self, live: Live) -> None:
        """Drop a book that nobody records any more."""
        index = live.stream.index
        live.state.sealed = None
        self.held.pop(index, None)
        known = self._markets.get(live.name_market(), [])
        if index in known:
            known.remove(index)
        if not known:
            self._markets.pop(live.name_market(), None)
        sibling = self.find(live.book.sibling) if live.book.sibling >= 0 else None
        if sibling is not None:
            sibling.book.sibling = -1

    def pair(self, live: Live, market: str) -> None:
        """Find the book of the market's other outcome."""
        if not self._markets:
            for other in self.list_all():
                if other.book.market:
                    self._markets.setdefault(other.name_market(), []).append(other.stream.index)
        live.book.market = market
        known = self._markets.setdefault(live.name_market(), [])
        if live.stream.index not in known:
            known.append(live.stream.index)
        if len(known) == 2:
            other_index = known[0] if known[1] == live.stream.index else known[1]
            other_live = self.find(other_index)
            if other_live is not None:
                live.book.sibling, other_live.book.sibling = other_index, live.stream.index
