"""Lakes for tests of models."""

from pathlib import Path

import pytest


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """An empty folder to write a lake in."""
    path = tmp_path / "lake"
    path.mkdir()
    return path
