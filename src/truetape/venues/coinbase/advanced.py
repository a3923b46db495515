"""Advanced Trade: frames named by `channel`, numbered over all channels of the connection."""

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec.json import Decoder

from truetape.events.number import Id, Seconds, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT
from truetape.venues._contract import OnMessage
from truetape.venues.coinbase.desk import TAKER, Desk
from truetape.venues.coinbase.times import read_time

Event = TypeVar("Event")


class _Frame(msgspec.Struct, Generic[Event], gc=False):
    timestamp: str
    sequence_num: Id
    events: list[Event]


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    price_level: Size
    new_quantity: Size


class _Levels(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[_Level]


class _LevelTime(msgspec.Struct, gc=False):
    event_time: str


class _LevelTimes(msgspec.Struct, gc=False):
    updates: list[_LevelTime]


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    trade_id: Id
    price: Size
    size: Size
    time: str
    side: Literal["BUY", "SELL"]


class _Trades(msgspec.Struct, gc=False):
    trades: list[_Trade]


class _Statistics(msgspec.Struct, gc=False):
    product_id: str
    price: Size
    volume_24_h: Size
    low_24_h: Size
    high_24_h: Size
    best_bid: Size
    best_ask: Size
    best_bid_quantity: Size
    best_ask_quantity: Size


class _Tickers(msgspec.Struct, gc=False):
    tickers: list[_Statistics]


class _Candle(msgspec.Struct, gc=False):
    """Five minutes; `start` in seconds."""

    product_id: str
    start: Seconds
    open: Size
    high: Size
    low: Size
    close: Size
    volume: Size


class _Candles(msgspec.Struct, gc=False):
    candles: list[_Candle]


class _Subscriptions(msgspec.Struct, gc=False):
    subscriptions: dict[str, list[str]]


class _Heartbeat(msgspec.Struct, gc=False):
    heartbeat_counter: Id


_decode_level_times = Decoder(_Frame[_LevelTimes], strict=False).decode


def _make_levels(desk: Desk) -> OnMessage:
    """Handle `l2_data`: all levels of a frame carry one event time."""
    decode, find, append = Decoder(_Frame[_Levels], strict=False).decode, desk.find, desk.scribe.books.append
    count, connection, units = desk.scribe.count, desk.connection, desk.units

    def on_levels(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        frame = decode(payload)
        times = _read_level_times(payload, len(frame.events))
        for event, time in zip(frame.events, times, strict=True):
            index = find("book_change", event.product_id)
            bids = [(level.price_level, level.new_quantity) for level in event.updates if level.side == "bid"]
            asks = [(level.price_level, level.new_quantity) for level in event.updates if level.side == "offer"]
            what = BOOK_DIFF if event.type == "update" else BOOK_SNAPSHOT
            append(
                (
                    index, time, received_ns, offset, connection, what,
                    None, None, None, bids, asks, units[event.product_id], None,
                )
            )  # fmt: skip
        count(connection, received_ns, offset, frame.sequence_num)
        return True

    return on_levels


_EVENT_TIME = b'"event_time":"'


def _read_level_times(payload: bytes, events: int) -> list[int | None]:
    """Return the event time of each event; decoding it for each of 20,000 levels would cost more than the levels."""
    if events == 1:
        start = payload.find(_EVENT_TIME) + len(_EVENT_TIME)
        if start >= len(_EVENT_TIME):
            return [read_time(payload[start : payload.index(b'"', start)].decode())]
    frame = _decode_level_times(payload)
    return [read_time(event.updates[-1].event_time) if event.updates else None for event in frame.events]


def _make_trades(desk: Desk) -> OnMessage:
    """Handle `market_trades`: newest first within a frame, so read from the end."""
    decode, find, append = Decoder(_Frame[_Trades], strict=False).decode, desk.find, desk.scribe.trades.append
    count, connection, units = desk.scribe.count, desk.connection, desk.units

    def on_trades(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        frame = decode(payload)
        for event in frame.events:
            for t in reversed(event.trades):
                index = find("trade", t.product_id)
                unit = units[t.product_id]
                amount, contracts = (t.size, None) if unit is None else (t.size * unit.size, t.size)
                append(
                    (
                        index, read_time(t.time), received_ns, offset, t.trade_id, None,
                        TAKER[t.side], t.price, amount, contracts, None,
                    )
                )  # fmt: skip
        count(connection, received_ns, offset, frame.sequence_num)
        return True

    return on_trades


def _make_tickers(desk: Desk) -> OnMessage:
    """Handle `ticker` and `ticker_batch` of Advanced Trade."""
    decode, find = Decoder(_Frame[_Tickers], strict=False).decode, desk.find
    append_quote, append, count = desk.scribe.quotes.append, desk.scribe.plain("ticker").append, desk.scribe.count

    def on_tickers(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = decode(payload)
        head = (read_time(frame.timestamp), received_ns, offset)
        for event in frame.events:
            for t in event.tickers:
                index = find("ticker", t.product_id)
                bid, ask = t.best_bid or None, t.best_ask or None
                append((index, *head, t.price, None, bid, ask, None, t.high_24_h, t.low_24_h, t.volume_24_h, None))
                quote = (bid, t.best_bid_quantity or None, ask, t.best_ask_quantity or None)
                append_quote((find("quote", t.product_id), *head, *quote, None))
        count(desk.connection, received_ns, offset, frame.sequence_num)
        return True

    return on_tickers


def _make_candles(desk: Desk) -> OnMessage:
    """Handle `candles`: five minutes, repeated with growing values, never said to be closed."""
    decode, find = Decoder(_Frame[_Candles], strict=False).decode, desk.find
    append, count = desk.scribe.plain("candle").append, desk.scribe.count

    def on_candles(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = decode(payload)
        head = (read_time(frame.timestamp), received_ns, offset)
        for event in frame.events:
            for k in event.candles:
                prices = (k.open, k.high, k.low, k.close)
                bar = ("5m", k.start * 1_000_000, *prices, k.volume, None, None, None, None)
                append((find("candle", k.product_id), *head, *bar))
        count(desk.connection, received_ns, offset, frame.sequence_num)
        return True

    return on_candles


def _make_subscriptions(desk: Desk) -> OnMessage:
    """Handle `subscriptions`: one for each request, naming all that is subscribed by then."""
    decode, scribe = Decoder(_Frame[_Subscriptions], strict=False).decode, desk.scribe

    def on_subscriptions(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = decode(payload)
        scribe.count(desk.connection, received_ns, offset, frame.sequence_num)
        if any(set(event.subscriptions) != {"heartbeats"} for event in frame.events):  # that one is our greeting's
            scribe.acknowledge(desk.connection, received_ns, offset)
        return False

    return on_subscriptions


def _make_heartbeats(desk: Desk) -> OnMessage:
    """Handle `heartbeats`: their number counts like every frame's."""
    decode, scribe = Decoder(_Frame[_Heartbeat], strict=False).decode, desk.scribe

    def on_heartbeats(payload: bytes, received_ns: int, offset: int) -> bool:
        scribe.count(desk.connection, received_ns, offset, decode(payload).sequence_num)
        return False

    return on_heartbeats


MAKERS: dict[str, Callable[[Desk], OnMessage]] = {
    "l2_data": _make_levels,
    "market_trades": _make_trades,
    "ticker": _make_tickers,
    "ticker_batch": _make_tickers,
    "candles": _make_candles,
    "subscriptions": _make_subscriptions,
    "heartbeats": _make_heartbeats,
}
"""`channel` of a frame → its handler."""
