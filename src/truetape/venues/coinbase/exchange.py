"""The Exchange feed (before: Pro, GDAX): flat messages named by `type`."""

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec.json import Decoder

from truetape.events.number import Id, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT
from truetape.venues._contract import OnMessage
from truetape.venues.coinbase.desk import TAKER, Desk
from truetape.venues.coinbase.times import read_time

Side = list[tuple[Size, Size]]


class _Match(msgspec.Struct, gc=False):
    trade_id: Id
    side: Literal["buy", "sell"]
    size: Size
    price: Size
    product_id: str
    time: str


class _Change(msgspec.Struct, gc=False):
    product_id: str
    changes: list[tuple[Literal["buy", "sell"], Size, Size]]
    time: str


class _Book(msgspec.Struct, gc=False):
    product_id: str
    bids: Side
    asks: Side
    time: str = "0001-01-01T00:00:00Z"


class _Ticker(msgspec.Struct, gc=False):
    """Sizes of bid and ask since 2022."""

    product_id: str
    sequence: Id
    price: Size
    open_24h: Size
    volume_24h: Size
    low_24h: Size
    high_24h: Size
    best_bid: Size
    best_ask: Size
    time: str
    last_size: Size
    best_bid_size: Size | None = None
    best_ask_size: Size | None = None


def _make_match(desk: Desk) -> OnMessage:
    """Handle `match`, and `last_match`: an old trade, sent on subscribing."""
    decode, find, append = Decoder(_Match, strict=False).decode, desk.find, desk.scribe.trades.append

    def on_match(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        t = decode(payload)
        append(
            (
                find("trade", t.product_id), read_time(t.time), received_ns, offset, t.trade_id, None,
                TAKER[t.side], t.price, t.size, None, None,
            )
        )  # fmt: skip
        return True

    return on_match


def _make_change(desk: Desk) -> OnMessage:
    """Handle `l2update`: buy is the bid side."""
    decode, find, append = Decoder(_Change, strict=False).decode, desk.find, desk.scribe.books.append
    connection = desk.connection

    def on_change(payload: bytes, received_ns: int, offset: int) -> bool:
        # hot: bench/decode.py
        d = decode(payload)
        bids = [(price, size) for side, price, size in d.changes if side == "buy"]
        asks = [(price, size) for side, price, size in d.changes if side == "sell"]
        append(
            (
                find("book_change", d.product_id), read_time(d.time), received_ns, offset, connection, BOOK_DIFF,
                None, None, None, bids, asks, None, None,
            )
        )  # fmt: skip
        return True

    return on_change


def _make_book(desk: Desk) -> OnMessage:
    """Handle `snapshot`: without a time in the recordings of 2019 to 2021."""
    decode, find, append = Decoder(_Book, strict=False).decode, desk.find, desk.scribe.books.append

    def on_book(payload: bytes, received_ns: int, offset: int) -> bool:
        d = decode(payload)
        head = (find("book_change", d.product_id), read_time(d.time), received_ns, offset, desk.connection)
        append((*head, BOOK_SNAPSHOT, None, None, None, d.bids, d.asks, None, None))
        return True

    return on_book


def _make_ticker(desk: Desk) -> OnMessage:
    """Handle `ticker`: statistics, and the quote with the product's sequence."""
    decode, find = Decoder(_Ticker, strict=False).decode, desk.find
    append_quote, append = desk.scribe.quotes.append, desk.scribe.plain("ticker").append

    def on_ticker(payload: bytes, received_ns: int, offset: int) -> bool:
        t = decode(payload)
        head = (read_time(t.time), received_ns, offset)
        bid, ask = t.best_bid or None, t.best_ask or None
        append(
            (
                find("ticker", t.product_id), *head, t.price, t.last_size, bid, ask,
                t.open_24h, t.high_24h, t.low_24h, t.volume_24h, None,
            )
        )  # fmt: skip
        quote = (bid, t.best_bid_size or None, ask, t.best_ask_size or None)
        append_quote((find("quote", t.product_id), *head, *quote, t.sequence))
        return True

    return on_ticker


def _make_acknowledgement(desk: Desk) -> OnMessage:
    """Handle `subscriptions` of the Exchange feed."""

    def on_acknowledgement(payload: bytes, received_ns: int, offset: int) -> bool:
        desk.scribe.acknowledge(desk.connection, received_ns, offset)
        return False

    return on_acknowledgement


def _make_silence(desk: Desk) -> OnMessage:
    """Handle `heartbeat` of the Exchange feed: a sign of life."""
    return lambda payload, received_ns, offset: False


MAKERS: dict[str, Callable[[Desk], OnMessage]] = {
    "match": _make_match,
    "last_match": _make_match,
    "l2update": _make_change,
    "snapshot": _make_book,
    "ticker": _make_ticker,
    "heartbeat": _make_silence,
    "subscriptions": _make_acknowledgement,
}
"""`type` of a message → its handler."""
