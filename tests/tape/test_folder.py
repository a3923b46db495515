import time
from pathlib import Path

import pytest
from tapes import write_tape

from truetape import clock
from truetape.errors import TapeError
from truetape.tape import TapeSettings, folder, open_reader, open_writer, verify_tape


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(TapeError, match=f"{tmp_path} is not a tape and not empty: it has 'letters.txt'"):
        open_writer(tmp_path)
    with pytest.raises(TapeError, match=r"it has no tape\.json"):
        open_reader(tmp_path)
    with pytest.raises(TapeError, match="there is no such folder"):
        open_reader(tmp_path / "none")
    with pytest.raises(TapeError, match="it is a file"):
        open_reader(tmp_path / "letters.txt")
    with pytest.raises(TapeError, match="cannot create a tape in"):
        open_writer(tmp_path / "letters.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format":"truetape/9","id":"a"}', "format 'truetape/9'; this version reads"),
        ("{", "is not a tape's identity"),
    ],
)
def test_a_foreign_identity_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write_tape(tmp_path, [1])
    (tmp_path / "tape.json").write_text(text)
    for opener in (open_writer, open_reader, verify_tape):
        with pytest.raises(TapeError, match=message):
            opener(tmp_path)


def test_a_foreign_file_among_the_segments_is_named(tmp_path: Path) -> None:
    write_tape(tmp_path, [1])
    (tmp_path / "segments" / "notes.txt").write_text("hello")
    with pytest.raises(TapeError, match=r"notes.txt does not belong to a tape"):
        open_writer(tmp_path)
    with pytest.raises(TapeError, match=r"notes.txt does not belong to a tape"):
        open_reader(tmp_path)


def test_a_corrupt_manifest_names_the_line(tmp_path: Path) -> None:
    write_tape(tmp_path, [1])
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(b"nonsense\n" + manifest.read_bytes())
    with pytest.raises(TapeError, match="line 1 is corrupt"):
        open_writer(tmp_path)
    assert "line 1 is corrupt" in verify_tape(tmp_path).problems[0].reason


def test_a_folder_of_segments_is_listed_anew_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tape(tmp_path, [1] * 3, settings=TapeSettings(segment_bytes_max=1))
    listed, real, now_ns = [], folder.list_firsts, [0]
    monkeypatch.setattr(folder, "list_firsts", lambda path: listed.append(path) or real(path))
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_ns[0])
    listing = folder.Listing(tmp_path)
    # Changes within one tick leave the same time on the folder: until it is over every look counts.
    assert [listing.read() for _ in range(3)] == [[0, 1, 2]] * 3
    assert len(listed) == 3
    now_ns[0] += 4 * 10**9
    assert [listing.read() for _ in range(3)] == [[0, 1, 2]] * 3
    assert len(listed) == 4
    time.sleep(0.02)
    (tmp_path / "segments" / f"{0:020d}.arrows").unlink()
    assert listing.read() == [1, 2]
