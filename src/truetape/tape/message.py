"""One batch of frames as one Arrow IPC message: encode with offset, count and checksum, parse, decode.

A segment is an Arrow IPC stream. Each batch message carries `offset`, `count` and `crc` as custom metadata. The
checksum covers the whole encoded message with the checksum's own eight digits taken as zeros, so that a
message is checked without decompressing it.

In the file, venue, feed and connection are `utf8_view` columns: equal names are equal 16-byte views, which compress to
nothing, where the ever growing offsets of plain utf8 cost 6 bytes a frame. Instead of the monotonic clock stands how far
the wall clock is ahead of it, which hardly changes and so costs nothing (3.3 bytes a frame otherwise); null where a
recording has no monotonic clock. Readers get `FRAME_SCHEMA`.
"""

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from truetape.tape.frame import FRAME_SCHEMA, Source

Row = tuple[int, int, int, int, bytes, str]
"""One pending frame: source index, received_ns, monotonic_ns, kind, payload, meta."""

CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\0\0\0\0"
PREFIX_SIZE = 8
HEAD_SIZE_MAX = 64 * 1024
"""Largest message head taken for real; ours are about 900 bytes."""
PLACEHOLDER = b"00000000"
_NAMES = ("venue", "feed", "connection")
_LEAD = pa.field("wall_lead_ns", pa.int64())
SEGMENT_SCHEMA = pa.schema(
    [
        FRAME_SCHEMA.field("received_ns"),
        _LEAD,
        FRAME_SCHEMA.field("kind"),
        *(pa.field(name, pa.string_view(), nullable=False) for name in _NAMES),
        FRAME_SCHEMA.field("payload"),
        FRAME_SCHEMA.field("meta"),
    ]
)
"""Columns as they lie in a segment file."""
SCHEMA_MESSAGE: bytes = SEGMENT_SCHEMA.serialize().to_pybytes()

_COMPRESS_FROM_BYTES = 4096
"""Smaller batches stay plain: setting up zstd for eight columns costs 130 µs to write and 95 µs to read."""
_READ_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)
_PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)
_SCHEMA_HEADER, _BATCH_HEADER = 1, 3
_PAIRS_MAX = 16


class Head(NamedTuple):
    """What the head of a message says."""

    size: int
    """Bytes of the whole message, prefix included."""
    is_schema: bool
    offset: int
    frames: int
    crc_at: int
    """Where the checksum's digits lie, from the message's first byte."""


def options_for(level: int) -> pa.ipc.IpcWriteOptions:
    """Return write options with zstd at `level`."""
    return pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=level), use_threads=False)


def build_batch(rows: Sequence[Row], sources: Sequence[Source]) -> pa.RecordBatch:
    """Turn pending rows into one record batch of `SEGMENT_SCHEMA`; `sources` by source index."""
    source, received, monotonic, kind, payload, meta = zip(*rows, strict=True)
    used, place = np.unique(np.array(source, np.int64), return_inverse=True)
    names = [sources[index] for index in used.tolist()]
    received_ns = np.array(received, np.int64)
    columns = [
        pa.array(received_ns),
        _lead(received_ns, np.array(monotonic, np.int64)),
        pa.array(kind, pa.uint8()),
        *(_repeat([name[column] for name in names], place) for column in range(3)),
        pa.array(payload, pa.binary()),
        pa.array(meta, pa.utf8()) if any(meta) else _blank(len(rows)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SEGMENT_SCHEMA)


def pack_names(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Turn a batch of `FRAME_SCHEMA` into one of `SEGMENT_SCHEMA`, each name kept once."""
    columns = list(batch.columns)
    columns[1] = _lead(columns[0].to_numpy(), columns[1].to_numpy())
    for column, name in enumerate(_NAMES, batch.schema.get_field_index(_NAMES[0])):
        coded = batch.column(name).dictionary_encode()
        columns[column] = _repeat(coded.dictionary.to_pylist(), coded.indices.to_numpy())
    return pa.RecordBatch.from_arrays(columns, schema=SEGMENT_SCHEMA)


Integers = np.ndarray[tuple[int], np.dtype[np.int64]]


def _lead(received_ns: Integers, monotonic_ns: Integers) -> pa.Array:
    """Return how far the wall clock is ahead of the monotonic one; null where there is none."""
    unknown = monotonic_ns == 0
    lead = np.where(unknown, 0, received_ns - monotonic_ns)
    return pa.array(lead, mask=unknown if unknown.any() else None)


def _monotonic(received: pa.Array, lead: pa.Array) -> pa.Array:
    if not lead.null_count:
        return pa.array(received.to_numpy() - lead.to_numpy())
    known = lead.is_valid().to_numpy(zero_copy_only=False)
    return pa.array(np.where(known, received.to_numpy() - lead.fill_null(0).to_numpy(), 0))


def _repeat(names: list[str], place: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> pa.Array:
    """Return `names[i]` for each i of `place` by copying views, not strings."""
    _, views, *data = pa.array(names, pa.string_view()).buffers()
    repeated = np.frombuffer(views, "V16", len(names))[place]
    return pa.Array.from_buffers(pa.string_view(), len(place), [None, pa.py_buffer(repeated), *data])


def _blank(count: int) -> pa.Array:
    return pa.StringArray.from_buffers(count, pa.py_buffer(bytes(4 * (count + 1))), pa.py_buffer(b""))


def encode_batch(batch: pa.RecordBatch, offset: int, options: pa.ipc.IpcWriteOptions) -> bytes:
    """Encode one batch as a message that carries its offset, count and checksum."""
    small = batch.nbytes < _COMPRESS_FROM_BYTES
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SEGMENT_SCHEMA, options=_PLAIN if small else options) as stream:
        tags = {"offset": str(offset), "count": str(batch.num_rows), "crc": PLACEHOLDER}
        stream.write_batch(batch, custom_metadata=tags)
        end = sink.tell()
    message = bytearray(memoryview(sink.getvalue())[len(SCHEMA_MESSAGE) : end])
    at = read_head(message).crc_at
    message[at : at + 8] = b"%08x" % zlib.crc32(message)
    return bytes(message)


def head_size(prefix: bytes | memoryview) -> int:
    """Return the size of a message's head from its first eight bytes; 0 is the end of the stream.

    Raises ValueError when no message begins here.
    """
    if prefix[:4] != CONTINUATION:
        raise ValueError("no message begins here")
    size = int.from_bytes(prefix[4:8], "little")
    if size > HEAD_SIZE_MAX:
        raise ValueError(f"message head of {size} bytes")
    return size


def read_head(message: bytes | bytearray | memoryview) -> Head:
    """Read the head of a message from its prefix and metadata; the body need not be there.

    Raises ValueError when it makes no sense.
    """
    try:
        return _read_head(message)
    except (struct.error, IndexError, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"unreadable message head ({error})") from error


def _read_head(message: bytes | bytearray | memoryview) -> Head:
    head = bytes(message[PREFIX_SIZE : PREFIX_SIZE + int.from_bytes(message[4:8], "little")])
    table = _u32(head, 0)
    kind = head[_field(head, table, 1)]
    body_at = _field(head, table, 3)
    body = struct.unpack_from("<q", head, body_at)[0] if body_at else 0
    if kind not in (_SCHEMA_HEADER, _BATCH_HEADER) or body < 0:
        raise ValueError("neither a schema nor a batch of frames")
    size = PREFIX_SIZE + len(head) + body
    if kind == _SCHEMA_HEADER:
        return Head(size, True, 0, 0, 0)
    tags = _read_tags(head, table)
    offset, count = (int(head[at : at + length]) for at, length in (tags[b"offset"], tags[b"count"]))
    crc_at, crc_size = tags[b"crc"]
    if crc_size != len(PLACEHOLDER):
        raise ValueError("checksum of a wrong length")
    return Head(size, False, offset, count, PREFIX_SIZE + crc_at)


def _u32(head: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", head, at)[0])


def _field(head: bytes, table: int, index: int) -> int:
    """Return where field `index` of a flatbuffer table lies; 0 when absent."""
    vtable = table - int(struct.unpack_from("<i", head, table)[0])
    if vtable < 0 or 4 + 2 * index >= struct.unpack_from("<H", head, vtable)[0]:
        return 0
    relative = int(struct.unpack_from("<H", head, vtable + 4 + 2 * index)[0])
    return table + relative if relative else 0


def _string(head: bytes, at: int) -> tuple[int, int]:
    start = at + _u32(head, at)
    return start + 4, _u32(head, start)


def _read_tags(head: bytes, table: int) -> dict[bytes, tuple[int, int]]:
    """Return position and length of each custom metadata value."""
    vector = _field(head, table, 4)
    vector += _u32(head, vector)
    tags = {}
    for number in range(min(_u32(head, vector), _PAIRS_MAX)):
        pair = vector + 4 + 4 * number
        pair += _u32(head, pair)
        key_at, key_size = _string(head, _field(head, pair, 0))
        tags[head[key_at : key_at + key_size]] = _string(head, _field(head, pair, 1))
    return tags


def is_intact(message: memoryview, head: Head) -> bool:
    """Say whether a whole message matches its checksum."""
    at = head.crc_at
    crc = zlib.crc32(message[at + 8 :], zlib.crc32(PLACEHOLDER, zlib.crc32(message[:at])))
    return bytes(message[at : at + 8]) == b"%08x" % crc


def read_batch(message: memoryview) -> pa.RecordBatch:
    """Decode one intact message to `SEGMENT_SCHEMA`."""
    stream = pa.py_buffer(b"".join((SCHEMA_MESSAGE, message)))
    return pa.ipc.open_stream(stream, options=_READ_OPTIONS).read_next_batch()


def decode_batch(message: memoryview) -> pa.RecordBatch:
    """Decode one intact message to `FRAME_SCHEMA`."""
    batch = read_batch(message)
    received, lead, *rest = batch.columns
    columns = [received, _monotonic(received, lead), *rest]
    types = FRAME_SCHEMA.types
    return pa.RecordBatch.from_arrays(
        [column.cast(wanted) for column, wanted in zip(columns, types, strict=True)], schema=FRAME_SCHEMA
    )


def iter_payloads(batch: pa.RecordBatch) -> list[bytes]:
    """Return the payloads of a batch's data, sliced straight out of its buffer (far faster than `to_pylist`)."""
    column = batch.column("payload")
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return [b""] * len(column)
    places = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    start = int(places[0])
    whole = data.slice(start, int(places[-1]) - start).to_pybytes()
    sizes = np.diff(places)
    if sizes.max() < len(_PIECES):  # hot: bench/decode.py; small frames are half as dear this way
        return list(struct.unpack("".join(map(_PIECES.__getitem__, sizes.tolist())), whole))
    return [whole[a:b] for a, b in pairwise((places - start).tolist())]


_PIECES = [f"{size}s" for size in range(512)]
