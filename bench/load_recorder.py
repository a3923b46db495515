"""The recorder's part of a load test: one WebSocket → recorder → tape, as in the recorder process, then its figures.

Left out of the real process are listings and subscriptions, which no frame passes through. Prints one line of JSON
each second, and at the end the times at which offsets became durable.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import time
from pathlib import Path

from blaster import RECORDING
from frames import RECORDINGS

from truetape.collect.collector import tune_interpreter
from truetape.collect.recorder import Recorder
from truetape.collect.socket import SocketOptions, open_socket
from truetape.config import RecordSettings
from truetape.tape import FileTapeWriter, FrameKind, Source
from truetape.tape.foreign import Origin, read_recording

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Witness(FileTapeWriter):
    """The file writer, remembering when what became durable."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.synced: list[tuple[int, int]] = []

    def sync(self) -> int:
        """Sync as ever, and note the time."""
        durable = super().sync()
        self.synced.append((time.time_ns(), durable))
        return durable


def read_memory() -> int:
    """Return this process's resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def read_snapshot() -> tuple[bytes, str] | None:
    """Return the book that was fetched while the load was recorded: with it the books are whole."""
    for frame in read_recording("hftbacktest", Origin(RECORDINGS / RECORDING, "binance", "1")):
        if frame.kind == FrameKind.RESPONSE:
            return frame.payload, frame.meta
    return None


async def record(url: str, tape: Path, fsync_ms: float) -> tuple[list[tuple[int, int]], int]:
    """Record until the other side hangs up; return when what became durable, and the tape's end."""
    writer = Witness(tape)
    recorder = Recorder(writer, RecordSettings(fsync_interval_ms=fsync_ms))
    running = asyncio.create_task(recorder.run())
    source = recorder.register(Source("binance", "usdm-public", "binance/usdm-public/1#1"))
    if snapshot := read_snapshot():
        recorder.put(source, FrameKind.RESPONSE, *snapshot)
    socket = await open_socket(url, recorder.take, source, SocketOptions())
    begin, cpu = time.perf_counter(), time.process_time()
    while not socket.ended.done():
        await asyncio.wait([socket.ended], timeout=1.0)
        status = recorder.status()
        facts = {
            "at": time.time(), "frames": socket.frames, "end": status.end, "durable": status.durable,
            "held_frames": status.held_frames, "held_bytes": status.held_bytes, "dropped": status.dropped_frames,
            "cpu_share": (time.process_time() - cpu) / (time.perf_counter() - begin), "rss": read_memory(),
        }  # fmt: skip
        print(json.dumps(facts), flush=True)
    recorder.close("stopped")
    await running
    writer.close()
    return writer.synced, writer.next_offset


def tell_end(tape: Path, synced: list[tuple[int, int]], end: int) -> None:
    """Print what is known at the end."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(path.stat().st_size for path in tape.rglob("*") if path.is_file())
    print(
        json.dumps({"synced": synced, "end": end, "rss_peak": peak, "tape_bytes": size}),
        flush=True,
    )


def main() -> None:
    """Run as a child."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("tape", type=Path)
    parser.add_argument("--core", type=int)
    parser.add_argument("--fsync-ms", type=float, default=RecordSettings().fsync_interval_ms)
    given = parser.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    gc.freeze()
    with tune_interpreter():
        synced, end = asyncio.run(record(given.url, given.tape, given.fsync_ms))
    tell_end(given.tape, synced, end)


if __name__ == "__main__":
    main()
