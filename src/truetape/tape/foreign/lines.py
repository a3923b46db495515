"""Lines of a file that may be compressed, with bounds on what unpacking can cost."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from truetape.errors import TapeError

LINE_BYTES_MAX = 256 * 1024 * 1024
UNPACK_RATIO_MAX = 200
"""Recorded frames pack 5 to 30 times; more than this is not a recording."""
_UNPACK_FLOOR_BYTES = 64 * 1024 * 1024


def read_lines(path: Path, ratio_max: int = UNPACK_RATIO_MAX) -> Iterator[bytes]:
    """Yield lines without their ends; `.gz` is unpacked, to at most `ratio_max` times its size."""
    size = number = 0
    try:
        bound = max(path.stat().st_size * ratio_max, _UNPACK_FLOOR_BYTES) if path.suffix == ".gz" else None
        with gzip.open(path, "rb") if bound else path.open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                size += len(line)
                if len(line) > LINE_BYTES_MAX:
                    raise TapeError(f"{path} line {number} is longer than {LINE_BYTES_MAX} bytes")
                if bound is not None and size > bound:
                    raise TapeError(f"{path} unpacks to more than {ratio_max} times its size: stopped at line {number}")
                yield line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise TapeError(f"cannot read {path} after line {number}: {error}") from error


def read_blocks(path: Path, block_bytes: int, ratio_max: int = UNPACK_RATIO_MAX) -> Iterator[bytes]:
    """Yield whole lines with their ends, about so many bytes at once; bounds are those of `read_lines`."""
    size = 0
    rest = b""
    try:
        bound = max(path.stat().st_size * ratio_max, _UNPACK_FLOOR_BYTES) if path.suffix == ".gz" else None
        with gzip.open(path, "rb") if bound else path.open("rb") as file:
            while chunk := file.read(block_bytes):
                size += len(chunk)
                if bound is not None and size > bound:
                    raise TapeError(f"{path} unpacks to more than {ratio_max} times its size: stopped at byte {size}")
                whole, end, rest = (rest + chunk).rpartition(b"\n")
                if end:
                    yield whole + end
                elif len(rest) > LINE_BYTES_MAX:
                    raise TapeError(f"{path} has a line longer than {LINE_BYTES_MAX} bytes")
    except (OSError, EOFError, zlib.error) as error:
        raise TapeError(f"cannot read {path} after byte {size}: {error}") from error
    if rest:
        yield rest + b"\n"
