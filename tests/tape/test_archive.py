from pathlib import Path

import pytest
from tapes import read_all, write_tape

from truetape.errors import TapeError
from truetape.tape import archive_segment, list_segments, verify_tape
from truetape.tape.folder import segment_path


def test_frames_stay_equal_and_the_file_gets_smaller(tmp_path: Path) -> None:
    write_tape(tmp_path, [7] * 300)
    rows, before = read_all(tmp_path), segment_path(tmp_path, 0).stat().st_size
    info = archive_segment(tmp_path, 0, frames=1000)
    assert read_all(tmp_path) == rows
    assert info.bytes == segment_path(tmp_path, 0).stat().st_size < before / 5
    assert [line.reason for line in list_segments(tmp_path)] == ["archived"]
    assert verify_tape(tmp_path).ok
    assert archive_segment(tmp_path, 0).count == 2100


def test_only_sealed_and_whole_segments(tmp_path: Path) -> None:
    write_tape(tmp_path, [5], close=False)
    with pytest.raises(TapeError, match="not sealed"):
        archive_segment(tmp_path, 0)
    write_tape(tmp_path, [5])
    path = segment_path(tmp_path, 0)
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    with pytest.raises(TapeError, match="is damaged at byte"):
        archive_segment(tmp_path, 0)
    assert path.read_bytes() == data
    assert not list((tmp_path / "segments").glob(".*"))
