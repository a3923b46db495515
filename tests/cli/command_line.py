"""A command line, run as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)


Run = Callable[..., Done]
"""Runs a command line; `env` sets variables."""


def spawn(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> "subprocess.Popen[str]":
    """Start a command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "truetape.cli", *map(str, arguments)],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
