"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recorded frames; a test that needs it may skip at home but never in CI."""
    if not RECORDINGS.is_dir():
        reason = f"no recordings at {RECORDINGS}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return RECORDINGS
