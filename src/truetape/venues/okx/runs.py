"""OKX's books by the run: one call of the JSON decoder for many frames."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from truetape.errors import DecodeError
from truetape.events.levels import list_texts, read_levels
from truetape.events.number import LARGEST, Id, Millis
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Unit
from truetape.events.run import UNKNOWN, BookRun, Integers, TextRun
from truetape.venues._contract import Read

_FIELDS = 4
"""Of a level: what follows price and size is a dead field and the number of orders."""


class _Depth(msgspec.Struct, gc=False):
    asks: msgspec.Raw
    bids: msgspec.Raw
    ts: Millis
    checksum: Id = 0
    seqId: Id = UNKNOWN
    prevSeqId: Id = UNKNOWN


class _Book(msgspec.Struct, gc=False):
    action: Literal["snapshot", "update"]
    data: tuple[_Depth]


_decode_books = msgspec.json.Decoder(list[_Book], strict=False).decode


def make_books(connection: str, units: Mapping[int, Unit | None]) -> Read:
    """Return a reader of `books`, `units` by stream; levels stay text, too, while frames carry a checksum other than zero."""

    def read_books(
        payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers
    ) -> BookRun | TextRun:
        # hot: bench/decode.py
        frames = _decode_books(b"[%b]" % b",".join(payloads))
        if len(frames) != len(payloads):
            raise DecodeError("frames are not one message each")
        books = [frame.data[0] for frame in frames]
        sides: list[msgspec.Raw] = []
        for book in books:
            sides += (book.bids, book.asks)
        side_counts, flat = read_levels(sides, _FIELDS)
        previous = _pack([book.prevSeqId for book in books])
        own = [units[index] for index in stream.tolist()]
        run = BookRun(
            stream,
            _pack([book.ts for book in books]) * 1000,
            received_ns,
            offset,
            np.where(_pack([frame.action == "snapshot" for frame in frames]), BOOK_SNAPSHOT, BOOK_DIFF),
            np.full(len(books), UNKNOWN),
            _pack([book.seqId for book in books]),
            np.where(previous == -1, UNKNOWN, previous),
            own if any(own) else [],
            connection,
            side_counts,
            flat,
        )
        checks = [book.checksum for book in books]
        if not any(checks):
            return run
        if not all(checks) or not flat.sum() <= LARGEST:
            raise DecodeError("only some frames have a checksum, or levels are too large")
        levels = list_texts(sides, _FIELDS)
        words = spell_levels(levels)
        for i in np.flatnonzero(flat[1::2] == 0).tolist():
            words[i] = ""
        return TextRun(run, levels, words, checks)

    return read_books


def spell_levels(levels: list[tuple[str, str]]) -> list[str]:
    """Return levels as a checksum has them."""
    return list(map(":".join, levels))


def _pack(values: list[int]) -> Integers:
    return np.fromiter(values, np.int64, len(values))
