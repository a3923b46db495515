"""One version of one kind's table: its files, and the SQL that reads them. Between Delta logs and DuckDB."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa
from deltalake.exceptions import TableNotFoundError

from truetape.errors import ConfigError
from truetape.events.schema import KINDS, ColumnType, Kind
from truetape.lake.disk import open_delta

_SQL_TYPES: dict[ColumnType, str] = {
    ColumnType.TEXT: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.FLOAT: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.TIME: "TIMESTAMPTZ",
    ColumnType.FLOATS: "DOUBLE[]",
}


class Filter(msgspec.Struct, frozen=True):
    """Which rows are wanted; times are of `received_at`, half-open."""

    venue: str | None = None
    symbol: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class DataFile(msgspec.Struct, frozen=True):
    """One file of a snapshot, with what the log knows about it."""

    uri: str
    venue: str
    facts: dict[str, Any]
    """The log's flattened statistics: `min.symbol`, `null_count.price` and so on; null when not kept."""


class Snapshot(msgspec.Struct, frozen=True):
    """The files of one table version; nothing that is committed later shows."""

    kind: Kind
    version: int
    columns: frozenset[str]
    files: tuple[DataFile, ...]

    def build_query(self, wanted: Filter = Filter(), *, with_date: bool = False) -> str:  # noqa: B008
        """Write the SELECT over the files that can hold wanted rows, with exactly the kind's columns."""
        names = ", ".join(self._name_column(column.name, column.type) for column in self.kind.columns)
        files = [file for file in self.files if _may_hold(file, wanted)]
        if not files:
            empty = ", ".join(f"NULL::{_SQL_TYPES[column.type]} AS {column.name}" for column in self.kind.columns)
            return f"SELECT {empty}{', NULL::DATE AS date' if with_date else ''} WHERE false"
        uris = ", ".join(quote_text(_escape_glob(file.uri)) for file in files)
        # Opening every file's footer before the query starts is only worth it when files differ in columns.
        mixed = ", union_by_name = true" if self._is_mixed(files) else ""
        source = (
            f"read_parquet([{uris}], hive_partitioning = true, hive_types = {{'date': DATE, 'venue': VARCHAR}}{mixed})"
        )
        where = " AND ".join(_list_conditions(wanted)) or "true"
        return f"SELECT {names}{', date' if with_date else ''} FROM {source} WHERE {where}"  # noqa: S608

    def _name_column(self, name: str, kind: ColumnType) -> str:
        return name if name in self.columns else f"NULL::{_SQL_TYPES[kind]} AS {name}"

    def _is_mixed(self, files: list[DataFile]) -> bool:
        needed = [f"null_count.{name}" for name in self.kind.arrow.names if name in self.columns and name != "venue"]
        return any(file.facts.get(name) is None for file in files for name in needed)


def take_snapshot(root: Path, kind: Kind, version: int | None = None) -> Snapshot:
    """Read which files a kind's table has, now or at a version; a table not made yet is empty."""
    try:
        table = open_delta(root / kind.name, version)
    except TableNotFoundError:
        if version is not None:
            raise ConfigError(f"lake {root}: no {kind.name} rows, so no version {version} of them") from None
        return Snapshot(kind, -1, frozenset(kind.arrow.names), ())
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    columns = frozenset(field.name for field in table.schema().fields)
    files = (
        DataFile(f"{root / kind.name}/{unquote(facts['path'])}", facts["partition.venue"], facts) for facts in actions
    )
    return Snapshot(kind, table.version(), columns, tuple(sorted(files, key=lambda file: file.uri)))


def list_models(root: Path) -> list[str]:
    """Name the tables beside the event kinds: what models built from them."""
    return sorted(log.parent.name for log in root.glob("*/_delta_log") if log.parent.name not in KINDS)


def build_model_query(root: Path, model: str, version: int | None = None) -> str:
    """Write the SELECT over the files that a model's table has now, or had in a version."""
    table = open_delta(root / model, version)
    uris = ", ".join(quote_text(_escape_glob(uri)) for uri in sorted(table.file_uris()))
    if uris:
        source = f"read_parquet([{uris}], hive_partitioning = true, hive_types = {{'date': DATE, 'venue': VARCHAR}})"
        return f"SELECT * FROM {source}"  # noqa: S608 - the names are our own
    empty = ", ".join(f"NULL AS {field.name}" for field in table.schema().fields)
    return f"SELECT {empty} WHERE false"


def quote_text(text: str) -> str:
    """Write a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _list_conditions(wanted: Filter) -> list[str]:
    conditions = []
    if wanted.venue is not None:
        conditions.append(f"venue = {quote_text(wanted.venue)}")
    if wanted.symbol is not None:
        conditions.append(f"symbol = {quote_text(wanted.symbol)}")
    if wanted.start is not None:
        conditions.append(f"received_at >= {_quote_time(wanted.start)}")
    if wanted.end is not None:
        conditions.append(f"received_at < {_quote_time(wanted.end)}")
    return conditions


def _quote_time(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat(' ')}'"


def _escape_glob(uri: str) -> str:
    # DuckDB reads *, ? and [ in a file name as a pattern.
    return re.sub(r"([*?\[])", r"[\1]", uri)


def _may_hold(file: DataFile, wanted: Filter) -> bool:
    if wanted.venue is not None and file.venue != wanted.venue:
        return False
    return _overlaps(file, "symbol", wanted.symbol, wanted.symbol) and _overlaps(
        file, "received_at", wanted.start, wanted.end
    )


def _overlaps(file: DataFile, name: str, low: Any, high: Any) -> bool:
    least, most = file.facts.get(f"min.{name}"), file.facts.get(f"max.{name}")
    return not (
        (low is not None and most is not None and most < low)
        or (high is not None and least is not None and least > high)
    )
