"""What is asked for when a sealed book is broken or frozen: first what is cheap, then what surely helps."""

from collections.abc import Mapping
from typing import Literal

from truetape.decode.sealed import SealedBook
from truetape.decode.state import ConnectionState, StreamState
from truetape.events.instrument import Stream
from truetape.events.rows import Rows
from truetape.events.wish import Fetch, Reconnect, Resubscribe
from truetape.venues import load_venue

Step = Literal["fetch", "resubscribe", "reconnect"]
BROKEN: tuple[Step, ...] = ("fetch", "resubscribe", "fetch", "reconnect")
"""For a book that is not the venue's while its stream flows."""
STALLED: tuple[Step, ...] = ("resubscribe", "reconnect")
"""For a stream that stands still while others of its connection flow."""
FROZEN: tuple[Step, ...] = ("reconnect",)
"""For a connection of which nothing flows any more."""
PAUSE_NS = 5_000_000_000
"""Between the first two remedies of a book; it doubles from one to the next."""
DOUBLINGS_MAX = 5


class Remedies:
    """Makes wishes for books, one after the other until they are whole."""

    def __init__(self, rows: Rows, topics: dict[int, tuple[str, ...]]) -> None:
        self._rows = rows
        self._topics = topics
        self.connections: Mapping[str, ConnectionState] = {}
        """What is open now: one reconnect is enough for all books of a connection."""

    def ask(
        self, stream: Stream, state: StreamState, book: SealedBook, at_ns: int, reason: str, steps: tuple[Step, ...]
    ) -> None:
        """Wish for the next remedy, unless the last was asked for just now."""
        pause_ns = PAUSE_NS << min(max(book.tries - 1, 0), DOUBLINGS_MAX)
        if state.wished_ns and at_ns - state.wished_ns < pause_ns:
            return
        step = steps[min(book.tries, len(steps) - 1)]
        if self._topics and stream.index not in self._topics:
            step = "fetch"  # nobody subscribed it: its changes come with those of the market's other outcome
        why = f"{stream.venue_symbol}: {reason}"
        connection = state.connections[-1] if state.connections else state.owner
        if step == "fetch" and not self.fetch(stream, why):
            step = "resubscribe"
        if step == "resubscribe":
            topics = self._topics.get(stream.index, ())
            self._rows.wishes.append(Resubscribe(stream.venue, stream.feed, connection, topics, why))
        elif step == "reconnect":
            self._reconnect(stream, connection, at_ns, why)
        state.wished_ns = at_ns
        book.tries += 1

    def _reconnect(self, stream: Stream, name: str, at_ns: int, why: str) -> None:
        connection = self.connections.get(name)
        if connection is not None:
            if connection.wished_ns and at_ns - connection.wished_ns < PAUSE_NS:
                return
            connection.wished_ns = at_ns
        self._rows.wishes.append(Reconnect(stream.venue, stream.feed, name, why))

    def fetch(self, stream: Stream, reason: str) -> bool:
        """Wish for a book over HTTP; False where the venue has none."""
        venue = load_venue(stream.venue)
        if venue.fetch_book is None:
            return False
        url, weight = venue.fetch_book(stream.feed, stream.venue_symbol)
        self._rows.wishes.append(Fetch(stream.venue, stream.feed, url, reason, weight))
        return True
