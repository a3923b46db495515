"""Lakes of made-up rows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kill_sweep import TAPE_ID, build_tables

from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.sinks import open_sink

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Make a lake of frames [0, 20) of every kind asked for, committed in batches."""

    def make(name: str, batch: int, kinds: tuple[str, ...] = tuple(KINDS)) -> Path:
        sink = open_sink(f"lake:{tmp_path / name}", TAPE_ID)
        for start in range(0, 20, batch):
            end = min(start + batch, 20)
            sink.write(build_tables(start, end, kinds), Checkpoint(TAPE_ID, end, {}, b""))
        return tmp_path / name

    return make
