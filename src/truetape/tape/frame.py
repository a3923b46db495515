"""What crossed the wire: one frame, its kinds, and batches of frames as they lie on the tape."""

from enum import IntEnum
from typing import NamedTuple

import pyarrow as pa


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
