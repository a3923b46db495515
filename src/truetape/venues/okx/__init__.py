"""OKX: v5 public and business feeds; recordings of v3 (deflated frames) too.

Derivatives are reported in contracts of ctVal * ctMult, and every number is text. Books carry a checksum
that has been zero since 2026. Documented at https://www.okx.com/docs-v5.
"""

import re
import zlib
from collections.abc import Sequence
from datetime import date
from itertools import zip_longest
from urllib.parse import urlsplit
from weakref import WeakSet

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import (
    Continuity,
    Feed,
    Handler,
    Heartbeat,
    Limits,
    Listing,
    OnMessage,
    Proof,
    Rest,
    Venue,
)
from truetape.venues.okx.bulk import BULK, is_bulk, read_lines
from truetape.venues.okx.history import list_backfills
from truetape.venues.okx.instrument import MARKET, name_instrument, read_listing
from truetape.venues.okx.legacy import OldLink
from truetape.venues.okx.link import Link, Makers
from truetape.venues.okx.rest import decode_body
from truetape.venues.okx.state import STATE
from truetape.venues.okx.trading import TRADING

_PING = Heartbeat("ping", 20.0)  # the answer is the text `pong`; 30 s without anything and the venue cuts
_LIMITS = Limits(
    # A request is at most 64 KB; 480 requests an hour and connection; three connects a second.
    topics_per_connection_max=240, topics_per_message_max=60, message_bytes_max=60_000, messages_per_second_max=2.0,
    connects_per_minute_max=60,
)  # fmt: skip
_FEEDS = (
    Feed(
        "public", MARKET, "wss://ws.okx.com:8443/ws/v5/public",
        ("trade", "book_change", "book_snapshot", "quote", "ticker", "derivative", "funding", "liquidation"), _PING,
        _LIMITS, is_acked_by_topic=True,
    ),
    Feed(
        "business", MARKET, "wss://ws.okx.com:8443/ws/v5/business", ("candle",), _PING, _LIMITS, is_acked_by_topic=True
    ),
    Feed(
        "public_v3", MARKET, "wss://real.okex.com:8443/ws/v3",
        ("trade", "book_change", "book_snapshot", "ticker", "derivative", "funding", "candle"), _PING, _LIMITS,
        dates=(date(2018, 8, 28), date(2022, 3, 1)),
    ),
)  # fmt: skip


_FEED_NAMES = tuple(feed.name for feed in _FEEDS)
_MAKERS: Makers = {**TRADING, **STATE}


class _Decoder:
    """Decodes frames of all feeds."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._links: WeakSet[Link | OldLink] = WeakSet()

    def open(self, feed: str, connection: str) -> OnMessage | Handler:
        """Return the handler of one connection's messages."""
        if feed not in _FEED_NAMES:
            raise DecodeError(f"feed {feed!r} is not one of {', '.join(_FEED_NAMES)}", "feed")
        if feed == "public_v3":
            old = OldLink(self._scribe, feed, connection)
            self._links.add(old)
            return old.decode
        link = self._link(feed, connection)
        self._links.add(link)
        return Handler(link.decode, link.lanes.listed, link.lanes.sort)

    def _link(self, feed: str, connection: str) -> Link:
        return Link(self._scribe, feed, connection, _MAKERS, self._learn)

    def _learn(self, instrument: Instrument, received_ns: int, offset: int) -> None:
        if self._scribe.learn(instrument, received_ns, offset):
            for link in self._links:
                link.forget()

    def respond(self, response: Response) -> bool:
        """Decode a response: a listing, or market data."""
        if is_bulk(response.url):
            return read_lines(self._link(response.feed, response.connection), response)
        if not _LISTING_PATH.fullmatch(urlsplit(response.url).path):
            return decode_body(self._link(response.feed, response.connection), response)
        for instrument in read_listing(response.url, response.body):
            self._learn(instrument, response.received_ns, response.offset)
        return True


_LISTING_PATH = re.compile(r"/api/(v5/public/instruments|(spot|swap|futures|option)/v3/instruments(/[A-Z0-9-]+)?)")
_LIQUIDATED = {"perpetual": "SWAP", "future": "FUTURES", "option": "OPTION"}


def _list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name topics `channel:instId`; liquidations come by type: `liquidation-orders:SWAP`."""
    name, kind = instrument.venue_symbol, instrument.market_type
    if feed.name == "public_v3" or channel not in feed.channels:
        return ()
    if channel == "liquidation":
        return (f"liquidation-orders:{_LIQUIDATED[kind]}",) if kind in _LIQUIDATED else ()
    if channel == "funding":
        return (f"funding-rate:{name}",) if kind == "perpetual" else ()
    if channel == "derivative":
        if kind == "spot":
            return ()
        states = (f"mark-price:{name}", f"open-interest:{name}")
        return (*states, f"funding-rate:{name}") if kind == "perpetual" else states
    names = {
        "trade": "trades",
        "book_change": "books",
        "book_snapshot": "books5",
        "quote": "bbo-tbt",
        "ticker": "tickers",
        "candle": "candle1m",
    }
    return (f"{names[channel]}:{name}",)


def _name_argument(topic: str) -> dict[str, str]:
    channel, _, name = topic.partition(":")
    return {"channel": channel, "instType" if channel == "liquidation-orders" else "instId": name}


def _subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    return msgspec.json.encode({"id": str(request), "op": "subscribe", "args": [_name_argument(t) for t in topics]})


def _unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    return msgspec.json.encode({"id": str(request), "op": "unsubscribe", "args": [_name_argument(t) for t in topics]})


def _find_feed(url: str) -> str | None:
    """Tell by the path alone, for there are many hosts."""
    path = urlsplit(url).path.rstrip("/")
    if path == "/ws/v3" or re.fullmatch(r"/api/(spot|swap|futures|option|index)/v3/.+", path):
        return "public_v3"
    if path == "/ws/v5/business":
        return "business"
    return "public" if path == "/ws/v5/public" or path.startswith("/api/v5/") else None


def _spell_levels(instrument: Instrument, levels: list[tuple[str, str]]) -> list[str]:
    return list(map(":".join, levels))


def _add_up(bids: list[str], asks: list[str]) -> int:
    """Return CRC32, as a signed number, of levels in turns: bid price, bid size, ask price, ask size."""
    # hot: bench/decode.py
    if len(bids) == len(asks):
        levels = bids + asks
        levels[0::2], levels[1::2] = bids, asks
    else:
        levels = [level for pair in zip_longest(bids, asks) for level in pair if level]
    number = zlib.crc32(":".join(levels).encode())
    return number - 2**32 if number >= 2**31 else number


VENUE = Venue(
    name="okx",
    title="OKX",
    feeds=_FEEDS,
    rest=Rest(weight_per_minute_max=600, ban_statuses=(403, 429), ban_default_s=10.0),
    listings=tuple(
        Listing(MARKET, f"https://www.okx.com/api/v5/public/instruments?instType={query}")
        for query in ("SPOT", "SWAP", "FUTURES", "OPTION&uly=BTC-USD", "OPTION&uly=ETH-USD")
    ),
    continuity=(
        # Ids step by one in every recording until 2022-05. Since `trades-all` took over single fills, a row of
        # `trades` may be several fills under the last one's id.
        Continuity("trade", "step"),
        Continuity("trade", "monotone", since=date(2023, 6, 20)),
        # Frames until 2022-05-13 have no ids: their checksums prove them.
        Continuity("book_change", "none", recovery="resubscribe", is_connection_scoped=True),
        Continuity(
            "book_change", "chain", ("public", "business"), since=date(2022, 5, 14), recovery="resubscribe",
            is_connection_scoped=True,
        ),
    ),
    make_decoder=_Decoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=_list_topics,
    subscribe=_subscribe,
    unsubscribe=_unsubscribe,
    find_feed=_find_feed,
    backfills=list_backfills(),
    bulk=BULK,
    proof=Proof(25, _spell_levels, _add_up, is_of_words=True),
)  # fmt: skip
