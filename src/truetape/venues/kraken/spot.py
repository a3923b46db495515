"""Kraken spot, WebSocket v2: objects with `channel`, `type` and `data`; numbers are JSON numbers.

Documented at https://docs.kraken.com/api/docs/websocket-v2/.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Real, Size, check_levels
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT
from truetape.venues._contract import OnMessage
from truetape.venues.kraken.instrument import read_pairs
from truetape.venues.kraken.link import DEPTH, INTERVALS, Link


class _Book(msgspec.Struct, gc=False):
    symbol: str
    bids: msgspec.Raw
    asks: msgspec.Raw
    checksum: Id | None = None
    timestamp: datetime | None = None  # not on snapshots until 2025


class _Books(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    data: list[_Book]


class _Level(msgspec.Struct, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: Size
    qty: Size
    trade_id: Id
    timestamp: datetime


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Ticker(msgspec.Struct, gc=False):
    symbol: str
    bid: Size
    bid_qty: Size
    ask: Size
    ask_qty: Size
    last: Real | None = None
    volume: Size | None = None
    low: Size | None = None
    high: Size | None = None
    timestamp: datetime | None = None  # since 2025


class _Tickers(msgspec.Struct, gc=False):
    data: list[_Ticker]


class _Bar(msgspec.Struct, gc=False):
    symbol: str
    interval: Id
    interval_begin: datetime
    open: Size
    high: Size
    low: Size
    close: Size
    volume: Size
    trades: Id


class _Bars(msgspec.Struct, gc=False):
    data: list[_Bar]


class _Result(msgspec.Struct, frozen=True, gc=False):
    channel: str | None = None
    symbol: str | None = None
    depth: Id | None = None


class _Envelope(msgspec.Struct, gc=False):
    """What tells frames apart, wherever in the frame it stands."""

    channel: str | None = None
    method: str | None = None
    success: bool = True
    error: str | None = None
    result: _Result | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_BOOKS = msgspec.json.Decoder(_Books)
_LEVELS = msgspec.json.Decoder(list[_Level])
_TRADES = msgspec.json.Decoder(_Trades)
_TICKERS = msgspec.json.Decoder(_Tickers)
_BARS = msgspec.json.Decoder(_Bars)

_HEAD = b'{"channel":"'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEVEL = re.compile(r'\{"price":([0-9.]+),"qty":([0-9.]+)\}')


def listen(link: Link) -> OnMessage:
    """Return the handler of a connection's frames."""
    handlers: dict[bytes, OnMessage] = {
        b"book": _take_books(link),
        b"trade": _take_trades(link),
        b"ticker": _take_tickers(link),
        b"ohlc": _take_bars(link),
        b"instrument": _take_pairs(link),
    }
    find, start = handlers.get, len(_HEAD)

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        handler = find(payload[start : payload.find(b'"', start)])
        if handler is None:
            return judge(payload, received_ns, offset)
        return handler(payload, received_ns, offset)

    def judge(payload: bytes, received_ns: int, offset: int) -> bool:
        said = _ENVELOPE.decode(payload)
        if said.channel is not None:
            handler = find(said.channel.encode())
            if handler is not None:
                return handler(payload, received_ns, offset)
            if said.channel not in {"heartbeat", "status"}:
                raise DecodeError(f"channel {said.channel!r} is not known", "$.channel")
        elif not said.success or said.error is not None:
            link.complain(said.error or "refused without a reason", received_ns, offset)
        elif said.method in {"subscribe", "unsubscribe", "pong"}:
            link.acknowledge(received_ns, offset)
            _note_depth(link, said.result)
        else:
            raise DecodeError(f"method {said.method!r} is not known", "$.method")
        return False

    return take


def _note_depth(link: Link, result: _Result | None) -> None:
    """The subscription's depth is in its confirmation only, not in the frames."""
    if result is not None and result.channel == "book" and result.symbol and result.depth:
        link.scribe.cut_book(link.stream("book_change", result.symbol), result.depth)


def _take_books(link: Link) -> OnMessage:
    decode, append, connection = _BOOKS.decode, link.scribe.books.append, link.connection
    indices = _Indices(link, "book_change")

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        frame = decode(payload)
        what = BOOK_SNAPSHOT if frame.type == "snapshot" else BOOK_DIFF
        for book in frame.data:
            at = book.timestamp
            bids, asks = _read_levels(book.bids), _read_levels(book.asks)
            check_levels(bids + asks, "$.data[...]")
            append(
                (
                    indices[book.symbol], None if at is None else (at - _EPOCH) // _MICROSECOND, received_ns, offset,
                    connection, what, None, None, None, bids, asks, None, book.checksum,
                )
            )  # fmt: skip
        return True

    return take


def _read_levels(raw: msgspec.Raw) -> list[tuple[str, str]]:
    """Read levels with the venue's own digits: the checksum is made of them."""
    # hot: bench/decode.py (twice as fast as decoding each number apart)
    text = str(raw, "ascii")
    levels: list[tuple[str, str]] = _LEVEL.findall(text)
    if len(levels) == text.count("{"):
        return levels
    return [(_write_plainly(level.price), _write_plainly(level.qty)) for level in _LEVELS.decode(raw)]


def _write_plainly(number: msgspec.Raw) -> str:
    """Return a number's digits without exponent."""
    text = str(number, "ascii")
    try:
        return format(Decimal(text), "f")
    except InvalidOperation:
        raise DecodeError(f"{text[:30]} is not a number", "$.data[...]") from None


def _take_trades(link: Link) -> OnMessage:
    decode, append = _TRADES.decode, link.scribe.trades.append
    indices = _Indices(link, "trade")

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        trades = decode(payload).data
        if len(trades) > 1:
            trades.sort(key=lambda trade: trade.trade_id)  # the snapshot's order is not documented
        for trade in trades:
            append(
                (
                    indices[trade.symbol], (trade.timestamp - _EPOCH) // _MICROSECOND, received_ns, offset,
                    trade.trade_id, None, trade.side, trade.price, trade.qty, None, None,
                )
            )  # fmt: skip
        return True

    return take


def _take_tickers(link: Link) -> OnMessage:
    quotes, tickers = link.scribe.quotes, link.scribe.plain("ticker")
    quote_indices, indices = _Indices(link, "quote"), _Indices(link, "ticker")

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        for ticker in _TICKERS.decode(payload).data:
            # A pair that never traded is all zeros, its time included.
            at = (ticker.timestamp - _EPOCH) // _MICROSECOND or None if ticker.timestamp else None
            bid = (ticker.bid, ticker.bid_qty) if ticker.bid_qty else (None, None)
            ask = (ticker.ask, ticker.ask_qty) if ticker.ask_qty else (None, None)
            quotes.append((quote_indices[ticker.symbol], at, received_ns, offset, *bid, *ask, None))
            own = (ticker.last or None, None, bid[0], ask[0], None, ticker.high, ticker.low, ticker.volume, None)
            tickers.append((indices[ticker.symbol], at, received_ns, offset, *own))
        return True

    return take


def _take_bars(link: Link) -> OnMessage:
    rows, indices = link.scribe.plain("candle"), _Indices(link, "candle")

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        for bar in _BARS.decode(payload).data:
            if bar.interval not in INTERVALS:
                raise DecodeError(f"interval of {bar.interval} minutes is not known", "$.data[...].interval")
            own = (bar.open, bar.high, bar.low, bar.close, bar.volume, None, None, bar.trades, None)
            open_us = (bar.interval_begin - _EPOCH) // _MICROSECOND
            rows.append((indices[bar.symbol], None, received_ns, offset, INTERVALS[bar.interval], open_us, *own))
        return True

    return take


def _take_pairs(link: Link) -> OnMessage:
    """Take the `instrument` channel: the listing of all pairs, and its changes while they happen."""

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        for instrument in read_pairs(payload):
            link.scribe.learn(instrument, received_ns, offset)
        return True

    return take


class _Indices(dict[str, int]):
    """Stream index by symbol, found when first asked for."""

    def __init__(self, link: Link, channel: str) -> None:
        super().__init__()
        self.link = link
        self.channel = channel

    def __missing__(self, symbol: str) -> int:
        index = self[symbol] = self.link.stream(self.channel, symbol)
        return index


_PARAMETERS: dict[str, dict[str, Any]] = {
    "book": {"depth": DEPTH},
    "trade": {"snapshot": True},  # the last 50: what a reconnection missed
    "ticker": {"event_trigger": "bbo"},
    "ohlc": {"interval": 1},
}


def ask(method: str, topics: Sequence[str], request: int) -> bytes:
    """Write a subscribe or unsubscribe message; all topics must be of one channel."""
    channel = topics[0].partition(":")[0]
    symbols = [topic.partition(":")[2] for topic in topics]
    params = {"channel": channel, "symbol": symbols, **_PARAMETERS[channel]}
    return msgspec.json.encode({"method": method, "params": params, "req_id": request})
