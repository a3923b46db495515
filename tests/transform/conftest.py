"""Lakes for tests of models."""

import importlib.util
import sys
from pathlib import Path

import pytest

# The hand that writes small lakes serves the tests of two folders.
if "synthetic" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).parent / "synthetic.py")
    assert _spec is not None and _spec.loader is not None
    sys.modules["synthetic"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["synthetic"])


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """An empty folder to write a lake in."""
    path = tmp_path / "lake"
    path.mkdir()
    return path
