"""Kraken: spot over WebSocket v2, spot over v1 as recordings hold it, and futures."""

from collections.abc import Sequence
from datetime import date
from urllib.parse import urlsplit
from weakref import WeakSet

from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Continuity, Feed, Heartbeat, Limits, Listing, OnMessage, Rest, Venue
from truetape.venues.kraken import futures, history, spot, spot_v1
from truetape.venues.kraken.instrument import FUTURES, PROOF, SPOT, SPOT_V1, name_instrument, read_listing
from truetape.venues.kraken.link import DEPTH, Link


class _Decoder:
    """Kraken's decoder."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self.connections: WeakSet[futures.Futures] = WeakSet()

    def open(self, feed: str, connection: str) -> OnMessage:
        """Return the handler for one connection's messages."""
        link = Link(self.scribe, feed, connection)
        if feed == FUTURES:
            handlers = futures.Futures(link)
            self.connections.add(handlers)
            return handlers.listen()
        return spot_v1.listen(link) if feed == SPOT_V1 else spot.listen(link)

    def respond(self, response: Response) -> bool:
        """Take a listing, or trades of the past."""
        path = urlsplit(response.url).path
        if path == history.PATH:
            return history.decode_trades(self.scribe, SPOT, response)
        if path == history.BARS:
            return history.decode_bars(self.scribe, SPOT, response)
        if path == history.FILLS:
            return history.decode_fills(Link(self.scribe, FUTURES, response.connection), response)
        if path.startswith(history.CHARTS):
            return history.decode_charts(Link(self.scribe, FUTURES, response.connection), response)
        changes = [
            self.scribe.learn(instrument, response.received_ns, response.offset)
            for instrument in read_listing(response.url, response.body)
        ]
        if any(changes):
            for connection in self.connections:
                connection.forget()
        return True


_SPOT_TOPICS = {"trade": "trade", "book_change": "book", "quote": "ticker", "ticker": "ticker", "candle": "ohlc"}
_SPOT_V1_TOPICS = {**_SPOT_TOPICS, "quote": "spread"}


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name what to subscribe as `channel:symbol`."""
    if feed.name == FUTURES:
        return futures.list_topics(channel, instrument)
    names = _SPOT_V1_TOPICS if feed.name == SPOT_V1 else _SPOT_TOPICS
    return (f"{names[channel]}:{instrument.venue_symbol}",) if channel in names else ()


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Write a subscribe message."""
    return _ASK[feed.name]("subscribe", topics, request)


def unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Write an unsubscribe message."""
    return _ASK[feed.name]("unsubscribe", topics, request)


_ASK = {SPOT: spot.ask, SPOT_V1: spot_v1.ask, FUTURES: futures.ask}

_HOSTS = {
    "ws.kraken.com": SPOT_V1, "beta-ws.kraken.com": SPOT_V1, "api.kraken.com": SPOT, "futures.kraken.com": FUTURES,
    "www.cryptofacilities.com": FUTURES,
}  # fmt: skip


def find_feed(url: str) -> str | None:
    """Return the feed of a URL; v2 is a path of v1's host."""
    parts = urlsplit(url)
    feed = _HOSTS.get(parts.hostname or "")
    return SPOT if feed == SPOT_V1 and parts.path.rstrip("/") == "/v2" else feed


_SPOT_CHANNELS = ("trade", "book_change", "quote", "ticker", "candle")

_LIMITS = Limits(topics_per_message_max=50, messages_per_second_max=10.0)


def group_topic(feed: Feed, topic: str) -> str:
    """Group by channel: a subscribe message holds one, of many instruments."""
    return topic.partition(":")[0]


VENUE = Venue(
    name="kraken",
    title="Kraken",
    feeds=(
        Feed(
            name=SPOT,
            market=SPOT,
            url="wss://ws.kraken.com/v2",
            channels=_SPOT_CHANNELS,
            heartbeat=Heartbeat('{"method":"ping"}', 30.0),
            limits=_LIMITS,
            is_acked_by_topic=True,
            silence_s=30.0,  # the venue's heartbeat comes each second
            dates=(date(2023, 1, 1), None),
        ),
        Feed(
            name=SPOT_V1,
            market=SPOT_V1,
            url="wss://ws.kraken.com",
            channels=_SPOT_CHANNELS,
            heartbeat=Heartbeat('{"event":"ping"}', 30.0),
            limits=_LIMITS,
            is_acked_by_topic=True,
            silence_s=30.0,
            dates=(date(2019, 1, 1), date(2026, 7, 10)),  # still answers: the last day of which recordings are known
        ),
        Feed(
            name=FUTURES,
            market=FUTURES,
            url="wss://futures.kraken.com/ws/v1",
            channels=("trade", "book_change", "quote", "ticker", "derivative", "funding", "liquidation"),
            heartbeat=Heartbeat(interval_s=30.0),  # a ping at least every 60 s
            limits=_LIMITS,
            is_acked_by_topic=True,
            greetings=('{"event":"subscribe","feed":"heartbeat"}',),
        ),
    ),
    rest=Rest(weight_per_minute_max=60),
    listings=(
        Listing(SPOT, "https://api.kraken.com/0/public/AssetPairs"),
        Listing(FUTURES, "https://futures.kraken.com/derivatives/api/v3/instruments"),
    ),
    continuity=(
        Continuity("trade", "step", feeds=(SPOT, FUTURES)),
        Continuity("book_change", "none", feeds=(SPOT, SPOT_V1), recovery="resubscribe", is_connection_scoped=True),
        Continuity("book_change", "range", feeds=(FUTURES,), recovery="resubscribe", is_connection_scoped=True),
    ),
    make_decoder=_Decoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=list_topics,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    find_feed=find_feed,
    backfills=history.list_backfills(SPOT, FUTURES),
    group_topic=group_topic,
    proof=PROOF,
    depth_max=DEPTH,
)
