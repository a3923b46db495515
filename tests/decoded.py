"""What a tape decodes to."""

from pathlib import Path
from typing import Any

from truetape.decode.engine import Engine
from truetape.tape import open_reader

Rows = dict[str, list[dict[str, Any]]]


def decode_tape(folder: Path) -> tuple[Rows, dict[str, int]]:
    """Decode a whole tape; return its rows by kind, and the counts."""
    reader = open_reader(folder)
    engine = Engine(reader.tape_id)
    rows: Rows = {}
    for batch in reader.read(reader.first):
        engine.feed(batch)
        for kind, table in engine.take().items():
            rows.setdefault(kind, []).extend(table.to_pylist())
    reader.close()
    return rows, engine.counts
