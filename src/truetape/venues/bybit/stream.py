"""Bybit v5: trades, books, quotes, candles and liquidations of the public WebSocket feeds."""

from collections.abc import Callable
from typing import Literal

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Millis, Real, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT
from truetape.venues._contract import OnMessage
from truetape.venues.bybit.link import CLOSING, SIDES, Link, Makers, Side, divide
from truetape.venues.bybit.ticker import on_ticker


class _Trade(msgspec.Struct, gc=False):
    T: Millis
    s: str
    S: Side
    v: Size
    p: Size
    i: str
    BT: bool
    RPI: bool = False  # absent until 2025


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Depth(msgspec.Struct, gc=False):
    b: list[tuple[Size, Size]]
    a: list[tuple[Size, Size]]
    u: Id


class _Book(msgspec.Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: _Depth
    cts: Millis | None = None  # options of 2023 have none


class _Bar(msgspec.Struct, gc=False):
    start: Millis
    interval: str
    open: Size
    high: Size
    low: Size
    close: Size
    volume: Size
    turnover: Real
    confirm: bool


class _Bars(msgspec.Struct, gc=False):
    ts: Millis
    data: list[_Bar]


class _Forced(msgspec.Struct, gc=False):
    T: Millis
    S: Side
    v: Size
    p: Size


class _AllForced(msgspec.Struct, gc=False):
    data: list[_Forced]


class _OldForced(msgspec.Struct, gc=False):
    side: Side
    size: Size
    price: Size
    updatedTime: Millis


class _OneForced(msgspec.Struct, gc=False):
    data: _OldForced


_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_BOOK = msgspec.json.Decoder(_Book, strict=False)
_BARS = msgspec.json.Decoder(_Bars, strict=False)
_ALL_FORCED = msgspec.json.Decoder(_AllForced, strict=False)
_ONE_FORCED = msgspec.json.Decoder(_OneForced, strict=False)

INTERVALS = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "720": "12h", "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip


def name_interval(text: str) -> str:
    """Translate the venue's name of a bar's length."""
    if text not in INTERVALS:
        raise DecodeError(f"interval {text!r} is not one of {', '.join(INTERVALS)}", "$.data[...].interval")
    return INTERVALS[text]


def _flag_trade(trade: _Trade) -> str | None:
    return "block" if trade.BT else "rpi" if trade.RPI else None


def _on_trades(link: Link, symbol: str) -> OnMessage:
    if link.market == "option":
        return _on_option_trades(link)
    if link.is_inverse:
        return _on_inverse_trades(link, symbol)
    index, append = link.index("trade", symbol), link.scribe.trades.append
    decode, sides, name_flag = _TRADES.decode, SIDES, _flag_trade

    def on_trades(payload: bytes, received_ns: int, offset: int) -> bool:
        for t in decode(payload).data:
            flag = name_flag(t) if t.BT or t.RPI else None
            append((index, t.T * 1000, received_ns, offset, None, t.i, sides[t.S], t.p, t.v, None, flag))
        return True

    return on_trades


def _on_inverse_trades(link: Link, symbol: str) -> OnMessage:
    index, append = link.index("trade", symbol), link.scribe.trades.append

    def on_trades(payload: bytes, received_ns: int, offset: int) -> bool:
        for t in _TRADES.decode(payload).data:
            head = (index, t.T * 1000, received_ns, offset)
            append((*head, None, t.i, SIDES[t.S], t.p, divide(t.v, t.p), t.v, _flag_trade(t)))
        return True

    return on_trades


def _on_option_trades(link: Link) -> OnMessage:
    """The topic of option trades names the base coin only: each trade names its contract."""
    append = link.scribe.trades.append

    def on_trades(payload: bytes, received_ns: int, offset: int) -> bool:
        for t in _TRADES.decode(payload).data:
            index = link.index("trade", t.s)
            append((index, t.T * 1000, received_ns, offset, None, t.i, SIDES[t.S], t.p, t.v, None, _flag_trade(t)))
        return True

    return on_trades


def _on_book(link: Link, rest: str) -> OnMessage:
    depth, _, symbol = rest.partition(".")
    if not depth.isdecimal():
        raise DecodeError(f"'orderbook.{rest}' is not a book of numbered depth", "$.topic")
    if depth == "1":
        return _on_best(link, symbol)
    link.claim_depth(symbol, depth)
    index, connection, unit = link.index("book_change", symbol), link.connection, link.unit
    append, decode = link.scribe.books.append, _BOOK.decode
    link.add_books(f"orderbook.{rest}", index)

    def on_book(payload: bytes, received_ns: int, offset: int) -> bool:
        book = decode(payload)
        data = book.data
        u = data.u
        # u = 1 is the first picture after a restart of the service: it replaces the book whatever its type.
        what = BOOK_SNAPSHOT if book.type == "snapshot" or u == 1 else BOOK_DIFF
        at = (book.cts or book.ts) * 1000
        append((index, at, received_ns, offset, connection, what, u, u, None, data.b, data.a, unit, None))
        return True

    return on_book


def _on_best(link: Link, symbol: str) -> OnMessage:
    """Depth 1 is a quote: snapshots only, the last one repeated under its `u` when nothing changes for 3 s."""
    index, is_inverse = link.index("quote", symbol), link.is_inverse
    append, decode = link.scribe.quotes.append, _BOOK.decode

    def on_best(payload: bytes, received_ns: int, offset: int) -> bool:
        book = decode(payload)
        if book.type != "snapshot":
            raise DecodeError("depth 1 sends snapshots only", "$.type")
        data = book.data
        bid, bid_amount = data.b[0] if data.b else (None, None)
        ask, ask_amount = data.a[0] if data.a else (None, None)
        if is_inverse:
            bid_amount, ask_amount = divide(bid_amount, bid), divide(ask_amount, ask)
        at = (book.cts or book.ts) * 1000
        append((index, at, received_ns, offset, bid, bid_amount, ask, ask_amount, data.u))
        return True

    return on_best


def _on_bars(link: Link, rest: str) -> OnMessage:
    index = link.index("candle", rest.partition(".")[2])
    append = link.scribe.plain("candle").append

    def on_bars(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = _BARS.decode(payload)
        for bar in frame.data:
            # Inverse bars count USD in `volume` and coin in `turnover`.
            base, quote = (bar.turnover, bar.volume) if link.is_inverse else (bar.volume, bar.turnover)
            append(
                (
                    index, frame.ts * 1000, received_ns, offset, name_interval(bar.interval), bar.start * 1000,
                    bar.open, bar.high, bar.low, bar.close, base, quote, None, None, bar.confirm,
                )
            )  # fmt: skip
        return True

    return on_bars


def _write_forced(link: Link, symbol: str) -> Callable[[int, int, int, Side, float, float], None]:
    index, append = link.index("liquidation", symbol), link.scribe.plain("liquidation").append

    def write(at_ms: int, received_ns: int, offset: int, side: Side, price: float, size: float) -> None:
        amount, contracts = (divide(size, price), size) if link.is_inverse else (size, None)
        append((index, at_ms * 1000, received_ns, offset, CLOSING[side], price, amount, contracts, None))

    return write


def _on_all_forced(link: Link, symbol: str) -> OnMessage:
    """Every liquidation, since 2025-02-26; the price is the bankruptcy price, not the fill's."""
    write = _write_forced(link, symbol)

    def on_forced(payload: bytes, received_ns: int, offset: int) -> bool:
        for forced in _ALL_FORCED.decode(payload).data:
            write(forced.T, received_ns, offset, forced.S, forced.p, forced.v)
        return True

    return on_forced


def _on_one_forced(link: Link, symbol: str) -> OnMessage:
    """At most one liquidation a second: what there was before `allLiquidation`."""
    write = _write_forced(link, symbol)

    def on_forced(payload: bytes, received_ns: int, offset: int) -> bool:
        forced = _ONE_FORCED.decode(payload).data
        write(forced.updatedTime, received_ns, offset, forced.side, forced.price, forced.size)
        return True

    return on_forced


V5: Makers = {
    "publicTrade": _on_trades,
    "orderbook": _on_book,
    "tickers": on_ticker,
    "kline": _on_bars,
    "allLiquidation": _on_all_forced,
    "liquidation": _on_one_forced,
}
