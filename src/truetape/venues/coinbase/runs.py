"""Book changes of the Exchange feed by the run: one call of the JSON decoder for many frames."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Size
from truetape.events.rows import BOOK_DIFF
from truetape.events.run import UNKNOWN, BookRun, Integers, array_known
from truetape.venues._contract import Read
from truetape.venues.coinbase.times import read_time


class _Change(Struct, gc=False):
    changes: list[tuple[Literal["buy", "sell"], Size, Size]]
    time: str


_decode_changes = Decoder(list[_Change], strict=False).decode


def make_changes(connection: str) -> Read:
    """Return a reader of `l2update`: buy is the bid side."""

    def read_changes(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> BookRun:
        # hot: bench/decode.py
        books = _decode_changes(b"[%b]" % b",".join(payloads))
        count = len(books)
        if count != len(payloads):
            raise DecodeError("frames are not one message each")
        flat: list[float] = []
        side_counts: list[int] = []
        for book in books:
            bids = asks = 0
            for side, price, size in book.changes:
                if side == "buy":
                    bids += 1
                else:
                    asks += 1
                flat += (price, size)
            side_counts += (bids, asks)
            if bids and asks:
                changes = [change for name in ("buy", "sell") for change in book.changes if change[0] == name]
                flat[-2 * len(changes) :] = [number for _, *level in changes for number in level]
        nothing = np.full(count, UNKNOWN)
        return BookRun(
            stream,
            array_known([read_time(book.time) for book in books]),
            received_ns,
            offset,
            np.full(count, BOOK_DIFF),
            nothing,
            nothing,
            nothing,
            [],
            connection,
            np.array(side_counts, np.int64),
            np.array(flat, np.float64),
        )

    return read_changes
