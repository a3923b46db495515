"""Bybit's books by the run: one call of the JSON decoder for many frames."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from truetape.errors import DecodeError
from truetape.events.levels import read_levels
from truetape.events.number import Id, Millis
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Unit
from truetape.events.run import UNKNOWN, BookRun, Integers
from truetape.venues._contract import Read


class _Depth(msgspec.Struct, gc=False):
    b: msgspec.Raw
    a: msgspec.Raw
    u: Id


class _Book(msgspec.Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: _Depth
    cts: Millis | None = None


_decode_books = msgspec.json.Decoder(list[_Book], strict=False).decode


def make_books(connection: str, unit: Unit | None) -> Read:
    """Return a reader of `orderbook`, its sizes in one unit; `u` = 1 is a picture whatever its type."""

    def read_books(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> BookRun:
        # hot: bench/decode.py
        books = _decode_books(b"[%b]" % b",".join(payloads))
        count = len(books)
        if count != len(payloads):
            raise DecodeError("frames are not one message each")
        sides: list[msgspec.Raw] = []
        for book in books:
            sides += (book.data.b, book.data.a)
        ids = np.fromiter([book.data.u for book in books], np.int64, count)
        is_picture = np.frombuffer(bytearray([book.type == "snapshot" for book in books]), bool) | (ids == 1)
        return BookRun(
            stream,
            np.fromiter([book.cts or book.ts for book in books], np.int64, count) * 1000,
            received_ns,
            offset,
            np.where(is_picture, BOOK_SNAPSHOT, BOOK_DIFF),
            ids,
            ids,
            np.full(count, UNKNOWN),
            [unit] * count if unit else [],
            connection,
            *read_levels(sides),
        )

    return read_books
