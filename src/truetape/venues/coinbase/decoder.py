"""Tells Coinbase's messages apart and reads its REST answers."""

from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit
from weakref import WeakSet

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Id, Seconds, Size
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Handler, OnMessage
from truetape.venues._paging import read_query
from truetape.venues.coinbase import advanced, exchange
from truetape.venues.coinbase.desk import TAKER, Desk
from truetape.venues.coinbase.history import find_length, name_interval
from truetape.venues.coinbase.products import read_listing
from truetape.venues.coinbase.times import read_time


class _Kind(msgspec.Struct, gc=False):
    """What tells messages of both feeds apart."""

    type: str | None = None
    channel: str | None = None
    message: str = ""
    reason: str = ""


class _Depth(msgspec.Struct, gc=False):
    sequence: Id
    bids: list[tuple[Size, Size, Id]]
    asks: list[tuple[Size, Size, Id]]


class _LastTrade(msgspec.Struct, gc=False):
    price: Size
    size: Size
    bid: Size
    ask: Size
    volume: Size
    time: str


class _Trade(msgspec.Struct, gc=False):
    trade_id: Id
    price: Size
    size: Size
    side: Literal["buy", "sell", "BUY", "SELL"]
    time: str


class _Told(msgspec.Struct):
    trades: msgspec.Raw


_BROKERAGE = "/api/v3/brokerage/market/products/"

_BarRow = tuple[Seconds, Size, Size, Size, Size, Size]
"""The Exchange's bar: start in seconds, low, high, open, close, volume."""


class _Bar(msgspec.Struct, gc=False):
    start: Seconds
    low: Size
    high: Size
    open: Size
    close: Size
    volume: Size


class _Bars(msgspec.Struct, gc=False):
    candles: list[_Bar]


_decode_rows = Decoder(list[_BarRow], strict=False).decode
_decode_bars = Decoder(_Bars, strict=False).decode
_decode_kind = Decoder(_Kind).decode
_decode_trades = Decoder(list[_Trade], strict=False).decode
_decode_told = Decoder(_Told).decode
_decode_depth = Decoder(_Depth, strict=False).decode
_decode_last_trade = Decoder(_LastTrade, strict=False).decode


def _make_error(desk: Desk) -> OnMessage:
    """Handle `error` of both feeds."""

    def on_error(payload: bytes, received_ns: int, offset: int) -> bool:
        error = _decode_kind(payload)
        text = f"{error.message}: {error.reason}" if error.reason else error.message
        desk.scribe.complain(desk.feed, desk.connection, received_ns, offset, None, text)
        return False

    return on_error


_MAKERS: dict[tuple[str, str | None], Callable[[Desk], OnMessage]] = {
    **{("type", name): make for name, make in exchange.MAKERS.items()},
    **{("channel", name): make for name, make in advanced.MAKERS.items()},
    ("type", "error"): _make_error,
}
"""What a message names itself by → its handler."""


def _name_head(key: str, name: str | None) -> bytes:
    return f'{{"{key}":"{name}'.encode()


class CoinbaseDecoder:
    """Decodes the frames of both feeds."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._desks: WeakSet[Desk] = WeakSet()

    def open(self, feed: str, connection: str) -> Handler:
        """Return the handler for one connection's messages."""
        desk = Desk(self._scribe, feed, connection)
        self._desks.add(desk)
        handlers: dict[bytes, OnMessage] = {}
        for (key, name), make in _MAKERS.items():
            handlers[_name_head(key, name)] = make(desk)
        find = handlers.get

        def on_message(payload: bytes, received_ns: int, offset: int) -> bool:
            # hot: bench/decode.py; one C call gives the head that names the message
            handler = find(payload.partition(b'",')[0])
            if handler is None:
                handler = _find_handler(handlers, payload)
            return handler(payload, received_ns, offset)

        return Handler(on_message, desk.lanes.listed, desk.lanes.sort)

    def respond(self, response: Response) -> bool:
        """Decode a REST answer."""
        path = urlsplit(response.url).path
        if path.endswith("/products"):
            return self._learn(response)
        if path.startswith("/products/") and path.endswith("/book"):
            return self._read_depth(response, path.split("/")[2].upper())
        if path.startswith("/products/") and path.endswith("/ticker"):
            return self._read_last_trade(response, path.split("/")[2].upper())
        if path.startswith("/products/") and path.endswith("/trades"):
            return self._read_trades(response, "exchange", path.split("/")[2].upper(), response.body)
        if path.startswith(_BROKERAGE) and path.endswith("/ticker"):
            told = bytes(_decode_told(response.body).trades)
            return self._read_trades(response, "advanced", path.removeprefix(_BROKERAGE).split("/")[0].upper(), told)
        if path.startswith("/products/") and path.endswith("/candles"):
            bars = _decode_rows(response.body)
            return self._read_bars(response, "exchange", path.split("/")[2].upper(), bars)
        if path.startswith(_BROKERAGE) and path.endswith("/candles"):
            told_bars = [
                (b.start, b.low, b.high, b.open, b.close, b.volume) for b in _decode_bars(response.body).candles
            ]
            return self._read_bars(response, "advanced", path.removeprefix(_BROKERAGE).split("/")[0].upper(), told_bars)
        allowed = ", ".join(f"/products/…/{name}" for name in ("book", "ticker", "trades", "candles"))
        raise DecodeError(f"endpoint {path!r} has no rule (allowed: /products, {allowed})")

    def _read_trades(self, response: Response, feed: str, product: str, body: bytes) -> bool:
        """Trades of the past: ids are the stream's, `side` is the maker's there, too."""
        desk = Desk(self._scribe, feed, response.connection)
        index, unit = desk.find("trade", product), desk.units[product]
        for t in reversed(_decode_trades(body)):  # newest first
            amount, contracts = (t.size, None) if unit is None else (t.size * unit.size, t.size)
            head = (index, read_time(t.time), response.received_ns, response.offset, t.trade_id, None)
            self._scribe.trades.append((*head, TAKER[t.side], t.price, amount, contracts, None))
        return True

    def _read_bars(self, response: Response, feed: str, product: str, bars: "list[_BarRow]") -> bool:
        """Bars of the past, newest first: low stands before high, and before the open."""
        interval = name_interval(read_query(response.url).get("granularity", ""))
        if interval is None:
            raise DecodeError(f"address names no interval that has a rule: {response.url[:200]}")
        index, append = (
            Desk(self._scribe, feed, response.connection).find("candle", product),
            self._scribe.plain("candle").append,
        )
        for start, low, high, opened, closed, volume in reversed(bars):
            at = start * 1_000_000
            is_closed = response.received_ns // 1000 >= at + find_length(interval) or None
            head = (index, None, response.received_ns, response.offset)
            append((*head, interval, at, opened, high, low, closed, volume, None, None, None, is_closed))
        return True

    def _learn(self, response: Response) -> bool:
        is_changed = False
        for instrument in read_listing(response.url, response.body):
            is_changed |= self._scribe.learn(instrument, response.received_ns, response.offset)
        if is_changed:
            for desk in self._desks:
                desk.forget()
        return True

    def _read_depth(self, response: Response, product: str) -> bool:
        """A picture: its `sequence` counts order events, which no diff of the feed carries."""
        book = _decode_depth(response.body)
        index = Desk(self._scribe, "exchange", response.connection).find("book_snapshot", product)
        sides = [[level[i] for level in side] for side in (book.bids, book.asks) for i in (0, 1)]
        row = (index, None, response.received_ns, response.offset, book.sequence, *sides)
        self._scribe.plain("book_snapshot").append(row)
        return True

    def _read_last_trade(self, response: Response, product: str) -> bool:
        t = _decode_last_trade(response.body)
        index = Desk(self._scribe, "exchange", response.connection).find("ticker", product)
        head = (index, read_time(t.time), response.received_ns, response.offset)
        row = (*head, t.price, t.size, t.bid or None, t.ask or None, None, None, None, t.volume, None)
        self._scribe.plain("ticker").append(row)
        return True


def _find_handler(handlers: dict[bytes, OnMessage], payload: bytes) -> OnMessage:
    """Tell a message whose first field is another, or that has spaces."""
    kind = _decode_kind(payload)
    key, name = ("channel", kind.channel) if kind.channel is not None else ("type", kind.type)
    handler = handlers.get(_name_head(key, name))
    if handler is None:
        raise DecodeError(f"message of {key} {name!r} has no rule", f"$.{key}")
    return handler
