"""Bybit: v5 public feeds of spot, linear, inverse and option; recordings of the generations before v5 too.

One socket is one category and frames do not say which: the market is the feed's. Reported sizes are base
coin on spot, linear and option, and USD on inverse. Documented at https://bybit-exchange.github.io/docs/v5.
"""

import re
from collections.abc import Sequence
from datetime import date
from urllib.parse import parse_qs, urlsplit
from weakref import WeakSet

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Continuity, Feed, Handler, Heartbeat, Limits, Listing, Rest, Venue
from truetape.venues.bybit.bulk import BULK, is_bulk, read_lines
from truetape.venues.bybit.history import list_backfills
from truetape.venues.bybit.instrument import find_next_page, name_instrument, read_listing
from truetape.venues.bybit.legacy import SPOT_V1, V2
from truetape.venues.bybit.link import Link, Makers
from truetape.venues.bybit.rest import decode_body
from truetape.venues.bybit.stream import V5

_PING = Heartbeat('{"op":"ping"}', 20.0)
_HOST = "wss://stream.bybit.com"
_CHANNELS = ("trade", "book_change", "quote", "ticker", "candle")
_CONTRACT_CHANNELS = (*_CHANNELS, "derivative", "funding", "liquidation")
_LIMITS = Limits(
    # Arguments of one request stay within 21,000 characters; spot takes 10 a request. 500 connects in 5 minutes.
    topics_per_connection_max=1000, topics_per_message_max=100, message_bytes_max=20_000, connects_per_minute_max=100
)  # fmt: skip
_BEFORE_V5 = (date(2018, 11, 14), date(2023, 4, 5))
"""From the first inverse contract to the day from which recordings hold v5 frames."""

_FEEDS = (
    Feed(
        "spot", "spot", f"{_HOST}/v5/public/spot", _CHANNELS, _PING,
        msgspec.structs.replace(_LIMITS, topics_per_message_max=10),
    ),
    Feed("linear", "linear", f"{_HOST}/v5/public/linear", _CONTRACT_CHANNELS, _PING, _LIMITS),
    Feed("inverse", "inverse", f"{_HOST}/v5/public/inverse", _CONTRACT_CHANNELS, _PING, _LIMITS),
    Feed("option", "option", f"{_HOST}/v5/public/option", ("trade", "book_change", "ticker", "derivative"), _PING,
         _LIMITS),
    Feed("linear_v2", "linear", f"{_HOST}/realtime_public", ("trade", "book_change", "ticker", "derivative"), _PING,
         _LIMITS, dates=_BEFORE_V5),
    Feed("inverse_v2", "inverse", f"{_HOST}/realtime", ("trade", "book_change", "ticker", "derivative"), _PING,
         _LIMITS, dates=_BEFORE_V5),
    Feed("spot_v1", "spot", f"{_HOST}/spot/quote/ws/v2", ("trade", "book_change", "quote"), _PING, _LIMITS,
         dates=_BEFORE_V5),
)  # fmt: skip
_V5_FEEDS = ("spot", "linear", "inverse", "option")
_OLD_FEEDS = ("linear_v2", "inverse_v2", "spot_v1")
_MARKETS = {feed.name: feed.market for feed in _FEEDS}
_MAKERS: dict[str, Makers] = dict.fromkeys(_V5_FEEDS, V5) | {"linear_v2": V2, "inverse_v2": V2, "spot_v1": SPOT_V1}
_LISTING_PATHS = ("/v5/market/instruments-info", "/v2/public/symbols")


class _Decoder:
    """Decodes frames of all feeds."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._links: WeakSet[Link] = WeakSet()

    def open(self, feed: str, connection: str) -> Handler:
        """Return the handler of one connection's messages."""
        link = self._link(feed, connection)
        self._links.add(link)
        return Handler(link.decode, link.lanes.listed, link.lanes.sort)

    def _link(self, feed: str, connection: str) -> Link:
        if feed not in _MARKETS:
            raise DecodeError(f"feed {feed!r} is not one of {', '.join(_MARKETS)}", "feed")
        return Link(self._scribe, feed, _MARKETS[feed], connection, _MAKERS[feed])

    def respond(self, response: Response) -> bool:
        """Decode a response."""
        if is_bulk(response.url):
            return read_lines(self._link(response.feed, response.connection), response)
        path = urlsplit(response.url).path
        if path not in _LISTING_PATHS:
            return decode_body(self._link(response.feed, response.connection), response)
        news = [
            self._scribe.learn(instrument, response.received_ns, response.offset)
            for instrument in read_listing(response.url, response.body)
        ]
        if any(news):
            for link in self._links:
                link.forget()
        return True


def _list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name the topics; v5 feeds only, nobody serves the older ones."""
    symbol = instrument.venue_symbol
    if feed.name not in _V5_FEEDS or channel not in feed.channels:
        return ()
    if channel == "funding" and instrument.market_type != "perpetual":
        return ()
    if feed.name == "option":
        names = {"trade": f"publicTrade.{instrument.base}", "book_change": f"orderbook.100.{symbol}"}
        return (names.get(channel, f"tickers.{symbol}"),)
    prefix = {
        "trade": "publicTrade",
        "book_change": "orderbook.200",
        "quote": "orderbook.1",
        "candle": "kline.1",
        "liquidation": "allLiquidation",
    }.get(channel, "tickers")
    return (f"{prefix}.{symbol}",)


def _subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    return msgspec.json.encode({"op": "subscribe", "args": list(topics), "req_id": str(request)})


def _unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    return msgspec.json.encode({"op": "unsubscribe", "args": list(topics), "req_id": str(request)})


_V5_PATH = re.compile(r"/v5/public/(spot|linear|inverse|option)/?")


def _find_feed(url: str) -> str | None:
    """Tell by the path alone, for there are many hosts."""
    parts = urlsplit(url)
    if stream := _V5_PATH.fullmatch(parts.path):
        return stream[1]
    if parts.path.startswith("/v5/market/"):
        category = parse_qs(parts.query).get("category", [""])[0]
        return category if category in _V5_FEEDS else None
    for prefix, feed in (
        ("/realtime_public", "linear_v2"),
        ("/realtime", "inverse_v2"),
        ("/v2/public/", "inverse_v2"),
        ("/spot/", "spot_v1"),
    ):
        if parts.path.startswith(prefix):
            return feed
    return None


VENUE = Venue(
    name="bybit",
    title="Bybit",
    feeds=_FEEDS,
    # 600 requests in 5 s for an address; over it HTTP 403 "access too frequent" and a ban of 10 minutes.
    rest=Rest(weight_per_minute_max=7200, ban_statuses=(403, 429), ban_default_s=600.0),
    listings=tuple(
        Listing(market.partition("&")[0], f"https://api.bybit.com/v5/market/instruments-info?category={market}&limit=1000")
        for market in ("spot", "linear", "inverse", "option&baseCoin=BTC", "option&baseCoin=ETH", "option&baseCoin=SOL")
    ),
    default_markets=("spot", "linear", "inverse"),  # options are thousands: taken when asked for
    continuity=(
        Continuity("trade", "window"),
        Continuity(
            "book_change", "range", _V5_FEEDS, recovery="resubscribe", is_connection_scoped=True
        ),
        Continuity("quote", "monotone", _V5_FEEDS, is_connection_scoped=True),
        Continuity("book_change", "none", _OLD_FEEDS, recovery="resubscribe", is_connection_scoped=True),
        Continuity("quote", "none", _OLD_FEEDS),
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
    find_next_page=find_next_page,
)  # fmt: skip
