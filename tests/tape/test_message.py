import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.tape import FRAME_SCHEMA, Source, iter_payloads
from truetape.tape.message import (
    build_batch,
    decode_batch,
    encode_batch,
    head_size,
    is_intact,
    options_for,
    pack_names,
    read_head,
)

SOURCES = [Source("a", "", "x"), Source("", "feed", "a connection with a long name"), Source("b", "é", "y")]


def encode(count: int, offset: int) -> bytes:
    rows = [(n % 3, n, n, 0, bytes([n % 256]) * (n % 5), "") for n in range(count)]
    return encode_batch(build_batch(rows, SOURCES), offset, options_for(1))


@pytest.mark.parametrize(("count", "offset"), [(1, 0), (3, 12_345_678), (3000, 2**62)])
def test_head_tells_offset_count_and_size(count: int, offset: int) -> None:
    message = encode(count, offset)
    head = read_head(message)
    assert (head.offset, head.frames, head.size, head.is_schema) == (offset, count, len(message), False)
    assert is_intact(memoryview(message), head)
    batch = decode_batch(memoryview(message))
    assert batch.schema == FRAME_SCHEMA
    assert batch.column("connection").to_pylist() == [SOURCES[n % 3].connection for n in range(count)]
    assert decode_batch(memoryview(encode_batch(pack_names(batch), 1, options_for(9)))).equals(batch)


@given(st.binary(max_size=300))
def test_noise_is_no_head(noise: bytes) -> None:
    with pytest.raises(ValueError):
        read_head(b"\xff\xff\xff\xff" + len(noise).to_bytes(4, "little") + noise)


def test_a_huge_head_is_not_believed() -> None:
    with pytest.raises(ValueError, match="head of"):
        head_size(b"\xff\xff\xff\xff\xff\xff\xff\x7f")


@given(st.lists(st.binary(max_size=30)), st.integers(0, 5), st.integers(0, 20))
def test_payloads_are_sliced_right(payloads: list[bytes], start: int, length: int) -> None:
    batch = pa.record_batch({"payload": pa.array(payloads, pa.binary())}).slice(start, length)
    assert iter_payloads(batch) == payloads[start : start + length]
