"""Fixtures every test may use."""

import os
import subprocess
from collections.abc import Callable, Iterator
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system; skips where that is not permitted."""
    mounted: list[Path] = []

    def mount(*options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", *options, str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=True)
