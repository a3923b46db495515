"""Binance US: Binance's spot protocol on its own hosts."""

from datetime import date
from functools import partial
from urllib.parse import urlsplit

from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe
from truetape.venues._binance import naming, topics
from truetape.venues._binance.decoder import BinanceDecoder
from truetape.venues._contract import Continuity, Feed, Heartbeat, Limits, Listing, Rest, Venue

NAME = "binance_us"

SPOT = Feed(
    "spot",
    "spot",
    "wss://stream.binance.us:9443/stream",
    ("trade", "book_change", "book_snapshot", "quote", "ticker", "candle"),
    Heartbeat(interval_s=30.0),
    Limits(topics_per_connection_max=1024, topics_per_message_max=100, connects_per_minute_max=60),
    dates=(date(2019, 9, 1), None),
)


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name an instrument by its symbol alone."""
    return naming.name_instrument(NAME, market, venue_symbol, naming.QUOTES_US)


def make_decoder(scribe: Scribe) -> BinanceDecoder:
    """Return a decoder that writes with this scribe."""
    return BinanceDecoder(scribe, {SPOT.name: SPOT.market}, name_instrument)


def find_feed(url: str) -> str | None:
    """Tell the feed of a connection or request."""
    return SPOT.name if (urlsplit(url).hostname or "").endswith(".binance.us") else None


def fetch_book(feed: str, venue_symbol: str) -> tuple[str, int]:
    """Return the address of a book snapshot and its weight."""
    return f"https://api.binance.us/api/v3/depth?symbol={venue_symbol}&limit=5000", 50


VENUE = Venue(
    name=NAME,
    title="Binance US",
    feeds=(SPOT,),
    rest=Rest(weight_per_minute_max=1200, weight_header="X-MBX-USED-WEIGHT-1M", ban_default_s=120.0),
    listings=(Listing("spot", "https://api.binance.us/api/v3/exchangeInfo", 10),),
    continuity=(
        Continuity("trade", "step"),
        Continuity("book_change", "range", recovery="fetch", splice="spot"),
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
)
