"""Rows become columns: tuples of one kind to one Arrow table, vectorised.

This is half of the cost of decoding, so numbers go through numpy and no Python runs per cell
beyond the flattening of tuples.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from truetape.events.instrument import Stream
from truetape.events.rows import BOOK_DIFF, PlainRow, QuoteRow, Rows, TradeRow, Unit
from truetape.events.schema import KINDS, ColumnType

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_TIME = pa.timestamp("us", tz="UTC")


def take_tables(rows: Rows) -> dict[str, pa.Table]:
    """Turn all rows into tables, one per kind that has any, and empty the lists."""
    names = _Names(rows.streams)
    tables = {}
    if rows.trades:
        tables["trade"] = tabulate_trades(rows.trades, names)
        rows.trades.clear()
    pack_books(rows)
    if rows.packed_books:
        table = tabulate_books(rows.packed_books, names)
        if table.num_rows:
            tables["book_change"] = table
        rows.packed_books.clear()
    if rows.quotes:
        tables["quote"] = tabulate_quotes(rows.quotes, names)
        rows.quotes.clear()
    for kind, plain in rows.plain.items():
        if plain:
            plain.sort(key=_tell_offset)  # gaps are noticed kind by kind; stable, so equal offsets keep their order
            tables[kind] = tabulate_plain(kind, plain, names)
            plain.clear()
    return tables


def _tell_offset(row: PlainRow) -> int:
    offset: int = row[3]
    return offset


class _Names:
    """Venue, symbol and venue_symbol of every stream as arrays to take from."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.venue = pa.array([s.venue for s in streams], pa.utf8())
        self.symbol = pa.array([s.symbol for s in streams], pa.utf8())
        self.venue_symbol = pa.array([s.venue_symbol for s in streams], pa.utf8())


def _common(names: _Names, stream: Integers, exchange: pa.Array, received_ns: Integers, offset: Integers) -> list[Any]:
    return _place(names, stream, exchange, received_ns // 1000, offset, _row_in_frame(offset))


def _place(
    names: _Names, stream: Integers, exchange: pa.Array, received_us: Integers, offset: Integers, row: Integers
) -> list[Any]:
    received = pa.array(received_us).cast(_TIME)
    return [
        *_spread((names.venue, names.symbol, names.venue_symbol), stream),
        exchange.cast(_TIME),
        received,
        received,
        pa.array(offset),
        pa.array(row),
    ]


def _spread(names: Sequence[pa.Array], stream: Integers) -> list[pa.Array]:
    """Return each row's names; those of one stream only are written at one blow."""
    first = int(stream[0]) if len(stream) else 0
    if len(stream) and bool((stream == first).all()):
        return [_repeat(name[first].as_py().encode(), len(stream)) for name in names]
    at = pa.array(stream)
    return [name.take(at) for name in names]


def _repeat(text: bytes, count: int) -> pa.Array:
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(len(text))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text * count))


def _row_in_frame(offset: Integers) -> Integers:
    """Number rows of equal offset from 0; equal offsets stand together."""
    return _number_rows(offset, np.ones(len(offset), dtype=np.int64))


def _number_rows(offset: Integers, counts: Integers) -> Integers:
    """Number the rows of each offset from 0, where entry i of `offset` stands for `counts[i]` rows."""
    ends = np.cumsum(counts)
    starts = ends - counts
    is_new = np.empty(len(offset), dtype=bool)
    is_new[:1] = True  # a take may hold book frames without any level
    np.not_equal(offset[1:], offset[:-1], out=is_new[1:])
    begins = np.maximum.accumulate(np.where(is_new, starts, 0))
    numbers: Integers = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) - np.repeat(begins, counts)
    return numbers


def find_inexact(values: Floats) -> npt.NDArray[np.bool_]:
    """Mark numbers whose decimal text must have had more than 15 significant digits.

    n / 1e8 with integers below 2**53 is correctly rounded, so whatever passes the first test is the float
    of a decimal with at most 8 places and 15 digits. The few others are tested digit by digit.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        exact = (np.abs(values) < 1e7) & (np.rint(values * 1e8) / 1e8 == values)
    doubtful = np.flatnonzero(~exact)
    inexact = np.zeros(len(values), dtype=bool)
    for i in doubtful.tolist():
        value = float(values[i])
        inexact[i] = value == value and float(f"{value:.15g}") != value
    return inexact


def tabulate_trades(rows: Sequence[TradeRow], names: _Names) -> pa.Table:
    """Trades: ids of numbers and of text become one text column."""
    stream, exchange, received, offset, number, text, side, price, amount, contracts, flag = zip(*rows, strict=True)
    prices = np.fromiter(price, np.float64, len(rows))
    sizes = pa.array(amount, pa.float64())
    reported = pa.array(contracts, pa.float64())
    ids = pa.array(number, pa.int64()).cast(pa.utf8())
    if ids.null_count or any(text):
        ids = pc.coalesce(pa.array(text, pa.utf8()), ids)  # a number beside an id only counts the trades
    raw = sizes if reported.null_count == len(rows) else pc.coalesce(reported, sizes)
    inexact = find_inexact(prices) | find_inexact(raw.to_numpy(zero_copy_only=False))
    columns = _common(names, _integers(stream), pa.array(exchange, pa.int64()), _integers(received), _integers(offset))
    columns += [ids, pa.array(side, pa.utf8()), pa.array(prices), sizes, reported, pa.array(flag, pa.utf8())]
    return pa.Table.from_arrays([*columns, pa.array(inexact)], schema=KINDS["trade"].arrow)


def tabulate_quotes(rows: Sequence[QuoteRow], names: _Names) -> pa.Table:
    """Quotes."""
    stream, exchange, received, offset, *own = zip(*rows, strict=True)
    columns = _common(names, _integers(stream), pa.array(exchange, pa.int64()), _integers(received), _integers(offset))
    columns += [pa.array(values, pa.float64()) for values in own[:4]]
    return pa.Table.from_arrays([*columns, pa.array(own[4], pa.int64())], schema=KINDS["quote"].arrow)


def tabulate_plain(kind: str, rows: Sequence[PlainRow], names: _Names) -> pa.Table:
    """Any other kind: columns in schema order, times as integers of microseconds."""
    stream, exchange, received, offset, *own = zip(*rows, strict=True)
    schema = KINDS[kind].arrow
    columns = _common(names, _integers(stream), pa.array(exchange, pa.int64()), _integers(received), _integers(offset))
    for column, values in zip(KINDS[kind].own, own, strict=True):
        if column.type is ColumnType.TIME:
            columns.append(pa.array(values, pa.int64()).cast(_TIME))
        else:
            columns.append(pa.array(values, schema.field(column.name).type))
    return pa.Table.from_arrays(columns, schema=schema)


class PackedBooks(NamedTuple):
    """Book frames taken apart: what a frame says once, and the levels of all as flat numbers."""

    stream: Sequence[int]
    exchange: Sequence[int | None]
    received: Sequence[int]
    offset: Sequence[int]
    what: Sequence[int]
    last: Sequence[int | None]
    units: Sequence[Unit | None]
    side_counts: Integers
    """Levels of each frame's bids and asks, in turn."""
    flat: Floats
    """Price and size of each level, in turn."""


def pack_books(rows: Rows) -> None:
    """Take the book frames' levels out of their lists while they are still in the processor's cache.

    Levels are most of what decoding allocates: kept until the take they cost a third more than freed soon.
    """
    # hot: bench/decode.py
    if not rows.books:
        return
    stream, exchange, received, offset, _, what, _, last, _, bids, asks, units, _ = zip(*rows.books, strict=True)
    sides = list(chain.from_iterable(zip(bids, asks, strict=True)))
    side_counts = np.fromiter(map(len, sides), np.int64, len(sides))
    levels = chain.from_iterable(chain.from_iterable(sides))
    flat = np.fromiter(levels, np.float64, int(side_counts.sum()) * 2)
    rows.packed_books.append(PackedBooks(stream, exchange, received, offset, what, last, units, side_counts, flat))
    rows.books.clear()


def tabulate_books(packed: Sequence[PackedBooks], names: _Names) -> pa.Table:
    """Book frames: one row per level, bids before asks; what a frame says once is repeated."""
    # hot: bench/decode.py
    stream, exchange, received, offset, what, last, units = (
        list(chain.from_iterable(part)) for part in zip(*(one[:7] for one in packed), strict=True)
    )
    side_counts = np.concatenate([one.side_counts for one in packed])
    flat = np.concatenate([one.flat for one in packed])
    counts = side_counts[0::2] + side_counts[1::2]
    prices, sizes = np.ascontiguousarray(flat[0::2]), np.ascontiguousarray(flat[1::2])
    amounts, contracts = _convert_sizes(units, counts, prices, sizes)
    offsets = _integers(offset)
    columns = _place(
        names,
        np.repeat(_integers(stream), counts),
        _repeat_nullable(exchange, counts),
        np.repeat(_integers(received) // 1000, counts),
        np.repeat(offsets, counts),
        _number_rows(offsets, counts),
    )
    is_bid = np.repeat(np.tile(np.array([0, 1]), len(offset)), side_counts)
    columns += [
        pa.array(np.repeat(_integers(what) != BOOK_DIFF, counts)),
        pa.array(["bid", "ask"], pa.utf8()).take(pa.array(is_bid)),
        pa.array(prices),
        amounts,
        contracts,
        _repeat_nullable(last, counts),
        pa.array(find_inexact(prices) | find_inexact(sizes)),
    ]
    return pa.Table.from_arrays(columns, schema=KINDS["book_change"].arrow)


def _convert_sizes(
    units: Sequence[Unit | None], counts: Integers, prices: Floats, sizes: Floats
) -> tuple[pa.Array, pa.Array]:
    """Return base amounts and reported contracts; an unknown contract size (nan) gives null amounts."""
    if not any(units):
        return pa.array(sizes), pa.nulls(len(sizes), pa.float64())
    counted = np.repeat(np.array([u is not None for u in units]), counts)
    scale = np.repeat(np.array([u.size if u else 1.0 for u in units]), counts)
    inverse = np.repeat(np.array([u is not None and u.is_inverse for u in units]), counts)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # an inverse level at price 0 has no amount
        amounts = sizes * scale / np.where(inverse, prices, 1.0)
    return pa.array(amounts, mask=~np.isfinite(amounts)), pa.array(sizes, mask=~counted)


def _integers(values: Sequence[int]) -> Integers:
    return np.fromiter(values, np.int64, len(values))


def _repeat_nullable(values: Sequence[int | None], counts: Integers) -> pa.Array:
    if None not in values:
        return pa.array(np.repeat(np.fromiter(values, np.int64, len(values)), counts))
    missing = np.array([v is None for v in values])
    present = np.array([v or 0 for v in values], dtype=np.int64)
    return pa.array(np.repeat(present, counts), mask=np.repeat(missing, counts))
