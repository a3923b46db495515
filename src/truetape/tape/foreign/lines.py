"""Lines of a file that may be compressed, with bounds on what unpacking can cost."""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from truetape.errors import TapeError

LINE_BYTES_MAX = 256 * 1024 * 1024
UNPACK_RATIO_MAX = 200
"""Recorded frames pack 5 to 30 times; more than this is not a recording."""
_UNPACK_FLOOR_BYTES = 64 * 1024 * 1024
_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
"""What reading raises of a file that is broken, encrypted or packed in a way that nobody knows."""


OnRead = Callable[[int], None]
"""Hears how many bytes of a file, as it lies on disk, have been read."""
READ_EVERY_LINES = 4096


def ignore_read(count: int) -> None:
    """Do nothing."""


def read_lines(path: Path, ratio_max: int = UNPACK_RATIO_MAX, on_read: OnRead = ignore_read) -> Iterator[bytes]:
    """Yield lines without their ends; `.gz` and `.zip` are unpacked, to at most `ratio_max` times their size."""
    size = number = 0
    try:
        bound = _find_bound(path, ratio_max)
        with _open(path) as (file, raw):
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                size += len(line)
                if len(line) > LINE_BYTES_MAX:
                    raise TapeError(f"{path} line {number} is longer than {LINE_BYTES_MAX} bytes")
                if bound is not None and size > bound:
                    raise TapeError(f"{path} unpacks to more than {ratio_max} times its size: stopped at line {number}")
                if number % READ_EVERY_LINES == 0:
                    on_read(raw.tell())
                yield line.rstrip(b"\r\n")
    except _UNREADABLE as error:
        raise TapeError(f"cannot read {path} after line {number}: {error}") from error


def read_blocks(
    path: Path, block_bytes: int, ratio_max: int = UNPACK_RATIO_MAX, on_read: OnRead = ignore_read
) -> Iterator[bytes]:
    """Yield whole lines with their ends, about so many bytes at once; bounds are those of `read_lines`."""
    size = held = 0
    rest: list[bytes] = []
    """A line that has not ended, in pieces."""
    try:
        bound = _find_bound(path, ratio_max)
        with _open(path) as (file, raw):
            while chunk := file.read(block_bytes):
                size += len(chunk)
                on_read(raw.tell())
                if bound is not None and size > bound:
                    raise TapeError(f"{path} unpacks to more than {ratio_max} times its size: stopped at byte {size}")
                end = chunk.rfind(b"\n") + 1
                if end:
                    yield b"".join((*rest, memoryview(chunk)[:end]))
                    rest.clear()
                    held = 0
                held += len(chunk) - end
                rest.append(chunk[end:])
                if held > LINE_BYTES_MAX:
                    raise TapeError(f"{path} has a line longer than {LINE_BYTES_MAX} bytes")
    except _UNREADABLE as error:
        raise TapeError(f"cannot read {path} after byte {size}: {error}") from error
    if held:
        yield b"".join((*rest, b"\n"))


def _find_bound(path: Path, ratio_max: int) -> int | None:
    """Return how many bytes may come out of a file; null where nothing is unpacked."""
    is_packed = path.suffix in {".gz", ".zip"}
    return max(path.stat().st_size * ratio_max, _UNPACK_FLOOR_BYTES) if is_packed else None


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes] | gzip.GzipFile, IO[bytes]]]:
    """Open a file for its unpacked bytes, and as it lies on disk; a zip must hold one file and nothing else."""
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked, raw
        elif path.suffix == ".zip":
            with zipfile.ZipFile(raw) as packed:
                inside = [one for one in packed.infolist() if not one.is_dir()]
                if len(inside) != 1:
                    raise TapeError(f"{path} holds {len(inside)} files (allowed: one)")
                with packed.open(inside[0]) as file:
                    yield file, raw
        else:
            yield raw, raw
