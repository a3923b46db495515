"""Rows of many frames as columns from the start: what decoders that take frames by the run write.

A run holds rows of one kind in tape order, of one stream or of several. It says the same as the tuples of `rows`;
`unpack_…` turns it into these for whoever must look at rows one by one.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from truetape.events.rows import BookRow, QuoteRow, TradeRow, Unit

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

UNKNOWN = -(2**63)
"""An integer there is none of."""


class TradeRun(NamedTuple):
    """Ordinary trades: ids are numbers, amounts are in the base asset."""

    stream: Integers
    exchange: Integers
    received: Integers
    offset: Integers
    number: Integers
    is_sell: Flags
    price: Floats
    amount: Floats

    def pick(self, wanted: slice | Flags) -> "TradeRun":
        """Return some of the rows."""
        return TradeRun._make(column[wanted] for column in self)

    def unpack(self) -> list[TradeRow]:
        """Return the rows as tuples."""
        columns = (column.tolist() for column in self)
        return [
            (stream, at, received, offset, number, None, "sell" if is_sell else "buy", price, amount, None, None)
            for stream, at, received, offset, number, is_sell, price, amount in zip(*columns, strict=True)
        ]


class QuoteRun(NamedTuple):
    """Quotes, amounts in the base asset; an empty side is nan."""

    stream: Integers
    exchange: Integers
    """UNKNOWN where the venue tells no time."""
    received: Integers
    offset: Integers
    bid_price: Floats
    bid_amount: Floats
    ask_price: Floats
    ask_amount: Floats
    number: Integers

    def pick(self, wanted: slice | Flags) -> "QuoteRun":
        """Return some of the rows."""
        return QuoteRun._make(column[wanted] for column in self)

    def unpack(self) -> list[QuoteRow]:
        """Return the rows as tuples."""
        exchange = list_known(self.exchange)
        sides = [[None if value != value else value for value in side.tolist()] for side in self[4:8]]
        heads = (column.tolist() for column in (self.stream, self.received, self.offset))
        stream, received, offset = heads
        return list(zip(stream, exchange, received, offset, *sides, self.number.tolist(), strict=True))


class BookRun(NamedTuple):
    """Book frames taken apart: what a frame says once, and the levels of all as flat numbers."""

    stream: Integers
    exchange: Integers
    received: Integers
    offset: Integers
    what: Integers
    first: Integers
    last: Integers
    previous: Integers
    units: list[Unit | None]
    """By frame; empty: sizes of all are base amounts."""
    connection: str
    """Of all frames; empty once nobody asks any more."""
    side_counts: Integers
    """Levels of each frame's bids and asks, in turn."""
    flat: Floats
    """Price and size of each level, in turn."""

    def pick(self, wanted: slice | Flags) -> "BookRun":
        """Return some of the frames."""
        is_wanted = np.zeros(len(self.offset), bool)
        is_wanted[wanted] = True
        stream, exchange, received, offset, what, first, last, previous = (column[is_wanted] for column in self[:8])
        units = (
            [unit for unit, is_in in zip(self.units, is_wanted.tolist(), strict=True) if is_in] if self.units else []
        )
        side_counts = self.side_counts.reshape(-1, 2)[is_wanted].reshape(-1)
        is_level_wanted = np.repeat(np.repeat(is_wanted, 2), self.side_counts)
        flat = self.flat.reshape(-1, 2)[is_level_wanted].reshape(-1)
        told = stream, exchange, received, offset, what, first, last, previous
        return BookRun(*told, units, self.connection, side_counts, flat)

    def arrange(self, order: Integers) -> "BookRun":
        """Return all frames in another order; columns that nobody asks for may be empty."""
        frames = self.side_counts.reshape(-1, 2)
        sizes = frames.sum(axis=1) * 2
        begins, sizes = (np.cumsum(sizes) - sizes)[order], sizes[order]
        flat = self.flat[np.repeat(begins - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(self.flat))]
        columns = (column[order] if len(column) else column for column in self[:8])
        stream, exchange, received, offset, what, first, last, previous = columns
        units = [self.units[i] for i in order.tolist()] if self.units else []
        told = stream, exchange, received, offset, what, first, last, previous
        return BookRun(*told, units, self.connection, frames[order].reshape(-1), flat)

    def unpack(self) -> list[BookRow]:
        """Return the frames as tuples."""
        levels = list(zip(self.flat[0::2].tolist(), self.flat[1::2].tolist(), strict=True))
        edges = [0, *np.cumsum(self.side_counts).tolist()]
        bids = [levels[a:b] for a, b in zip(edges[0:-1:2], edges[1::2], strict=True)]
        asks = [levels[a:b] for a, b in zip(edges[1::2], edges[2::2], strict=True)]
        units = self.units or [None] * len(self.offset)
        stream, received, offset, what = (column.tolist() for column in (self.stream, *self[2:5]))
        exchange, first, last, previous = (list_known(column) for column in (self.exchange, *self[5:8]))
        names, nothing = [self.connection] * len(units), [None] * len(units)
        return list(
            zip(
                stream, exchange, received, offset, names, what, first, last, previous, bids, asks, units, nothing,
                strict=True,
            )
        )  # fmt: skip


class Words(NamedTuple):
    """Levels as the venue spells them: `price:size`, one behind the other."""

    text: bytes | bytearray
    edges: Integers
    """Where each word ends."""

    def list(self) -> list[str]:
        """Return each."""
        text, ends = self.text.decode(), self.edges.tolist()
        return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]

    def pick(self, wanted: Flags) -> "Words":
        """Return some."""
        words = [word for word, is_in in zip(self.list(), wanted.tolist(), strict=True) if is_in]
        return join_words(words)


def join_words(words: Sequence[str]) -> Words:
    """Return words of ASCII letters one behind the other."""
    edges = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
    return Words("".join(words).encode(), edges)


class TextRun(NamedTuple):
    """Book frames with checksums, taken apart: the venue's own digits stay beside the numbers, for the proof."""

    books: BookRun
    words: Words
    """Each level as it is spelled."""
    checks: Integers
    """By frame; each has one."""

    @property
    def stream(self) -> Integers:
        """The stream of each frame."""
        return self.books.stream

    @property
    def offset(self) -> Integers:
        """Where each frame is on the tape."""
        return self.books.offset

    def pick(self, wanted: slice | Flags) -> "TextRun":
        """Return some of the frames."""
        is_wanted = np.zeros(len(self.checks), bool)
        is_wanted[wanted] = True
        is_level_wanted = np.repeat(np.repeat(is_wanted, 2), self.books.side_counts)
        return TextRun(self.books.pick(wanted), self.words.pick(is_level_wanted), self.checks[is_wanted])

    def unpack(self) -> list[BookRow]:
        """Return the frames as tuples."""
        rows: list[BookRow] = []
        levels = part_words(self.words.list())
        edges = [0, *np.cumsum(self.books.side_counts).tolist()]
        for i, (row, check) in enumerate(zip(self.books.unpack(), self.checks.tolist(), strict=True)):
            begin, middle, end = edges[2 * i : 2 * i + 3]
            rows.append((*row[:9], levels[begin:middle], levels[middle:end], row[11], check))
        return rows


def part_words(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return price and size of words."""
    return [(price, size) for price, _, size in (word.partition(":") for word in words)]


def list_known(values: Integers) -> list[int | None]:
    """Return integers as a list, None where there is none."""
    return [None if value == UNKNOWN else value for value in values.tolist()]


def array_known(values: Sequence[int | None]) -> Integers:
    """Return integers of a list as an array, UNKNOWN where there is none."""
    if None in values:
        values = [UNKNOWN if value is None else value for value in values]
    return np.fromiter(values, np.int64, len(values))


def join_books(runs: Sequence[BookRun]) -> BookRun:
    """Return the frames of some runs in tape order; nobody may ask for ids but the last, and for connections."""
    if len(runs) == 1:
        return runs[0]
    columns = (np.concatenate([run[i] for run in runs]) for i in (0, 1, 2, 3, 4, 6))
    stream, exchange, received, offset, what, last = columns
    units: list[Unit | None] = []
    if any(run.units for run in runs):
        units = list(chain.from_iterable(run.units or [None] * len(run.offset) for run in runs))
    side_counts, flat = np.concatenate([run.side_counts for run in runs]), np.concatenate([run.flat for run in runs])
    told = stream, exchange, received, offset, what, _UNASKED, last, _UNASKED
    whole = BookRun(*told, units, "", side_counts, flat)
    if bool((offset[1:] >= offset[:-1]).all()):
        return whole
    return whole.arrange(np.argsort(offset, kind="stable"))


_UNASKED = np.empty(0, np.int64)

Run = TradeRun | QuoteRun | BookRun | TextRun


def name_kind(run: Run) -> str:
    """Return the kind of a run's rows."""
    match run:
        case TradeRun():
            return "trade"
        case QuoteRun():
            return "quote"
        case BookRun() | TextRun():
            return "book_change"
