"""One segment file: append messages to it, walk through it, scan it for damage."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import pyarrow as pa

from truetape.errors import TapeError
from truetape.tape.contract import SegmentInfo
from truetape.tape.folder import explain_os_error
from truetape.tape.message import (
    CONTINUATION,
    END_OF_STREAM,
    PREFIX_SIZE,
    SCHEMA_MESSAGE,
    SEGMENT_SCHEMA,
    Head,
    head_size,
    is_intact,
    read_head,
)

READ_AHEAD = 1024 * 1024
HEAD_AHEAD = 4096
"""Read this much when only heads are of interest."""


class SegmentFile:
    """A segment being written; after any failed write it still ends with a whole message."""

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        self.first = first
        self.end = first
        self.count = 0
        self.size = 0
        self._hash = hashlib.sha256()
        self._received: tuple[int, int] | None = None
        self._venues: set[str] = set()
        with explain_os_error(path, "create"):
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            self._append(SCHEMA_MESSAGE)
        except TapeError:
            os.close(self.descriptor)
            path.unlink()
            raise

    def _append(self, data: bytes) -> None:
        """Write all of `data` or none of it."""
        view, at = memoryview(data), self.size
        with explain_os_error(self.path, "write"):
            try:
                while view:
                    done = os.pwrite(self.descriptor, view, at)
                    view, at = view[done:], at + done
            except OSError:
                os.ftruncate(self.descriptor, self.size)
                raise
        self._hash.update(data)
        self.size = at

    def write(self, message: bytes, batch: pa.RecordBatch, offset: int) -> None:
        """Append one batch message."""
        self._append(message)
        self.count += batch.num_rows
        self.end = offset + batch.num_rows
        received = batch.column("received_ns")
        first = self._received[0] if self._received else received[0].as_py()
        self._received = (first, received[-1].as_py())
        self._venues.update(list_venues(batch))

    def finish(self) -> None:
        """Mark the end of the stream; nothing can be written after."""
        self._append(END_OF_STREAM)

    def describe(self, reason: str) -> SegmentInfo:
        """Return the manifest line of this segment."""
        first_received, last_received = self._received or (0, 0)
        return SegmentInfo(
            first=self.first,
            end=self.end,
            count=self.count,
            bytes=self.size,
            sha256=self._hash.hexdigest(),
            first_received_ns=first_received,
            last_received_ns=last_received,
            venues=tuple(sorted(venue for venue in self._venues if venue)),
            reason=reason,
        )


def list_venues(batch: pa.RecordBatch) -> list[str]:
    """Return the venues in a batch of `SEGMENT_SCHEMA`."""
    return cast("list[str]", batch.column("venue").unique().to_pylist())


class Window:
    """Bytes of a file that may still grow, read in large pieces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = b""
        self._at = 0
        with explain_os_error(path, "open"):
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def view(self, at: int, size: int, ahead: int = READ_AHEAD) -> memoryview:
        """Return up to `size` bytes from `at`; fewer where the file ends."""
        start = at - self._at
        if start < 0 or start + size > len(self._data):
            with explain_os_error(self.path, "read"):
                self._data = os.pread(self.descriptor, max(size, ahead), at)
            self._at, start = at, 0
        return memoryview(self._data)[start : start + size]

    def forget(self) -> None:
        """Read anew next time."""
        self._data = b""

    def size(self) -> int:
        """Return the file's present size."""
        return os.fstat(self.descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        # A reader that nobody closed must not hold archived files open.
        if hasattr(self, "descriptor"):
            self.close()


class Place(NamedTuple):
    """A message, the end of the stream or damage found in a segment."""

    byte: int
    size: int
    """Bytes concerned."""
    offset: int
    """First offset, for damage the one that was expected."""
    frames: int
    problem: str
    """Empty for an intact message."""
    is_end: bool = False


def read_message_head(window: Window, at: int, ahead: int = HEAD_AHEAD) -> Head | None:
    """Return the head of the message at `at`, None when it is not (entirely) there.

    A head of size 8 is the end of the stream. Raises ValueError when no message is there.
    """
    prefix = window.view(at, PREFIX_SIZE, ahead)
    if len(prefix) < PREFIX_SIZE:
        return None
    size = head_size(prefix)
    if size == 0:
        return Head(PREFIX_SIZE, False, 0, 0, 0)
    head = window.view(at, PREFIX_SIZE + size, ahead)
    return read_head(head) if len(head) == PREFIX_SIZE + size else None


def scan_segment(window: Window, first: int) -> Iterator[Place]:
    """Walk a whole segment and check every message, going on after damage.

    Ends with a place whose `is_end` is set when the stream was closed in order.
    """
    at, expected, size = 0, first, window.size()
    while at < size:
        place = _check_message(window, at, expected, size)
        if place.problem:
            resume = _find_intact(window, at + 1, size)
            place = place._replace(size=resume - at)
        elif place.frames:
            if place.offset < expected:
                place = place._replace(problem=f"offset {place.offset} appears again", offset=expected, frames=0)
            else:
                expected = place.offset + place.frames
        if place.frames or place.problem or place.is_end:
            yield place
        at += place.size
        if place.is_end:
            break
    if at < size:
        yield Place(at, size - at, expected, 0, "bytes after the end of the stream")


def _check_message(window: Window, at: int, expected: int, size: int) -> Place:
    """Look at the one message that should begin at `at`."""
    try:
        head = read_message_head(window, at, READ_AHEAD)
    except ValueError as error:
        return Place(at, 0, expected, 0, str(error))
    if head is None or at + head.size > size:
        return Place(at, size - at, expected, 0, "message is cut off")
    if head.size == PREFIX_SIZE:
        return Place(at, PREFIX_SIZE, expected, 0, "", is_end=True)
    message = window.view(at, head.size)
    if head.is_schema:
        same = _is_frame_schema(message)
        return Place(at, head.size, expected, 0, "" if same and at == 0 else "foreign schema")
    if not is_intact(message, head):
        return Place(at, head.size, expected, 0, "checksum does not match")
    return Place(at, head.size, head.offset, head.frames, "")


def _is_frame_schema(message: memoryview) -> bool:
    """Say whether a schema message describes frames; another Arrow version may spell it differently."""
    if message == SCHEMA_MESSAGE:
        return True
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(message))
    except (pa.ArrowException, OSError):
        return False
    return bool(schema.equals(SEGMENT_SCHEMA))


def _find_intact(window: Window, at: int, size: int) -> int:
    """Return where the next intact batch after damage begins, or the file's size."""
    while at < size:
        piece = bytes(window.view(at, READ_AHEAD))
        found = piece.find(CONTINUATION)
        if found < 0:
            at += max(len(piece) - len(CONTINUATION) + 1, 1)
            continue
        at += found
        # Messages are padded to eight bytes, so they begin nowhere else.
        if at % 8 == 0:
            place = _check_message(window, at, 0, size)
            if not place.problem and place.frames:
                return at
        at += 1
    return size
