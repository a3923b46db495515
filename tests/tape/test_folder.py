from pathlib import Path

import pytest
from tapes import write_tape

from truetape.errors import TapeError
from truetape.tape import open_reader, open_writer, verify_tape


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
