"""The seam between whoever makes or reads frames and where the tape lies: files today, Kafka later."""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from truetape.events.checkpoint import Checkpoint
from truetape.tape.frame import FrameBatch, Source


class TapeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a writer batches and seals."""

    segment_seconds: int = 300
    """A segment is sealed when it is this old."""
    segment_bytes_max: int = 256 * 1024 * 1024
    """A segment is sealed when it is this large."""
    batch_frames_max: int = 2000
    """`append` flushes by itself before more frames than this are pending."""
    batch_bytes_max: int = 4 * 1024 * 1024
    """`append` flushes by itself once this many payload bytes are pending; one frame may be larger."""
    compression_level: int = 1
    """zstd level of live batches; `archive_segment` compresses harder."""


class TapeWriter(Protocol):
    """Append frames to a tape; exactly one writer holds a tape at a time."""

    @property
    def next_offset(self) -> int:
        """The offset that the next appended frame gets."""
        ...

    @property
    def pending(self) -> int:
        """Frames appended and not yet flushed."""
        ...

    def register(self, source: Source) -> int:
        """Return the index that stands for `source` in `append`."""
        ...

    def append(
        self, source_index: int, received_ns: int, monotonic_ns: int, kind: int, payload: bytes, meta: str = ""
    ) -> None:
        """Take one frame; raises `TapeError` without taking it when the tape cannot be written."""
        ...

    def flush(self) -> None:
        """Make what is pending visible to readers."""
        ...

    def sync(self) -> int:
        """Make what was flushed durable and return the first offset that is not; safe in another thread."""
        ...

    def close(self) -> None:
        """Flush, seal, make durable and let go of the tape."""
        ...

    def abandon(self) -> None:
        """Never write again, `close` included: a thread hangs in here. The end of the process lets go of the tape."""
        ...


class TapeReader(Protocol):
    """Read a tape from any offset, while it is being written or afterwards."""

    tape_id: str
    """What tells this tape from every other; sinks keep one checkpoint for each."""

    @property
    def first(self) -> int:
        """The lowest offset still on the tape."""
        ...

    @property
    def pruned(self) -> Checkpoint | None:
        """What decoding of everything that was taken off the tape had led to; null when nothing was."""
        ...

    @property
    def end(self) -> int:
        """One more than the highest visible offset."""
        ...

    def read(self, offset: int, frames_max: int | None = None) -> Iterator[FrameBatch]:
        """Yield batches from `offset` to the present end, then stop.

        Offsets only rise, but may jump over a hole that the tape declares with an EVENT frame.
        """
        ...

    def wait(self, offset: int, timeout_s: float) -> bool:
        """Block until a frame at `offset` or later is visible; False when `timeout_s` passed first."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class SegmentInfo(msgspec.Struct, frozen=True):
    """One segment of a tape; sealed ones are lines of the manifest."""

    first: int
    """Offset of its first frame."""
    end: int
    """One more than the offset of its last frame."""
    count: int
    """Frames in it; less than `end - first` only where a hole was declared."""
    bytes: int
    sha256: str
    """Hash of the whole file; empty while the segment is open."""
    first_received_ns: int
    last_received_ns: int
    venues: tuple[str, ...]
    reason: str
    """Why it was sealed: time, size, close, recovered, archived; or `open`."""


class TapeProblem(msgspec.Struct, frozen=True):
    """One thing wrong on a tape."""

    segment: str
    byte: int
    """Where in the file; -1 when it concerns the whole file."""
    offset: int
    """First offset concerned."""
    reason: str


class TapeCheck(msgspec.Struct, frozen=True):
    """What `verify_tape` found."""

    segments: int
    frames: int
    bytes: int
    problems: tuple[TapeProblem, ...]

    @property
    def ok(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.problems
