"""OKX v3, until 2021: tables of many instruments in raw-deflated frames. Recordings only."""

import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.number import Id, Real, Size, check_levels
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Scribe, Unit
from truetape.venues.okx.instrument import MARKET, convert_size, find_unit, name_instrument
from truetape.venues.okx.state import read_number
from truetape.venues.okx.trading import Level, Side, TextLevel, list_picture

_INFLATED_MAX = 16 * 1024 * 1024


class _Frame(msgspec.Struct, gc=False):
    table: str | None = None
    event: str | None = None
    action: Literal["partial", "update"] | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    errorCode: Id | None = None
    message: str = ""


class _Trade(msgspec.Struct, gc=False):
    instrument_id: str
    trade_id: Id
    side: Side
    price: Size
    timestamp: datetime
    size: Size | None = None  # spot and swap
    qty: Size | None = None  # futures and option


class _Depth(msgspec.Struct, gc=False):
    instrument_id: str
    asks: list[Level]
    bids: list[Level]
    timestamp: datetime
    checksum: Id = 0  # absent in 2019, when levels were numbers


class _TextDepth(msgspec.Struct, gc=False):
    instrument_id: str
    asks: list[TextLevel]
    bids: list[TextLevel]
    timestamp: datetime
    checksum: Id


class _Ticker(msgspec.Struct, gc=False):
    """Tickers, option summaries, mark prices and indexes: each has some of these."""

    instrument_id: str
    timestamp: datetime
    last: str | None = None
    last_qty: str | None = None
    best_bid: str | None = None
    best_ask: str | None = None
    open_24h: str | None = None
    high_24h: str | None = None
    low_24h: str | None = None
    base_volume_24h: str | None = None
    quote_volume_24h: str | None = None
    volume_token_24h: str | None = None
    open_interest: str | None = None
    mark_price: str | None = None
    mark_vol: str | None = None
    delta: str | None = None
    gamma: str | None = None
    vega: str | None = None
    theta: str | None = None


class _Funding(msgspec.Struct, gc=False):
    instrument_id: str
    funding_rate: Real
    funding_time: datetime
    estimated_rate: str = ""
    settlement_time: datetime | None = None  # absent in 2019


class _Bar(msgspec.Struct, gc=False):
    instrument_id: str
    candle: list[str]


_FRAME = msgspec.json.Decoder(_Frame, strict=False)
_TRADES = msgspec.json.Decoder(list[_Trade], strict=False)
_DEPTHS = msgspec.json.Decoder(list[_Depth], strict=False)
_TEXT_DEPTHS = msgspec.json.Decoder(list[_TextDepth], strict=False)
_TICKERS = msgspec.json.Decoder(list[_Ticker], strict=False)
_FUNDINGS = msgspec.json.Decoder(list[_Funding], strict=False)
_BARS = msgspec.json.Decoder(list[_Bar], strict=False)


def inflate(payload: bytes) -> bytes:
    """Inflate a raw-deflated frame; DecodeError when it is broken or larger than 16 MiB."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        text = stream.decompress(payload, _INFLATED_MAX)
    except zlib.error as error:
        raise DecodeError(f"neither JSON nor a deflated frame: {error}") from error
    if not stream.eof:
        raise DecodeError("deflated frame is cut short or larger than 16 MiB")
    return text


def _count_us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


class OldLink:
    """One connection of the v3 feed."""

    __slots__ = ("__weakref__", "_known", "connection", "feed", "scribe")

    def __init__(self, scribe: Scribe, feed: str, connection: str) -> None:
        self.scribe = scribe
        self.feed = feed
        self.connection = connection
        self._known: dict[tuple[str, str], tuple[int, Unit | None]] = {}

    def forget(self) -> None:
        """Look instruments up again, for they changed."""
        self._known.clear()

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message, deflated or not: no deflated JSON begins with a brace."""
        text = payload if payload[:1] == b"{" or payload == b"pong" else inflate(payload)
        if text == b"pong":
            return False
        frame = _FRAME.decode(text)
        if frame.table is None:
            return self._control(frame, received_ns, offset)
        channel = frame.table.partition("/")[2]
        writer = _WRITERS.get("candle" if channel.startswith("candle") else channel)
        if writer is None:
            raise DecodeError(f"table {frame.table!r} is not one of {', '.join(_WRITERS)}", "$.table")
        writer(self, frame, received_ns, offset)
        return True

    def _control(self, frame: _Frame, received_ns: int, offset: int) -> bool:
        if frame.event in ("subscribe", "unsubscribe"):
            self.scribe.acknowledge(self.connection, received_ns, offset)
        elif frame.event == "error":
            self.scribe.complain(self.feed, self.connection, received_ns, offset, frame.errorCode, frame.message)
        else:
            raise DecodeError("neither `table` nor a known `event`")
        return False

    def find(self, name: str) -> Instrument:
        """Return the instrument as listed on this tape, else as its name tells it."""
        return self.scribe.listed(MARKET, name) or name_instrument(MARKET, name)

    def know(self, channel: str, name: str) -> tuple[int, Unit | None]:
        """Return the number of a stream and what one reported unit of it is."""
        key = (channel, name)
        if key not in self._known:
            instrument = self.find(name)
            self._known[key] = (
                self.scribe.stream(channel, self.feed, instrument).index,
                find_unit(instrument),
            )
        return self._known[key]


def _write_trades(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    append = link.scribe.trades.append
    for t in _TRADES.decode(frame.data):
        index, unit = link.know("trade", t.instrument_id)
        size = t.qty if t.size is None else t.size
        if size is None:
            raise DecodeError("neither `size` nor `qty`", "$.data[...]")
        amount, contracts = convert_size(unit, t.price, size)
        head = (index, _count_us(t.timestamp), received_ns, offset)
        append((*head, t.trade_id, None, t.side, t.price, amount, contracts, None))


def _write_books(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    if frame.action is None:
        raise DecodeError("a book without `action`", "$.action")
    depths: list[_Depth] | list[_TextDepth] = _DEPTHS.decode(frame.data)
    if any(d.checksum for d in depths):
        depths = _TEXT_DEPTHS.decode(frame.data)
    what = BOOK_SNAPSHOT if frame.action == "partial" else BOOK_DIFF
    for d in depths:
        index, unit = link.know("book_change", d.instrument_id)
        head = (index, _count_us(d.timestamp), received_ns, offset, link.connection, what, None, None, None)
        bids: list[Any] = list(map(astuple, d.bids))
        asks: list[Any] = list(map(astuple, d.asks))
        if d.checksum:
            check_levels(bids + asks, "$.data[...]")
        link.scribe.books.append((*head, bids, asks, unit, d.checksum or None))


def _write_pictures(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    for d in _DEPTHS.decode(frame.data):
        index, unit = link.know("book_snapshot", d.instrument_id)
        head = (index, _count_us(d.timestamp), received_ns, offset)
        link.scribe.plain("book_snapshot").append((*head, None, *list_picture(unit, d.bids, d.asks)))


def _write_tickers(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    for t in _TICKERS.decode(frame.data):
        if t.last is None:
            raise DecodeError("no `last`", "$.data[...].last")
        if frame.table == "index/ticker":
            _write_derivative(link, t, received_ns, offset, is_index=True)
            continue
        index, unit = link.know("ticker", t.instrument_id)
        last = read_number(t.last)
        base = t.base_volume_24h if unit is None else t.volume_token_24h
        head = (index, _count_us(t.timestamp), received_ns, offset)
        link.scribe.plain("ticker").append(
            (
                *head, last, convert_size(unit, last, read_number(t.last_qty))[0], read_number(t.best_bid),
                read_number(t.best_ask), read_number(t.open_24h), read_number(t.high_24h), read_number(t.low_24h),
                read_number(base), read_number(t.quote_volume_24h),
            )
        )  # fmt: skip
        if t.open_interest is not None:
            _write_derivative(link, t, received_ns, offset)


def _write_states(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    for t in _TICKERS.decode(frame.data):
        _write_derivative(link, t, received_ns, offset)


def _write_derivative(link: OldLink, t: _Ticker, received_ns: int, offset: int, *, is_index: bool = False) -> None:
    index, unit = link.know("derivative", t.instrument_id)
    last, mark = read_number(t.last), _read_finite(t.mark_price)
    contracts = read_number(t.open_interest)
    interest = convert_size(unit, mark or last, contracts)[0]
    iv = _read_finite(t.mark_vol)
    head = (index, _count_us(t.timestamp), received_ns, offset)
    prices = (None, last, None) if is_index else (mark, None, last)
    greeks = [_read_finite(text) for text in (t.delta, t.gamma, t.vega, t.theta)]
    link.scribe.plain("derivative").append(
        (*head, *prices, interest, contracts, None, None, None, None if iv is None else iv * 100, *greeks, None)
    )


def _read_finite(text: str | None) -> float | None:
    """Options about to expire had an infinity sign for greeks and mark price."""
    return None if text in ("∞", "-∞") else read_number(text)


def _write_funding(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    for f in _FUNDINGS.decode(frame.data):
        at, until = _count_us(f.funding_time), f.settlement_time
        head = (None, received_ns, offset)
        index = link.know("derivative", f.instrument_id)[0]
        link.scribe.plain("derivative").append(
            (index, *head, *(None,) * 5, f.funding_rate, read_number(f.estimated_rate), at, *(None,) * 6)
        )
        said = link.scribe.rows.memory.setdefault(f"okx funding {link.feed} {f.instrument_id}", {})
        if said.get("estimate") != [f.funding_rate, at]:
            said["estimate"] = [f.funding_rate, at]
            hours = (_count_us(until) - at) / 3.6e9 if until else None
            index = link.know("funding", f.instrument_id)[0]
            link.scribe.plain("funding").append((index, *head, f.funding_rate, at, hours, False))


_SECONDS = {
    "60": "1m", "180": "3m", "300": "5m", "900": "15m", "1800": "30m", "3600": "1h", "7200": "2h", "14400": "4h",
    "21600": "6h", "43200": "12h", "86400": "1d", "604800": "1w",
}  # fmt: skip


def _write_bars(link: OldLink, frame: _Frame, received_ns: int, offset: int) -> None:
    seconds = (frame.table or "").partition("/candle")[2].removesuffix("s")
    interval = _SECONDS.get(seconds)
    if interval is None:
        raise DecodeError(f"interval of {seconds!r} seconds is not one of {', '.join(_SECONDS)}", "$.table")
    for bar in _BARS.decode(frame.data):
        index, unit = link.know("candle", bar.instrument_id)
        c = bar.candle
        if len(c) not in (6, 7):
            raise DecodeError(f"expected a bar of 6 or 7 fields, got {len(c)}", "$.data[...].candle")
        start = _count_us(msgspec.convert(c[0], datetime))
        base = read_number(c[5]) if unit is None else read_number(c[6]) if len(c) == 7 else None
        prices = [read_number(text) for text in c[1:5]]
        link.scribe.plain("candle").append(
            (index, None, received_ns, offset, interval, start, *prices, base, None, None, None, None)
        )


_WRITERS: dict[str, Callable[[OldLink, _Frame, int, int], None]] = {
    "trade": _write_trades,
    "depth_l2_tbt": _write_books,
    "depth": _write_books,
    "depth5": _write_pictures,
    "ticker": _write_tickers,
    "summary": _write_states,
    "mark_price": _write_states,
    "funding_rate": _write_funding,
    "candle": _write_bars,
}
