"""What every sink is, and the checks all of them make on what they are given."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from truetape.errors import SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS, Kind


class Sink(Protocol):
    """A place that rows go to, together with how far the tape has been delivered."""

    def resume(self) -> Checkpoint | None:
        """Give the checkpoint to go on from; None when this tape was never delivered here."""
        ...

    def write(self, tables: Mapping[str, pa.Table], checkpoint: Checkpoint) -> None:
        """Store rows and checkpoint as one durable step: when it returns, both are on disk."""
        ...

    def stored(self) -> dict[str, int]:
        """Count the rows now stored per kind, in the store itself."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


Step = Callable[[str], None]
"""Called after each step that changes the disk, with its name; tests stop the process there."""


def ignore_step(name: str) -> None:
    """Do nothing between two steps."""


def check_tables(tables: Mapping[str, pa.Table], checkpoint: Checkpoint) -> Iterator[tuple[Kind, pa.Table]]:
    """Give kinds with their non-empty tables in the order of `KINDS`; refuse what no sink could store once."""
    unknown = sorted(set(tables) - set(KINDS))
    if unknown:
        raise SinkError(f"unknown event kind {unknown[0]!r}; known are {', '.join(KINDS)}")
    checked = [(KINDS[name], tables[name]) for name in KINDS if name in tables and tables[name].num_rows]
    for kind, table in checked:
        _check_table(kind, table, checkpoint.offset)
    return iter(checked)


def drop_stored(rows: pa.Table, checkpoint: Checkpoint | None) -> pa.Table:
    """Leave out rows that the checkpoint says are stored already."""
    if checkpoint is None:
        return rows
    return rows.filter(pc.greater_equal(rows["tape_offset"], checkpoint.offset))


def _check_table(kind: Kind, table: pa.Table, offset: int) -> None:
    if not table.schema.equals(kind.arrow):
        raise SinkError(
            f"{kind.name} rows have columns {table.schema.names}, not those of the schema: {kind.arrow.names}"
        )
    for column in kind.columns:
        if column.required and table[column.name].null_count:
            raise SinkError(f"{kind.name}.{column.name} may not be null; {table[column.name].null_count} rows are")
    if pc.any(pc.equal(table["venue"], "")).as_py():
        raise SinkError(f"{kind.name}.venue may not be empty")
    last = pc.max(table["tape_offset"]).as_py()
    if last >= offset:
        # A later resume starts at the checkpoint: such a row would be delivered twice.
        raise SinkError(f"{kind.name} has a row at tape offset {last}, not below the checkpoint's offset {offset}")
