"""A stage to act on: fake venues and `truetape` commands as processes of their own, as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "truetape.cli")
PATIENCE_S = 120.0


class Play:
    """A running `truetape` command."""

    def __init__(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        folder.mkdir(parents=True, exist_ok=True)
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], stdout=out, stderr=err, env={**os.environ, **environ}, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> dict[str, int]:
        """Name the child processes by their module."""
        return {module: pid for pid in list_children(self.pid) if (module := read_module(pid))}

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = PATIENCE_S) -> int:
        return self.process.wait(seconds)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Leave nothing behind, whatever the test did."""
        pids = [self.pid, *list_children(self.pid)] if self.is_running() else []
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


class Sim(Play):
    """Running fake venues."""

    url = ""

    def ask(self, path: str) -> Any:
        """Ask the venues about themselves."""
        with urllib.request.urlopen(f"{self.url}/_sim/{path}", timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())


class Stage:
    """Starts things and ends what still runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plays: list[Play] = []

    def sim(self, *arguments: str, name: str = "sim") -> Sim:
        """Start fake venues and wait until they listen."""
        sim = Sim(["sim", "--port", "0", *arguments], self.folder / name, {})
        self._plays.append(sim)
        sim.url = until(lambda: (found := re.search(r"http://\S+:\d+", sim.out.read_text())) and found[0], sim)
        return sim

    def start(self, *arguments: str, name: str = "play", **environ: str) -> Play:
        """Start a command."""
        play = Play(arguments, self.folder / name, environ)
        self._plays.append(play)
        return play

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end and give what it printed."""
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=1800)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def configure(self, venues: str, name: str = "truetape.yaml", **more: str) -> Path:
        """Write settings with a tape and a lake in our folder."""
        path = self.folder / name
        keys = {
            "tape": f"{self.folder}/tape",
            "sinks": f'["lake:{self.folder}/lake"]',
            "deliver": "{commit_seconds: 3}",
            "record": "{tick_seconds: 1}",
            **more,
        }
        path.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()) + f"venues:\n{venues}")
        return path

    def close(self) -> None:
        for play in reversed(self._plays):
            play.kill()


def list_children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def read_module(pid: int) -> str:
    """Say which of our modules a process runs; empty when it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words[words.index("-m") + 1].rpartition(".")[2] if "-m" in words else ""


def until(look: Callable[[], Any], play: Play | None = None, seconds: float = PATIENCE_S) -> Any:
    """Look until there is something to see; fail when the process ends or nothing comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        if play is not None and not play.is_running():
            raise AssertionError(f"ended with {play.process.returncode}: {play.err.read_text()[-2000:]}")
        time.sleep(0.05)
    raise AssertionError(f"nothing came within {seconds} s")


@pytest.fixture(scope="module")
def open_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Stage]]:
    """Open stages that stay until the file's last test."""
    stages: list[Stage] = []

    def begin() -> Stage:
        stages.append(Stage(tmp_path_factory.mktemp("stage")))
        return stages[-1]

    yield begin
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until
