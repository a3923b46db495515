"""Upkeep of a lake: many small files into few, and files nobody can ask for any more off the disk."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from truetape import clock
from truetape.errors import ConfigError, Fatal
from truetape.events.schema import KINDS, Kind
from truetape.lake.disk import find_folder, open_delta
from truetape.lake.layout import ARCHIVE_LEVEL, PARTITIONS, build_files, sort_rows, table_schema
from truetape.lake.pin import list_kept
from truetape.lake.table import store_file, sync_log

FILE_ROWS_MAX = 2_000_000
"""Rows of a compacted file; about 0.5 GB of memory while it is made."""

RETAIN_HOURS_DEFAULT = 168

_DROPPED = "truetape:dropped"
"""Under this name a table remembers how many rows were taken out of it, in the commit that took them."""
_ATTEMPTS_MAX = 10


class Part(msgspec.Struct, frozen=True):
    """A data file that compaction may put together with its neighbours."""

    path: str
    date: str
    venue: str
    rows: int
    size: int
    start: str


def compact(path: str | Path, rows_max: int = FILE_ROWS_MAX) -> dict[str, int]:
    """Rewrite small files of each partition as few sorted ones, one commit per kind; gives files removed per kind.

    Readers of earlier versions still find the old files, until `vacuum`.
    """
    root = Path(path)
    return {kind.name: _compact_table(root, kind, rows_max) for kind in _existing_kinds(root)}


def vacuum(path: str | Path, retain_hours: int = RETAIN_HOURS_DEFAULT, *, force: bool = False) -> int:
    """Delete files that no version younger than `retain_hours` and no pinned one needs; gives their number.

    Zero hours would also take the files a writer is about to commit and all history: refused unless forced.
    """
    if retain_hours < 0 or (retain_hours == 0 and not force):
        raise ConfigError(f"vacuum: retain_hours={retain_hours}; at least 1, or 0 when forced: it ends time travel")
    root = Path(path)
    removed = 0
    for kind in _existing_kinds(root):
        table = open_delta(root / kind.name)
        kept = list_kept(root, kind.name) or None
        done = table.vacuum(
            retain_hours, dry_run=False, enforce_retention_duration=False, full=True, keep_versions=kept
        )
        removed += len(done)
    return removed


def drop_days(path: str | Path, kind: str, before: date) -> int:
    """Take all rows received on days before `before` out of a table; gives their number, which the table remembers.

    Their files stay until `vacuum`, and earlier versions of the table still read.
    """
    folder = Path(path) / kind
    if not DeltaTable.is_deltatable(str(folder)):
        return 0
    for _ in range(_ATTEMPTS_MAX):
        table = open_delta(folder)
        old = [part for part in _list_parts(table, folder) if part.date < before.isoformat()]
        if not old:
            return 0
        rows = sum(part.rows for part in old)
        total = (table.transaction_version(_DROPPED) or 0) + rows
        actions: list[AddAction | RemoveAction] = [_remove_part(part, data_change=True) for part in old]
        told = CommitProperties(app_transactions=[Transaction(_DROPPED, total)])
        try:
            table.create_write_transaction(
                actions, "append", table_schema(KINDS[kind]), list(PARTITIONS), commit_properties=told
            )
        except CommitFailedError:
            continue  # somebody else committed: look again
        sync_log(folder, table.version())
        return rows
    raise Fatal(f"lake table {folder}: {_ATTEMPTS_MAX} commits in a row were overtaken by another writer")


def count_dropped(path: str | Path) -> dict[str, int]:
    """Return how many rows `drop_days` took out of each table, ever."""
    root = Path(path)
    counts = {kind.name: open_delta(root / kind.name).transaction_version(_DROPPED) for kind in _existing_kinds(root)}
    return {kind: count for kind, count in counts.items() if count}


def _existing_kinds(root: Path) -> Iterator[Kind]:
    find_folder(root)
    return (kind for kind in KINDS.values() if DeltaTable.is_deltatable(str(root / kind.name)))


def _compact_table(root: Path, kind: Kind, rows_max: int) -> int:
    table = open_delta(root / kind.name)
    actions: list[AddAction | RemoveAction] = []
    removed = 0
    for parts in _group_parts(_list_parts(table, root / kind.name), rows_max):
        rows = pa.concat_tables([_read_part(root / kind.name, kind, part) for part in parts])
        for file in build_files(kind, sort_rows(kind, rows), "compacted", ARCHIVE_LEVEL):
            actions.append(store_file(root / kind.name, file, data_change=False))
        actions.extend(_remove_part(part) for part in parts)
        removed += len(parts)
    if actions:
        try:
            table.create_write_transaction(actions, "append", table_schema(kind), list(PARTITIONS))
        except DeltaError as error:
            raise Fatal(f"lake {root}: compacting {kind.name} was overtaken; nothing changed: {error}") from error
        sync_log(root / kind.name, table.version())
    return removed


def _list_parts(table: DeltaTable, folder: Path) -> list[Part]:
    parts = [
        Part(
            path=(path := unquote(facts["path"])),
            date=facts["partition.date"].isoformat(),
            venue=facts["partition.venue"],
            # A file of another writer may come without statistics.
            rows=facts["num_records"] or pq.read_metadata(folder / path).num_rows,
            size=facts["size_bytes"],
            start=str(facts.get("min.received_at") or ""),
        )
        for facts in pa.table(table.get_add_actions(flatten=True)).to_pylist()
    ]
    return sorted(parts, key=lambda part: (part.date, part.venue, part.start, part.path))


def _group_parts(parts: list[Part], rows_max: int) -> Iterator[list[Part]]:
    """Put neighbours of one partition together up to the maximum; a file that stays alone stays."""
    group: list[Part] = []
    for part in parts:
        same = bool(group) and (group[0].date, group[0].venue) == (part.date, part.venue)
        if not same or sum(other.rows for other in group) + part.rows > rows_max:
            if len(group) > 1:
                yield group
            group = []
        group.append(part)
    if len(group) > 1:
        yield group


def _read_part(folder: Path, kind: Kind, part: Part) -> pa.Table:
    with (folder / part.path).open("rb") as handle:
        table = pq.read_table(handle)
    columns = [
        pa.array([part.venue], pa.utf8()).take(pa.array(np.zeros(table.num_rows, np.int64)))
        if field.name == "venue"
        else table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in kind.arrow
    ]
    return pa.table(columns, names=kind.arrow.names)


def _remove_part(part: Part, *, data_change: bool = False) -> RemoveAction:
    return RemoveAction(
        path=part.path,
        data_change=data_change,
        deletion_timestamp=clock.wall_ns() // 1_000_000,
        size=part.size,
        partition_values={"date": part.date, "venue": part.venue},
    )
