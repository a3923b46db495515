"""Tardis' CSV datasets: what columns they have, and blocks of their lines as Arrow tables. Pure."""

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from truetape.errors import DecodeError
from truetape.events.number import LARGEST

_HEADS = ("exchange", "symbol", "timestamp", "local_timestamp")
_TEXTS = frozenset({"exchange", "symbol", "id", "side", "type", "underlying_index"})
_TIMES = frozenset({"timestamp", "local_timestamp", "funding_timestamp", "expiration"})
_MICROSECONDS_MAX = 9 * 10**15
"""The year 2255: its nanoseconds fit 64 bits."""


class Dataset(msgspec.Struct, frozen=True):
    """One of the vendor's tables."""

    columns: tuple[str, ...]
    """Those that it must have, beside exchange, symbol and times."""
    filled: tuple[str, ...] = ()
    """Those that are never empty."""
    sides: tuple[str, ...] = ()
    """What its column `side` may say."""


DATASETS: dict[str, Dataset] = {
    "options_chain": Dataset(
        ("type", "strike_price", "expiration", "open_interest", "last_price", "bid_price", "ask_price", "mark_price",
         "mark_iv", "underlying_price", "delta", "gamma", "vega", "theta", "rho"),
    ),
    "derivative_ticker": Dataset(
        ("funding_timestamp", "funding_rate", "predicted_funding_rate", "open_interest", "last_price", "index_price",
         "mark_price"),
    ),
    "incremental_book_L2": Dataset(
        ("is_snapshot", "side", "price", "amount"), ("is_snapshot", "side", "price", "amount"), ("bid", "ask")
    ),
    "quotes": Dataset(("ask_amount", "ask_price", "bid_price", "bid_amount")),
    "trades": Dataset(("id", "side", "price", "amount"), ("price", "amount"), ("buy", "sell", "unknown")),
    "liquidations": Dataset(("id", "side", "price", "amount"), ("side", "price", "amount"), ("buy", "sell")),
    "book_snapshot": Dataset(("asks[0].price", "asks[0].amount", "bids[0].price", "bids[0].amount")),
}  # fmt: skip
"""Datasets by name; a file is of the first one whose columns it has, liquidations have to be named."""


def find_dataset(header: bytes, hint: str = "") -> str:
    """Return the name of the dataset that a header belongs to; `hint` is the file's name, which may say more.

    Trades and liquidations have the same columns: liquidations when the hint says so. DecodeError on any other header.
    """
    columns = set(read_header(header))
    for name, dataset in DATASETS.items():
        if columns.issuperset((*_HEADS, *dataset.columns)):
            return "liquidations" if name == "trades" and "liquidations" in hint else name
    raise DecodeError(f"not the header of a Tardis CSV dataset (known: {', '.join(DATASETS)})")


def read_header(header: bytes) -> list[str]:
    """Return the names of the columns."""
    try:
        return header.decode("ascii").strip().split(",")
    except UnicodeDecodeError as error:
        raise DecodeError("the header is not ASCII") from error


def count_levels(columns: list[str]) -> int:
    """Return the levels of each side of a book snapshot."""
    known, count = set(columns), 0
    while f"asks[{count}].price" in known:
        count += 1
    return count


def read_block(name: str, payload: bytes) -> pa.Table:
    """Return the rows of a header and lines that follow it; DecodeError when any line is not of the dataset.

    Times are integers of microseconds; what is empty is null.
    """
    end = payload.find(b"\n") + 1 or len(payload)
    return read_rows(name, read_header(payload[:end]), pa.py_buffer(payload).slice(end))


def read_rows(name: str, columns: list[str], lines: pa.Buffer) -> pa.Table:
    """Return the rows of lines that have these columns, as `read_block` does."""
    # hot: bench/import_csv.py
    dataset = DATASETS[name]
    wanted = list_columns(name, columns)
    if not set(columns).issuperset(wanted):
        raise DecodeError(f"{name}: column {min(set(wanted).difference(columns))} is missing")
    types = {column: _find_type(column) for column in wanted}
    if not lines.size:
        return pa.schema(types.items()).empty_table()
    try:
        table = pacsv.read_csv(
            pa.BufferReader(lines),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=lines.size + 1, column_names=columns),
            parse_options=pacsv.ParseOptions(quote_char=False),
            convert_options=pacsv.ConvertOptions(
                column_types=types,
                include_columns=wanted,
                null_values=[""],
                strings_can_be_null=True,
                true_values=["true"],
                false_values=["false"],
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise DecodeError(f"{name}: {str(error).splitlines()[0][:200]}") from error
    _check(dataset, table)
    return table


def list_columns(name: str, columns: list[str]) -> list[str]:
    """Return the columns that are read of a dataset; a book snapshot has as many levels as its header."""
    if name != "book_snapshot":
        return [*_HEADS, *DATASETS[name].columns]
    levels = range(max(1, count_levels(columns)))
    return [
        *_HEADS,
        *(f"{side}[{i}].{what}" for side in ("bids", "asks") for what in ("price", "amount") for i in levels),
    ]


def _find_type(column: str) -> pa.DataType:
    if column in _TEXTS:
        return pa.utf8()
    if column == "is_snapshot":
        return pa.bool_()
    return pa.int64() if column in _TIMES else pa.float64()


def _check(dataset: Dataset, table: pa.Table) -> None:
    for column in (*_HEADS, *dataset.filled):
        if table.column(column).null_count:
            raise DecodeError(f"{column} is empty")
    for field in table.schema:
        values = table.column(field.name)
        if pa.types.is_integer(field.type):
            _bound(field.name, values, 0, _MICROSECONDS_MAX)
        elif pa.types.is_floating(field.type):
            _bound(field.name, values, 0 if "amount" in field.name else -LARGEST, LARGEST)
    if dataset.sides:
        said = set(pc.unique(table.column("side")).to_pylist()) - set(dataset.sides) - {None}
        if said:
            raise DecodeError(f"side {min(said)[:20]!r} (allowed: {', '.join(dataset.sides)})")


def _bound(name: str, values: pa.ChunkedArray, least: float, most: float) -> None:
    for chunk in values.chunks:
        numbers = (chunk.drop_null() if chunk.null_count else chunk).to_numpy()
        # NaN is the least and the most of what it is among, and within nothing.
        if len(numbers) and not (least <= numbers.min() and numbers.max() <= most):
            raise DecodeError(f"{name} is not a finite number, or not one that it can be")
