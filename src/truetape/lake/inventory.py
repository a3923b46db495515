"""What a lake holds: tables with their rows, files, bytes and version, from their logs alone."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from truetape.events.schema import KINDS
from truetape.lake.disk import find_folder, open_delta


class TableFacts(msgspec.Struct, frozen=True):
    """One kind's table as it is now."""

    kind: str
    version: int
    rows: int
    files: int
    bytes: int


def list_tables(path: str | Path) -> list[TableFacts]:
    """List the tables there are, in the order of the kinds."""
    root = find_folder(path)
    return [_describe(root, name) for name in KINDS if DeltaTable.is_deltatable(str(root / name))]


def _describe(root: Path, name: str) -> TableFacts:
    table = open_delta(root / name)
    sizes = pa.table(table.get_add_actions())["size_bytes"]
    total = pc.sum(sizes).as_py() or 0
    return TableFacts(name, table.version(), int(table.count()), len(sizes), total)
