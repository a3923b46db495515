"""What crossed the wire: one frame, its kinds, and batches of frames as they lie on the tape."""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

import pyarrow as pa

from truetape.errors import TapeError


class FrameKind(IntEnum):
    """What a frame is."""

    TEXT = 0
    """A text message from the venue, exactly as received."""
    BINARY = 1
    """A binary message from the venue, exactly as received (possibly still compressed by the venue)."""
    REQUEST = 2
    """A message or HTTP request body that we sent; `meta` has method and URL for HTTP."""
    RESPONSE = 3
    """An HTTP response body; `meta` has method, url, status, headers that matter."""
    EVENT = 4
    """An event of the connection or the recorder itself; `meta` says which, the payload is empty."""


class Frame(NamedTuple):
    """One frame. `meta` is JSON text, empty for plain messages."""

    received_ns: int
    """Wall clock at the socket, ns UTC, stamped before anything else."""
    monotonic_ns: int
    """Monotonic clock at the same moment; 0 when an imported recording does not have it."""
    kind: int
    """A FrameKind."""
    venue: str
    feed: str
    """The venue's endpoint group (`spot`, `usdm-public`, `linear`): the frame itself may not say it."""
    connection: str
    """Unique name of one connection attempt on this tape, e.g. `binance/spot/1#3`; `http` requests share one."""
    payload: bytes
    meta: str = ""


class Source(NamedTuple):
    """Where frames come from: constant for the life of one connection."""

    venue: str
    feed: str
    connection: str


FRAME_SCHEMA = pa.schema(
    [
        pa.field("received_ns", pa.int64(), nullable=False),
        pa.field("monotonic_ns", pa.int64(), nullable=False),
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("venue", pa.utf8(), nullable=False),
        pa.field("feed", pa.utf8(), nullable=False),
        pa.field("connection", pa.utf8(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("meta", pa.utf8(), nullable=False),
    ]
)
"""Columns of a tape batch; a frame's offset is the batch's first offset plus its row."""


class FrameBatch(NamedTuple):
    """Consecutive frames of the tape; frame i has offset `offset + i`."""

    offset: int
    data: pa.RecordBatch
    """Columns as FRAME_SCHEMA."""


JOIN_FRAMES = 4096
JOIN_BYTES = 4 * 1024 * 1024
"""Frames of megabytes, as imports of tables have them, are many rows each."""


def join_batches(
    batches: Iterable[FrameBatch], frames: int = JOIN_FRAMES, size: int = JOIN_BYTES
) -> Iterator[FrameBatch]:
    """Join batches while they follow each other and are not too large together.

    A busy recorder writes some hundred frames at a time; more at once cost the decoder half as much, each. What comes
    before a damaged batch is yielded before its error is raised.
    """
    parts: list[pa.RecordBatch] = []
    begin = held = held_bytes = 0
    try:
        for offset, data in batches:
            is_full = held + data.num_rows > frames or held_bytes + data.nbytes > size
            if parts and (is_full or offset != begin + held):
                yield _join(begin, parts)
                parts, held, held_bytes = [], 0, 0
            if not parts:
                begin = offset
            parts.append(data)
            held, held_bytes = held + data.num_rows, held_bytes + data.nbytes
    except TapeError:
        if parts:
            yield _join(begin, parts)
        raise
    if parts:
        yield _join(begin, parts)


def _join(offset: int, parts: list[pa.RecordBatch]) -> FrameBatch:
    return FrameBatch(offset, parts[0] if len(parts) == 1 else pa.concat_batches(parts))
