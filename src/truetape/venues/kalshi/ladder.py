"""Running level sizes: Kalshi sends how much a level changed, a row says how much it holds.

Sizes and prices are kept as integers, in millionths of a contract and of a dollar: sums of thousands of
changes stay exact, and `0.96`, `0.960` and `0.9600` are one level. All of it lies in the rows' memory, so that
a checkpoint carries it.
"""

from typing import Any, NamedTuple

from truetape.events.rows import Counter, Scribe

SCALE = 1_000_000
BOOKS_MAX = 20_000
"""Markets whose books are kept; beyond it the oldest is let go of, and its connection has lost frames."""
LINES_MAX = 1024
"""Connections whose numbers are kept; the oldest are long gone."""
YES, NO = 2, 3
"""Where the sides lie in a kept book."""

Side = dict[int, int]
"""Price → size, both in millionths."""


class Mark(NamedTuple):
    """A frame that a subscription numbered, and where it came from."""

    connection: str
    sid: int
    seq: int
    received_ns: int
    offset: int


class Ladders:
    """The books of all markets, and how far each subscription's frames are numbered.

    A book belongs to the subscription that sent its last picture: in a hand-over another one tells the same changes.
    """

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        memory = scribe.rows.memory.setdefault("kalshi", {})
        self._books: dict[str, Any] = memory.setdefault("books", {})
        """Ticker → [connection, sid, yes, no]."""
        self._numbers: dict[str, dict[int, int]] = memory.setdefault("numbers", {})

    def open(self, connection: str) -> dict[int, int]:
        """Return how far each subscription of a connection is numbered: sid → number, to be kept by the caller."""
        numbers = self._numbers.setdefault(connection, {})
        if len(self._numbers) > LINES_MAX:
            del self._numbers[next(iter(self._numbers))]
        return numbers

    def advance(self, numbers: dict[int, int], mark: Mark) -> bool:
        """Take a frame's number, which steps by one within its subscription; False for a repeat."""
        last = numbers.get(mark.sid)
        if last is not None and mark.seq != last + 1:
            if mark.seq <= last:
                return False
            self.lose(mark, last)
        numbers[mark.sid] = mark.seq
        return True

    def lose(self, mark: Mark, last: int) -> None:
        """Say that a subscription's frames since `last` cannot be used: its books are unknown until new pictures."""
        owner = [mark.connection, mark.sid]
        for ticker in [ticker for ticker, book in self._books.items() if book[:2] == owner]:
            del self._books[ticker]
        rows = self._scribe.rows
        rows.counters.append(Counter(mark.connection, mark.received_ns, mark.offset, last, mark.seq))
        rows.is_urgent = True

    def replace(self, mark: Mark, ticker: str, yes: Side, no: Side) -> None:
        """Take a picture of a book."""
        books = self._books
        books.pop(ticker, None)
        books[ticker] = [mark.connection, mark.sid, yes, no]
        if len(books) > BOOKS_MAX:
            connection, sid, _, _ = books.pop(next(iter(books)))
            self.lose(mark._replace(connection=connection, sid=sid), mark.seq)

    def change(self, owner: tuple[str, int], ticker: str, side: int, price: int, delta: int) -> int | None:
        """Change a level and return what it holds now: null when the book is not known, negative when it cannot be."""
        # hot: bench/decode.py
        book = self._books.get(ticker)
        if book is None or book[1] != owner[1] or book[0] != owner[0]:
            return None
        levels: Side = book[side]
        size = levels.get(price, 0) + delta
        if size > 0:
            levels[price] = size
        elif size == 0:
            levels.pop(price, None)
        return size
