"""Bybit v5 over HTTP: bodies of `/v5/market/…` as rows."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Millis, Real, Size
from truetape.events.rows import BOOK_FETCHED, Response
from truetape.venues.bybit.link import SIDES, Link, Side, divide
from truetape.venues.bybit.stream import name_interval
from truetape.venues.bybit.ticker import TickerWriter, read_numbers


class _Body(msgspec.Struct, gc=False):
    result: msgspec.Raw = msgspec.Raw(b"null")
    retCode: Id = 0  # recordings of bodies may have been stripped to the result
    retMsg: str = ""
    time: Millis | None = None


class _Trade(msgspec.Struct, gc=False):
    execId: str
    symbol: str
    price: Size
    size: Size
    side: Side
    time: Millis
    isBlockTrade: bool


class _Trades(msgspec.Struct, gc=False):
    items: list[_Trade] = msgspec.field(name="list")


class _Tickers(msgspec.Struct, gc=False):
    items: list[dict[str, Any]] = msgspec.field(name="list")


class _Bars(msgspec.Struct, gc=False):
    symbol: str
    items: list[tuple[Id, Real, Real, Real, Real, Real, Real]] = msgspec.field(name="list")


class _Charge(msgspec.Struct, gc=False):
    symbol: str
    fundingRate: Real
    fundingRateTimestamp: Millis


class _Charges(msgspec.Struct, gc=False):
    items: list[_Charge] = msgspec.field(name="list")


class _Total(msgspec.Struct, gc=False):
    openInterest: Size
    timestamp: Millis


class _Totals(msgspec.Struct, gc=False):
    symbol: str
    items: list[_Total] = msgspec.field(name="list")


class _Book(msgspec.Struct, gc=False):
    s: str
    b: list[tuple[Size, Size]]
    a: list[tuple[Size, Size]]
    ts: Millis
    u: Id
    cts: Millis | None = None


_BODY = msgspec.json.Decoder(_Body, strict=False)
_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_TICKERS = msgspec.json.Decoder(_Tickers, strict=False)
_BARS = msgspec.json.Decoder(_Bars, strict=False)
_CHARGES = msgspec.json.Decoder(_Charges, strict=False)
_TOTALS = msgspec.json.Decoder(_Totals, strict=False)
_BOOK = msgspec.json.Decoder(_Book, strict=False)


def decode_body(link: Link, response: Response) -> bool:
    """Decode a response of the market endpoints; errors come with HTTP 200 and a `retCode`."""
    path = urlsplit(response.url).path
    body = _BODY.decode(response.body)
    if body.retCode != 0:
        link.scribe.complain(
            response.feed, response.connection, response.received_ns, response.offset, body.retCode, body.retMsg
        )
        return False
    reader = _READERS.get(path)
    if reader is None:
        raise DecodeError(f"{path} is not one of {', '.join(_READERS)}", "url")
    reader(link, response, body)
    return True


def _read_trades(link: Link, response: Response, body: _Body) -> None:
    for t in reversed(_TRADES.decode(body.result).items):  # newest first
        amount, contracts = (divide(t.size, t.price), t.size) if link.is_inverse else (t.size, None)
        flag = "block" if t.isBlockTrade else None
        head = (link.index("trade", t.symbol), t.time * 1000, response.received_ns, response.offset)
        link.scribe.trades.append((*head, None, t.execId, SIDES[t.side], t.price, amount, contracts, flag))


def _read_tickers(link: Link, response: Response, body: _Body) -> None:
    at = None if body.time is None else body.time * 1000
    for item in _TICKERS.decode(body.result).items:
        numbers = read_numbers(item, link.market == "option")
        state: dict[str, Any] = dict(numbers)
        writer = TickerWriter(link, msgspec.convert(item.get("symbol"), str))
        writer.write((at, response.received_ns, response.offset), numbers, state)


def _read_bars(link: Link, response: Response, body: _Body) -> None:
    interval = name_interval(parse_qs(urlsplit(response.url).query).get("interval", [""])[0])
    bars = _BARS.decode(body.result)
    index, append = link.index("candle", bars.symbol), link.scribe.plain("candle").append
    for start, *prices, volume, turnover in reversed(bars.items):  # newest first
        base, quote = (turnover, volume) if link.is_inverse else (volume, turnover)
        head = (index, None, response.received_ns, response.offset)
        append((*head, interval, start * 1000, *prices, base, quote, None, None, None))


def _read_charges(link: Link, response: Response, body: _Body) -> None:
    append = link.scribe.plain("funding").append
    for c in reversed(_CHARGES.decode(body.result).items):  # newest first
        at = c.fundingRateTimestamp * 1000
        index = link.index("funding", c.symbol)
        append((index, at, response.received_ns, response.offset, c.fundingRate, at, None, True))


def _read_totals(link: Link, response: Response, body: _Body) -> None:
    """Open interest of the past: base asset, on inverse US dollars, whose coins nobody tells."""
    totals = _TOTALS.decode(body.result)
    index, append = link.index("derivative", totals.symbol), link.scribe.plain("derivative").append
    for one in reversed(totals.items):  # newest first
        amount, contracts = (None, one.openInterest) if link.is_inverse else (one.openInterest, None)
        head = (index, one.timestamp * 1000, response.received_ns, response.offset)
        append((*head, None, None, None, amount, contracts, *(None,) * 9))


def _read_book(link: Link, response: Response, body: _Body) -> None:
    """Read a picture of the book: at depth 1 a quote, else for joining to the changes around it."""
    book = _BOOK.decode(body.result)
    at = (book.cts or book.ts) * 1000
    head = (link.index("book_change", book.s), at, response.received_ns, response.offset, response.connection)
    link.scribe.books.append((*head, BOOK_FETCHED, book.u, book.u, None, book.b, book.a, link.unit, None))


_READERS: dict[str, Callable[[Link, Response, _Body], None]] = {
    "/v5/market/recent-trade": _read_trades,
    "/v5/market/tickers": _read_tickers,
    "/v5/market/kline": _read_bars,
    "/v5/market/funding/history": _read_charges,
    "/v5/market/open-interest": _read_totals,
    "/v5/market/orderbook": _read_book,
}
