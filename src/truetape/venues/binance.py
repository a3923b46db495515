"""Binance: spot, USD-margined (USD-M) and coin-margined (COIN-M) futures."""

from datetime import date
from functools import partial
from urllib.parse import urlsplit

from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe
from truetape.venues._binance import naming, topics
from truetape.venues._binance.bulk import BULK
from truetape.venues._binance.decoder import BinanceDecoder
from truetape.venues._binance.history import list_backfills
from truetape.venues._contract import Continuity, Feed, Heartbeat, Limits, Listing, Rest, Venue

NAME = "binance"
_SPLIT = date(2026, 4, 23)
"""USD-M's one WebSocket path became /public and /market; one connection cannot mix them."""

_HEARTBEAT = Heartbeat(interval_s=30.0)
_SPOT_LIMITS = Limits(topics_per_connection_max=1024, topics_per_message_max=100, connects_per_minute_max=60)
"""Five messages a second, pings included; 300 connections in 5 minutes."""

_SPOT_CHANNELS = ("trade", "book_change", "book_snapshot", "quote", "ticker", "candle")
_PUBLIC_CHANNELS = ("trade", "book_change", "book_snapshot", "quote")
_MARKET_CHANNELS = ("derivative", "funding", "liquidation", "candle", "ticker")

FEEDS = (
    Feed("spot", "spot", "wss://stream.binance.com:9443/stream", _SPOT_CHANNELS, _HEARTBEAT, _SPOT_LIMITS),
    Feed(
        "usdm-public", "usdm", "wss://fstream.binance.com/public/stream", _PUBLIC_CHANNELS, _HEARTBEAT, _SPOT_LIMITS,
        dates=(_SPLIT, None),
    ),
    Feed(
        "usdm-market", "usdm", "wss://fstream.binance.com/market/stream", _MARKET_CHANNELS, _HEARTBEAT, _SPOT_LIMITS,
        dates=(_SPLIT, None),
    ),
    Feed(
        "usdm", "usdm", "wss://fstream.binance.com/stream", _PUBLIC_CHANNELS + _MARKET_CHANNELS, _HEARTBEAT,
        _SPOT_LIMITS, dates=(date(2019, 9, 1), _SPLIT),
    ),
    Feed(
        "coinm", "coinm", "wss://dstream.binance.com/stream", _PUBLIC_CHANNELS + _MARKET_CHANNELS, _HEARTBEAT,
        _SPOT_LIMITS,
    ),
)  # fmt: skip

_FUTURES = ("usdm-public", "usdm", "coinm")


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name an instrument by its symbol alone."""
    return naming.name_instrument(NAME, market, venue_symbol, naming.QUOTES)


def make_decoder(scribe: Scribe) -> BinanceDecoder:
    """Return a decoder that writes with this scribe."""
    return BinanceDecoder(scribe, {feed.name: feed.market for feed in FEEDS}, name_instrument)


def find_feed(url: str) -> str | None:
    """Tell the feed of a connection or request."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path
    if not host.endswith((".binance.com", ".binance.vision")):
        return None
    if host.startswith("fstream"):
        group = path.split("/")[1] if path.count("/") else ""
        return f"usdm-{group}" if group in {"public", "market"} else "usdm"
    if host.startswith("dstream") or "/dapi/" in path:
        return "coinm"
    return "usdm-public" if "/fapi/" in path or "/futures/" in path else "spot"


def fetch_book(feed: str, venue_symbol: str) -> tuple[str, int]:
    """Return the address of a book snapshot and its weight: the deepest the venue gives."""
    if feed == "spot":
        return f"https://api.binance.com/api/v3/depth?symbol={venue_symbol}&limit=5000", 250
    if feed == "coinm":
        return f"https://dapi.binance.com/dapi/v1/depth?symbol={venue_symbol}&limit=1000", 20
    return f"https://fapi.binance.com/fapi/v1/depth?symbol={venue_symbol}&limit=1000", 20


VENUE = Venue(
    name=NAME,
    title="Binance",
    feeds=FEEDS,
    # The venue counts per host: spot allows 6000 a minute, futures 2400; the smaller one holds for all.
    rest=Rest(weight_per_minute_max=2400, weight_header="X-MBX-USED-WEIGHT-1M", ban_default_s=120.0),
    listings=(
        Listing("spot", "https://api.binance.com/api/v3/exchangeInfo", 20),
        Listing("usdm", "https://fapi.binance.com/fapi/v1/exchangeInfo", 1),
        Listing("coinm", "https://dapi.binance.com/dapi/v1/exchangeInfo", 1),
    ),
    continuity=(
        Continuity("trade", "step"),
        Continuity("book_change", "range", ("spot",), recovery="fetch", splice="spot"),
        Continuity("book_change", "chain", _FUTURES, recovery="fetch", splice="futures"),
        Continuity("quote", "monotone"),
    ),
    make_decoder=make_decoder,
    read_listing=partial(naming.read_listing, NAME),
    name_instrument=name_instrument,
    list_topics=topics.list_topics,
    subscribe=topics.subscribe,
    unsubscribe=topics.unsubscribe,
    fetch_book=fetch_book,
    find_feed=find_feed,
    backfills=list_backfills(),
    bulk=BULK,
)
