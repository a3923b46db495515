"""One kind's Delta table: what the lake sink appends to, exactly once per tape."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from truetape import clock
from truetape.errors import SinkError
from truetape.events.schema import Kind
from truetape.lake.disk import open_delta, sync_folder
from truetape.lake.layout import PARTITIONS, LakeFile, build_files, sort_rows, table_schema

_COMMITS_PER_HANDLE_MAX = 100
"""A handle's commit time grows with the commits it made; a fresh one is fast again."""

_ATTEMPTS_MAX = 10


class LakeTable:
    """Append to one kind's table; `step` is called after every step that changes the disk."""

    def __init__(self, root: Path, kind: Kind, step: Callable[[str], None]) -> None:
        self._path = root / kind.name
        self._kind = kind
        self._step = step
        self._handle: DeltaTable | None = None
        self._commits = 0

    def append(self, rows: pa.Table, app_id: str, version: int) -> int:
        """Store the rows not yet there in one commit and give their number.

        The table remembers `version` for `app_id`: rows with tape_offset below it are there already.
        """
        for _ in range(_ATTEMPTS_MAX):
            table = self._open()
            fresh = _drop_stored(rows, table.transaction_version(app_id))
            if fresh.num_rows == 0:
                return 0
            try:
                self._commit(table, fresh, app_id, version)
            except CommitFailedError:
                # Somebody else committed, perhaps this very batch: look again before writing again.
                self._handle = None
                continue
            return int(fresh.num_rows)
        raise SinkError(f"lake table {self._path}: {_ATTEMPTS_MAX} commits in a row were overtaken by another writer")

    def _open(self) -> DeltaTable:
        if self._handle is None or self._commits >= _COMMITS_PER_HANDLE_MAX:
            self._handle = open_table(self._path, self._kind)
            self._step(f"open {self._kind.name}")
            self._commits = 0
        else:
            self._handle.update_incremental()
        return self._handle

    def _commit(self, table: DeltaTable, rows: pa.Table, app_id: str, version: int) -> None:
        actions: list[AddAction | RemoveAction] = []
        for file in build_files(self._kind, sort_rows(self._kind, rows), app_id):
            actions.append(store_file(self._path, file))
            self._step(f"file {self._kind.name}")
        table.create_write_transaction(
            actions,
            "append",
            table_schema(self._kind),
            list(PARTITIONS),
            commit_properties=CommitProperties(app_transactions=[Transaction(app_id, version)]),
        )
        self._commits += 1
        sync_log(self._path, table.version())
        self._step(f"commit {self._kind.name}")


def open_table(path: Path, kind: Kind) -> DeltaTable:
    """Open a kind's table, made when missing and widened when the kind has new columns."""
    try:
        table = open_delta(path)
    except TableNotFoundError:
        path.mkdir(parents=True, exist_ok=True)
        schema = table_schema(kind)
        return DeltaTable.create(path, schema, mode="ignore", partition_by=list(PARTITIONS), name=kind.name)
    known = {field.name for field in table.schema().fields}
    missing = [field for field in table_schema(kind) if field.name not in known]
    if missing:
        table.alter.add_columns(Schema.from_arrow(pa.schema(missing)).fields)
    return table


def count_rows(path: Path) -> int:
    """Count the rows of a kind's table from its log; 0 when it does not exist."""
    try:
        return int(open_delta(path).count())
    except TableNotFoundError:
        return 0


def store_file(table_path: Path, file: LakeFile, *, data_change: bool = True) -> AddAction:
    """Put a data file on disk for good and give the log entry that makes it part of the table."""
    target = table_path / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as handle:
        handle.write(file.content)
        handle.flush()
        os.fsync(handle.fileno())
    for folder in (target.parent, target.parent.parent, table_path):
        sync_folder(folder)
    return AddAction(
        path=file.path,
        size=len(file.content),
        partition_values=file.partition,
        modification_time=clock.wall_ns() // 1_000_000,
        data_change=data_change,
        stats=file.statistics,
    )


def sync_log(table_path: Path, version: int) -> None:
    """Make a commit survive a power loss: the log writer itself does not wait for the disk."""
    log = table_path / "_delta_log"
    entry = log / f"{version:020d}.json"
    with entry.open("rb") as handle:
        os.fsync(handle.fileno())
    sync_folder(log)


def _drop_stored(rows: pa.Table, version: int | None) -> pa.Table:
    offsets = rows["tape_offset"]
    if version is None or not rows.num_rows or pc.min(offsets).as_py() >= version:
        return rows
    return rows.filter(pc.greater_equal(offsets, version))
