"""Kraken spot, WebSocket v1: arrays of `[channel id, payload, channel name, pair]`; numbers are text.

Frozen since v2 came, still served; here for recordings. Documented at https://docs.kraken.com/api/docs/websocket-v1/.
"""

from collections.abc import Sequence

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Real, Size, check_levels
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT
from truetape.venues._contract import OnMessage
from truetape.venues.kraken.link import DEPTH, INTERVALS, Link

_Text = tuple[str, ...]


class _Side(msgspec.Struct, gc=False):
    """Levels of price, volume, time and, when sent again, "r"."""

    a: list[_Text] | None = None
    b: list[_Text] | None = None
    as_: list[_Text] | None = msgspec.field(name="as", default=None)
    bs: list[_Text] | None = None
    c: str | None = None


class _Book(msgspec.Struct, array_like=True, gc=False):
    """A change of both sides has two payloads; snapshots of 2019 have null for the second."""

    channel_id: Id
    first: _Side
    second: _Side | str | None


class _Trade(msgspec.Struct, array_like=True, gc=False):
    price: Size
    volume: Size
    time: str
    side: str


class _Trades(msgspec.Struct, array_like=True, gc=False):
    channel_id: Id
    trades: list[_Trade]


class _Spread(msgspec.Struct, array_like=True, gc=False):
    bid: Size
    ask: Size
    time: str
    bid_volume: Size
    ask_volume: Size


class _Spreads(msgspec.Struct, array_like=True, gc=False):
    channel_id: Id
    spread: _Spread


class _Ticker(msgspec.Struct, gc=False):
    """Best: price, whole lots, lots. Statistics: today, last 24 hours."""

    a: tuple[Size, Size, Size]
    b: tuple[Size, Size, Size]
    c: tuple[Real, Real]
    v: tuple[Size, Size]
    l: tuple[Real, Real]  # noqa: E741 - the venue's name
    h: tuple[Real, Real]
    o: tuple[Real, Real]


class _Tickers(msgspec.Struct, array_like=True, gc=False):
    channel_id: Id
    ticker: _Ticker


class _Bar(msgspec.Struct, array_like=True, gc=False):
    time: str
    end: str
    open: Size
    high: Size
    low: Size
    close: Size
    vwap: Real
    volume: Size
    count: Id


class _Bars(msgspec.Struct, array_like=True, gc=False):
    channel_id: Id
    bar: _Bar


class _Event(msgspec.Struct, gc=False):
    """connectionID is not read: it is above int64."""

    event: str
    status: str | None = None
    errorMessage: str | None = None


_EVENT = msgspec.json.Decoder(_Event)
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_NAME = msgspec.json.Decoder(str)
_BOOK = msgspec.json.Decoder(_Book)
_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_SPREADS = msgspec.json.Decoder(_Spreads, strict=False)
_TICKERS = msgspec.json.Decoder(_Tickers, strict=False)
_BARS = msgspec.json.Decoder(_Bars, strict=False)

_SIDES = {"b": "buy", "s": "sell"}


def listen(link: Link) -> OnMessage:
    """Return the handler of a connection's frames; the last two elements say which stream a frame is of."""
    handlers: dict[bytes, OnMessage] = {}

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        tail = payload[payload.rfind(b',"', 0, payload.rfind(b',"')) :]
        handler = handlers.get(tail)
        if handler is not None:
            return handler(payload, received_ns, offset)
        if payload.lstrip()[:1] == b"{":
            return _judge(link, payload, received_ns, offset)
        handler = handlers[tail] = _make(link, payload)
        return handler(payload, received_ns, offset)

    return take


def _judge(link: Link, payload: bytes, received_ns: int, offset: int) -> bool:
    said = _EVENT.decode(payload)
    if said.errorMessage is not None:
        link.complain(said.errorMessage, received_ns, offset)
    elif said.event in {"subscriptionStatus", "pong"}:
        link.acknowledge(received_ns, offset)
    elif said.event not in {"heartbeat", "systemStatus"}:
        raise DecodeError(f"event {said.event!r} is not known", "$.event")
    return False


def _make(link: Link, payload: bytes) -> OnMessage:
    parts = _PARTS.decode(payload)
    if len(parts) not in {4, 5}:
        raise DecodeError(f"array of {len(parts)} elements, not 4 or 5")
    name, pair = _NAME.decode(parts[-2]), _NAME.decode(parts[-1])
    channel, _, number = name.partition("-")
    if channel == "book" and number.isdigit():
        return _take_book(link, pair, int(number))
    if name == "trade":
        return _take_trades(link, pair)
    if name == "spread":
        return _take_spread(link, pair)
    if name == "ticker":
        return _take_ticker(link, pair)
    if channel == "ohlc" and number.isdigit() and int(number) in INTERVALS:
        return _take_bar(link, pair, int(number))
    raise DecodeError(f"channel {name!r} is not known", f"$[{len(parts) - 2}]")


def _take_book(link: Link, pair: str, depth: int) -> OnMessage:
    append, connection = link.scribe.books.append, link.connection
    index = link.stream("book_change", pair)
    link.scribe.cut_book(index, depth)

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        book = _BOOK.decode(payload)
        first = book.first
        second = book.second if isinstance(book.second, _Side) else first
        what = BOOK_DIFF
        bids, asks = second.b or first.b or [], first.a or second.a or []
        if first.as_ is not None or first.bs is not None:
            what, bids, asks = BOOK_SNAPSHOT, first.bs or second.bs or [], first.as_ or second.as_ or []
        checksum = second.c or first.c
        at = max([level[2] for level in bids] + [level[2] for level in asks], default=None)
        cut_bids, cut_asks = _cut(bids), _cut(asks)
        check_levels(cut_bids + cut_asks, "$[1]")
        append(
            (
                index, None if at is None else _read_time(at), received_ns, offset, connection, what, None, None, None,
                cut_bids, cut_asks, None, None if checksum is None else int(checksum),
            )
        )  # fmt: skip
        return True

    return take


def _cut(levels: list[_Text]) -> list[tuple[str, str]]:
    return [(level[0], level[1]) for level in levels]


def _take_trades(link: Link, pair: str) -> OnMessage:
    append, index = link.scribe.trades.append, link.stream("trade", pair)

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        for trade in _TRADES.decode(payload).trades:
            side = _SIDES.get(trade.side)
            if side is None:
                raise DecodeError(f"side {trade.side!r} is not known", "$[1][...][3]")
            append(
                (
                    index, _read_time(trade.time), received_ns, offset, None, None, side, trade.price,
                    trade.volume, None, None,
                )
            )  # fmt: skip
        return True

    return take


def _take_spread(link: Link, pair: str) -> OnMessage:
    append, index = link.scribe.quotes.append, link.stream("quote", pair)

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        spread = _SPREADS.decode(payload).spread
        bid = (spread.bid, spread.bid_volume) if spread.bid_volume else (None, None)
        ask = (spread.ask, spread.ask_volume) if spread.ask_volume else (None, None)
        append((index, _read_time(spread.time) or None, received_ns, offset, *bid, *ask, None))
        return True

    return take


def _take_ticker(link: Link, pair: str) -> OnMessage:
    rows, index = link.scribe.plain("ticker"), link.stream("ticker", pair)

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        said = _TICKERS.decode(payload).ticker
        own = (*said.c, said.b[0], said.a[0], said.o[1], said.h[1], said.l[1], said.v[1], None)
        rows.append((index, None, received_ns, offset, *own))
        return True

    return take


def _take_bar(link: Link, pair: str, minutes: int) -> OnMessage:
    rows, index = link.scribe.plain("candle"), link.stream("candle", pair)

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        bar = _BARS.decode(payload).bar
        open_us = _read_time(bar.end) - minutes * 60_000_000  # the venue gives the bar's end
        own = (bar.open, bar.high, bar.low, bar.close, bar.volume, None, None, bar.count, None)
        rows.append((index, _read_time(bar.time), received_ns, offset, INTERVALS[minutes], open_us, *own))
        return True

    return take


def _read_time(text: str) -> int:
    """Read seconds with six decimals as microseconds, exactly."""
    seconds, _, fraction = text.partition(".")
    if len(seconds) > 11:
        raise DecodeError(f"{text[:30]!r} is not a time", "$[1]")
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


def ask(method: str, topics: Sequence[str], request: int) -> bytes:
    """Write a subscribe or unsubscribe message; all topics must be of one channel."""
    name = topics[0].partition(":")[0]
    extra = {"book": {"depth": DEPTH}, "ohlc": {"interval": 1}}.get(name, {})
    pairs = [topic.partition(":")[2] for topic in topics]
    return msgspec.json.encode(
        {"event": method, "reqid": request, "pair": pairs, "subscription": {"name": name, **extra}}
    )
