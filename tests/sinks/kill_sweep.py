"""Deliver made-up rows into a sink and die at every step there is; run as a program by test_contract.py.

    python kill_sweep.py SPEC FOLDER FRAMES

For step 1, 2, 3, ... a child delivers into FOLDER/<step> and kills itself there; a second child resumes with other
batch boundaries. Prints one JSON line per step: {"step", "name", "killed", "stored", "offset"}.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import deltalake  # noqa: F401 - imported before forking, so that each child starts at once
import duckdb  # noqa: F401
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS, ColumnType, Kind
from truetape.sinks import open_sink

TAPE_ID = "tape/Ü 1"
VENUES = ("binance", '../we ird,"x"\n[*]%2F')
SAMPLES = {
    ColumnType.TEXT: ("a", 'Ünïcode, "quoted"\nline', "", None),
    ColumnType.INTEGER: (0, -(2**63), 2**63 - 1, None),
    ColumnType.FLOAT: (0.1, -1e300, 61837.63, None),
    ColumnType.BOOLEAN: (True, False, True, None),
    ColumnType.TIME: (0, 1_723_161_254_087_896, 1, None),
    ColumnType.FLOATS: ([], [1.5, 2.25], [0.1], [1e-9]),
}
DAY_US = 86_400_000_000


def build_row(kind: Kind, offset: int, row: int) -> dict[str, object]:
    """Make one row; values depend on place only, nulls wherever they are legal."""
    made: dict[str, object] = {}
    for number, column in enumerate(kind.columns):
        sample = SAMPLES[column.type][(offset + row + number) % 4]
        made[column.name] = SAMPLES[column.type][0] if sample is None and column.required else sample
    received = 1_723_161_254_087_896 + (offset // 5) * DAY_US // 2 + offset
    return made | {
        "venue": VENUES[offset % 2],
        "symbol": f"S{row % 3}",
        "received_at": received,
        "available_at": received,
        "tape_offset": offset,
        "tape_row": row,
    }


def build_tables(start: int, end: int, kinds: tuple[str, ...] = ("trade", "book_snapshot")) -> dict[str, pa.Table]:
    """Make the rows of frames [start, end); kinds without rows have an empty table."""
    tables = {}
    for number, name in enumerate(kinds):
        schema = KINDS[name].arrow
        rows = [
            build_row(KINDS[name], offset, row)
            for offset in range(start, end)
            if offset % (number + 1) == 0
            for row in range(3)
        ]
        tables[name] = pa.table(
            [pa.array([row[field.name] for row in rows], field.type) for field in schema], schema=schema
        )
    return tables


def deliver(spec: str, frames: int, batch: int, step: Callable[[str], None] = lambda name: None) -> dict[str, object]:
    """Run a view from its checkpoint to the end."""
    sink = open_sink(spec, TAPE_ID, step)
    done = sink.resume()
    offset = done.offset if done else 0
    while offset < frames:
        start, offset = offset, min(offset + batch, frames)
        sink.write(build_tables(start, offset), Checkpoint(TAPE_ID, offset, {"frames": offset}, bytes([offset])))
    done = sink.resume()
    assert done is not None and done.state == bytes([frames])
    stored = sink.stored()
    sink.close()
    return {"stored": stored, "offset": done.offset}


def fork_run(work: Callable[[], object]) -> tuple[int, str]:
    """Run work in a child; give its wait status and what it returned as JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must never return into the parent's code
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    return os.waitpid(child, 0)[1], text


class Killer:
    """Kill this process at the n-th step."""

    def __init__(self, at: int, note: Path) -> None:
        self.left = at
        self.note = note

    def __call__(self, name: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.note.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)


def main(spec: str, folder: Path, frames: int) -> None:
    """Sweep over all steps."""
    step, killed = 0, True
    while killed:
        step += 1
        place = folder / str(step)
        place.mkdir(parents=True)
        here = spec.replace("DIR", str(place / "store")).replace("FILE", str(place / "store"))
        note = place / "name"
        status, _ = fork_run(lambda: deliver(here, frames, 6, Killer(step, note)))  # noqa: B023
        killed = os.WIFSIGNALED(status)
        status, text = fork_run(lambda: deliver(here, frames, 4))  # noqa: B023
        assert status == 0, f"resuming after step {step} failed"
        name = note.read_text() if killed else "end"
        print(json.dumps({"step": step, "name": name, "killed": killed, **json.loads(text)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
