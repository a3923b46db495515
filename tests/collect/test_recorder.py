"""Frames reach the tape in order and in bounded memory, and what does not is declared."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from truetape.collect.recorder import FLUSH_FRAMES, ROW_OVERHEAD_BYTES, Recorder
from truetape.config import RecordSettings
from truetape.errors import TapeError
from truetape.tape import verify_tape
from truetape.tape import writer as tape_writer
from truetape.tape.frame import FrameKind, Source

FAST = {"flush_interval_ms": 1, "flush_interval_idle_ms": 1, "fsync_interval_ms": 5, "tick_seconds": 0.02}


@asynccontextmanager
async def recording(tape: Any, **settings: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(tape, RecordSettings(**{**FAST, **settings}), {"version": "1"})
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        yield recorder
        recorder.close("done")


async def test_frames_arrive_in_order_between_started_and_stopped(tape: Any) -> None:
    async with recording(tape) as recorder:
        sources = [recorder.register(Source("v", "f", f"v/f/{n}")) for n in range(3)]
        for number in range(5000):
            recorder.take((sources[number % 3], number, number, 0, b"%d" % number, ""))
            if number % 700 == 0:
                await asyncio.sleep(0.002)
        recorder.put(sources[1], FrameKind.REQUEST, b"ask", '{"purpose":"x"}')
    assert [int(p) for p in tape.payloads()] == list(range(5000))
    assert [f.connection for f in tape.frames if f.kind == FrameKind.TEXT][:4] == ["v/f/0", "v/f/1", "v/f/2", "v/f/0"]
    events = tape.events(connection="recorder")
    assert (events[0]["event"], events[0]["version"]) == ("started", "1")
    assert (events[-1]["event"], events[-1]["reason"]) == ("stopped", "done")
    assert tape.payloads(FrameKind.REQUEST) == [b"ask"]
    assert tape.synced == len(tape.frames)


async def test_few_frames_wait_for_more_but_not_for_ever(tape: Any) -> None:
    async with recording(tape, flush_interval_idle_ms=60_000, tick_seconds=60) as recorder:
        await recorder.begun.wait()
        assert tape.events("started")  # at once
        source = recorder.register(Source("v", "f", "one"))
        for number in range(FLUSH_FRAMES - 1):
            recorder.take((source, number, 0, 0, b"x", ""))
        await asyncio.sleep(0.05)
        assert not tape.payloads()
        recorder.take((source, 99, 0, 0, b"last", ""))
        await tape.until(lambda: tape.payloads())
        assert tape.payloads()[-1] == b"last"
        recorder.take((source, 100, 0, 0, b"at the end", ""))
    assert tape.payloads()[-1] == b"at the end"


async def test_few_frames_are_visible_after_the_idle_interval(tape: Any) -> None:
    async with recording(tape, flush_interval_idle_ms=20, tick_seconds=60) as recorder:
        await tape.until(lambda: tape.events("started"))
        recorder.put(recorder.register(Source("v", "f", "one")), FrameKind.TEXT, b"x")
        await tape.until(lambda: tape.payloads())


async def test_ticks_prove_life(tape: Any) -> None:
    async with recording(tape):
        await tape.until(lambda: len(tape.events("tick")) >= 3)
    assert not tape.events("clock_step")


async def test_stepping_clock_is_declared(tape: Any) -> None:
    step_ns = 0
    recorder = Recorder(tape, RecordSettings(**FAST), wall_ns=lambda: time.time_ns() + step_ns)
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        await tape.until(lambda: tape.events("tick"))
        step_ns = -3_600_000_000_000
        await tape.until(lambda: tape.events("clock_step"))
        await tape.until(lambda: len(tape.events("tick")) >= 4)
        recorder.close("done")
    (step,) = tape.events("clock_step")
    assert step["step_ns"] == pytest.approx(step_ns, abs=50_000_000)


async def test_stalled_tape_drops_and_declares_per_connection(tape: Any) -> None:
    async with recording(tape, buffer_frames_max=100) as recorder:
        one, two = (recorder.register(Source("v", "f", name)) for name in ("one", "two"))
        await tape.until(lambda: tape.events("started"))
        tape.may_flush.clear()
        for number in range(300):
            recorder.take((one, 1000 + number, 0, 0, b"x" * 10, ""))
            recorder.take((two, 1000 + number, 0, 0, b"y" * 5, ""))
        await asyncio.sleep(0.05)
        status = recorder.status()
        assert status.held_frames <= 100 + 10  # notes are taken beyond the bound
        assert status.dropped_frames > 400
        assert not tape.events("dropped")
        tape.may_flush.set()
        await tape.until(lambda: len(tape.events("dropped")) == 2)
        recorder.take((one, 5000, 0, 0, b"after", ""))
    kept = {name: [f for f in tape.frames if f.kind == 0 and f.connection == name] for name in ("one", "two")}
    drops = {event["connection"]: event for event in tape.events("dropped")}
    for name, size, extra in (("one", 10, 1), ("two", 5, 0)):
        assert len(kept[name]) - extra + drops[name]["frames"] == 300
        assert drops[name]["bytes"] == drops[name]["frames"] * size
        assert drops[name]["from_ns"] == kept[name][len(kept[name]) - 1 - extra].received_ns + 1
        assert drops[name]["to_ns"] == 1299
    assert kept["one"][-1].payload == b"after"


async def test_bytes_are_bounded_too(tape: Any) -> None:
    async with recording(tape, buffer_bytes_max=10_000) as recorder:
        source = recorder.register(Source("v", "f", "one"))
        await tape.until(lambda: tape.events("started"))
        tape.may_flush.clear()
        for number in range(100):
            recorder.take((source, number, 0, 0, b"x" * 1000, ""))
        assert recorder.status().held_bytes <= 10_000 + 4 * ROW_OVERHEAD_BYTES
        tape.may_flush.set()
        await tape.until(lambda: tape.events("dropped"))


async def test_frame_larger_than_the_buffer_is_declared(tape: Any) -> None:
    async with recording(tape, buffer_bytes_max=10_000) as recorder:
        source = recorder.register(Source("v", "f", "one"))
        recorder.take((source, 7, 0, 0, b"x" * 20_000, ""))
        await tape.until(lambda: tape.events("dropped"))
        recorder.take((source, 8, 0, 0, b"small", ""))
    assert tape.payloads() == [b"small"]


async def test_broken_tape_ends_with_its_error(tape: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with recording(tape) as recorder:
            source = recorder.register(Source("v", "f", "one"))
            await tape.until(lambda: tape.events("started"))
            tape.failure = "cannot write: No space left on device"
            recorder.take((source, 7, 0, 0, b"x", ""))
            await asyncio.sleep(5)
    assert caught.group_contains(TapeError, match="No space left")


async def test_space_that_comes_back_at_the_end_takes_what_is_known(tape: Any) -> None:
    recorder = Recorder(tape, RecordSettings(**FAST))
    source = recorder.register(Source("v", "f", "one"))
    running = asyncio.create_task(recorder.run())
    await tape.until(lambda: tape.events("started"))
    healthy = tape.flush

    def fail_once() -> None:
        tape.flush = healthy
        raise TapeError("No space left on device")

    tape.flush = fail_once
    recorder.take((source, 7, 0, 0, b"x", ""))
    with pytest.raises(TapeError, match="No space"):
        await running
    assert tape.payloads() == [b"x"]
    assert not tape.events("dropped")
    assert tape.events("stopped")[0]["reason"] == "No space left on device"


async def test_cancelled_recorder_still_writes_what_it_holds(tape: Any) -> None:
    recorder = Recorder(tape, RecordSettings(**{**FAST, "flush_interval_ms": 10_000}))
    source = recorder.register(Source("v", "f", "one"))
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0.01)
    recorder.take((source, 7, 0, 0, b"x", ""))
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert tape.payloads() == [b"x"]
    assert tape.events("stopped")[0]["reason"] == "cancelled"
    assert tape.synced == len(tape.frames)


@pytest.mark.parametrize("what", ["write", "sync"])
async def test_disk_that_hangs_does_not_keep_us_from_stopping(tape: Any, what: str) -> None:
    recorder = Recorder(tape, RecordSettings(**{**FAST, "stop_seconds": 0.1}))
    source = recorder.register(Source("v", "f", "one"))
    running = asyncio.create_task(recorder.run())
    await tape.until(lambda: tape.synced)
    may = tape.may_flush if what == "write" else tape.may_sync
    may.clear()
    recorder.take((source, 7, 0, 0, b"x" * 10, ""))
    await asyncio.sleep(0.03)
    recorder.take((source, 7, 0, 0, b"x" * 10, ""))
    recorder.close("done")
    try:
        with pytest.raises(TapeError, match=r"hangs: stopped after record.stop_seconds 0.1 with \d+ frames") as caught:
            await running
    finally:
        may.set()
    (held, size), (unsafe,) = (
        [int(n) for n in re.findall(r"(\d+) (?:frames|bytes)", str(caught.value))],
        [int(n) for n in re.findall(r"(\d+) written", str(caught.value))],
    )
    assert (held >= 2 and size >= 2 * 10) if what == "write" else unsafe >= 2
    assert tape.is_abandoned


async def test_disk_that_hangs_at_the_last_sync(tape: Any) -> None:
    recorder = Recorder(tape, RecordSettings(**{**FAST, "stop_seconds": 0.1, "fsync_interval_ms": 60_000}))
    running = asyncio.create_task(recorder.run())
    await tape.until(lambda: tape.frames)
    tape.may_sync.clear()
    recorder.close("done")
    try:
        with pytest.raises(TapeError, match=r"0 frames \(0 bytes\) not written, [1-9]\d* written but not known"):
            await running
    finally:
        tape.may_sync.set()
    assert tape.is_abandoned
    assert tape.events("stopped")


def test_process_ends_though_its_disk_hangs(tmp_path: Path) -> None:
    program = """
import asyncio, sys, time
from pathlib import Path
from truetape.collect.recorder import Recorder
from truetape.config import RecordSettings
from truetape.tape.writer import FileTapeWriter

class Hanging(FileTapeWriter):
    def sync(self):
        time.sleep(600)

async def main(writer):
    recorder = Recorder(writer, RecordSettings(stop_seconds=0.2, fsync_interval_ms=1))
    running = asyncio.create_task(recorder.run())
    while writer.next_offset - writer.pending < 1:
        await asyncio.sleep(0.01)
    recorder.close("done")
    await running

writer = Hanging(Path(sys.argv[1]))
try:
    asyncio.run(main(writer))
finally:
    writer.close()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "tape")], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "TapeError: the disk of the tape hangs" in ended.stderr
    writer = tape_writer.FileTapeWriter(tmp_path / "tape")
    assert writer.next_offset >= 1
    writer.close()
    assert verify_tape(tmp_path / "tape").ok


async def test_real_tape_is_whole_and_durable(tmp_path: Path) -> None:
    writer = tape_writer.FileTapeWriter(tmp_path / "tape")
    async with recording(writer) as recorder:
        source = recorder.register(Source("v", "f", "v/f/1"))
        for number in range(20_000):
            recorder.take((source, number, 0, 0, b'{"n":%d}' % number, ""))
            if number % 1000 == 0:
                await asyncio.sleep(0.001)
    assert recorder.status().durable == writer.next_offset
    writer.close()
    payloads: list[bytes] = []
    for path in sorted((tmp_path / "tape" / "segments").iterdir()):
        with path.open("rb") as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                payloads += [r["payload"] for r in batch.select(["kind", "payload"]).to_pylist() if r["kind"] == 0]
    assert [json.loads(p)["n"] for p in payloads] == list(range(20_000))
