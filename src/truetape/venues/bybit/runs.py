"""Bybit's books by the run."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from truetape.events.number import Id, Millis
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Unit
from truetape.events.run import UNKNOWN, BookRun, Integers
from truetape.events.scan import Scanner, note_side
from truetape.venues._contract import Read


class _Depth(msgspec.Struct, gc=False):
    b: Annotated[msgspec.Raw, note_side(0)]
    a: Annotated[msgspec.Raw, note_side(1)]
    u: Id


class _Book(msgspec.Struct, gc=False):
    type: Literal["delta", "snapshot"]
    ts: Millis
    data: _Depth
    cts: Millis | None = None


_BOOKS = Scanner(_Book)


def make_books(connection: str, unit: Unit | None) -> Read:
    """Return a reader of `orderbook`, its sizes in one unit; `u` = 1 is a picture whatever its type."""

    def read_books(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> BookRun:
        # hot: bench/decode.py
        book, side_counts, flat, _ = _BOOKS.scan(payloads)
        ids, matched = book["data.u"], book["cts"]
        is_picture = (book["type"] == 1) | (ids == 1)
        return BookRun(
            stream,
            np.where(matched > 0, matched, book["ts"]) * 1000,
            received_ns,
            offset,
            np.where(is_picture, BOOK_SNAPSHOT, BOOK_DIFF),
            ids,
            ids,
            np.full(len(ids), UNKNOWN),
            [unit] * len(ids) if unit else [],
            connection,
            side_counts,
            flat,
        )

    return read_books
