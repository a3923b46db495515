"""How rows lie in a lake file: order, encodings, statistics. Between Arrow tables and Parquet bytes."""

import datetime
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from truetape.events.schema import Column, ColumnType, Kind

PARTITIONS = ("date", "venue")
"""Partition columns of every lake table; `date` is the UTC day of received_at and is added by the lake."""

COMMIT_LEVEL = 6
"""zstd level while recording: level 3 costs 0.2 to 0.4 bytes a row more and saves a quarter of the time."""

ARCHIVE_LEVEL = 12
"""zstd level of compaction, which nobody waits for."""

_ROW_GROUP_ROWS_MAX = 1 << 20
_DICTIONARY_BYTES_MAX = 8 << 20
_STATISTICS = ("symbol", "received_at", "tape_offset")


class LakeFile(msgspec.Struct, frozen=True):
    """The bytes of one data file and what the table's log says about it."""

    path: str
    """Relative to the table, as on disk."""
    partition: dict[str, str | None]
    content: bytes
    statistics: str
    """JSON as the Delta protocol wants it."""


Ranks = npt.NDArray[np.int64]


def table_schema(kind: Kind) -> pa.Schema:
    """Give the columns of a kind's lake table: the kind's own and `date`; all nullable, so kinds can grow."""
    fields = [pa.field(field.name, field.type) for field in kind.arrow]
    return pa.schema([*fields, pa.field("date", pa.date32())])


def sort_rows(kind: Kind, rows: pa.Table) -> pa.Table:
    """Add `date` and bring rows into the order the files have: partition first, then the kind's sort."""
    dated = rows.append_column("date", pc.cast(rows["received_at"], pa.date32())).combine_chunks()
    order = (*PARTITIONS, *(name for name in kind.sort if name not in PARTITIONS))
    indices = _find_order([_rank_values(dated[name]) for name in order])
    return dated if indices is None else dated.take(pa.array(indices)).combine_chunks()


def _find_order(keys: list[Ranks]) -> npt.NDArray[np.int64] | None:
    """Return the order of rows by these keys, the first one first; None when they are in order.

    Rows from a tape are in order but for the leading keys, of few values: then these alone are sorted.
    """
    # hot: bench/ingest.py; Arrow's own sort_by takes four times the time on such rows
    keys = [key for key in keys if len(key) and key.min() != key.max()]
    if not keys:
        return None
    leading = len(keys)
    is_sorted = np.ones(len(keys[0]) - 1, bool)
    for i, key in reversed([*enumerate(keys)]):
        is_sorted = (key[1:] > key[:-1]) | ((key[1:] == key[:-1]) & is_sorted)
        if is_sorted.all():
            leading = i
    if leading == 0:
        return None
    if leading == 1 and keys[0].min() >= 0 and keys[0].max() < _SMALL:
        return np.argsort(keys[0].astype(np.int16), kind="stable")
    return np.lexsort(keys[:leading][::-1])


_SMALL = 1 << 15
"""Numbers below are sorted by their digits, in no time."""


def _rank_values(values: pa.ChunkedArray) -> Ranks:
    """Give numbers that order as the values do."""
    if values.type == pa.utf8():
        encoded = values.combine_chunks().dictionary_encode()
        ranks = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object)))
        return np.asarray(ranks[encoded.indices.to_numpy()], dtype=np.int64)
    whole = values.cast(pa.int32()) if values.type == pa.date32() else values
    return np.asarray(whole.cast(pa.int64()).to_numpy())


def build_files(kind: Kind, rows: pa.Table, salt: str, level: int = COMMIT_LEVEL) -> Iterator[LakeFile]:
    """Lay sorted rows out as one file per partition; `salt` keeps equal rows of two tapes apart by name."""
    counts = rows.group_by(list(PARTITIONS), use_threads=False).aggregate([([], "count_all")])
    start = 0
    for group in counts.to_pylist():
        part = rows.slice(start, group["count_all"])
        start += group["count_all"]
        yield _build_file(kind, part, salt, level)


def _build_file(kind: Kind, part: pa.Table, salt: str, level: int) -> LakeFile:
    content = _encode_rows(kind, part.drop_columns(list(PARTITIONS)), level)
    date, venue = part["date"][0].as_py(), part["venue"][0].as_py()
    name = hashlib.sha256(salt.encode() + b"\0" + content).hexdigest()[:32]
    return LakeFile(
        path=f"date={date.isoformat()}/venue={quote(venue, safe='')}/{name}.parquet",
        partition={"date": date.isoformat(), "venue": venue},
        content=content,
        statistics=_describe_rows(part),
    )


def _encode_rows(kind: Kind, part: pa.Table, level: int) -> bytes:
    dictionaries: list[str] = []
    encodings: dict[str, str] = {}
    for column in kind.columns:
        if column.name in PARTITIONS:
            continue
        encoding = _choose_encoding(column, part[column.name])
        path = f"{column.name}.list.element" if column.type is ColumnType.FLOATS else column.name
        if encoding is None:
            dictionaries.append(path)
        else:
            encodings[path] = encoding
    sink = pa.BufferOutputStream()
    pq.write_table(
        part,
        sink,
        compression="zstd",
        compression_level=level,
        use_dictionary=dictionaries or False,
        column_encoding=encodings,
        row_group_size=_ROW_GROUP_ROWS_MAX,
        dictionary_pagesize_limit=_DICTIONARY_BYTES_MAX,
        store_schema=False,
    )
    return bytes(sink.getvalue())


def _choose_encoding(column: Column, values: pa.ChunkedArray) -> str | None:
    """Name the Parquet encoding that packs these values best; None is a dictionary."""
    match column.type:
        case ColumnType.INTEGER | ColumnType.TIME:
            return "DELTA_BINARY_PACKED"
        case ColumnType.BOOLEAN:
            return "PLAIN"
        case ColumnType.TEXT:
            return "DELTA_BYTE_ARRAY" if _mostly_distinct(values) else None
        case _:
            # Runs of one value (prices of trades) pack better plain: zstd sees them, dictionary indices hide them. So do
            # values that hardly come again (quotients of contracts, amounts of quotes): a dictionary repeats them all.
            is_plain = column.type is ColumnType.FLOAT and (_mostly_repeats(values) or _often_distinct(values))
            return "PLAIN" if is_plain else None


def _mostly_distinct(values: pa.ChunkedArray) -> bool:
    return bool(2 * pc.count_distinct(values).as_py() > len(values))


def _often_distinct(values: pa.ChunkedArray) -> bool:
    return bool(4 * pc.count_distinct(values).as_py() > len(values))


def _mostly_repeats(values: pa.ChunkedArray) -> bool:
    if len(values) < 2:
        return False
    repeats = pc.sum(pc.equal(values.slice(1), values.slice(0, len(values) - 1))).as_py() or 0
    return bool(2 * repeats > len(values))


def _describe_rows(part: pa.Table) -> str:
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in _STATISTICS:
        bounds = pc.min_max(part[name]).as_py()
        low[name], high[name] = _format_bound(bounds["min"]), _format_bound(bounds["max"])
    nulls = {name: part[name].null_count for name in part.column_names if name not in PARTITIONS}
    facts = {"numRecords": part.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
    return msgspec.json.encode(facts).decode()


def _format_bound(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value
