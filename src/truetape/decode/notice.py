"""Events on the tape that become a row and nothing more."""

from collections.abc import Callable
from typing import Any

from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import Rows
from truetape.tape.frame import Source

At = tuple[int, int]
"""(received_ns, tape offset)."""

UNLISTED = frozenset({"tick", "market_state", "market_roster", "snapshot_roster"})
"""Events that are no rows of `connection`: too many, or rows of their own."""


def note_request_failed(rows: Rows, event: dict[str, Any], source: Source, at: At) -> None:
    """Write a request that got no answer as an `error` row."""
    venue = source.venue or "recorder"
    stream = rows.add_stream(venue, "error", source.feed, Instrument(venue, source.feed, "", "", ""))
    text, url = str(event.get("error", ""))[:500], event.get("url")
    rows.plain.setdefault("error", []).append(
        (stream.index, None, *at, source.connection, source.feed, None, text, url)
    )


def note_connection(rows: Rows, stream: Stream, said: tuple[str, str, str], at: At) -> None:
    """Write an event as it is: (connection, name, meta)."""
    connection, name, meta = said
    own = connection, stream.feed, name, meta
    rows.plain.setdefault("connection", []).append((stream.index, None, *at, *own))


def note_market_state(rows: Rows, event: dict[str, Any], source: Source, at: At) -> None:
    """Write a step in a prediction market's life."""
    slug, condition = event["slug"], event.get("condition") or None
    market = Instrument(source.venue, source.feed, slug, slug, "outcome")
    stream = rows.add_stream(source.venue, "market_state", source.feed, market)
    own = slug, condition, event["state"], event.get("previous") or None, event.get("reason") or None
    rows.plain.setdefault("market_state", []).append(
        (stream.index, None, *at, *own, event.get("opens_us"), event.get("ends_us"))
    )


WRITERS: dict[str, Callable[[Rows, dict[str, Any], Source, At], None]] = {
    "request_failed": note_request_failed,
    "market_state": note_market_state,
}
"""Event → what writes its row."""
