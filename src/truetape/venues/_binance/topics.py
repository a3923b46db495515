"""What to ask Binance for, and how."""

from collections.abc import Sequence

import msgspec

from truetape.events.instrument import Instrument
from truetape.venues._contract import Feed

_TOPICS = {
    "trade": "trade",
    "book_change": "depth@100ms",
    "book_snapshot": "depth20@100ms",
    "quote": "bookTicker",
    "ticker": "ticker",
    "candle": "kline_1m",
    "derivative": "markPrice@1s",
    "funding": "markPrice@1s",
    "liquidation": "forceOrder",
}
"""Channel → stream; mark price carries funding too."""


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name the streams of a channel and instrument: symbols in lower case."""
    if channel not in feed.channels or instrument.market != feed.market:
        return ()
    return (f"{instrument.venue_symbol.lower()}@{_TOPICS[channel]}",)


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make a subscribe message."""
    return _make_request("SUBSCRIBE", topics, request)


def unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make an unsubscribe message."""
    return _make_request("UNSUBSCRIBE", topics, request)


def _make_request(method: str, topics: Sequence[str], request: int) -> bytes:
    return msgspec.json.encode({"method": method, "params": list(topics), "id": request})
