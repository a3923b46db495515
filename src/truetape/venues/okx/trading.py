"""OKX v5: trades, books and quotes of the public feeds."""

from typing import Literal

import msgspec
from msgspec.structs import astuple

from truetape.events.number import Id, Millis, Size, check_levels
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Levels, Unit
from truetape.venues._contract import OnMessage
from truetape.venues.okx.instrument import convert_size, find_unit
from truetape.venues.okx.link import Link, Makers

Side = Literal["buy", "sell"]


class Level(msgspec.Struct, array_like=True, gc=False):
    """The first two of a level's fields; what follows is a dead field and the number of orders."""

    price: Size
    size: Size


class TextLevel(msgspec.Struct, array_like=True, gc=False):
    """A level in the venue's own digits, for a checksum."""

    price: str
    size: str


class _Trade(msgspec.Struct, gc=False):
    tradeId: Id
    px: Size
    sz: Size
    side: Side
    ts: Millis


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Depth(msgspec.Struct, gc=False):
    asks: list[Level]
    bids: list[Level]
    ts: Millis
    checksum: Id = 0  # absent since it died
    seqId: Id | None = None  # absent until 2022-05 at least
    prevSeqId: Id | None = None


class _TextDepth(msgspec.Struct, gc=False):
    asks: list[TextLevel]
    bids: list[TextLevel]
    ts: Millis
    checksum: Id = 0
    seqId: Id | None = None
    prevSeqId: Id | None = None


class _Book(msgspec.Struct, gc=False):
    action: Literal["snapshot", "update"]
    data: list[_Depth]


class _TextBook(msgspec.Struct, gc=False):
    action: Literal["snapshot", "update"]
    data: list[_TextDepth]


class _Pictures(msgspec.Struct, gc=False):
    data: list[_Depth]


_TRADES = msgspec.json.Decoder(_Trades, strict=False)
_BOOK = msgspec.json.Decoder(_Book, strict=False)
_TEXT_BOOK = msgspec.json.Decoder(_TextBook, strict=False)
_PICTURES = msgspec.json.Decoder(_Pictures, strict=False)


def _on_trades(link: Link, channel: str, name: str) -> OnMessage:
    index, unit = link.index("trade", name), find_unit(link.find(name))
    append, decode = link.scribe.trades.append, _TRADES.decode
    size = unit.size if unit and not unit.is_inverse and unit.size == unit.size else 0.0

    def on_trades(payload: bytes, received_ns: int, offset: int) -> bool:
        for t in decode(payload).data:
            amount: float | None = t.sz
            contracts: float | None = t.sz
            if unit is None:
                contracts = None
            elif size:
                amount = t.sz * size
            else:
                amount, contracts = convert_size(unit, t.px, t.sz)
            append((index, t.ts * 1000, received_ns, offset, t.tradeId, None, t.side, t.px, amount, contracts, None))
        return True

    return on_trades


_CHECKSUM, _DIGITS = b'"checksum":', frozenset([b"-", *(b"%d" % digit for digit in range(1, 10))])
"""What stands before a checksum, and what one that is not zero begins with."""


def _on_book(link: Link, channel: str, name: str) -> OnMessage:
    """Levels stay text while frames carry a checksum other than zero; in 2026 all of them are zero."""
    link.claim_book(name, channel)
    index, unit, connection = link.index("book_change", name), find_unit(link.find(name)), link.connection
    link.add_books(channel, name, index, unit)
    append, decode, decode_text = link.scribe.books.append, _BOOK.decode, _TEXT_BOOK.decode
    is_text: bool | None = None

    def on_book(payload: bytes, received_ns: int, offset: int) -> bool:
        nonlocal is_text
        if is_text is None:  # a guess that spares a long picture to be read twice; what is read has the last word
            is_text = payload[payload.rfind(_CHECKSUM) + len(_CHECKSUM) :][:1] in _DIGITS
        book: _Book | _TextBook = decode_text(payload) if is_text else decode(payload)
        for d in book.data:
            if (d.checksum != 0) is not is_text:
                is_text = not is_text
                book = decode_text(payload) if is_text else decode(payload)
                break
        what = BOOK_SNAPSHOT if book.action == "snapshot" else BOOK_DIFF
        for d in book.data:
            previous = None if d.prevSeqId == -1 else d.prevSeqId
            bids: Levels = list(map(astuple, d.bids))
            asks: Levels = list(map(astuple, d.asks))
            if is_text:
                check_levels(bids + asks, "$.data[...]")  # type: ignore[operator, arg-type]
            ids = (None, d.seqId, previous)
            append(
                (index, d.ts * 1000, received_ns, offset, connection, what, *ids, bids, asks, unit, d.checksum or None)
            )
        return True

    return on_book


def _on_best(link: Link, channel: str, name: str) -> OnMessage:
    index, unit, append = link.index("quote", name), find_unit(link.find(name)), link.scribe.quotes.append

    def on_best(payload: bytes, received_ns: int, offset: int) -> bool:
        for d in _PICTURES.decode(payload).data:
            bid, bid_size = astuple(d.bids[0]) if d.bids else (None, None)
            ask, ask_size = astuple(d.asks[0]) if d.asks else (None, None)
            bid_amount, ask_amount = convert_size(unit, bid, bid_size)[0], convert_size(unit, ask, ask_size)[0]
            append((index, d.ts * 1000, received_ns, offset, bid, bid_amount, ask, ask_amount, d.seqId))
        return True

    return on_best


def list_picture(
    unit: Unit | None, bids: list[Level], asks: list[Level]
) -> tuple[list[float] | list[float | None], ...]:
    """Return prices and base amounts of the bids, then of the asks."""
    return tuple(
        column
        for levels in (bids, asks)
        for column in (
            [level.price for level in levels],
            [convert_size(unit, level.price, level.size)[0] for level in levels],
        )
    )


def _on_picture(link: Link, channel: str, name: str) -> OnMessage:
    index, unit = link.index("book_snapshot", name), find_unit(link.find(name))
    append = link.scribe.plain("book_snapshot").append

    def on_picture(payload: bytes, received_ns: int, offset: int) -> bool:
        for d in _PICTURES.decode(payload).data:
            append((index, d.ts * 1000, received_ns, offset, d.seqId, *list_picture(unit, d.bids, d.asks)))
        return True

    return on_picture


TRADING: Makers = {
    "trades": _on_trades,
    "trades-all": _on_trades,
    "books": _on_book,
    "books-l2-tbt": _on_book,
    "books50-l2-tbt": _on_book,
    "books5": _on_picture,
    "bbo-tbt": _on_best,
}
