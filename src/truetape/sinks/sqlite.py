"""Sink into one SQLite file: a table per kind, rows and checkpoint in one transaction."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa

from truetape.errors import SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS, ColumnType, Kind
from truetape.sinks._contract import Step, check_tables, ignore_step
from truetape.sinks._place import check_options
from truetape.sinks._text import render_columns

WAIT_SECONDS_MAX = 30.0
"""How long a database locked by somebody else is waited for; then the write fails whole and can be tried again."""

_TYPES: dict[ColumnType, str] = {
    ColumnType.TEXT: "TEXT",
    ColumnType.INTEGER: "INTEGER",
    ColumnType.FLOAT: "REAL",
    ColumnType.BOOLEAN: "INTEGER",
    ColumnType.TIME: "TEXT",
    ColumnType.FLOATS: "TEXT",
}
_BATCH_ROWS = 1 << 14


class SqliteSink:
    """Rows of one tape in one file; offsets are the key, so a file takes one tape."""

    def __init__(
        self, path: Path, tape_id: str, *, step: Step = ignore_step, wait_seconds: float = WAIT_SECONDS_MAX
    ) -> None:
        self._path = path
        self._tape_id = tape_id
        self._step = step
        with self._translate():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, wait_seconds, isolation_level=None, check_same_thread=False)
            self._prepare()

    def resume(self) -> Checkpoint | None:
        """Give the checkpoint written last."""
        with self._translate():
            row = self._database.execute("SELECT checkpoint FROM _view").fetchone()
        return None if row[0] is None else msgspec.json.decode(row[0], type=Checkpoint)

    def write(self, tables: Mapping[str, pa.Table], checkpoint: Checkpoint) -> None:
        """Insert rows not there yet and the checkpoint, all or nothing."""
        self._step("begin")
        checked = list(check_tables(tables, checkpoint))
        with self._translate(), self._transaction():
            for kind, rows in checked:
                self._database.executemany(_build_insert(kind), _iterate_rows(kind, rows))
                self._step(f"insert {kind.name}")
            self._database.execute("UPDATE _view SET checkpoint = ?", (msgspec.json.encode(checkpoint),))
            self._step("before commit")
        self._step("checkpoint")

    def stored(self) -> dict[str, int]:
        """Count the rows of every table."""
        with self._translate():
            counts = {name: self._database.execute(f'SELECT count(*) FROM "{name}"') for name in KINDS}  # noqa: S608
            return {name: int(count.fetchone()[0]) for name, count in counts.items()}

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit waits for the disk; in WAL mode NORMAL would not.
        self._database.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            self._database.execute("CREATE TABLE IF NOT EXISTS _view (tape_id TEXT PRIMARY KEY, checkpoint BLOB)")
            for kind in KINDS.values():
                self._create_table(kind)
            owner = self._database.execute("SELECT tape_id FROM _view").fetchone()
            if owner is None:
                self._database.execute("INSERT INTO _view VALUES (?, NULL)", (self._tape_id,))
        if owner is not None and owner[0] != self._tape_id:
            raise SinkError(f"sqlite {self._path}: holds tape {owner[0]!r}, not {self._tape_id!r}; one file, one tape")

    def _create_table(self, kind: Kind) -> None:
        columns = [f'"{column.name}" {_TYPES[column.type]}' for column in kind.columns]
        key = ", ".join(f'"{name}"' for name in kind.key)
        self._database.execute(
            f'CREATE TABLE IF NOT EXISTS "{kind.name}" ({", ".join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID'
        )
        known = {row[1] for row in self._database.execute(f'PRAGMA table_info("{kind.name}")')}
        for column, definition in zip(kind.columns, columns, strict=True):
            if column.name not in known:
                self._database.execute(f'ALTER TABLE "{kind.name}" ADD COLUMN {definition}')

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE takes the write lock here, where SQLite waits for it, and not in the middle.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SinkError(f"sqlite {self._path}: {error}; nothing of this step is stored") from error


EXAMPLES = ("sqlite:FILE",)


def connect(location: str, options: Mapping[str, str], tape_id: str, step: Step = ignore_step) -> SqliteSink:
    """Open the file `location`, made when missing."""
    check_options("sqlite", location, options)
    return SqliteSink(Path(location), tape_id, step=step)


def _build_insert(kind: Kind) -> str:
    # Only a row that is there already may be left out; OR IGNORE would also drop rows that break other rules.
    marks = ", ".join("?" for _ in kind.columns)
    names = ", ".join(f'"{column.name}"' for column in kind.columns)
    return f'INSERT INTO "{kind.name}" ({names}) VALUES ({marks}) ON CONFLICT ({", ".join(kind.key)}) DO NOTHING'  # noqa: S608


def _iterate_rows(kind: Kind, rows: pa.Table) -> Iterator[tuple[object, ...]]:
    for batch in render_columns(kind, rows).to_batches(_BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
