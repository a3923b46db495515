"""Damage in sealed segments is cut out and declared; whole batches, and tapes that are whole, stay as they are."""

from pathlib import Path

import msgspec
import pytest
from tapes import payload_of, read_all, write_tape

from truetape.errors import TapeError
from truetape.tape import TapeSettings, list_segments, open_reader, repair_tape, verify_tape
from truetape.tape.folder import segment_path

BATCHES = [10] * 12
SETTINGS = TapeSettings(segment_bytes_max=5000)


def spoil(path: Path, payload: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(payload) + 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    write_tape(tmp_path, BATCHES, settings=SETTINGS)
    assert len(list_segments(tmp_path)) >= 3
    return tmp_path


def list_frames(tape: Path, offset: int = 0) -> tuple[list[int], list[dict[str, object]]]:
    """Return the offsets of frames as written, and what is declared between them with its own offset."""
    rows = read_all(tape, offset)
    declared = [msgspec.json.decode(meta) | {"at": offset} for offset, _, meta in rows if meta]
    assert all(payload == payload_of(offset) for offset, payload, meta in rows if not meta)
    return [offset for offset, _, meta in rows if not meta], declared


def test_a_whole_tape_stays_as_it_is(tape: Path) -> None:
    before = {path.name: path.read_bytes() for path in (tape / "segments").iterdir()}
    assert repair_tape(tape) == []
    assert {path.name: path.read_bytes() for path in (tape / "segments").iterdir()} == before


@pytest.mark.parametrize("lost", [0, 4])
def test_a_damaged_batch_is_cut_out_kept_and_declared(tape: Path, lost: int) -> None:
    info = next(one for one in list_segments(tape) if one.first <= 10 * lost < one.end)
    path = segment_path(tape, info.first)
    spoil(path, payload_of(10 * lost + 3))
    with pytest.raises(TapeError, match="`truetape tape repair` cuts it out"):
        read_all(tape)
    (hole,) = repair_tape(tape)
    begin, end = 10 * lost, 10 * lost + 10
    assert (hole.segment, hole.begin, hole.end) == (path.name, begin, end)
    assert (hole.from_ns, hole.to_ns) == (1000 + max(begin - 1, 0), 1000 + end)
    frames, (event,) = list_frames(tape)
    assert frames == [n for n in range(120) if not begin <= n < end]
    assert (event["event"], event["at"], event["offset"], event["frames"]) == ("damaged", end - 1, begin, 10)
    assert verify_tape(tape).ok
    assert repair_tape(tape) == []
    (evidence,) = (tape / "segments").glob("*.torn")
    assert payload_of(end - 1) in evidence.read_bytes()
    # A view that had read a part of what is lost learns of the hole, too.
    assert list_frames(tape, begin + 4)[1] == [event]


def test_the_end_and_what_comes_again_after_a_repair(tape: Path) -> None:
    info = list_segments(tape)[-1]
    path = segment_path(tape, info.first)
    path.write_bytes(path.read_bytes()[:-30])
    (hole,) = repair_tape(tape)
    assert (hole.begin, hole.end) == (110, 120)
    assert verify_tape(tape).ok
    assert open_reader(tape).end == 120
    spoil(path, payload_of(info.first))
    (again,) = repair_tape(tape)
    assert (again.begin, again.end) == (info.first, info.first + 10)
    assert [event["offset"] for event in list_frames(tape)[1]] == [info.first, 110]


def test_a_missing_segment_is_declared_in_its_place(tape: Path) -> None:
    info = list_segments(tape)[1]
    segment_path(tape, info.first).unlink()
    (hole,) = repair_tape(tape)
    assert (hole.begin, hole.end, hole.from_ns) == (info.first, info.end, info.first_received_ns)
    frames, (event,) = list_frames(tape)
    assert frames == [n for n in range(120) if not info.first <= n < info.end]
    assert event["at"] == info.end - 1
    assert verify_tape(tape).ok
    assert list_segments(tape)[1].reason == "repaired"


def test_a_file_of_another_format_is_kept_beside(tape: Path) -> None:
    info = list_segments(tape)[0]
    path = segment_path(tape, info.first)
    path.write_bytes(b"not ours at all" * 10)
    (hole,) = repair_tape(tape)
    assert (hole.begin, hole.end) == (0, info.end)
    assert b"not ours" in next((tape / "segments").glob("*.torn")).read_bytes()
    assert verify_tape(tape).ok
