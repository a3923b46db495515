"""Sink into the lake: one Delta commit per kind and write, then the checkpoint.

Each commit carries the tape's id and the offset it reaches. A view that starts again at its checkpoint
therefore finds which rows each table already has, whatever the batches were before.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pyarrow as pa
from deltalake.exceptions import DeltaError

from truetape.errors import SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.lake.disk import replace_file
from truetape.lake.table import LakeTable, count_rows
from truetape.sinks._contract import Step, check_tables, ignore_step
from truetape.sinks._place import check_options, find_folder, make_filename, read_checkpoint


class LakeSink:
    """Rows of one tape, exactly once, in Delta tables under one folder."""

    def __init__(self, root: Path, tape_id: str, step: Step = ignore_step) -> None:
        self._root = root
        self._tape_id = tape_id
        self._step = step
        self._tables = {name: LakeTable(root, kind, step) for name, kind in KINDS.items()}
        self._checkpoint = root / "_views" / f"{make_filename(tape_id)}.json"

    def resume(self) -> Checkpoint | None:
        """Give the checkpoint written last; tables may be ahead of it, `write` knows how far."""
        return read_checkpoint(self._checkpoint, self._tape_id)

    def write(self, tables: Mapping[str, pa.Table], checkpoint: Checkpoint) -> None:
        """Append what the tables do not have yet, then move the checkpoint."""
        self._step("begin")
        try:
            for kind, rows in check_tables(tables, checkpoint):
                self._tables[kind.name].append(rows, self._tape_id, checkpoint.offset)
            replace_file(self._checkpoint, msgspec.json.encode(checkpoint), self._step)
        except (OSError, DeltaError) as error:
            raise SinkError(f"lake {self._root}: {error}") from error
        self._step("checkpoint")

    def stored(self) -> dict[str, int]:
        """Count the rows of all tapes in every table."""
        return {name: count_rows(self._root / name) for name in KINDS}

    def close(self) -> None:
        """Forget the open tables."""
        self._tables.clear()


EXAMPLES = ("lake:DIR",)


def connect(location: str, options: Mapping[str, str], tape_id: str, step: Step = ignore_step) -> LakeSink:
    """Open the lake in the folder `location`, made when missing."""
    check_options("lake", location, options)
    return LakeSink(find_folder("lake", location), tape_id, step)
