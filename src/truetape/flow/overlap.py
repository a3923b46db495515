"""Which lines of a venue's file the lake has, where one look at its ids before the file is put does not tell.

Text ids are too many to be told at once, rows of the stream may be several fills of the file under the last one's number,
and files may have ids of their own: each block of lines is compared with the lake's rows of its time.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from truetape import clock
from truetape.decode.backfill import AMOUNT_SLACK
from truetape.errors import DecodeError
from truetape.events.backfill import BACKFILL, Began
from truetape.events.rows import Response, Rows, Scribe, TradeRow
from truetape.flow.subject import Subject
from truetape.lake import Lake
from truetape.venues._contract import BulkFile, Venue

_ROWS = """
    select trade_id as id, epoch_us(exchange_at) as us, side, price, coalesce(contracts, amount) as size from trade
    where venue = $venue and symbol = $symbol and epoch_us(exchange_at) between $from_us and $to_us"""
_IS_ANY = """
    select count(*) as n from trade
    where venue = $venue and symbol = $symbol and epoch_us(exchange_at) between $from_us and $to_us"""
SLACK_US = 1_000
"""Streams cut times to milliseconds, files may not."""

Ranges = tuple[tuple[int, int], ...]
"""Places in a block, from one to another, the last included."""
Content = tuple[int, str | None, float, float]
"""Millisecond, side, price and size."""


class _Held(NamedTuple):
    """One row of the lake."""

    id: str
    us: int
    side: str | None
    price: float
    size: float


class Overlap:
    """Compares the blocks of one file, in their order, with what the lake had before it."""

    def __init__(self, lake: Lake, venue: Venue, subject: Subject, file: BulkFile, began: Began) -> None:
        self._lake, self._venue, self._subject, self._file, self._began = lake, venue, subject, file, began
        self._ahead: tuple[bytes, list[TradeRow]] = (b"", [])
        """The block that was looked at last, and its rows."""
        self._told: Ranges = ()
        self._used: Counter[Content] = Counter()
        """How many rows of the lake were found in the file; those of late times."""
        self._is_any = "trade" in lake.versions() and bool(self._ask(_IS_ANY, began.from_us, began.to_us)[0]["n"])

    def find_known(self, block: bytes, following: bytes) -> Began | None:
        """Return what is to be told before a block, so that what is there of it is left out; null: what was told last holds.

        A row of the stream may be made of fills at the end of the block and others of the following one.
        """
        ranges = _list_ranges(self._mark_known(block, following)) if self._is_any else ()
        if ranges == self._told:
            return None
        self._told = ranges
        return msgspec.structs.replace(self._began, known_rows=ranges)

    def _mark_known(self, block: bytes, following: bytes) -> list[bool]:
        """Tell of each line of a block whether it is there."""
        rows = self._decode(block)
        after = self._decode(following) if self._began.identity == "number" else []
        held = self._read_held([*rows, *after]) if rows else []
        if not held:
            return []
        if self._began.identity == "number":
            merged = _find_merged(sorted([*rows, *after], key=_number), held)
            return [_number(row) in merged for row in rows]
        if self._file.backfill.is_numbered_apart:
            return self._mark_same(rows, held)
        known: Collection[str | None] = {row.id for row in held}
        return [row[5] in known for row in rows]

    def _decode(self, block: bytes) -> list[TradeRow]:
        """Return the rows of a block; none when it does not decode, which decoding the tape will tell."""
        if block is self._ahead[0]:
            return self._ahead[1]
        rows = Rows()
        response = Response(
            self._file.backfill.feed, f"{self._venue.name}/{BACKFILL}", self._file.url, 200, block, clock.wall_ns(), 0
        )
        try:
            self._venue.make_decoder(Scribe(self._venue.name, rows)).respond(response)
        except (DecodeError, msgspec.DecodeError):
            rows.trades.clear()
        self._ahead = block, rows.trades
        return rows.trades

    def _read_held(self, rows: Sequence[TradeRow]) -> list[_Held]:
        times = [row[1] or 0 for row in rows]
        return [_Held(**row) for row in self._ask(_ROWS, min(times) - SLACK_US, max(times) + SLACK_US)]

    def _mark_same(self, rows: Sequence[TradeRow], held: Sequence[_Held]) -> list[bool]:
        """Tell which lines say what rows of the lake say, each of which stands for one line only."""
        left = Counter((row.us // 1000, row.side, row.price, row.size) for row in held)
        left.subtract({content: count for content, count in self._used.items() if content in left})
        first = min(row[1] or 0 for row in rows) // 1000
        self._used = Counter({content: count for content, count in self._used.items() if content[0] >= first})
        marks = []
        for row in rows:
            content = ((row[1] or 0) // 1000, row[6], row[7], _size(row))
            marks.append(left[content] > 0)
            left[content] -= marks[-1]
            self._used[content] += marks[-1]
        return marks

    def _ask(self, query: str, from_us: int, to_us: int) -> list[dict[str, Any]]:
        named = {"venue": self._subject.venue, "symbol": self._subject.symbol, "from_us": from_us, "to_us": to_us}
        found: list[dict[str, Any]] = self._lake.sql(query, named).arrow().to_pylist()
        return found


def _number(row: TradeRow) -> int:
    return row[4] or 0


def _size(row: TradeRow) -> float:
    """Return what the venue reported as the size."""
    return (row[8] if row[9] is None else row[9]) or 0.0


def _list_ranges(marks: Sequence[bool]) -> Ranges:
    """Return the places that are marked as ranges, both ends included."""
    edges = [i for i, (one, two) in enumerate(pairwise([False, *marks, False])) if one != two]
    return tuple((begin, end - 1) for begin, end in zip(edges[::2], edges[1::2], strict=True))


def _find_merged(rows: Sequence[TradeRow], held: Sequence[_Held]) -> set[int]:
    """Return the numbers of fills that rows of the lake are made of: each bears the number of its last one."""
    sizes = {int(row.id): row.size for row in held if row.id.isdigit()}
    found: set[int] = set()
    for at, row in enumerate(rows):
        if _number(row) not in sizes:
            continue
        total, wanted = 0.0, sizes[_number(row)] * (1 - AMOUNT_SLACK)
        while at >= 0 and rows[at][6:8] == row[6:8] and (_number(rows[at]) not in sizes or rows[at] is row):
            found.add(_number(rows[at]))
            total += _size(rows[at])
            if total >= wanted:
                break
            at -= 1
    return found
