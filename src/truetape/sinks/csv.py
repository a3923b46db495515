"""Sink into CSV files: one per kind, venue and day of receipt, plain or gzip.

The checkpoint notes how long each file was; every write begins by cutting files back to that, so a half-written
step leaves no trace. Gzip files grow by whole members, which every gzip reader reads as one file.
"""

import gzip
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from truetape.errors import SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS, Kind
from truetape.lake.disk import replace_file, sync_folder
from truetape.sinks._contract import Step, check_tables, drop_stored, ignore_step
from truetape.sinks._place import check_options, find_folder, make_filename, read_flag
from truetape.sinks._text import render_columns

_FILES_PER_DAY_MAX = 100


class Position(msgspec.Struct, frozen=True):
    """What the folder's note says: whose files these are, how far they go, and how long each one is."""

    tape_id: str
    checkpoint: Checkpoint | None
    sizes: dict[str, int]
    """Bytes by path below the folder; longer files are cut back, files not named here are removed."""


class CsvSink:
    """Rows of one tape as text; a folder takes one tape, since its files are cut back on resuming."""

    def __init__(self, root: Path, tape_id: str, *, compress: bool = False, step: Step = ignore_step) -> None:
        self._root = root
        self._note = root / "_view.json"
        self._compress = compress
        self._step = step
        self._position = self._load(tape_id)

    def resume(self) -> Checkpoint | None:
        """Give the checkpoint written last."""
        return self._position.checkpoint

    def write(self, tables: Mapping[str, pa.Table], checkpoint: Checkpoint) -> None:
        """Append to the files, then note their sizes together with the checkpoint."""
        self._step("begin")
        sizes = dict(self._position.sizes)
        try:
            self._cut_back()
            for kind, rows in check_tables(tables, checkpoint):
                for name, part in _split_rows(kind, drop_stored(rows, self._position.checkpoint)):
                    path = self._choose_file(name, kind)
                    sizes[path] = self._append(path, kind, part)
                    self._step(f"append {kind.name}")
            self._save(Position(self._position.tape_id, checkpoint, sizes))
        except OSError as error:
            raise SinkError(f"csv {self._root}: {error}") from error
        self._step("checkpoint")

    def stored(self) -> dict[str, int]:
        """Count the rows in the files."""
        counts = dict.fromkeys(KINDS, 0)
        for path in self._position.sizes:
            counts[path.partition("/")[0]] += _count_rows(self._root / path)
        return counts

    def close(self) -> None:
        """Have nothing to let go of: files are closed after each write."""

    def _load(self, tape_id: str) -> Position:
        try:
            position = msgspec.json.decode(self._note.read_bytes(), type=Position)
        except FileNotFoundError:
            if _list_files(self._root):
                raise SinkError(
                    f"csv {self._root}: holds CSV files but no {self._note.name}; give an empty folder"
                ) from None
            position = Position(tape_id, None, {})
            self._save(position)
        except msgspec.DecodeError as error:
            raise SinkError(f"csv {self._note}: does not read: {error}") from error
        if position.tape_id != tape_id:
            raise SinkError(f"csv {self._root}: holds tape {position.tape_id!r}, not {tape_id!r}; one folder, one tape")
        return position

    def _save(self, position: Position) -> None:
        replace_file(self._note, msgspec.json.encode(position), self._step)
        self._position = position

    def _cut_back(self) -> None:
        """Remove what an interrupted write left behind; refuse files that lost something."""
        for path in _list_files(self._root):
            noted = self._position.sizes.get(path.relative_to(self._root).as_posix(), 0)
            size = path.stat().st_size
            if size < noted:
                raise SinkError(f"csv {path}: {size} bytes, {noted} were stored; it was changed from outside")
            if noted == 0:
                path.unlink()
            elif size > noted:
                os.truncate(path, noted)

    def _choose_file(self, name: str, kind: Kind) -> str:
        """Take the first file with the kind's columns; one that began before the kind grew is left as it is."""
        ending = ".csv.gz" if self._compress else ".csv"
        numbers = ("", *(f".{number}" for number in range(2, _FILES_PER_DAY_MAX)))
        for path in (f"{name}{number}{ending}" for number in numbers):
            if not (self._root / path).exists() or _read_header(self._root / path) == kind.arrow.names:
                return path
        raise SinkError(f"csv {self._root}: more than {_FILES_PER_DAY_MAX} files {name}*{ending} of other columns")

    def _append(self, name: str, kind: Kind, rows: pa.Table) -> int:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _render_rows(kind, rows, header=not path.exists())
        with path.open("ab") as handle:
            handle.write(gzip.compress(content, compresslevel=6, mtime=0) if self._compress else content)
            handle.flush()
            os.fsync(handle.fileno())
            size = handle.tell()
        for folder in (path.parent, path.parent.parent, self._root):
            sync_folder(folder)
        return size


EXAMPLES = ("csv:DIR", "csv:DIR?gzip=true")


def connect(location: str, options: Mapping[str, str], tape_id: str, step: Step = ignore_step) -> CsvSink:
    """Open the folder `location`, made when missing; `gzip=true` compresses."""
    check_options("csv", location, options, ("gzip",))
    return CsvSink(find_folder("csv", location), tape_id, compress=read_flag("csv", options, "gzip"), step=step)


def _split_rows(kind: Kind, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Give rows per file, in the order they came."""
    days = pc.cast(rows["received_at"], pa.date32())
    keyed = rows.append_column("_day", days)
    for group in keyed.group_by(["venue", "_day"], use_threads=False).aggregate([]).to_pylist():
        wanted = pc.and_(pc.equal(keyed["venue"], group["venue"]), pc.equal(days, group["_day"]))
        venue = make_filename(group["venue"])
        yield f"{kind.name}/{venue}/{kind.name}_{venue}_{group['_day']}", rows.filter(wanted)


def _render_rows(kind: Kind, rows: pa.Table, *, header: bool) -> bytes:
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(render_columns(kind, rows), sink, pa_csv.WriteOptions(include_header=header))
    return bytes(sink.getvalue())


def _list_files(root: Path) -> list[Path]:
    return sorted(path for name in KINDS for path in root.glob(f"{name}/*/{name}_*.csv*"))


def _open_file(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _read_header(path: Path) -> list[str]:
    with _open_file(path) as handle:
        return [name.strip('"') for name in handle.readline().decode().strip().split(",")]


def _count_rows(path: Path) -> int:
    with _open_file(path) as handle:
        reader = pa_csv.open_csv(
            handle,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(include_columns=["tape_row"]),
        )
        return sum(batch.num_rows for batch in reader)
