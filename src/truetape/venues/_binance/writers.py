"""Handlers of Binance's event types: each is built once per stream and connection and appends rows.

A handler takes the combined frame; the names inside messages are the venue's (see `messages`).
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec.json import Decoder

from truetape.events.instrument import Instrument
from truetape.events.number import read_real
from truetape.events.rows import BOOK_DIFF, BOOK_FETCHED, Scribe, Unit
from truetape.venues._binance import messages as m
from truetape.venues._contract import OnMessage

MICROSECONDS_FROM = 10**14
"""A time above this counts microseconds already: in milliseconds it would be the year 5138."""


class Place(NamedTuple):
    """What a handler writes for: one instrument on one connection."""

    scribe: Scribe
    feed: str
    connection: str
    instrument: Instrument

    @property
    def unit(self) -> Unit | None:
        """Contracts of COIN-M count US dollars; everything else is in the base asset."""
        if not self.instrument.is_inverse:
            return None
        size = self.instrument.contract_size
        return Unit(float("nan") if size is None else size, True)

    def number(self, channel: str, product: str = "") -> int:
        """Return the index of the stream of a channel; `product` tells apart what shares a channel but not its ids."""
        instrument = self.instrument
        if product:
            instrument = msgspec.structs.replace(instrument, market=f"{instrument.market}-{product}")
        return self.scribe.stream(channel, self.feed, instrument).index


def wrap(body: bytes) -> bytes:
    """Give a bare payload the combined form that handlers take."""
    return b'{"data":%b}' % body


def to_us(time: int) -> int | None:
    """Turn a time of the venue into microseconds; 0 says that there is none."""
    if not time:
        return None
    return time if time > MICROSECONDS_FROM else time * 1000


def convert(size: float | None, price: float | None, unit: Unit | None) -> float | None:
    """Turn a reported size into the base asset."""
    if size is None or unit is None:
        return size
    return size * unit.size / price if price else None


_FLAGS = {"MARKET": None, "INSURANCE_FUND": "insurance"}
"""`X` of a futures trade; what is not MARKET is no ordinary trade, but its id counts: with them ids are gapless."""


def name_flag(kind: str) -> str | None:
    """Name what sets a trade apart; null for ordinary ones."""
    return _FLAGS.get(kind, kind.lower())


def make_trade(place: Place) -> OnMessage:
    """Handle `trade`: `m` says that the buyer was the maker, so the aggressor sold."""
    decode = Decoder(m.Frame[m.Trade], strict=False).decode
    append, index, unit = place.scribe.trades.append, place.number("trade"), place.unit

    def on_trade(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        t = decode(payload).data
        time = t.T
        append(
            (
                index, time * 1000 if time < MICROSECONDS_FROM else time, received_ns, offset, t.t, None,
                "sell" if t.m else "buy", t.p, t.q, None, None if t.X == "MARKET" else name_flag(t.X),
            )
        )  # fmt: skip
        return True

    def on_contract_trade(payload: bytes, received_ns: int, offset: int) -> bool:
        t = decode(payload).data
        side, flag = "sell" if t.m else "buy", name_flag(t.X)
        amount = convert(t.q, t.p, unit)
        append((index, to_us(t.T), received_ns, offset, t.t, None, side, t.p, amount, t.q, flag))
        return True

    return on_contract_trade if unit else on_trade


def make_block_trade(place: Place) -> OnMessage:
    """Handle `blockTrade` of spot: its ids are a space of their own, so a stream of their own."""
    decode = Decoder(m.Frame[m.Trade], strict=False).decode
    append, index = place.scribe.trades.append, place.number("trade", "block")

    def on_block_trade(payload: bytes, received_ns: int, offset: int) -> bool:
        t = decode(payload).data
        side = "sell" if t.m else "buy"
        append((index, to_us(t.T), received_ns, offset, t.t, None, side, t.p, t.q, None, "block"))
        return True

    return on_block_trade


def make_aggregate(place: Place) -> OnMessage:
    """Handle `aggTrade`: a stream of its own, for its ids are another space than the trades' they merge."""
    decode = Decoder(m.Frame[m.Aggregate], strict=False).decode
    append, index, unit = place.scribe.trades.append, place.number("trade", "aggregate"), place.unit

    def on_aggregate(payload: bytes, received_ns: int, offset: int) -> bool:
        t = decode(payload).data
        side = "sell" if t.m else "buy"
        amount, contracts = (convert(t.q, t.p, unit), t.q) if unit else (t.q, None)
        append((index, to_us(t.T), received_ns, offset, t.a, None, side, t.p, amount, contracts, "aggregate"))
        return True

    return on_aggregate


def make_depth(place: Place) -> OnMessage:
    """Handle `depthUpdate`: the matching time `T` where there is one, else the push time `E`."""
    decode = Decoder(m.Frame[m.Depth], strict=False).decode
    append, index, unit = place.scribe.books.append, place.number("book_change"), place.unit
    connection = place.connection

    def on_depth(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        d = decode(payload).data
        time = d.T or d.E
        append(
            (
                index, time * 1000 if time < MICROSECONDS_FROM else time, received_ns, offset, connection,
                BOOK_DIFF, d.U, d.u, d.pu, d.b, d.a, unit, None,
            )
        )  # fmt: skip
        return True

    return on_depth


def make_fetched(place: Place) -> OnMessage:
    """Handle a REST book."""
    decode = Decoder(m.Frame[m.Picture], strict=False).decode
    append, index, unit = place.scribe.books.append, place.number("book_change"), place.unit
    connection = place.connection

    def on_fetched(payload: bytes, received_ns: int, offset: int) -> bool:
        d = decode(payload).data
        time = to_us(d.T or d.E)
        append((index, time, received_ns, offset, connection, BOOK_FETCHED, None, d.u, None, d.b, d.a, unit, None))
        return True

    return on_fetched


def make_picture(place: Place) -> OnMessage:
    """Handle partial depth (`depth5`, `depth10`, `depth20`): on futures it looks like a change, but is the top."""
    is_spot = place.instrument.market == "spot"
    decode_spot = Decoder(m.Frame[m.Picture], strict=False).decode
    decode_futures = Decoder(m.Frame[m.Depth], strict=False).decode
    append, index, unit = place.scribe.plain("book_snapshot").append, place.number("book_snapshot"), place.unit

    def on_picture(payload: bytes, received_ns: int, offset: int) -> bool:
        d = decode_spot(payload).data if is_spot else decode_futures(payload).data
        bids, asks = ([convert(size, price, unit) for price, size in side] for side in (d.b, d.a))
        prices = [price for price, _ in d.b], [price for price, _ in d.a]
        append((index, to_us(d.T or d.E), received_ns, offset, d.u, prices[0], bids, prices[1], asks))
        return True

    return on_picture


def make_quote(place: Place) -> OnMessage:
    """Handle `bookTicker`: an empty side comes as zeros."""
    decode = Decoder(m.Frame[m.Quote], strict=False).decode
    append, index, unit = place.scribe.quotes.append, place.number("quote"), place.unit

    def on_quote(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        q = decode(payload).data
        time = q.T
        append(
            (
                index, (time * 1000 if time < MICROSECONDS_FROM else time) or None, received_ns, offset,
                q.b or None, q.B or None, q.a or None, q.A or None, q.u,
            )
        )  # fmt: skip
        return True

    def on_contract_quote(payload: bytes, received_ns: int, offset: int) -> bool:
        q = decode(payload).data
        bid, ask = q.b or None, q.a or None
        bids, asks = convert(q.B or None, bid, unit), convert(q.A or None, ask, unit)
        append((index, to_us(q.T), received_ns, offset, bid, bids, ask, asks, q.u))
        return True

    return on_contract_quote if unit else on_quote


def make_kline(place: Place) -> OnMessage:
    """Handle `kline`: on COIN-M `v` counts contracts and `q`, `Q` the base coin."""
    decode = Decoder(m.Frame[m.Kline], strict=False).decode
    append, index, unit = place.scribe.plain("candle").append, place.number("candle"), place.unit

    def on_kline(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = decode(payload).data
        k = frame.k
        volumes = (k.v, k.q, k.V) if unit is None else (k.q, k.v * unit.size, k.Q)
        prices = (k.o, k.h, k.l, k.c)
        head = (index, to_us(frame.E), received_ns, offset)
        append((*head, k.i, to_us(k.t) or 0, *prices, *volumes, k.n, k.x))
        return True

    return on_kline


def make_ticker(place: Place) -> OnMessage:
    """Handle `24hrTicker`: on COIN-M `v` and `Q` count contracts and `q` the base coin."""
    decode = Decoder(m.Frame[m.Ticker], strict=False).decode
    append, index, unit = place.scribe.plain("ticker").append, place.number("ticker"), place.unit

    def on_ticker(payload: bytes, received_ns: int, offset: int) -> bool:
        t = decode(payload).data
        volumes = (t.v, t.q) if unit is None else (t.q, t.v * unit.size)
        last_amount = convert(t.Q, t.c, unit)
        head = (index, to_us(t.E), received_ns, offset)
        append((*head, t.c, last_amount, t.b or None, t.a or None, t.o, t.h, t.l, *volumes))
        return True

    return on_ticker


_NO_GREEKS = (None,) * 6


def make_derivative(place: Place) -> Callable[[m.Mark, int, int], bool]:
    """Write mark price rows, and a funding row whenever the rate or its instant is another."""
    append, index = place.scribe.plain("derivative").append, place.number("derivative")
    note_funding = make_funding(place)

    def write(mark: m.Mark, received_ns: int, offset: int) -> bool:
        time, at = to_us(mark.E), to_us(mark.T)
        rate = read_real(mark.r, "$.data.r") if mark.r and at else None
        head = (index, time, received_ns, offset)
        append((*head, mark.p, mark.i, None, None, None, rate, None, at, *_NO_GREEKS))
        if rate is not None and at is not None:
            note_funding(rate, at, (time, received_ns, offset))
        return True

    return write


def make_mark(place: Place) -> OnMessage:
    """Handle `markPriceUpdate`."""
    decode = Decoder(m.Frame[m.Mark], strict=False).decode
    write = make_derivative(place)

    def on_mark(payload: bytes, received_ns: int, offset: int) -> bool:
        return write(decode(payload).data, received_ns, offset)

    return on_mark


_NEAR_US = 60_000_000
"""An interval is measured only by who watched the settlement: seen within a minute before and after it."""


def make_funding(place: Place) -> Callable[[float, int, tuple[int | None, int, int]], None]:
    """Write funding rows; remembers per instrument [rate, instant, interval hours, last exchange time]."""
    append, index = place.scribe.plain("funding").append, place.number("funding")
    venue, memory = place.scribe.venue, place.scribe.rows.memory
    states = memory.setdefault(f"{venue}.funding", {})
    intervals = memory.setdefault(f"{venue}.funding_interval", {})
    key = f"{place.instrument.market}:{place.instrument.venue_symbol}"

    def note(rate: float, at: int, head: tuple[int | None, int, int]) -> None:
        time = head[0] or 0
        state = states.get(key)
        if state is None:
            state = states[key] = [None, at, intervals.get(key), time]
        elif at > state[1]:
            watched = state[3] > state[1] - _NEAR_US and time - state[3] < _NEAR_US
            state[2] = (at - state[1]) / 3_600_000_000 if watched else intervals.get(key, state[2])
        if state[:2] != [rate, at]:
            append((index, *head, rate, at, state[2], False))
        state[0], state[1], state[3] = rate, at, time

    return note


def make_liquidation(place: Place) -> OnMessage:
    """Handle `forceOrder`: amount filled `z` at the average price `ap`; `S` is the closing order's side."""
    decode = Decoder(m.Frame[m.Force], strict=False).decode
    append, index, unit = place.scribe.plain("liquidation").append, place.number("liquidation"), place.unit

    def on_force(payload: bytes, received_ns: int, offset: int) -> bool:
        o = decode(payload).data.o
        price = o.ap or o.p
        contracts = o.z if unit else None
        head = (index, to_us(o.T), received_ns, offset)
        append((*head, o.S.lower(), price, convert(o.z, price, unit), contracts, o.X))
        return True

    return on_force


def make_interest(place: Place) -> OnMessage:
    """Handle open interest: base asset on USD-M, contracts on COIN-M."""
    decode = Decoder(m.Frame[m.Interest], strict=False).decode
    append, index, unit = place.scribe.plain("derivative").append, place.number("derivative"), place.unit

    def on_interest(payload: bytes, received_ns: int, offset: int) -> bool:
        o = decode(payload).data
        # Without a price, contracts of US dollars have no amount in the base asset.
        amount, contracts = (None, o.openInterest) if unit else (o.openInterest, None)
        head = (index, to_us(o.time), received_ns, offset)
        append((*head, None, None, None, amount, contracts, None, None, None, *_NO_GREEKS))
        return True

    return on_interest


MAKERS: dict[str, Callable[[Place], OnMessage]] = {
    "trade": make_trade,
    "blockTrade": make_block_trade,
    "aggTrade": make_aggregate,
    "depth": make_depth,
    "depth5": make_picture,
    "depth10": make_picture,
    "depth20": make_picture,
    "depthSnapshot": make_fetched,
    "bookTicker": make_quote,
    "kline": make_kline,
    "ticker": make_ticker,
    "markPrice": make_mark,
    "forceOrder": make_liquidation,
    "openInterest": make_interest,
}
"""What follows the @ of a stream's name → its handler. `depthSnapshot` and `openInterest` are Tardis's wrappers
around REST bodies."""

EVENTS: dict[str, str] = {
    "trade": "trade",
    "blockTrade": "blockTrade",
    "aggTrade": "aggTrade",
    "depthUpdate": "depth",
    "bookTicker": "bookTicker",
    "kline": "kline",
    "24hrTicker": "ticker",
    "markPriceUpdate": "markPrice",
    "forceOrder": "forceOrder",
}
"""Event type `e` → the same, for frames without the combined wrapper."""
