"""Bybit before v5: the v2 feeds of linear and inverse contracts, and the first spot feed. Recordings only."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from truetape.events.number import Id, Millis, Moment, Size, read_real
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT
from truetape.venues._contract import OnMessage
from truetape.venues.bybit.link import SIDES, Link, Makers, Side, divide
from truetape.venues.bybit.ticker import Numbers, TickerWriter


class _Trade(msgspec.Struct, gc=False):
    price: Size
    size: Size
    side: Side
    trade_id: str
    timestamp: datetime
    trade_time_ms: Millis | None = None  # inverse trades of 2019 have the ISO time only


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Level(msgspec.Struct, gc=False):
    price: Size
    side: Side
    size: Size = 0.0  # absent where the level is deleted


class _Picture(msgspec.Struct, gc=False):
    order_book: list[_Level]


class _Changes(msgspec.Struct, gc=False):
    delete: list[_Level]
    update: list[_Level]
    insert: list[_Level]


class _Kind(msgspec.Struct, gc=False):
    type: Literal["snapshot", "delta"]
    cross_seq: Id
    timestamp_e6: Moment
    data: msgspec.Raw


_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_KIND = msgspec.json.Decoder(_Kind, strict=False)
_PICTURE = msgspec.json.Decoder(_Picture | list[_Level], strict=False)
_CHANGES = msgspec.json.Decoder(_Changes, strict=False)


def _on_trades(link: Link, symbol: str) -> OnMessage:
    index, append = link.index("trade", symbol), link.scribe.trades.append

    def on_trades(payload: bytes, received_ns: int, offset: int) -> bool:
        for t in _TRADES.decode(payload).data:
            at = _count_us(t.timestamp) if t.trade_time_ms is None else t.trade_time_ms * 1000
            amount, contracts = (divide(t.size, t.price), t.size) if link.is_inverse else (t.size, None)
            append((index, at, received_ns, offset, None, t.trade_id, SIDES[t.side], t.price, amount, contracts, None))
        return True

    return on_trades


def _count_us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _on_book(link: Link, symbol: str) -> OnMessage:
    """25 levels; `cross_seq` only grows, so that a missing frame cannot be told."""
    return _make_book(link, symbol, "25")


def _on_deep_book(link: Link, rest: str) -> OnMessage:
    return _make_book(link, rest.removeprefix("100ms."), "200")


def _make_book(link: Link, symbol: str, depth: str) -> OnMessage:
    link.claim_depth(symbol, depth)
    index, append, connection = link.index("book_change", symbol), link.scribe.books.append, link.connection

    def on_book(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = _KIND.decode(payload)
        if frame.type == "snapshot":
            what, picture = BOOK_SNAPSHOT, _PICTURE.decode(frame.data)
            levels = picture if isinstance(picture, list) else picture.order_book
        else:
            what, changes = BOOK_DIFF, _CHANGES.decode(frame.data)
            levels = changes.delete + changes.update + changes.insert
        bids = [(level.price, level.size) for level in levels if level.side == "Buy"]
        asks = [(level.price, level.size) for level in levels if level.side == "Sell"]
        head = (index, frame.timestamp_e6, received_ns, offset, connection, what)
        append((*head, None, frame.cross_seq, None, bids, asks, link.unit, None))
        return True

    return on_book


_INFO_SCALES = {"_e4": 1e4, "_e6": 1e6, "_e8": 1e8, "": 1.0}
_INFO_FIELDS = {
    "last_price": "last", "mark_price": "mark", "index_price": "index", "open_interest": "interest",
    "open_value": "value",
    "funding_rate": "rate", "predicted_funding_rate": "next_rate", "high_price_24h": "high", "low_price_24h": "low",
    "prev_price_24h": "open", "volume_24h": "volume", "turnover_24h": "turnover",
}  # fmt: skip
_INFO_NAMES = {
    field + tail: (key, scale) for field, key in _INFO_FIELDS.items() for tail, scale in _INFO_SCALES.items()
}
"""Fields come scaled: `last_price_e4` is the price times 10^4, `open_interest` of inverse is plain USD."""


class _InfoChanges(msgspec.Struct, gc=False):
    update: list[dict[str, Any]]


_INFO_PICTURE = msgspec.json.Decoder(dict[str, Any], strict=False)
_INFO_CHANGES = msgspec.json.Decoder(_InfoChanges, strict=False)


def _read_info(data: dict[str, Any]) -> Numbers:
    found: Numbers = {}
    for name, value in data.items():
        if name in _INFO_NAMES:
            key, scale = _INFO_NAMES[name]
            found[key] = read_real(value, f"$.data.{name}") / scale
    if data.get("next_funding_time"):
        found["next"] = _count_us(msgspec.convert(data["next_funding_time"], datetime)) / 1000
    return found


def _on_info(link: Link, rest: str) -> OnMessage:
    """Read what v5 calls tickers: a snapshot, then deltas in which an absent field is unchanged."""
    symbol = rest.removeprefix("100ms.")
    state = link.scribe.rows.memory.setdefault(f"bybit info {link.feed} {symbol}", {})

    writer = TickerWriter(link, symbol)

    def on_info(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = _KIND.decode(payload)
        news: Numbers = {}
        if frame.type == "snapshot":
            news = _read_info(_INFO_PICTURE.decode(frame.data))
            funding = state.get("funding")
            state.clear()
            state["funding"] = funding
        else:
            for change in _INFO_CHANGES.decode(frame.data).update:
                news |= _read_info(change)
        state.update(news)
        writer.write((frame.timestamp_e6, received_ns, offset), news, state)
        return True

    return on_info


class _Params(msgspec.Struct, gc=False):
    symbol: str


class _SpotTrade(msgspec.Struct, gc=False):
    v: str
    t: Millis
    p: Size
    q: Size
    m: bool


class _SpotDepth(msgspec.Struct, gc=False):
    t: Millis
    b: list[tuple[Size, Size]]
    a: list[tuple[Size, Size]]


class _SpotBest(msgspec.Struct, gc=False):
    bidPrice: Size
    bidQty: Size
    askPrice: Size
    askQty: Size
    time: Millis


class _SpotFrame(msgspec.Struct, gc=False):
    params: _Params
    data: msgspec.Raw = msgspec.Raw(b"")
    event: str | None = None
    code: Id = 0
    msg: str = ""


_SPOT = msgspec.json.Decoder(_SpotFrame, strict=False)
_SPOT_TRADE = msgspec.json.Decoder(_SpotTrade, strict=False)
_SPOT_DEPTH = msgspec.json.Decoder(_SpotDepth, strict=False)
_SPOT_BEST = msgspec.json.Decoder(_SpotBest, strict=False)


def _on_spot(link: Link, channel: str) -> OnMessage:
    """Decode a spot frame: its topic is the channel alone, its answers carry an `event`."""

    def on_spot(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = _SPOT.decode(payload)
        if frame.event is None:
            _write_spot(link, channel, frame, received_ns, offset)
            return True
        if frame.code:
            link.scribe.complain(link.feed, link.connection, received_ns, offset, frame.code, frame.msg)
        else:
            link.scribe.acknowledge(link.connection, received_ns, offset)
        return False

    return on_spot


def _write_spot(link: Link, channel: str, frame: _SpotFrame, received_ns: int, offset: int) -> None:
    scribe, symbol = link.scribe, frame.params.symbol
    if channel == "trade":
        t = _SPOT_TRADE.decode(frame.data)
        index, side = link.index("trade", symbol), "buy" if t.m else "sell"  # here `m` is true for a buying taker
        scribe.trades.append((index, t.t * 1000, received_ns, offset, None, t.v, side, t.p, t.q, None, None))
    elif channel == "depth":
        d = _SPOT_DEPTH.decode(frame.data)
        head = (link.index("book_change", symbol), d.t * 1000, received_ns, offset, link.connection, BOOK_SNAPSHOT)
        scribe.books.append((*head, None, None, None, d.b, d.a, None, None))
    else:
        q = _SPOT_BEST.decode(frame.data)
        head_of_quote = (link.index("quote", symbol), q.time * 1000, received_ns, offset)
        scribe.quotes.append((*head_of_quote, q.bidPrice, q.bidQty, q.askPrice, q.askQty, None))


V2: Makers = {
    "trade": _on_trades,
    "orderBookL2_25": _on_book,
    "orderBook_200": _on_deep_book,
    "instrument_info": _on_info,
}

SPOT_V1: Makers = {
    "trade": lambda link, _: _on_spot(link, "trade"),
    "depth": lambda link, _: _on_spot(link, "depth"),
    "bookTicker": lambda link, _: _on_spot(link, "bookTicker"),
}
