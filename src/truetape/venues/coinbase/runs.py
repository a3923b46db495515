"""Book changes of the Exchange feed by the run."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from msgspec import Struct

from truetape.events.number import Size
from truetape.events.rows import BOOK_DIFF
from truetape.events.run import UNKNOWN, BookRun, Integers
from truetape.events.scan import Scanner, note_changes, note_time
from truetape.venues._contract import Read
from truetape.venues.coinbase.times import read_time


class _Change(Struct, gc=False):
    changes: Annotated[list[tuple[Literal["buy", "sell"], Size, Size]], note_changes("buy", "sell")]
    time: Annotated[str, note_time(read_time)]


_CHANGES = Scanner(_Change)


def make_changes(connection: str) -> Read:
    """Return a reader of `l2update`: buy is the bid side."""

    def read_changes(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> BookRun:
        # hot: bench/decode.py
        change, side_counts, flat, _ = _CHANGES.scan(payloads)
        nothing = np.full(len(payloads), UNKNOWN)
        ids = nothing, nothing, nothing
        what = np.full(len(payloads), BOOK_DIFF)
        told = stream, change["time"], received_ns, offset, what
        return BookRun(*told, *ids, [], connection, side_counts, flat)

    return read_changes
