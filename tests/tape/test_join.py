"""Small batches are joined while they follow each other; nothing is lost, whatever comes after."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from truetape.errors import TapeError
from truetape.tape import FRAME_SCHEMA, FrameBatch, join_batches


def make_batch(offset: int, frames: int, size: int = 1) -> FrameBatch:
    rows = {
        name: [0] * frames if pa.types.is_integer(kind) else [b"x" * size if name == "payload" else "x"] * frames
        for name, kind in zip(FRAME_SCHEMA.names, FRAME_SCHEMA.types, strict=True)
    }
    rows["received_ns"] = [*range(offset, offset + frames)]
    return FrameBatch(offset, pa.RecordBatch.from_pydict(rows, schema=FRAME_SCHEMA))


def describe(batches: Iterator[FrameBatch]) -> list[tuple[int, int]]:
    found = []
    for offset, data in batches:
        assert data.column("received_ns").to_pylist() == [*range(offset, offset + data.num_rows)]
        found.append((offset, data.num_rows))
    return found


def test_batches_are_joined_up_to_so_many_frames_and_bytes() -> None:
    small = [make_batch(offset, 3) for offset in range(0, 30, 3)]
    assert describe(join_batches(small, 10)) == [(0, 9), (9, 9), (18, 9), (27, 3)]
    assert describe(join_batches([make_batch(0, 50), make_batch(50, 2), make_batch(52, 2)], 10)) == [(0, 50), (50, 4)]
    large = [make_batch(offset, 1, 1000) for offset in range(4)]
    assert describe(join_batches(large, 10, 2500)) == [(0, 2), (2, 2)]
    assert describe(join_batches([])) == []


def test_holes_are_kept() -> None:
    assert describe(join_batches([make_batch(0, 2), make_batch(2, 2), make_batch(7, 1)])) == [(0, 4), (7, 1)]


def test_what_comes_before_damage_is_given_before_its_error() -> None:
    def read() -> Iterator[FrameBatch]:
        yield make_batch(0, 2)
        yield make_batch(2, 2)
        raise TapeError("damaged")

    joined = join_batches(read())
    assert next(joined).data.num_rows == 4
    with pytest.raises(TapeError, match="damaged"):
        next(joined)
