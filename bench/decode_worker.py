"""Decode one case again and again with truetape and print what a frame cost: engine and columns."""

import gc
import json
import sys
import time

import pyarrow as pa
from frames import CASES, batch_frames, read_case

from truetape.decode.engine import Engine
from truetape.flow.view_process import tune_allocator
from truetape.tape import FrameBatch

TAKE_FRAMES = 4096
"""Frames between two takes, as in a view."""


def decode(batches: list[FrameBatch], *, keep_books: bool) -> dict[str, int]:
    """Decode all frames once; return rows by kind."""
    engine = Engine("bench", keep_books=keep_books)
    rows: dict[str, int] = {}

    def take() -> None:
        for kind, table in engine.take().items():
            rows[kind] = rows.get(kind, 0) + table.num_rows

    for batch in batches:
        engine.feed(batch)
        if engine.pending >= TAKE_FRAMES:
            take()
    take()
    return rows | {"quarantined": engine.counts["quarantined"]}


def main(name: str, books: str, seconds: float) -> None:
    """Measure one case."""
    case = next(case for case in CASES if case.name == name)
    batches = batch_frames(read_case(case))
    frames = sum(len(batch.data) for batch in batches)
    tune_allocator()
    gc.freeze()
    gc.disable()
    pa.set_cpu_count(1)
    rows = decode(batches, keep_books=books == "books")
    costs = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(costs) < 3:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        decode(batches, keep_books=books == "books")
        costs.append((time.process_time_ns() - cpu, time.perf_counter_ns() - wall))
        gc.collect()
    print(json.dumps({"frames": frames, "costs": costs, "output": rows}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
