"""One number for a lake's content: equal when two lakes hold the same rows, however they were committed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from truetape.events.schema import KINDS, Kind
from truetape.lake.rows import connect_duckdb, translate_errors
from truetape.lake.snapshot import Snapshot, take_snapshot

_BATCH_ROWS = 1 << 17
_TIES = ("venue", "symbol", "received_at")
"""Order of rows that two tapes gave the same place."""


def lake_hash(
    path: str | Path, memory_bytes_max: int = 512 * 1024 * 1024, versions: Mapping[str, int] | None = None
) -> str:
    """Hash every kind's rows in tape order: independent of file names, commits and compaction.

    `versions` are those of the tables to hash, which are then all there are; null: the newest of each.

    More than `memory_bytes_max` of sorting goes through a temporary folder beside the lake's tables.
    """
    root = Path(path)
    total = hashlib.sha256()
    for kind in KINDS.values():
        if versions is not None and kind.name not in versions:
            continue
        snapshot = take_snapshot(root, kind, None if versions is None else versions[kind.name])
        if snapshot.files:
            total.update(f"{kind.name}\0{_hash_kind(root, snapshot, memory_bytes_max)}\0".encode())
    return total.hexdigest()


def _hash_kind(root: Path, snapshot: Snapshot, memory_bytes_max: int) -> str:
    kind = snapshot.kind
    hashers = {name: ColumnHasher() for name in kind.arrow.names}
    connection = connect_duckdb()
    connection.execute(f"SET memory_limit = '{memory_bytes_max} B'")
    connection.execute(f"SET temp_directory = '{_quote(root / '_sorting')}'")
    query = f"{snapshot.build_query()} ORDER BY tape_offset, tape_row, {', '.join(_TIES)}"
    count = 0
    with translate_errors():
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            count += batch.num_rows
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                hashers[name].update(values)
    return _join_hashes(kind, count, hashers)


def _join_hashes(kind: Kind, count: int, hashers: "dict[str, ColumnHasher]") -> str:
    total = hashlib.sha256(f"{count}\0".encode())
    for name in kind.arrow.names:
        total.update(f"{name}\0{hashers[name].hexdigest()}\0".encode())
    return total.hexdigest()


class ColumnHasher:
    """Hash a column's values and nulls; how it was cut into batches does not matter."""

    def __init__(self) -> None:
        self._values = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._nulls = hashlib.sha256()
        self._seen = 0

    def update(self, values: pa.Array) -> None:
        """Add the next values."""
        if values.null_count:
            places = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
            self._nulls.update((places + self._seen).astype("<i8").tobytes())
        self._seen += len(values)
        self._add_values(values.drop_null() if values.null_count else values)

    def hexdigest(self) -> str:
        """Give the hash of all values so far."""
        parts = (self._values, self._lengths, self._nulls)
        return hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()

    def _add_values(self, values: pa.Array) -> None:
        if pa.types.is_list(values.type):
            self._lengths.update(values.value_lengths().to_numpy().astype("<i4").tobytes())
            self._add_values(values.flatten())
        elif pa.types.is_string(values.type):
            lengths = pc.binary_length(values).to_numpy(zero_copy_only=False)
            self._lengths.update(lengths.astype("<i4").tobytes())
            self._values.update(_text_bytes(values))
        elif pa.types.is_boolean(values.type):
            self._values.update(values.cast(pa.uint8()).to_numpy().tobytes())
        else:
            fixed = values.to_numpy(zero_copy_only=False)
            self._values.update(np.ascontiguousarray(fixed).view("<i8").tobytes())


def _text_bytes(values: pa.Array) -> memoryview:
    """Give the bytes of all texts in a row, as they lie in memory."""
    if not len(values):
        return memoryview(b"")
    _, offsets, content = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return memoryview(content or b"")[int(ends[0]) : int(ends[-1])]


def _quote(path: Path) -> str:
    return str(path).replace("'", "''")
