"""What a decoder asks of the collector; on replay the answer is already on the tape."""

import msgspec


class Fetch(msgspec.Struct, frozen=True, tag=True):
    """Fetch a URL over HTTP, for instance a book snapshot."""

    venue: str
    feed: str
    url: str
    reason: str
    weight: int = 1
    """Cost by the venue's own counting."""


class Resubscribe(msgspec.Struct, frozen=True, tag=True):
    """Unsubscribe and subscribe topics again on their connection, to get a fresh snapshot."""

    venue: str
    feed: str
    connection: str
    topics: tuple[str, ...]
    reason: str


class Reconnect(msgspec.Struct, frozen=True, tag=True):
    """Open the connection anew."""

    venue: str
    feed: str
    connection: str
    reason: str


Wish = Fetch | Resubscribe | Reconnect
