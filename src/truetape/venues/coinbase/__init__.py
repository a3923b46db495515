"""Coinbase: Advanced Trade, and the older Exchange feed with the same matches.

Both give the side of the maker on trades: it is turned here. Advanced Trade numbers the frames of a
connection (`sequence_num`), so that a lost one is seen; the Exchange feed numbers nothing but trades.
"""

from collections.abc import Sequence
from datetime import date
from urllib.parse import urlsplit

import msgspec

from truetape.events.instrument import Instrument
from truetape.venues._contract import Continuity, Feed, Heartbeat, Limits, Listing, Rest, Venue
from truetape.venues.coinbase.decoder import CoinbaseDecoder
from truetape.venues.coinbase.history import list_backfills
from truetape.venues.coinbase.products import MARKETS, NAME, name_instrument, read_listing

_TOPICS = {
    "exchange": {"trade": "matches", "book_change": "level2_batch", "quote": "ticker", "ticker": "ticker"},
    "advanced": {
        "trade": "market_trades",
        "book_change": "level2",
        "quote": "ticker",
        "ticker": "ticker",
        "candle": "candles",
    },
}
"""Feed → channel → the venue's channel; `level2_batch` is the public one of the Exchange feed."""


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name what to subscribe as `channel:product`."""
    name = _TOPICS[feed.name].get(channel)
    if name is None or instrument.market != feed.market:
        return ()
    return (f"{name}:{instrument.venue_symbol}",)


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make a subscribe message; Advanced Trade takes one channel a message."""
    return _make_request("subscribe", feed, topics)


def group_topic(feed: Feed, topic: str) -> str:
    """Group by channel: Advanced Trade takes one a message, of many products."""
    return topic.partition(":")[0] if feed.name == "advanced" else ""


def unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make an unsubscribe message."""
    return _make_request("unsubscribe", feed, topics)


def _make_request(verb: str, feed: Feed, topics: Sequence[str]) -> bytes:
    groups: dict[str, list[str]] = {}
    for topic in topics:
        channel, _, product = topic.partition(":")
        groups.setdefault(channel, []).append(product)
    if feed.name == "exchange":
        channels = [{"name": name, "product_ids": products} for name, products in groups.items()]
        return msgspec.json.encode({"type": verb, "channels": channels})
    if len(groups) != 1:
        raise ValueError(f"Advanced Trade takes one channel a message, got {', '.join(groups)}")
    ((channel, products),) = groups.items()
    return msgspec.json.encode({"type": verb, "product_ids": products, "channel": channel})


def find_feed(url: str) -> str | None:
    """Tell the feed of a connection or request; the Exchange feed was Pro's and GDAX's before."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.startswith("advanced-trade-ws") or (host == "api.coinbase.com" and "/brokerage/" in parts.path):
        return "advanced"
    is_exchange = host.endswith((".exchange.coinbase.com", ".pro.coinbase.com", ".gdax.com"))
    return "exchange" if is_exchange else None


VENUE = Venue(
    name=NAME,
    title="Coinbase",
    feeds=(
        Feed(
            "advanced",
            MARKETS["advanced"],
            "wss://advanced-trade-ws.coinbase.com",
            tuple(_TOPICS["advanced"]),
            Heartbeat(interval_s=20.0),
            # Eight messages a second without a key.
            Limits(topics_per_message_max=50, messages_per_second_max=7.0, connects_per_minute_max=60),
            # Without heartbeats the venue closes channels that say nothing for 60 to 90 s.
            greetings=('{"type":"subscribe","product_ids":["BTC-USD"],"channel":"heartbeats"}',),
            silence_s=15.0,
            dates=(date(2022, 11, 1), None),
        ),
        Feed(
            "exchange",
            MARKETS["exchange"],
            "wss://ws-feed.exchange.coinbase.com",
            tuple(_TOPICS["exchange"]),
            Heartbeat(interval_s=20.0),
            Limits(topics_per_message_max=100, messages_per_second_max=50.0, connects_per_minute_max=60),
        ),
    ),
    rest=Rest(weight_per_minute_max=300),
    listings=(
        Listing(MARKETS["advanced"], "https://api.coinbase.com/api/v3/brokerage/market/products"),
        Listing(MARKETS["exchange"], "https://api.exchange.coinbase.com/products"),
    ),
    continuity=(
        Continuity("trade", "step"),
        Continuity("book_change", "none", recovery="reconnect", is_connection_scoped=True),
        Continuity("quote", "monotone", ("exchange",)),
    ),
    make_decoder=CoinbaseDecoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=list_topics,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    find_feed=find_feed,
    backfills=list_backfills(),
    group_topic=group_topic,
    default_markets=(MARKETS["advanced"],),
)
