"""Rows of the lake into one file, in bounded memory."""

import gzip
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from truetape.errors import ConfigError
from truetape.lake import Rows

FORMATS = (".parquet", ".csv", ".csv.gz", ".jsonl", ".arrow")


def export(rows: Rows, target: Path) -> int:
    """Write rows to a file whose ending names the format; return how many.

    The file appears whole or not at all. ConfigError when the ending is not known.
    """
    ending = next((e for e in FORMATS if target.name.endswith(e)), None)
    if ending is None:
        raise ConfigError(f"--to {target}: ending not known (allowed: {', '.join(FORMATS)})")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        count = _write(rows.batches(), partial, ending)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write(batches: Iterator[pa.RecordBatch], path: Path, ending: str) -> int:
    first = next(batches, None)
    if first is None:
        raise ConfigError("there are no rows to export")
    count = 0
    everything = _chain(first, batches)
    if ending == ".jsonl":
        with path.open("wb") as file:
            for batch in everything:
                file.writelines(msgspec.json.encode(row) + b"\n" for row in batch.to_pylist())
                count += batch.num_rows
        return count
    with _open_writer(path, ending, first.schema) as writer:
        for batch in everything:
            writer.write_batch(batch)
            count += batch.num_rows
    if ending == ".csv.gz":
        plain = path.with_suffix(".plain")
        path.replace(plain)
        with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(source, packed)
        plain.unlink()
    return count


def _open_writer(
    path: Path, ending: str, schema: pa.Schema
) -> "pa.parquet.ParquetWriter | pa.csv.CSVWriter | pa.ipc.RecordBatchFileWriter":
    if ending == ".parquet":
        return pa.parquet.ParquetWriter(path, schema, compression="zstd")
    if ending == ".arrow":
        return pa.ipc.new_file(str(path), schema)
    return pa.csv.CSVWriter(path, schema)


def _chain(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
