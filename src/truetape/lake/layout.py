"""How rows lie in a lake file: order, encodings, statistics. Between Arrow tables and Parquet bytes."""

import datetime
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from truetape.events.schema import Column, ColumnType, Kind

PARTITIONS = ("date", "venue")
"""Partition columns of every lake table; `date` is the UTC day of received_at and is added by the lake."""

COMPRESSION_LEVEL = 6
"""zstd; level 3 costs 0.2 bytes a row more, level 9 gains 0.05 and takes a third longer."""

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


def table_schema(kind: Kind) -> pa.Schema:
    """Give the columns of a kind's lake table: the kind's own and `date`; all nullable, so kinds can grow."""
    fields = [pa.field(field.name, field.type) for field in kind.arrow]
    return pa.schema([*fields, pa.field("date", pa.date32())])


def sort_rows(kind: Kind, rows: pa.Table) -> pa.Table:
    """Add `date` and bring rows into the order the files have: partition first, then the kind's sort."""
    dated = rows.append_column("date", pc.cast(rows["received_at"], pa.date32()))
    order = ("date", "venue", *(name for name in kind.sort if name != "venue"))
    return dated.sort_by([(name, "ascending") for name in order]).combine_chunks()


def build_files(kind: Kind, rows: pa.Table, salt: str) -> Iterator[LakeFile]:
    """Lay sorted rows out as one file per partition; `salt` keeps equal rows of two tapes apart by name."""
    counts = rows.group_by(list(PARTITIONS), use_threads=False).aggregate([([], "count_all")])
    start = 0
    for group in counts.to_pylist():
        part = rows.slice(start, group["count_all"])
        start += group["count_all"]
        yield _build_file(kind, part, group["date"], group["venue"], salt)


def _build_file(kind: Kind, part: pa.Table, date: datetime.date, venue: str, salt: str) -> LakeFile:
    content = _encode_rows(kind, part.drop_columns(list(PARTITIONS)))
    name = hashlib.sha256(salt.encode() + b"\0" + content).hexdigest()[:32]
    return LakeFile(
        path=f"date={date.isoformat()}/venue={quote(venue, safe='')}/{name}.parquet",
        partition={"date": date.isoformat(), "venue": venue},
        content=content,
        statistics=_describe_rows(part),
    )


def _encode_rows(kind: Kind, part: pa.Table) -> bytes:
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
        compression_level=COMPRESSION_LEVEL,
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
            # Runs of one value (prices of trades) pack better plain: zstd sees them, dictionary indices hide them.
            return "PLAIN" if column.type is ColumnType.FLOAT and _mostly_repeats(values) else None


def _mostly_distinct(values: pa.ChunkedArray) -> bool:
    return bool(2 * pc.count_distinct(values).as_py() > len(values))


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
