"""Tape: what a frame costs to write and to read, and how large it is, on the recorded mix."""

import gc
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pyarrow as pa
from frames import RECORDINGS, read_mix
from results import Options, Row, judge, make_table, run_main

from truetape.tape import Frame, Source, TapeSettings, archive_segment, list_segments, open_reader, open_writer

BATCHES = (1000, 100, 10)
"""Frames between two flushes: a busy recorder, an ordinary one, a quiet one."""
GOAL_BYTES, GOAL_ARCHIVED = 50, 38


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per batch size."""
    if not RECORDINGS.is_dir():
        yield {"batch": 0, "missing": "the recordings are not here"}
        return
    frames = read_mix()
    payload = sum(len(frame.payload) for frame in frames)
    gc.freeze()
    gc.disable()
    pa.set_cpu_count(1)
    for batch in BATCHES:
        rounds = [_measure_once(options.folder / "tape", frames, batch) for _ in range(1 if options.quick else 5)]
        costs = {name: round(median(one[name] for one in rounds), 3) for name in rounds[0]}
        yield {"batch": batch, "frames": len(frames), "payload": round(payload / len(frames), 1), **costs}
    shutil.rmtree(options.folder / "tape")


def _measure_once(folder: Path, frames: list[Frame], batch: int) -> dict[str, float]:
    shutil.rmtree(folder, ignore_errors=True)
    count = len(frames)
    write = _write(folder, frames, batch)
    live = sum(segment.bytes for segment in list_segments(folder))
    begin = time.process_time_ns()
    _read(folder)
    read = time.process_time_ns() - begin
    begin = time.process_time_ns()
    for segment in list_segments(folder):
        archive_segment(folder, segment.first)
    archive = time.process_time_ns() - begin
    archived = sum(segment.bytes for segment in list_segments(folder))
    begin = time.process_time_ns()
    _read(folder)
    again = time.process_time_ns() - begin
    return {
        "write_us": write / count / 1e3, "read_us": read / count / 1e3, "bytes": live / count,
        "archive_us": archive / count / 1e3, "read_archived_us": again / count / 1e3, "bytes_archived": archived / count,
    }  # fmt: skip


def _write(folder: Path, frames: list[Frame], batch: int) -> int:
    """Write all frames, not synced; return the CPU time in ns."""
    writer = open_writer(folder, TapeSettings(segment_seconds=10**9))
    begin = time.process_time_ns()
    sources: dict[Source, int] = {}
    for number, (received, monotonic, kind, venue, feed, connection, payload, meta) in enumerate(frames, 1):
        source = Source(venue, feed, connection)
        index = sources.get(source)
        if index is None:
            index = sources[source] = writer.register(source)
        writer.append(index, received, monotonic, kind, payload, meta)
        if number % batch == 0:
            writer.flush()
    writer.flush()
    spent = time.process_time_ns() - begin
    writer.close()
    return spent


def _read(folder: Path) -> int:
    reader = open_reader(folder)
    count = sum(len(batch.data) for batch in reader.read(reader.first))
    reader.close()
    return count


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    if "missing" in rows[0]:
        return f"Not measured: {rows[0]['missing']}.\n"
    heads = [
        "frames a flush",
        "write µs",
        "read µs",
        "bytes a frame",
        "archive µs",
        "read archived µs",
        "bytes archived",
    ]
    names = ("write_us", "read_us", "bytes", "archive_us", "read_archived_us", "bytes_archived")
    lines = [[f"{row['batch']:,}", *(f"{row[name]:.2f}" for name in names)] for row in rows]
    first = rows[0]
    verdicts = [
        ["bytes a frame, live", f"≤ {GOAL_BYTES}", f"{first['bytes']:.1f}", judge(first["bytes"], GOAL_BYTES, at_most=True)],
        [
            "bytes a frame, archived", f"≤ {GOAL_ARCHIVED}", f"{first['bytes_archived']:.1f}",
            judge(first["bytes_archived"], GOAL_ARCHIVED, at_most=True),
        ],
    ]  # fmt: skip
    return (
        f"{first['frames']:,} recorded frames of Binance (spot, USD-M, COIN-M), Bybit, OKX and Coinbase, {first['payload']:.0f} bytes "
        "each on average. CPU time; writing includes finding a frame's source. Sealed segments are archived by themselves.\n\n"
        + make_table(heads, lines)
        + "\n"
        + make_table(["figure", "goal", "measured", "verdict"], verdicts)
    )


if __name__ == "__main__":
    run_main("tape", measure)
