"""Kraken futures (once Crypto Facilities), WebSocket v1: objects with `feed` and `product_id`.

Sizes count USD on inverse products (PI_, FI_) and base coin on the others.
Documented at https://docs.kraken.com/api/docs/futures-api/websocket/.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.number import Id, Millis, Real, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Unit
from truetape.venues._contract import OnMessage
from truetape.venues.kraken.link import Link, find_unit, to_base

Side = Literal["buy", "sell"]


class _Change(msgspec.Struct, gc=False):
    product_id: str
    side: Side
    seq: Id
    price: Size
    qty: Size
    timestamp: Millis | None = None  # since August 2019


class _Level(msgspec.Struct, gc=False):
    price: Size
    qty: Size


class _Picture(msgspec.Struct, gc=False):
    product_id: str
    timestamp: Millis
    seq: Id
    bids: list[_Level]
    asks: list[_Level]


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    side: Side
    type: str
    seq: Id
    time: Millis
    qty: Size
    price: Size
    uid: str | None = None  # since August 2019


class _Trades(msgspec.Struct, gc=False):
    trades: list[_Trade]


class _Ticker(msgspec.Struct, gc=False):
    product_id: str
    time: Millis
    bid: Size
    ask: Size
    bid_size: Size
    ask_size: Size
    volume: Size
    index: Real
    last: Real
    openInterest: Real
    markPrice: Real
    relative_funding_rate: Real | None = None  # perpetuals
    relative_funding_rate_prediction: Real | None = None
    next_funding_rate_time: Millis | None = None
    volumeQuote: Real | None = None  # since 2023
    open: Size | None = None  # since 2023
    high: Size | None = None
    low: Size | None = None


class _Lite(msgspec.Struct, gc=False):
    product_id: str
    bid: Size
    ask: Size
    volume: Size


class _Envelope(msgspec.Struct, gc=False):
    """What tells frames apart, wherever in the frame it stands."""

    event: str | None = None
    feed: str | None = None
    message: str | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_CHANGE = msgspec.json.Decoder(_Change)
_PICTURE = msgspec.json.Decoder(_Picture)
_TRADE = msgspec.json.Decoder(_Trade)
_TRADES = msgspec.json.Decoder(_Trades)
_TICKER = msgspec.json.Decoder(_Ticker)
_LITE = msgspec.json.Decoder(_Lite)

_HEAD = b'{"feed":"'


class _Stream(NamedTuple):
    number: int
    unit: Unit | None


class _Streams(dict[str, _Stream]):
    """Stream index and unit by product, found when first asked for."""

    def __init__(self, link: Link, channel: str) -> None:
        super().__init__()
        self.link = link
        self.channel = channel

    def __missing__(self, product: str) -> _Stream:
        instrument = self.link.find(product)
        found = self[product] = _Stream(self.link.stream(self.channel, product), find_unit(instrument))
        return found


class Futures:
    """The handlers of one connection."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.streams = {
            channel: _Streams(link, channel)
            for channel in ("trade", "book_change", "quote", "ticker", "derivative", "funding", "liquidation")
        }

    def forget(self) -> None:
        """Look contract sizes up again: a listing changed one."""
        for streams in self.streams.values():
            streams.clear()

    def listen(self) -> OnMessage:
        """Return the handler of the connection's frames."""
        handlers: dict[bytes, Callable[[bytes, int, int], None]] = {
            b"book": self.make_change(),
            b"book_snapshot": self.take_picture,
            b"trade": self.take_trade,
            b"trade_snapshot": self.take_trades,
            b"ticker": self.take_ticker,
            b"ticker_lite": self.take_lite,
        }
        find, start = handlers.get, len(_HEAD)

        def take(payload: bytes, received_ns: int, offset: int) -> bool:
            # hot: bench/decode.py
            handler = find(payload[start : payload.find(b'"', start)])
            if handler is None:
                said = _ENVELOPE.decode(payload)
                handler = find(said.feed.encode()) if said.feed and said.event is None else None
                if handler is None:
                    return self.judge(said, received_ns, offset)
            handler(payload, received_ns, offset)
            return True

        return take

    def judge(self, said: _Envelope, received_ns: int, offset: int) -> bool:
        """Take a frame that is not data."""
        if said.event in {"subscribed", "unsubscribed"}:
            self.link.acknowledge(received_ns, offset)
        elif said.event in {"error", "alert", "subscribed_failed", "unsubscribed_failed"}:
            self.link.complain(f"{said.event}: {said.message or said.feed or ''}", received_ns, offset)
        elif said.event != "info" and said.feed != "heartbeat":
            raise DecodeError(f"feed {said.feed!r} of event {said.event!r} is not known", "$.feed")
        return False

    def make_change(self) -> Callable[[bytes, int, int], None]:
        """Return the handler of a book's changes: one level a frame."""
        decode, append, connection = _CHANGE.decode, self.link.scribe.books.append, self.link.connection
        streams = self.streams["book_change"]

        def take(payload: bytes, received_ns: int, offset: int) -> None:
            # hot: bench/decode.py
            change = decode(payload)
            index, unit = streams[change.product_id]
            at, number, level = change.timestamp, change.seq, [(change.price, change.qty)]
            bids, asks = (level, []) if change.side == "buy" else ([], level)
            append(
                (
                    index, at and at * 1000, received_ns, offset, connection, BOOK_DIFF, number, number, None,
                    bids, asks, unit, None,
                )
            )  # fmt: skip

        return take

    def take_picture(self, payload: bytes, received_ns: int, offset: int) -> None:
        """Take a whole book."""
        picture = _PICTURE.decode(payload)
        index, unit = self.streams["book_change"][picture.product_id]
        bids = [(level.price, level.qty) for level in picture.bids]
        asks = [(level.price, level.qty) for level in picture.asks]
        self.link.scribe.books.append(
            (
                index, picture.timestamp * 1000, received_ns, offset, self.link.connection, BOOK_SNAPSHOT,
                None, picture.seq, None, bids, asks, unit, None,
            )
        )  # fmt: skip

    def take_trade(self, payload: bytes, received_ns: int, offset: int) -> None:
        """Take one trade."""
        self.add_trade(_TRADE.decode(payload), received_ns, offset)

    def take_trades(self, payload: bytes, received_ns: int, offset: int) -> None:
        """Take the last trades, sent on subscription, newest first."""
        for trade in sorted(_TRADES.decode(payload).trades, key=lambda trade: trade.seq):
            self.add_trade(trade, received_ns, offset)

    def add_trade(self, trade: _Trade, received_ns: int, offset: int) -> None:
        """Add a trade, and a liquidation when it is one: the taker's is the order that was forced."""
        index, unit = self.streams["trade"][trade.product_id]
        price, at = trade.price, trade.time * 1000
        amount, contracts = to_base(trade.qty, price, unit), None if unit is None else trade.qty
        flag = None if trade.type == "fill" else trade.type
        self.link.scribe.trades.append(
            (index, at, received_ns, offset, trade.seq, trade.uid, trade.side, price, amount, contracts, flag)
        )
        if flag == "liquidation":
            index = self.streams["liquidation"][trade.product_id].number
            own = (trade.side, price, amount, contracts, flag)
            self.link.scribe.plain("liquidation").append((index, at, received_ns, offset, *own))

    def take_ticker(self, payload: bytes, received_ns: int, offset: int) -> None:
        """Take quote, statistics and the state of the derivative; an empty side and a missing price are 0."""
        said = _TICKER.decode(payload)
        product, scribe = said.product_id, self.link.scribe
        index, unit = self.streams["ticker"][product]
        at, last = said.time * 1000, said.last or None
        bid = (said.bid, to_base(said.bid_size, said.bid, unit)) if said.bid_size else (None, None)
        ask = (said.ask, to_base(said.ask_size, said.ask, unit)) if said.ask_size else (None, None)
        when = (at, received_ns, offset)
        scribe.quotes.append((self.streams["quote"][product].number, *when, *bid, *ask, None))
        volume = _split_volume(said.volume, said.volumeQuote, unit)
        own = (last, None, bid[0], ask[0], said.open, said.high, said.low, *volume)
        scribe.plain("ticker").append((index, *when, *own))
        funding_at = said.next_funding_rate_time * 1000 if said.next_funding_rate_time else None
        scribe.plain("derivative").append(
            (
                self.streams["derivative"][product].number, *when, said.markPrice, said.index, last,
                # Open interest in USD is a base amount at the mark price of the same moment.
                to_base(said.openInterest, said.markPrice, unit), None if unit is None else said.openInterest,
                # `funding_rate` is in currency per contract; the relative one is the fraction.
                said.relative_funding_rate, said.relative_funding_rate_prediction, funding_at,
                None, None, None, None, None, None,
            )
        )  # fmt: skip
        if said.relative_funding_rate is not None and funding_at is not None:
            self.add_funding(product, said.relative_funding_rate, funding_at, when)

    def add_funding(self, product: str, rate: float, funding_at: int, when: tuple[int, int, int]) -> None:
        """Add a funding row when rate or instant changed."""
        known = self.link.scribe.rows.memory.setdefault("kraken funding", {})
        if known.get(product) == [rate, funding_at]:
            return
        known[product] = [rate, funding_at]
        index = self.streams["funding"][product].number
        self.link.scribe.plain("funding").append((index, *when, rate, funding_at, None, False))

    def take_lite(self, payload: bytes, received_ns: int, offset: int) -> None:
        """Take the short ticker, which has no time."""
        said = _LITE.decode(payload)
        index, unit = self.streams["ticker"][said.product_id]
        own = (None, None, said.bid or None, said.ask or None, None, None, None)
        volume = _split_volume(said.volume, None, unit)
        self.link.scribe.plain("ticker").append((index, None, received_ns, offset, *own, *volume))


def _split_volume(volume: float, quote: float | None, unit: Unit | None) -> tuple[float | None, float | None]:
    """Return a day's volume in base and in quote currency: inverse products count the latter only."""
    if unit is not None and unit.is_inverse:
        return None, volume * unit.size
    return volume * unit.size if unit else volume, quote


def ask(method: str, topics: Sequence[str], request: int) -> bytes:
    """Write a subscribe or unsubscribe message; all topics must be of one feed. There are no request ids."""
    feed = topics[0].partition(":")[0]
    return msgspec.json.encode(
        {"event": method, "feed": feed, "product_ids": [topic.partition(":")[2] for topic in topics]}
    )


def list_topics(channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name the feeds to subscribe: much comes with the ticker, liquidations with the trades."""
    feeds = {
        "trade": "trade", "liquidation": "trade", "book_change": "book", "quote": "ticker", "ticker": "ticker",
        "derivative": "ticker", "funding": "ticker",
    }  # fmt: skip
    is_dated = instrument.market_type == "future"
    if channel not in feeds or (channel == "funding" and is_dated):
        return ()
    return (f"{feeds[channel]}:{instrument.venue_symbol}",)
