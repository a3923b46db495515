"""Fake venues in a process of their own."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def sim_url() -> Iterator[str]:
    """Binance and Coinbase on loopback."""
    command = [sys.executable, "-m", "truetape.cli", "sim", "--port", "0", "--venue", "binance", "--venue", "coinbase"]
    with subprocess.Popen([*command, "--rate", "200"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found
        yield found[0]
        process.kill()
