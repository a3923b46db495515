"""What a venue file must offer: one frozen value, declared, not subclassed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from truetape.events.backfill import Identity
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._sealing import Sealing

if TYPE_CHECKING:  # settings and help read venues, too, and need no numpy
    from truetape.events.run import Integers, Run

OnMessage = Callable[[bytes, int, int], bool]
"""(payload, received_ns, tape offset) → True when the frame carried data, False when it was control.

Raises msgspec.DecodeError, msgspec.ValidationError or truetape DecodeError: the frame is quarantined."""


class Read(Protocol):
    """Decodes messages of one kind and connection by the run."""

    def __call__(
        self, payloads: Sequence[bytes], stream: "Integers", received_ns: "Integers", offset: "Integers"
    ) -> "Run":
        """Return the rows; whatever it raises, the messages are decoded one by one then."""
        ...


class Lane(NamedTuple):
    """Where a message belongs that can be decoded by the run."""

    read: Read
    stream: int
    """Index of its stream."""
    frames_min: int = 96
    """So many messages of its kind must stand together: fewer are cheaper one by one. Long ones are worth it sooner."""


class Handler(NamedTuple):
    """A connection's handler that also tells which messages can be decoded by the run."""

    on_message: OnMessage
    lanes: list[Lane]
    """Where messages may belong; begun anew only while an answer is decoded."""
    sort: "Callable[[list[bytes]], Integers]"
    """(payloads, not empty) → their lanes by number; below 0: to be decoded by itself.

    What a lane takes is never control."""

    def __call__(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message."""
        return self.on_message(payload, received_ns, offset)


class VenueDecoder(Protocol):
    """Turns one venue's frames into rows; remembers nothing beyond what it caches from the scribe."""

    def open(self, feed: str, connection: str) -> OnMessage | Handler:
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
    refusal_codes: tuple[int, ...] = ()
    """Close codes that say that our credentials are refused: trying again cannot help."""
    drain_codes: tuple[tuple[int, float], ...] = ()
    """Close codes that send everybody away at once, and within how many seconds to come back, at random."""


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


class Proof(NamedTuple):
    """How a venue makes a checksum over the best levels of a book, in its own digits."""

    depth: int
    """Levels of each side that count."""
    spell: Callable[[Instrument, list[tuple[str, str]]], list[str]]
    """(instrument, levels as text) → each level as the checksum has it."""
    add_up: Callable[[list[str], list[str]], int]
    """(bids, asks, spelled, best first) → checksum."""
    is_of_words: bool = False
    """Levels are spelled `price:size` whatever the instrument, and added up to the signed CRC32 of bids and asks in turns,
    joined by colons: such books can be kept by the run."""

    def prove(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]], instrument: Instrument) -> int:
        """Return the checksum of levels, best first."""
        sides = (self.spell(instrument, side[: self.depth]) for side in (bids, asks))
        return self.add_up(*sides)


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


class Credentials(msgspec.Struct, frozen=True):
    """How a venue wants to know who asks. The values are the user's: no venue file sees them but to make these."""

    names: tuple[str, ...]
    """What there is to know; each is read from `TRUETAPE_KEY_<VENUE>_<NAME>`."""
    origin: str
    """Where a person gets them."""
    sign: Callable[[Mapping[str, str], str, str, bytes, int], dict[str, str]] | None = None
    """(values by name, method, the venue's own URL, body, now in ms) → headers of one request or handshake."""
    signed_hosts: tuple[str, ...] = ()
    """Hosts whose every request wants these headers; handshakes of feeds that need a key always have them."""
    greet: Callable[[Mapping[str, str]], bytes] | None = None
    """(values by name) → first message on a connection of a feed that needs a key."""


class Told(msgspec.Struct, frozen=True):
    """A stream that an answer tells something of; it has a gap where the answer failed."""

    channel: str
    market: str
    venue_symbol: str
    listed_in: str = ""
    """Market whose listing names it, where its own has none."""


class Ask(msgspec.Struct, frozen=True):
    """One request; `url` is the venue's own, whatever server stands for it."""

    feed: str
    url: str
    weight: int = 1
    reason: str = ""
    method: str = "GET"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers beyond the usual; credentials come from elsewhere."""
    streams: tuple[Told, ...] = ()
    """What the answer is about."""
    page: int = 1
    """Which page of its snapshot it is."""


class Followed(msgspec.Struct, frozen=True):
    """A prediction market that is followed now."""

    slug: str
    condition: str
    tokens: tuple[str, ...]
    opens_us: int
    ends_us: int
    state: str
    """listed, open, ending, ended, proposed, disputed, resolved, settled, unknown."""


class Round(msgspec.Struct, frozen=True):
    """One turn of a poll: what it may go by."""

    now_us: int
    subject: str
    """One of those that `Poll.list_subjects` named."""
    markets: tuple[Followed, ...] = ()
    since_us: int = 0
    """When the last turn that went well began; 0: there was none."""


class Poll(msgspec.Struct, frozen=True):
    """Something that is asked for on a schedule; its answers are frames like any."""

    name: str
    market: str
    """Product line that it belongs to; chosen as those of feeds are."""
    feed: str
    """What its frames are called by."""
    channels: tuple[str, ...]
    """Channels of ours that it serves."""
    interval_s: float
    make_asks: Callable[[Round], Sequence[Ask]]
    """What to ask this time; nothing: there is nothing to ask for now."""
    list_subjects: Callable[[Sequence[str]], Sequence[str]] = lambda wanted: ("",)
    """(instruments of the settings) → what each has a schedule of its own."""
    follow: Callable[[Ask, bytes], Ask | None] = lambda ask, body: None
    """(what was asked, the answer) → the next page of the same snapshot; null: that was the last."""
    find_fault: Callable[[bytes], str] = lambda body: ""
    """What an answer of status 200 complains of; empty: nothing."""
    allowance: tuple[int, float] = (60, 60.0)
    """So many requests within so many seconds, pages included."""
    attempts_max: int = 1
    """Tries of one request within one turn, the first included."""
    pages_max: int = 20
    """Pages of one snapshot; one with more has failed."""
    parallel_max: int = 1
    """Snapshots under way at once."""
    patience_s: float = 10.0
    """A turn that takes longer has failed."""
    failures_max: int = 5
    """So many turns that fail one after the other are worth an alert."""
    needs_key: bool = False
    is_substitute: bool = False
    """Asked only where the feed that streams the same is left out for want of a key."""


class BrowserPage(msgspec.Struct, frozen=True):
    """A web page whose own requests are listened to: the last resort where nothing else can be asked."""

    name: str
    market: str
    feed: str
    channels: tuple[str, ...]
    list_subjects: Callable[[Sequence[str]], Sequence[str]]
    """(instruments of the settings) → what each has a page of its own."""
    name_url: Callable[[str], str]
    """(subject) → address of its page."""
    is_wanted: Callable[[str], bool]
    """(URL) → whether the answer is worth keeping."""
    name_streams: Callable[[str], tuple[Told, ...]]
    """(subject) → what its answers are about."""
    silence_s: float = 15.0
    """No answer for so long: the page is loaded anew."""


class Stretch(msgspec.Struct, frozen=True):
    """A part of a stream's past."""

    venue_symbol: str
    from_us: int
    to_us: int
    low: int | None = None
    """First number wanted: a trade's id, or the time that a row is about in microseconds; null: not known."""
    high: int | None = None
    interval: str = ""
    """Of candles."""


class Backfill(msgspec.Struct, frozen=True):
    """How the past of a channel is asked for."""

    channel: str
    market: str
    feed: str
    """What its frames are called by."""
    begin: Callable[[Stretch], str]
    """The address of the first page."""
    follow: Callable[[Stretch, str, bytes], str | None]
    """(stretch, address of a page, its body) → address of the next one; null: that was the last.

    Raises msgspec.DecodeError or truetape DecodeError on another shape, LookupError with the venue's words when it
    says that it has none of it."""
    identity: Identity = "step"
    """How its rows are told apart: numbers without holes, numbers that only grow, text ids, when they were received."""
    weight: int = 1
    allowance: tuple[int, float] | None = None
    """So much weight within so many seconds; null: as the venue's other requests."""
    is_numbered_apart: bool = False
    """The number is not the trade's id, so that only the ledger's evidence tells which are missing."""
    is_merged: bool = False
    """A row of the stream may be several of the history's, under the last one's number."""
    kind: str = ""
    """Kind of its rows, where the channel that is asked for is a part of one (open interest); empty: the channel."""
    intervals: tuple[str, ...] = ()
    """Which there are, of channels that have any."""
    product: str = ""
    """What else shares kind and instrument, and has ids of its own (aggregate trades); empty: nothing."""


class BulkFile(msgspec.Struct, frozen=True):
    """One file that a venue publishes of a stream's past."""

    url: str
    """Its address; blocks of its lines are answers of this address on the tape."""
    backfill: Backfill
    """What its rows are; its `begin` and `follow` are never called."""
    venue_symbol: str
    from_us: int
    to_us: int
    """Its last microsecond."""
    interval: str = ""
    """Of candles."""
    parts: tuple["BulkFile", ...] = ()
    """Files of shorter times that hold the same, to be asked for where this one is not there."""

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.url.rpartition("/")[2]


class Bulk(msgspec.Struct, frozen=True):
    """How a venue publishes its past as files."""

    format: str
    """Name of their form for `truetape import`."""
    channels: tuple[str, ...]
    list_files: Callable[[str, str, Stretch], tuple[BulkFile, ...]]
    """(market, channel, stretch) → files that hold it, oldest first. Raises LookupError that says why there are none."""
    read_path: Callable[[str, str], BulkFile]
    """(path on disk with `/`, market or empty) → what the file is. Raises LookupError that says what is allowed."""
    check_lines: Callable[[str, bytes], None]
    """(address, first lines of the file) → nothing. Raises msgspec.DecodeError or DecodeError when they are of another form."""
    checksum_suffix: str = ""
    """What an address ends with where the venue publishes the file's SHA-256; empty: it does not."""
    allowance: tuple[int, float] = (120, 60.0)
    """So many files within so many seconds."""


Phase = Literal["trading", "closed", "proposed", "disputed", "resolved"]


class MarketVersion(msgspec.Struct, frozen=True):
    """What one answer says of a prediction market."""

    slug: str
    condition: str
    instruments: dict[str, Instrument]
    """Outcome's name → what to subscribe for it."""
    phase: Phase
    """How far the venue's own word goes; `resolved` only when it is a label."""
    handle: str = ""
    """What to ask for it by, where that is not the slug: the event that it belongs to."""
    opens_us: int | None = None
    """Start of the window whose prices decide; null for markets without one."""
    ends_us: int | None = None
    payouts: dict[str, float] = {}
    """Outcome's name → what a share is paid, once resolved."""
    is_priced: bool = False
    """The venue has published both prices that decided."""
    asset: str = ""
    series: str = ""
    id: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    volume: float | None = None


class Wanted(msgspec.Struct, frozen=True):
    """Which prediction markets the settings ask for."""

    series: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    slugs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: str = "open"
    volume_min: float = 0.0

    @property
    def is_generic(self) -> bool:
        """Tell whether anything but series is asked for."""
        return bool(self.ids or self.slugs or self.tags or self.categories or self.volume_min)


class Discovery(msgspec.Struct, frozen=True):
    """How a venue's prediction markets are found, and followed until they are resolved."""

    market: str
    """Feeds of this market carry their outcomes; the ordinary listing of it is not used then."""
    series: tuple[str, ...]
    assets: tuple[str, ...]
    name_windows: Callable[[Wanted, int], tuple[tuple[str, int, int], ...]]
    """(wanted, now in s) → (slug, first second, end) of this window and the next, of series that can be counted."""
    list_urls: Callable[[Wanted, int], tuple[str, ...]]
    """(wanted, now in s) → listings that tell of all others; pages follow by `find_next_page`."""
    ask_urls: Callable[[Sequence[str]], tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]
    """handles → requests: URLs whose answers together tell of some of the handles, and these."""
    read: Callable[[str, bytes], tuple[list[MarketVersion], list[str]]]
    """(url, body) → markets, and why others are refused; raises as `read_listing` does."""
    tells: Callable[[str], bool]
    """Whether the answer to a URL tells of markets."""
    is_wanted: Callable[[Wanted, MarketVersion], bool]
    """Whether the settings ask for this market."""
    list_s: float = 600.0
    """Listings are read at least this often."""
    filters: tuple[str, ...] = ("ids", "slugs", "tags", "categories", "status", "volume_min")
    """Filters of the settings that it can tell markets by."""


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
    proof: Proof | None = None
    """How the checksums of its book rows are made; null for venues whose frames have none."""
    sealing: Sealing | None = None
    """How the seals of its book rows are proven; null for venues whose frames seal nothing."""
    default_markets: tuple[str, ...] = ()
    """Markets taken when the configuration names none; empty: all. For venues that serve one market twice."""
    credentials: Credentials | None = None
    """Who we are, for feeds, polls and hosts that want to know."""
    name_wanted: Callable[[Sequence[str]], list[Instrument]] | None = None
    """Names of the settings → instruments, for venues that list nothing and take each at its word."""
    name_url: Callable[[Feed, Sequence[str]], str] | None = None
    """(feed, topics) → the address that subscribes them, where no message does."""
    polls: tuple[Poll, ...] = ()
    """What is asked for on a schedule."""
    pages: tuple[BrowserPage, ...] = ()
    """What a browser can read where nothing else is left."""
    backfills: tuple[Backfill, ...] = ()
    """How its past is asked for."""
    bulk: Bulk | None = None
    """How it publishes its past as files; null: it does not."""
    depth_max: int = 0
    """Levels per side beyond which the venue forgets (Kraken cuts to the subscribed depth); 0: none."""
    forget: Callable[[dict[str, dict[str, Any]], Collection[str]], None] | None = None
    """(rows' memory; slugs, conditions, tokens and symbols of outcomes that are over) → drop what is kept of them."""
    discovery: Discovery | None = None
    """How prediction markets are found and followed; null for venues that have none."""
    explain: Callable[[bytes], str] = lambda body: ""
    """Body of an answer that refuses us → what it says, in half a line; empty: nothing."""
