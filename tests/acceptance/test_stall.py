"""A sink that takes nothing for a while: recording goes on as before, and memory does not grow with what waits."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from truetape.flow import verify
from truetape.tape import open_reader, verify_tape

VENUES = """\
  binance:
    instruments: [BTC-USDT, ETH-USDT, BTC-USDT-PERP, ETH-USDT-PERP]
    markets: [spot, usdm]
    channels: [trade, quote, book_change]
"""
CEILING_MB = 300
"""Of each process; what is held for a sink is bounded by `deliver.commit_rows`."""


class Sample:
    """How far the tape is and how large the processes are, at one moment."""

    def __init__(self, play: Any, tape: Path) -> None:
        self.at_s = time.monotonic()
        reader = open_reader(tape)
        self.frames = reader.end
        reader.close()
        self.megabytes = {module: read_resident_mb(pid) for module, pid in play.children().items()}


def read_resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold a database so that nobody else can write it."""
    holder = sqlite3.connect(database, isolation_level=None, timeout=60)
    holder.execute("BEGIN IMMEDIATE")
    yield
    holder.execute("ROLLBACK")
    holder.close()


def watch(play: Any, tape: Path, seconds: float) -> list[Sample]:
    samples = [Sample(play, tape)]
    while samples[-1].at_s - samples[0].at_s < seconds:
        time.sleep(0.5)
        samples.append(Sample(play, tape))
    return samples


def rate_of(samples: list[Sample]) -> float:
    return (samples[-1].frames - samples[0].frames) / (samples[-1].at_s - samples[0].at_s)


def stall(stage: Any, wait_until: Callable[..., Any], rate: int, seconds: float) -> str:
    database = stage.folder / "rows.sqlite"
    config = stage.configure(
        VENUES, sinks=f'["sqlite:{database}"]', deliver="{commit_rows: 20000, commit_seconds: 1, archive: false}"
    )
    sim = stage.sim("--venue", "binance", "--rate", str(rate))
    play = stage.start("record", "--config", str(config), TRUETAPE_URL_BINANCE=sim.url)
    wait_until(database.exists, play)
    tape = stage.folder / "tape"
    time.sleep(1)
    free = watch(play, tape, min(seconds / 2, 5.0))
    with locked(database):
        held = watch(play, tape, seconds)
    assert play.end() == 0, play.err.read_text()
    assert rate_of(held) > 0.5 * rate_of(free) > 0
    for module in ("recorder_process", "view_process"):
        sizes = [sample.megabytes.get(module, 0.0) for sample in held]
        assert 0 < max(sizes) < CEILING_MB
    recorder = [sample.megabytes["recorder_process"] for sample in held]
    assert recorder[-1] - recorder[0] < 40
    assert verify_tape(tape).ok
    verdict = verify(str(tape), f"sqlite:{database}")
    assert verdict.problems == []
    assert '"dropped"' not in play.out.read_text()
    view = [sample.megabytes.get("view_process", 0.0) for sample in held]
    return (
        f"{rate_of(free):,.0f} frames/s before, {rate_of(held):,.0f} while the sink was stalled for {seconds:g} s; "
        f"recorder {recorder[0]:.0f} → {recorder[-1]:.0f} MB, view {view[0]:.0f} → {view[-1]:.0f} MB (most {max(view):.0f})"
    )


def test_a_stalled_sink_neither_slows_recording_nor_fills_memory(stage: Any, wait_until: Callable[..., Any]) -> None:
    print(f"\n{stall(stage, wait_until, 1000, 4.0)}")


@pytest.mark.soak
def test_a_sink_stalled_for_a_minute(stage: Any, wait_until: Callable[..., Any]) -> None:
    print(f"\n{stall(stage, wait_until, 6000, 60.0)}")
