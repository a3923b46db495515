"""Sweeps of kills, run once per sink and shared by the tests that look at what they left."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FRAMES = 12
SWEEP = Path(__file__).with_name("kill_sweep.py")


class Sweep:
    """What a sweep printed, and the folder with one store per step."""

    def __init__(self, spec: str, folder: Path) -> None:
        command = [sys.executable, "-W", "error", str(SWEEP), spec, str(folder), str(FRAMES)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        self.steps: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
        self.stores = [folder / str(step["step"]) / "store" for step in self.steps]


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sweep]:
    made: dict[str, Sweep] = {}

    def run(spec: str) -> Sweep:
        if spec not in made:
            made[spec] = Sweep(spec, tmp_path_factory.mktemp("sweep"))
        return made[spec]

    return run
