"""What a venue file must offer: one frozen value, declared, not subclassed."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Literal, Protocol

import msgspec

from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe, Seal

OnMessage = Callable[[bytes, int, int], bool]
"""(payload, received_ns, tape offset) → True when the frame carried data, False when it was control.

Raises msgspec.DecodeError, msgspec.ValidationError or truetape DecodeError: the frame is quarantined."""


class VenueDecoder(Protocol):
    """Turns one venue's frames into rows; remembers nothing beyond what it caches from the scribe."""

    def open(self, feed: str, connection: str) -> OnMessage:
        """Return the handler for one connection's messages."""
        ...

    def respond(self, response: Response) -> bool:
        """Decode an HTTP response with status 200; True when it carried data."""
        ...


class Heartbeat(msgspec.Struct, frozen=True):
    """What we send so that the venue keeps the connection, and how often."""

    payload: str = ""
    """Text to send; empty: a WebSocket ping frame."""
    interval_s: float = 20.0


class Limits(msgspec.Struct, frozen=True):
    """What a venue allows on one connection."""

    topics_per_connection_max: int = 200
    topics_per_message_max: int = 50
    message_bytes_max: int = 16_000
    messages_per_second_max: float = 4.0
    connects_per_minute_max: int = 30


class Feed(msgspec.Struct, frozen=True):
    """One endpoint that is subscribed as one kind of connection."""

    name: str
    market: str
    url: str
    channels: tuple[str, ...]
    """Channels of ours that this feed carries."""
    heartbeat: Heartbeat = Heartbeat()
    limits: Limits = Limits()
    lifetime_s: float = 24 * 3600.0
    """The venue cuts after this; a hand-over is planned before."""
    silence_s: float = 60.0
    """Nothing at all for this long, heartbeats included: the socket is dead."""
    is_acked_by_topic: bool = False
    """The venue confirms each topic of a subscribe message by a message of its own; else each message by one."""
    greetings: tuple[str, ...] = ()
    """Messages to send first, before subscriptions."""
    dates: tuple[date, date | None] = (date(2017, 1, 1), None)
    """From when until when the venue served this feed; live uses open-ended ones only."""
    needs_key: str = ""
    """What the venue wants of us on connecting, credentials and all; empty: nothing."""


Rule = Literal["none", "window", "monotone", "step", "range", "chain"]
"""How frames of a stream prove that nothing is missing between them.

none      nothing to check
window    rows are told apart by text id; recent ids are remembered to drop repeats
monotone  a number that only grows: an equal or smaller one is a repeat
step      the number is the previous plus one (trades: duplicates and missing ids are known exactly)
range     first == previous last + 1 (Binance spot depth; Bybit with first == last == u)
chain     previous == last of the frame before
"""


class Continuity(msgspec.Struct, frozen=True):
    """The rule of one channel, from a date on."""

    channel: str
    rule: Rule
    feeds: tuple[str, ...] = ()
    """Feed names it holds for; empty: all."""
    since: date = date(2017, 1, 1)
    recovery: Literal["none", "fetch", "resubscribe", "reconnect"] = "none"
    """What heals a broken book."""
    is_connection_scoped: bool = False
    """Ids mean something within one connection only: a new connection starts over with a snapshot."""
    splice: Literal["spot", "futures"] = "spot"
    """How a fetched snapshot with id S joins the diffs: spot first <= S+1 <= last; futures first <= S <= last or previous == S."""


class Listing(msgspec.Struct, frozen=True):
    """A REST request that lists instruments of one market."""

    market: str
    url: str
    weight: int = 1


class Rest(msgspec.Struct, frozen=True):
    """How a venue wants to be asked over HTTP."""

    weight_per_minute_max: int = 600
    weight_header: str = ""
    """Response header with the weight used in this minute; empty when the venue has none."""
    ban_statuses: tuple[int, ...] = (403, 418, 429)
    """Statuses after which everything to this venue waits."""
    ban_default_s: float = 60.0
    """Wait when a ban status comes without Retry-After."""


class Venue(msgspec.Struct, frozen=True):
    """Everything truetape knows of one venue."""

    name: str
    title: str
    feeds: tuple[Feed, ...]
    rest: Rest
    listings: tuple[Listing, ...]
    continuity: tuple[Continuity, ...]
    make_decoder: Callable[[Scribe], VenueDecoder]
    read_listing: Callable[[str, bytes], list[Instrument]]
    """(url, body) → instruments; raises msgspec.ValidationError on another shape."""
    name_instrument: Callable[[str, str], Instrument]
    """(market, venue_symbol) → the instrument as its name alone tells it."""
    list_topics: Callable[[Feed, str, Instrument], tuple[str, ...]]
    """(feed, channel, instrument) → the venue's names of what to subscribe; empty when it has none."""
    subscribe: Callable[[Feed, Sequence[str], int], bytes]
    """(feed, topics, request id) → one subscribe message."""
    unsubscribe: Callable[[Feed, Sequence[str], int], bytes]
    fetch_book: Callable[[str, str], tuple[str, int]] | None = None
    """(feed, venue_symbol) → URL of a book snapshot and its weight."""
    answer: Callable[[bytes], bytes | None] | None = None
    """A frame that wants an answer (Deribit's test_request) → the answer; null for every other frame."""
    find_feed: Callable[[str], str | None] = lambda url: None
    """URL of an imported recording's connection or request → the feed it belongs to."""
    group_topic: Callable[[Feed, str], str] = lambda feed, topic: ""
    """(feed, topic) → its group; one message asks for topics of one group only."""
    find_next_page: Callable[[str, bytes], str | None] = lambda url, body: None
    """(url, body) of a listing → URL of its next page; null on the last one, and where listings have one page."""
    prove_book: Callable[[list[tuple[str, str]], list[tuple[str, str]], Instrument], int] | None = None
    """(bids, asks as text, best first; instrument) → checksum of the venue's own making."""
    prove_seal: Callable[[list[tuple[str, str]], list[tuple[str, str]], Seal], str] | None = None
    """(all bids, all asks as text, best first; the row's seal) → the text that `seal.expected` should be."""
    default_markets: tuple[str, ...] = ()
    """Markets taken when the configuration names none; empty: all. For venues that serve one market twice."""
    depth_max: int = 0
    """Levels per side beyond which the venue forgets (Kraken cuts to the subscribed depth); 0: none."""
