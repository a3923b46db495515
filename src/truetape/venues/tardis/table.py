"""Blocks of the vendor's lines to rows, column by column.

| dataset | rows |
|---|---|
| trades | `trade` |
| incremental_book_L2 | `book_change` |
| book_snapshot_N | `book_snapshot` |
| quotes | `quote` |
| derivative_ticker | `derivative` |
| liquidations | `liquidation` |
| options_chain | `ticker` and `derivative`, as the exchange's own ticker decodes; amounts and volatilities of the best bid and ask are on the tape only |
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Scribe, Unit
from truetape.events.run import UNKNOWN, BookRun, Floats, Integers, TradeRun, list_known
from truetape.events.tardis import read_block
from truetape.venues._contract import OnMessage
from truetape.venues.tardis.exchange import find_feed, find_instrument

Flags = npt.NDArray[np.bool_]


def make_handler(scribe: Scribe, feed: str, connection: str) -> OnMessage:
    """Return the handler of one file's blocks; KeyError when there is no such dataset."""
    write = _WRITERS[feed]

    def take(payload: bytes, received_ns: int, offset: int) -> bool:
        table = read_block(feed, payload)
        if table.num_rows:
            write(_Block(scribe, table, connection, offset))
        return bool(table.num_rows)

    return take


def write_answer(scribe: Scribe, name: str, table: pa.Table, connection: str, offset: int) -> None:
    """Write the rows of an answer about the past, one by one: each is looked at for whether it is new."""
    if table.num_rows:
        _WRITERS[name](_Block(scribe, table, connection, offset))
    runs, rows = list(scribe.rows.runs), scribe.rows
    rows.runs.clear()
    for run in runs:
        match run:
            case TradeRun():
                rows.trades += run.unpack()
            case BookRun():
                rows.books += run.unpack()
            case _:
                rows.quotes += run.unpack()


class _Block:
    """The columns that all datasets have, and who the rows are of."""

    def __init__(self, scribe: Scribe, table: pa.Table, connection: str, offset: int) -> None:
        self.scribe = scribe
        self.table = table
        self.connection = connection
        self.count = table.num_rows
        names = [table.column(name).combine_chunks().dictionary_encode() for name in ("exchange", "symbol")]
        exchange, symbol = (name.indices.to_numpy().astype(np.int64) for name in names)
        texts = [name.dictionary.to_pylist() for name in names]
        pairs, self.codes = np.unique(exchange * len(texts[1]) + symbol, return_inverse=True)
        self._found = [
            find_instrument(scribe, *(text[i] for text, i in zip(texts, divmod(pair, len(texts[1])), strict=True)))
            for pair in pairs.tolist()
        ]
        self.units: list[Unit | None] = [found.unit for found in self._found]
        self.is_numbered = all(found.is_numbered for found in self._found)
        local: Integers = table.column("local_timestamp").to_numpy()
        happened: Integers = table.column("timestamp").to_numpy()
        self.exchange = np.where(happened == local, UNKNOWN, happened)  # equal ones: the exchange told no time
        self.received = local * 1000
        self.offset = np.full(self.count, offset)

    def find_streams(self, channel: str) -> Integers:
        """Return each row's stream of a channel."""
        found = [
            Scribe(instrument.venue, self.scribe.rows).stream(channel, find_feed(instrument, channel), instrument).index
            for instrument, _, _ in self._found
        ]
        return np.array(found, np.int64)[self.codes]

    def read(self, name: str) -> Floats:
        """Return a column of numbers, nan where it is empty."""
        values: Floats = self.table.column(name).to_numpy()
        return values

    def list_values(self, name: str) -> list[Any]:
        """Return a column as a list, None where it is empty."""
        listed: list[Any] = self.table.column(name).to_pylist()
        return listed

    def list_heads(self, channel: str) -> tuple[list[Any], ...]:
        """Return what rows of any kind begin with."""
        return (
            self.find_streams(channel).tolist(), list_known(self.exchange), self.received.tolist(), self.offset.tolist()
        )  # fmt: skip

    def convert(self, sizes: Floats, prices: Floats) -> Floats:
        """Return amounts of the base asset, nan where nobody knows."""
        if not any(self.units):
            return sizes
        scale = np.array([unit.size if unit else 1.0 for unit in self.units])[self.codes]
        is_inverse = np.array([bool(unit and unit.is_inverse) for unit in self.units])[self.codes]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            amounts: Floats = sizes * scale / np.where(is_inverse, prices, 1.0)
        return np.where(np.isfinite(amounts), amounts, np.nan)

    @property
    def is_counted(self) -> Flags:
        """Tell of each row whether its amount is not of the base asset."""
        return np.array([unit is not None for unit in self.units])[self.codes]

    def list_sizes(self, sizes: Floats, prices: Floats) -> tuple[list[float | None], list[float | None]]:
        """Return amounts of the base asset, and what was reported where that is something else."""
        if not any(self.units):
            return _list_floats(sizes), [None] * self.count
        return _list_floats(self.convert(sizes, prices)), _list_floats(np.where(self.is_counted, sizes, np.nan))


def _list_floats(values: Floats) -> list[float | None]:
    listed: list[float | None] = values.tolist()
    return [None if value != value else value for value in listed] if np.isnan(values).any() else listed


def _write_trades(block: _Block) -> None:
    side, ids = block.table.column("side"), block.table.column("id")
    numbers = _read_numbers(ids) if block.is_numbered else None
    is_known = numbers is not None and not any(block.units) and UNKNOWN not in block.exchange
    is_sided = not side.null_count and not pc.any(pc.equal(side, "unknown")).as_py()
    price, size = block.read("price"), block.read("amount")
    if is_known and is_sided and numbers is not None:
        is_sell = pc.equal(side, "sell").to_numpy()
        streams = block.find_streams("trade")
        run = TradeRun(streams, block.exchange, block.received, block.offset, numbers, is_sell, price, size)
        block.scribe.rows.runs.append(run)
        return
    sides = [None if text == "unknown" else text for text in side.to_pylist()]
    told = ids.to_pylist() if numbers is None else repeat(None)
    counted = repeat(None) if numbers is None else numbers.tolist()
    columns = counted, told, sides, price.tolist(), *block.list_sizes(size, price)
    heads = block.list_heads("trade")
    block.scribe.trades.extend(zip(*heads, *columns, repeat(None), strict=False))


def _read_numbers(ids: pa.ChunkedArray) -> Integers | None:
    """Return ids as integers, None when any is not one, or is spelled in another way."""
    try:
        numbers = pc.cast(ids, pa.int64())
    except pa.ArrowInvalid:
        return None
    if numbers.null_count or not pc.all(pc.equal(pc.cast(numbers, pa.utf8()), ids)).as_py():
        return None
    found: Integers = numbers.to_numpy()
    return found


def _write_books(block: _Block) -> None:
    """Rows of one instrument and time that stand together are one change; rows of a picture are one, whatever their time."""
    is_picture: Flags = block.table.column("is_snapshot").to_numpy()
    codes, local = block.codes, block.received
    is_first = np.ones(block.count, bool)
    is_same = (codes[1:] == codes[:-1]) & (is_picture[1:] == is_picture[:-1])
    is_first[1:] = ~(is_same & (is_picture[1:] | (local[1:] == local[:-1])))
    frame = np.cumsum(is_first) - 1
    is_ask = pc.equal(block.table.column("side"), "ask").to_numpy()
    key = frame * 2 + is_ask
    order = np.argsort(key, kind="stable")
    flat = np.empty(2 * block.count)
    flat[0::2], flat[1::2] = block.read("price")[order], block.read("amount")[order]
    firsts = np.flatnonzero(is_first)
    nothing = np.full(len(firsts), UNKNOWN)
    units = [block.units[code] for code in codes[firsts].tolist()] if any(block.units) else []
    block.scribe.rows.runs.append(
        BookRun(
            block.find_streams("book_change")[firsts],
            block.exchange[firsts],
            local[firsts],
            block.offset[firsts],
            np.where(is_picture[firsts], BOOK_SNAPSHOT, BOOK_DIFF),
            nothing,
            nothing,
            nothing,
            units,
            block.connection,
            np.bincount(key, minlength=2 * len(firsts)),
            flat,
        )
    )


def _write_quotes(block: _Block) -> None:
    columns = []
    for side in ("bid", "ask"):
        price = block.read(f"{side}_price")
        columns += [_list_floats(price), _list_floats(block.convert(block.read(f"{side}_amount"), price))]
    block.scribe.quotes.extend(zip(*block.list_heads("quote"), *columns, repeat(None), strict=False))


def _write_snapshots(block: _Block) -> None:
    # hot: bench/import_csv.py
    sides: list[list[Floats | list[float | None]]] = []
    count = (block.table.num_columns - 4) // 4
    for side in ("bids", "asks"):
        prices = np.stack([block.read(f"{side}[{i}].price") for i in range(count)])
        sizes = np.stack([block.read(f"{side}[{i}].amount") for i in range(count)])
        amounts = np.stack([block.convert(size, price) for size, price in zip(sizes, prices, strict=True)])
        # A book with fewer levels leaves the last ones empty; most are full, and are taken as they are.
        depths = (count - np.isnan(prices).sum(axis=0)).tolist()
        for values in (prices, amounts):
            # Arrays, not lists: millions of numbers as objects cost a third of delivering, a half of it in collecting garbage.
            rows: list[Floats | list[float | None]] = list(np.ascontiguousarray(values.T))
            for i in np.flatnonzero((np.isnan(prices) | np.isnan(values)).any(axis=0)).tolist():
                rows[i] = [None if value != value else value for value in values[: depths[i], i].tolist()]
            sides.append(rows)
    plain = block.scribe.plain("book_snapshot")
    plain.extend(zip(*block.list_heads("book_snapshot"), repeat(None), *sides, strict=False))


def _write_derivatives(block: _Block) -> None:
    columns = [block.list_values(name) for name in ("mark_price", "index_price", "last_price")]
    columns += block.list_sizes(block.read("open_interest"), block.read("mark_price"))
    columns += [block.list_values(name) for name in ("funding_rate", "predicted_funding_rate", "funding_timestamp")]
    options = repeat(None), repeat(None), repeat(None), repeat(None), repeat(None), repeat(None)
    block.scribe.plain("derivative").extend(zip(*block.list_heads("derivative"), *columns, *options, strict=False))


def _write_liquidations(block: _Block) -> None:
    price = block.read("price")
    sizes = block.list_sizes(block.read("amount"), price)
    rows = zip(
        *block.list_heads("liquidation"), block.list_values("side"), price.tolist(), *sizes, repeat(None), strict=False
    )
    block.scribe.plain("liquidation").extend(rows)


def _write_options(block: _Block) -> None:
    last, bid, ask = (block.list_values(f"{name}_price") for name in ("last", "bid", "ask"))
    nothing = repeat(None), repeat(None), repeat(None), repeat(None), repeat(None)
    heads = block.list_heads("ticker")
    block.scribe.plain("ticker").extend(zip(*heads, last, repeat(None), bid, ask, *nothing, strict=False))
    interest = block.list_sizes(block.read("open_interest"), block.read("underlying_price"))
    columns = [block.list_values("mark_price"), block.list_values("underlying_price"), last, *interest]
    greeks = [block.list_values(name) for name in ("mark_iv", "delta", "gamma", "vega", "theta", "rho")]
    funding = repeat(None), repeat(None), repeat(None)
    heads = block.list_heads("derivative")
    block.scribe.plain("derivative").extend(zip(*heads, *columns, *funding, *greeks, strict=False))


_WRITERS: dict[str, Callable[[_Block], None]] = {
    "trades": _write_trades,
    "incremental_book_L2": _write_books,
    "book_snapshot": _write_snapshots,
    "quotes": _write_quotes,
    "derivative_ticker": _write_derivatives,
    "liquidations": _write_liquidations,
    "options_chain": _write_options,
}
