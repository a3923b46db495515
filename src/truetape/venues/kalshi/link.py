"""One connection to Kalshi: each message names itself by `type`, and its subscription by `sid`.

A market has one book of bids for Yes and bids for No; a bid for one outcome is an offer of the other at what is
left to a dollar. So every change is told for both outcomes, each of which has a whole book.
"""

from collections.abc import Callable, Mapping
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Id, Moment, Real, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Scribe
from truetape.venues._contract import OnMessage
from truetape.venues.kalshi.ladder import NO, SCALE, YES, Ladders, Mark, Side
from truetape.venues.kalshi.market import MARKET, Market, Register, name_instrument, name_outcome
from truetape.venues.kalshi.times import read_time

T = TypeVar("T")
Level = tuple[float, float]
Outcome = Literal["yes", "no"]


class _Frame(msgspec.Struct, Generic[T], gc=False):
    sid: Id
    seq: Id
    msg: T


class _Unnumbered(msgspec.Struct, Generic[T], gc=False):
    msg: T


class _Kind(msgspec.Struct, gc=False):
    type: str
    sid: Id | None = None
    seq: Id | None = None


class _Change(msgspec.Struct, gc=False):
    market_ticker: str
    price_dollars: Size
    delta_fp: Real
    side: Outcome
    ts: str | None = None
    ts_ms: Moment | None = None


class _Picture(msgspec.Struct, gc=False):
    """A side without offers has no key."""

    market_ticker: str
    yes_dollars_fp: list[tuple[Size, Size]] = []
    no_dollars_fp: list[tuple[Size, Size]] = []


class _Trade(msgspec.Struct, gc=False):
    """`taker_side` was to go after 2026-05-14; `taker_outcome_side` took over."""

    trade_id: str
    market_ticker: str
    yes_price_dollars: Size
    count_fp: Size
    ts_ms: Moment
    taker_outcome_side: Outcome | None = None
    taker_side: Outcome | None = None
    is_block_trade: bool = False


class _Ticker(msgspec.Struct, gc=False):
    market_ticker: str
    price_dollars: Size
    yes_bid_dollars: Size
    yes_ask_dollars: Size
    yes_bid_size_fp: Size
    yes_ask_size_fp: Size
    last_trade_size_fp: Size
    open_interest_fp: Size
    ts_ms: Moment


class _Life(msgspec.Struct, gc=False):
    market_ticker: str
    event_type: str
    result: str = ""
    settlement_value: Size | None = None
    settled_ts: Moment | None = None


class _Channel(msgspec.Struct, gc=False):
    channel: str
    sid: Id


class _Refusal(msgspec.Struct, gc=False):
    code: int
    msg: str
    market_ticker: str = ""


_decode_kind = Decoder(_Kind, strict=False).decode
_NO_GREEKS = (None,) * 10
"""Columns of `derivative` from contracts on."""


class Link:
    """What the handlers of one connection share."""

    def __init__(self, scribe: Scribe, feed: str, connection: str) -> None:
        self.scribe = scribe
        self.feed = feed
        self.connection = connection
        self.ladders = Ladders(scribe)
        self.numbers = self.ladders.open(connection)
        self._handlers = {_name_head(name): make(self) for name, make in MAKERS.items()}

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message; most begin with their type, whose bytes find the handler without parsing."""
        # hot: bench/decode.py
        handler = self._handlers.get(payload.partition(b'",')[0]) or self._find_handler(payload)
        return handler(payload, received_ns, offset)

    def _find_handler(self, payload: bytes) -> OnMessage:
        kind = _decode_kind(payload)
        handler = self._handlers.get(_name_head(kind.type))
        if handler is None:
            raise DecodeError(f"message of type {kind.type!r} has no rule", "$.type")
        return handler

    def take(self, sid: int, seq: int, received_ns: int, offset: int) -> bool:
        """Take a frame's number; False for a repeat."""
        return self.ladders.advance(self.numbers, Mark(self.connection, sid, seq, received_ns, offset))


def find_stream(scribe: Scribe, feed: str, channel: str, ticker: str, outcome: str) -> int:
    """Return the stream of one outcome."""
    symbol = name_outcome(ticker, outcome)
    instrument = scribe.listed(MARKET, symbol) or name_instrument(MARKET, symbol)
    return scribe.stream(channel, feed, instrument).index


class Streams(dict[str, tuple[int, int]]):
    """Streams of one channel: ticker → Yes and No, made when first asked for."""

    def __init__(self, link: Link, channel: str) -> None:
        super().__init__()
        self._where = link.scribe, link.feed, channel

    def __missing__(self, ticker: str) -> tuple[int, int]:
        found = self[ticker] = (find_stream(*self._where, ticker, "Yes"), find_stream(*self._where, ticker, "No"))
        return found


class YesStreams(dict[str, int]):
    """Streams of one channel that is told of Yes alone."""

    def __init__(self, link: Link, channel: str) -> None:
        super().__init__()
        self._where = link.scribe, link.feed, channel

    def __missing__(self, ticker: str) -> int:
        found = self[ticker] = find_stream(*self._where, ticker, "Yes")
        return found


def make_integer(value: float) -> int:
    """Return a decimal of up to six places in millionths."""
    return round(value * SCALE)


def make_levels(side: Mapping[int, int]) -> tuple[list[Level], list[Level]]:
    """Return the bids of one outcome, best first, and the asks of the other that they are."""
    prices = sorted(side, reverse=True)
    bids = [(price / SCALE, side[price] / SCALE) for price in prices]
    return bids, [((SCALE - price) / SCALE, side[price] / SCALE) for price in prices]


def _make_change(link: Link) -> OnMessage:
    """Handle `orderbook_delta`: by how much a level changed."""
    decode, append = Decoder(_Frame[_Change], strict=False).decode, link.scribe.books.append
    change, numbers, connection, streams = (
        link.ladders.change,
        link.numbers,
        link.connection,
        Streams(link, "book_change"),
    )

    def on_change(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        frame = decode(payload)
        sid, seq, msg = frame.sid, frame.seq, frame.msg
        if numbers.get(sid) == seq - 1:
            numbers[sid] = seq
        elif not link.take(sid, seq, received_ns, offset):
            return True
        ticker, is_yes = msg.market_ticker, msg.side == "yes"
        price = round(msg.price_dollars * SCALE)
        size = change((connection, sid), ticker, YES if is_yes else NO, price, round(msg.delta_fp * SCALE))
        bid: list[Level] = []
        ask: list[Level] = []
        # Without a picture the new size is not known: a change of no level still tells that the book is not whole.
        if size is not None:
            if size < 0:
                link.ladders.lose(Mark(connection, sid, seq, received_ns, offset), seq)
                raise DecodeError(f"{ticker}: {msg.side} {msg.price_dollars} falls below zero", "$.msg.delta_fp")
            amount = size / SCALE
            bid, ask = [(price / SCALE, amount)], [((SCALE - price) / SCALE, amount)]
        time = _read_change_time(msg)
        own, other = streams[ticker] if is_yes else streams[ticker][::-1]
        append((own, time, received_ns, offset, connection, BOOK_DIFF, None, seq, None, bid, [], None, None))
        append((other, time, received_ns, offset, connection, BOOK_DIFF, None, seq, None, [], ask, None, None))
        return True

    return on_change


def _read_change_time(msg: _Change) -> int | None:
    """Read the text, which has microseconds, where it still comes."""
    if msg.ts is not None:
        return read_time(msg.ts)
    return None if msg.ts_ms is None else msg.ts_ms * 1000


def _make_picture(link: Link) -> OnMessage:
    """Handle `orderbook_snapshot`: bids of both outcomes."""
    decode, append = Decoder(_Frame[_Picture], strict=False).decode, link.scribe.books.append
    streams = Streams(link, "book_change")

    def on_picture(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = decode(payload)
        msg, mark = frame.msg, Mark(link.connection, frame.sid, frame.seq, received_ns, offset)
        if not link.ladders.advance(link.numbers, mark):
            return True
        sides = _read_side(msg.yes_dollars_fp), _read_side(msg.no_dollars_fp)
        link.ladders.replace(mark, msg.market_ticker, *sides)
        (yes_bids, no_asks), (no_bids, yes_asks) = make_levels(sides[0]), make_levels(sides[1])
        yes, no = streams[msg.market_ticker]
        tail = (None, received_ns, offset, link.connection, BOOK_SNAPSHOT, None, frame.seq, None)
        append((yes, *tail, yes_bids, yes_asks, None, None))
        append((no, *tail, no_bids, no_asks, None, None))
        return True

    return on_picture


def _read_side(levels: list[tuple[float, float]]) -> Side:
    return {make_integer(price): make_integer(size) for price, size in levels if size}


def _make_trade(link: Link) -> OnMessage:
    """Handle `trade`: one row for one execution, told of Yes; who takes No sells Yes."""
    decode, append = Decoder(_Frame[_Trade], strict=False).decode, link.scribe.trades.append
    numbers, streams = link.numbers, YesStreams(link, "trade")

    def on_trade(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        frame = decode(payload)
        sid, seq, t = frame.sid, frame.seq, frame.msg
        if numbers.get(sid) == seq - 1:
            numbers[sid] = seq
        elif not link.take(sid, seq, received_ns, offset):
            return True
        append(
            (
                streams[t.market_ticker], t.ts_ms * 1000, received_ns, offset, None, t.trade_id,
                read_side(t.taker_outcome_side or t.taker_side), t.yes_price_dollars, t.count_fp, None,
                "block" if t.is_block_trade else None,
            )
        )  # fmt: skip
        return True

    return on_trade


def read_side(taker: Outcome | None) -> str | None:
    """Return the aggressor's side on Yes from the outcome that the taker is positioned for."""
    return None if taker is None else "buy" if taker == "yes" else "sell"


def _make_ticker(link: Link) -> OnMessage:
    """Handle `ticker`: best prices, last trade, open interest; its volume is of all time, which no column holds."""
    decode, scribe = Decoder(_Unnumbered[_Ticker], strict=False).decode, link.scribe
    append_quote = scribe.quotes.append
    append_ticker, append_state = scribe.plain("ticker").append, scribe.plain("derivative").append
    quotes, tickers, states = Streams(link, "quote"), YesStreams(link, "ticker"), YesStreams(link, "derivative")

    def on_ticker(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        t = decode(payload).msg
        ticker, time = t.market_ticker, t.ts_ms * 1000
        # A side without offers is sent as a price of 0 or 1 with a size of 0.
        bid = no_ask = bid_size = ask = no_bid = ask_size = None
        if t.yes_bid_size_fp:
            bid, bid_size = t.yes_bid_dollars, t.yes_bid_size_fp
            no_ask = (SCALE - round(bid * SCALE)) / SCALE
        if t.yes_ask_size_fp:
            ask, ask_size = t.yes_ask_dollars, t.yes_ask_size_fp
            no_bid = (SCALE - round(ask * SCALE)) / SCALE
        yes, no = quotes[ticker]
        append_quote((yes, time, received_ns, offset, bid, bid_size, ask, ask_size, None))
        append_quote((no, time, received_ns, offset, no_bid, ask_size, no_ask, bid_size, None))
        last = t.price_dollars or None
        head = (tickers[ticker], time, received_ns, offset)
        append_ticker((*head, last, t.last_trade_size_fp or None, bid, ask, None, None, None, None, None))
        head = (states[ticker], time, received_ns, offset)
        append_state((*head, None, None, last, t.open_interest_fp, *_NO_GREEKS))
        return True

    return on_ticker


def _make_life(link: Link) -> OnMessage:
    """Handle `market_lifecycle_v2`: results become rows; the rest is told by listings, whole."""
    decode, scribe = Decoder(_Frame[_Life], strict=False).decode, link.scribe
    register = Register(scribe, link.feed)

    def on_life(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = decode(payload)
        msg = frame.msg
        link.take(frame.sid, frame.seq, received_ns, offset)
        if msg.event_type not in {"determined", "settled"}:
            return False
        told = Market(
            msg.market_ticker, msg.market_ticker, msg.event_type, "", "",
            result=msg.result, settlement_value_dollars=msg.settlement_value,
        )  # fmt: skip
        resolved_us = None if msg.settled_ts is None else msg.settled_ts * 1_000_000
        register.add_result(told, resolved_us, (received_ns, offset))
        return True

    return on_life


def _make_count(link: Link) -> OnMessage:
    """Handle what is numbered and tells nothing that we keep."""

    def on_count(payload: bytes, received_ns: int, offset: int) -> bool:
        kind = _decode_kind(payload)
        if kind.sid is not None and kind.seq is not None:
            link.take(kind.sid, kind.seq, received_ns, offset)
        return False

    return on_count


def _make_confirmation(link: Link) -> OnMessage:
    """Handle `ok` and `unsubscribed`: numbered like data."""
    count = _make_count(link)

    def on_confirmation(payload: bytes, received_ns: int, offset: int) -> bool:
        link.scribe.acknowledge(link.connection, received_ns, offset)
        return count(payload, received_ns, offset)

    return on_confirmation


def _make_beginning(link: Link) -> OnMessage:
    """Handle `subscribed`: from here on a subscription's frames are numbered."""
    decode = Decoder(_Unnumbered[_Channel], strict=False).decode

    def on_beginning(payload: bytes, received_ns: int, offset: int) -> bool:
        link.numbers.pop(decode(payload).msg.sid, None)
        link.scribe.acknowledge(link.connection, received_ns, offset)
        return False

    return on_beginning


def _make_refusal(link: Link) -> OnMessage:
    """Handle `error`."""
    decode, count = Decoder(_Unnumbered[_Refusal], strict=False).decode, _make_count(link)

    def on_refusal(payload: bytes, received_ns: int, offset: int) -> bool:
        said = decode(payload).msg
        text = f"{said.msg} {said.market_ticker}".rstrip()
        link.scribe.complain(link.feed, link.connection, received_ns, offset, said.code, text)
        return count(payload, received_ns, offset)

    return on_refusal


def _name_head(name: str) -> bytes:
    return f'{{"type":"{name}'.encode()


MAKERS: dict[str, Callable[[Link], OnMessage]] = {
    "orderbook_delta": _make_change,
    "orderbook_snapshot": _make_picture,
    "trade": _make_trade,
    "ticker": _make_ticker,
    "market_lifecycle_v2": _make_life,
    "event_lifecycle": _make_count,
    "event_fee_update": _make_count,
    "subscribed": _make_beginning,
    "ok": _make_confirmation,
    "unsubscribed": _make_confirmation,
    "error": _make_refusal,
}
"""`type` of a message → what makes its handler."""
