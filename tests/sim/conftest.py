"""Fixtures of the fake venues' tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(os.environ.get("TRUETAPE_BENCH_CACHE", "~/.cache/truetape-bench")).expanduser()
CLIENTS = ("py-clob-client-v2==1.2.1", "polymarket-client==0.14.0")


@pytest.fixture(scope="session")
def python() -> str:
    """The Python of an environment that has the clients, made at the first run and kept."""
    folder = HOME / "polymarket"
    made = folder / ".made"
    if not made.exists() or made.read_text() != "\n".join(CLIENTS):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, *CLIENTS], capture_output=True, text=True)
        if done.returncode:
            reason = f"the official clients cannot be installed: {done.stderr.strip()[-200:]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        made.write_text("\n".join(CLIENTS))
    return str(folder / "bin/python")
