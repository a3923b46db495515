"""What both halves of `truetape demo` do: fake venues beside it, and what follows a recording."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from truetape.errors import ConfigError
from truetape.flow import verify
from truetape.lake import Lake, lake_hash
from truetape.quality import run_checks, write_report
from truetape.transform import build

PROGRAM = (sys.executable, "-m", "truetape.cli")


@contextmanager
def start_sim(*options: str, **variables: str) -> Iterator[str]:
    """Run fake venues in a process of their own; yield their address."""
    command = with_variables([*PROGRAM, "sim", "--port", "0", *options], **variables)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+?:\d+", process.stdout.readline())
            if found is None:
                raise ConfigError("the fake venues did not start")
            yield found[0]
        finally:
            process.terminate()


def with_variables(command: list[str], **variables: str) -> list[str]:
    """Run a command with more variables than ours."""
    return ["env", *(f"{name}={value}" for name, value in variables.items()), *command]


class Recorded:
    """A recording of the demonstration (`tape` and `lake` in one folder) and what is made of it, told line by line."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.lake = Lake(folder / "lake")
        self._folder = folder
        self._tell = tell
        self._verdict = verify(str(folder / "tape"), f"lake:{self.lake.path}", lambda: lake_hash(self.lake.path))

    def tell_verdict(self) -> None:
        """Say whether the lake holds what the tape does."""
        verdict = self._verdict
        state = "balanced" if verdict.balanced else f"NOT balanced: {'; '.join(verdict.problems)}"
        self._tell(f"verify: {state}; {verdict.frames:,} frames, lake {verdict.lake_sha256}")

    def build(self) -> None:
        """Build every model that there is something for."""
        models = build(self.lake.path).models
        self._tell("built " + ", ".join(f"{model.rows:,} {model.name}" for model in models if model.rows))

    def check(self) -> None:
        """Run every check."""
        self._tell(f"checks: {run_checks(self.lake).summary}")

    def write_report(self, title: str) -> None:
        """Write the report's page."""
        page = write_report(self.lake, self._folder / "report", title, balance=msgspec.to_builtins(self._verdict))
        self._tell(f"report: {page}")

    def end(self) -> None:
        """Exit 1 when the lake does not hold what the tape does."""
        if not self._verdict.balanced:
            sys.exit(1)
