"""The reader's part of a load test: follow a tape and compare each frame's `sent_ns` with the time it became visible.

Prints percentiles, and a sample of (offset, sent_ns) to compare with the times of syncs.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from truetape.tape import open_reader

DIGITS = 19
SAMPLE_EVERY = 101


def read_stamps(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Return the sent_ns of the frames of a batch that have one, and which they are."""
    column = batch.column("payload")
    _, offsets, data = column.buffers()
    edges = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4).astype(np.int64)
    rows = np.flatnonzero(np.diff(edges) > DIGITS + 12)
    text = np.frombuffer(data, np.uint8)
    digits = text[(edges[rows + 1] - DIGITS - 1)[:, None] + np.arange(DIGITS)].astype(np.int64) - 48
    return digits @ (10 ** np.arange(DIGITS - 1, -1, -1, dtype=np.int64)), rows


def main() -> None:
    """Follow until nothing came for three seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tape", type=Path)
    parser.add_argument("--core", type=int)
    parser.add_argument("--warmup", type=float, default=2.0)
    given = parser.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    while not (given.tape / "tape.json").exists():
        time.sleep(0.01)
    reader = open_reader(given.tape)
    at, first_ns, quiet = reader.first, 0, 0
    delays: list[np.ndarray] = []
    sample: list[tuple[int, int]] = []
    while quiet < 30:
        quiet = 0 if reader.wait(at, 0.1) else quiet + (1 if first_ns else 0)
        for batch in reader.read(at):
            now_ns = time.time_ns()
            sent, rows = read_stamps(batch.data)
            if len(sent):
                quiet = 0
                first_ns = first_ns or now_ns
                if now_ns - first_ns > given.warmup * 1e9:
                    delays.append(now_ns - sent)
                    sample += [(batch.offset + int(rows[i]), int(sent[i])) for i in range(0, len(sent), SAMPLE_EVERY)]
            at = batch.offset + len(batch.data)
    every = np.concatenate(delays) / 1e6
    p50, p99 = np.percentile(every, [50, 99])
    print(
        json.dumps({"frames": len(every), "p50_ms": p50, "p99_ms": p99, "max_ms": float(every.max()), "sample": sample})
    )


if __name__ == "__main__":
    main()
