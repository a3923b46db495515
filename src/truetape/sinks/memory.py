"""Sink into memory: for tests, and for SQL over a small tape without a lake."""

from collections.abc import Mapping

import pyarrow as pa

from truetape.errors import ConfigError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.sinks._contract import Step, check_tables, drop_stored, ignore_step


class MemorySink:
    """Rows of one tape in this process; `tables` has the Arrow tables of each kind as they came."""

    def __init__(self, tape_id: str, step: Step = ignore_step) -> None:
        self._step = step
        self.tape_id = tape_id
        self.tables: dict[str, list[pa.Table]] = {name: [] for name in KINDS}
        self._checkpoint: Checkpoint | None = None

    def resume(self) -> Checkpoint | None:
        """Give the checkpoint written last."""
        return self._checkpoint

    def write(self, tables: Mapping[str, pa.Table], checkpoint: Checkpoint) -> None:
        """Keep the rows at or after the checkpoint written before."""
        self._step("begin")
        for kind, rows in check_tables(tables, checkpoint):
            self.tables[kind.name].append(drop_stored(rows, self._checkpoint))
        self._checkpoint = checkpoint
        self._step("checkpoint")

    def stored(self) -> dict[str, int]:
        """Count the rows kept."""
        return {name: sum(table.num_rows for table in tables) for name, tables in self.tables.items()}

    def read(self, kind: str) -> pa.Table:
        """Give all rows of a kind as one table."""
        return pa.concat_tables([KINDS[kind].arrow.empty_table(), *self.tables[kind]])

    def close(self) -> None:
        """Keep everything: whoever holds the sink may still read it."""


EXAMPLES = ("memory:",)


def connect(location: str, options: Mapping[str, str], tape_id: str, step: Step = ignore_step) -> MemorySink:
    """Make an empty memory sink."""
    if location or options:
        raise ConfigError(f"sink memory: takes no place and no options, given {location!r}; write memory:")
    return MemorySink(tape_id, step)
