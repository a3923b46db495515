"""OKX's books by the run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from truetape.errors import DecodeError
from truetape.events.number import LARGEST, Id, Millis
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Unit
from truetape.events.run import UNKNOWN, BookRun, Integers, TextRun
from truetape.events.scan import Scanner, note_side
from truetape.venues._contract import Read

_FIELDS = 4
"""Of a level: what follows price and size is a dead field and the number of orders."""


class _Depth(msgspec.Struct, gc=False):
    asks: Annotated[msgspec.Raw, note_side(1, _FIELDS, is_spelled=True)]
    bids: Annotated[msgspec.Raw, note_side(0, _FIELDS, is_spelled=True)]
    ts: Millis
    checksum: Id = 0
    seqId: Id = UNKNOWN
    prevSeqId: Id = UNKNOWN


class _Book(msgspec.Struct, gc=False):
    action: Literal["snapshot", "update"]
    data: tuple[_Depth]


_BOOKS = Scanner(_Book)


def make_books(connection: str, units: Mapping[int, Unit | None]) -> Read:
    """Return a reader of `books`, `units` by stream; levels stay text, too, while frames carry a checksum other than zero."""

    def read_books(
        payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers
    ) -> BookRun | TextRun:
        # hot: bench/decode.py
        book, side_counts, flat, words = _BOOKS.scan(payloads)
        previous, checks = book["data.prevSeqId"], book["data.checksum"]
        own = [units[index] for index in stream.tolist()]
        run = BookRun(
            stream,
            book["data.ts"] * 1000,
            received_ns,
            offset,
            np.where(book["action"] == 0, BOOK_SNAPSHOT, BOOK_DIFF),
            np.full(len(checks), UNKNOWN),
            book["data.seqId"],
            np.where(previous == -1, UNKNOWN, previous),
            own if any(own) else [],
            connection,
            side_counts,
            flat,
        )
        if not checks.any():
            return run
        if not checks.all() or not flat.sum() <= LARGEST:
            raise DecodeError("only some frames have a checksum, or levels are too large")
        return TextRun(run, words, checks)

    return read_books
