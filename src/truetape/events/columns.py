"""Rows become columns: tuples of one kind to one Arrow table, vectorised.

This is half of the cost of decoding, so numbers go through numpy and no Python runs per cell
beyond the flattening of tuples.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from truetape.events.instrument import Stream
from truetape.events.rows import BOOK_DIFF, PlainRow, QuoteRow, Rows, TradeRow, Unit, tell_offset
from truetape.events.run import UNKNOWN, BookRun, Floats, Integers, QuoteRun, TradeRun, array_known, join_books
from truetape.events.schema import KINDS, ColumnType

_TIME = pa.timestamp("us", tz="UTC")


def take_tables(rows: Rows) -> dict[str, pa.Table]:
    """Turn all rows into tables, one per kind that has any, and empty the lists."""
    names = rows.names = _list_names(rows)
    pack_books(rows)
    parts = {
        "trade": [
            tabulate_trade_runs(rows.trade_runs, names) if rows.trade_runs else None,
            tabulate_trades(rows.trades, names) if rows.trades else None,
        ],
        "book_change": [tabulate_books(rows.book_runs, names) if rows.book_runs else None],
        "quote": [
            tabulate_quote_runs(rows.quote_runs, names) if rows.quote_runs else None,
            tabulate_quotes(rows.quotes, names) if rows.quotes else None,
        ],
    }
    for own in (rows.trades, rows.trade_runs, rows.book_runs, rows.quotes, rows.quote_runs):
        own.clear()
    tables = {}
    for kind, found in parts.items():
        table = _order_table([part for part in found if part is not None])
        if table is not None and table.num_rows:
            tables[kind] = table
    for kind, plain in rows.plain.items():
        if plain:
            plain.sort(key=tell_offset)  # gaps are noticed kind by kind; stable, so equal offsets keep their order
            tables[kind] = tabulate_plain(kind, plain, names)
            plain.clear()
    return tables


def _order_table(parts: list[pa.Table]) -> pa.Table | None:
    """Return the rows of all parts in tape order; rows of one frame stand together in one part."""
    if not parts:
        return None
    parts.sort(key=lambda part: part.num_rows and part.column("tape_offset")[0].as_py())
    table = parts[0] if len(parts) == 1 else pa.concat_tables(parts).combine_chunks()
    offset = table.column("tape_offset").to_numpy()
    if bool((offset[1:] >= offset[:-1]).all()):
        return table
    return table.take(pa.array(np.argsort(offset, kind="stable"))).combine_chunks()


class _Names:
    """Venue, symbol and venue_symbol of every stream as arrays to take from."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.venue = pa.array([s.venue for s in streams], pa.utf8())
        self.symbol = pa.array([s.symbol for s in streams], pa.utf8())
        self.venue_symbol = pa.array([s.venue_symbol for s in streams], pa.utf8())


def _list_names(rows: Rows) -> _Names:
    """Return the names of all streams; those of the last take when none is new."""
    known: _Names | None = rows.names
    return known if known is not None and len(known.venue) == len(rows.streams) else _Names(rows.streams)


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


def tabulate_trade_runs(runs: Sequence[TradeRun], names: _Names) -> pa.Table:
    """Trades that came as columns."""
    run = TradeRun(*(_join(columns) for columns in zip(*runs, strict=True)))
    inexact = find_inexact(run.price) | find_inexact(run.amount)
    nothing = len(run.offset)
    columns = _common(names, run.stream, pa.array(run.exchange), run.received, run.offset)
    columns += [
        pa.array(run.number).cast(pa.utf8()),
        pa.array(["buy", "sell"], pa.utf8()).take(pa.array(run.is_sell.view(np.int8))),
        pa.array(run.price),
        pa.array(run.amount),
        pa.nulls(nothing, pa.float64()),
        pa.nulls(nothing, pa.utf8()),
        pa.array(inexact),
    ]
    return pa.Table.from_arrays(columns, schema=KINDS["trade"].arrow)


def tabulate_quotes(rows: Sequence[QuoteRow], names: _Names) -> pa.Table:
    """Quotes."""
    stream, exchange, received, offset, *own = zip(*rows, strict=True)
    columns = _common(names, _integers(stream), pa.array(exchange, pa.int64()), _integers(received), _integers(offset))
    columns += [pa.array(values, pa.float64()) for values in own[:4]]
    return pa.Table.from_arrays([*columns, pa.array(own[4], pa.int64())], schema=KINDS["quote"].arrow)


def tabulate_quote_runs(runs: Sequence[QuoteRun], names: _Names) -> pa.Table:
    """Quotes that came as columns."""
    run = QuoteRun(*(_join(columns) for columns in zip(*runs, strict=True)))
    columns = _common(names, run.stream, _spread_known(run.exchange), run.received, run.offset)
    columns += [pa.array(values, from_pandas=True) for values in run[4:8]]
    return pa.Table.from_arrays([*columns, pa.array(run.number)], schema=KINDS["quote"].arrow)


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
    told = _integers(stream), array_known(exchange), _integers(received), _integers(offset), _integers(what)
    ids = _NOBODY_ASKS, array_known(last), _NOBODY_ASKS
    rows.book_runs.append(BookRun(*told, *ids, list(units) if any(units) else [], "", side_counts, flat))
    rows.books.clear()


_NOBODY_ASKS = np.empty(0, np.int64)


def tabulate_books(runs: Sequence[BookRun], names: _Names) -> pa.Table:
    """Book frames: one row per level, bids before asks; what a frame says once is repeated."""
    # hot: bench/decode.py
    whole = join_books(sorted(runs, key=_tell_first))
    stream, exchange, received, offset, what, _, last, _ = whole[:8]
    side_counts, flat = whole.side_counts, whole.flat
    counts = side_counts[0::2] + side_counts[1::2]
    prices, sizes = np.ascontiguousarray(flat[0::2]), np.ascontiguousarray(flat[1::2])
    amounts, contracts = _convert_sizes(whole.units, counts, prices, sizes)
    columns = _place(
        names,
        np.repeat(stream, counts),
        _spread_known(exchange, counts),
        np.repeat(received // 1000, counts),
        np.repeat(offset, counts),
        _number_rows(offset, counts),
    )
    is_ask = np.repeat(np.tile(np.array([0, 1]), len(offset)), side_counts)
    columns += [
        pa.array(np.repeat(what != BOOK_DIFF, counts)),
        _spell(_SIDES[is_ask]),
        pa.array(prices),
        amounts,
        contracts,
        _spread_known(last, counts),
        pa.array(find_inexact(prices) | find_inexact(sizes)),
    ]
    return pa.Table.from_arrays(columns, schema=KINDS["book_change"].arrow)


def _tell_first(run: BookRun) -> int:
    return int(run.offset[0])


_SIDES = np.array([b"bid", b"ask"])


def _spell(words: npt.NDArray[np.bytes_]) -> pa.Array:
    """Return words of one length as text."""
    edges = np.arange(len(words) + 1, dtype=np.int32) * np.int32(words.itemsize)
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(edges), pa.py_buffer(words))


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


def _join(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _spread_known(values: Integers, counts: Integers | None = None) -> pa.Array:
    """Return integers, repeated where counts say how often, null where there is none."""
    is_missing = values == UNKNOWN
    spread = values if counts is None else np.repeat(values, counts)
    if not is_missing.any():
        return pa.array(spread)
    return pa.array(spread, mask=is_missing if counts is None else np.repeat(is_missing, counts))
