from pathlib import Path

import pytest

from truetape.errors import TapeError
from truetape.tape import open_reader, open_writer


def test_paths_and_file_urls_are_folders(tmp_path: Path) -> None:
    open_writer(f"file://{tmp_path}/a%20b").close()
    open_reader(tmp_path / "a b").close()
    open_reader(str(tmp_path / "a b")).close()


def test_other_schemes_say_what_is_allowed() -> None:
    with pytest.raises(TapeError, match="kafka:// is not available in this version; give a path"):
        open_writer("kafka://broker/topic")
