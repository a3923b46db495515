"""Memory: a sink that does not answer for a minute while 20,000 frames/s arrive; both processes must stay flat."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import load as loading
import numpy as np
from frames import RECORDINGS
from load import Load
from results import Options, Row, judge, make_table, run_main

RATE = 20_000
RUN_UP_S = 30.0
"""Until the first commit is due and meets the stalled sink."""
GOAL_MB = 300
FLAT_MB_A_MINUTE = 10.0


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per load: memory of both processes over time."""
    if not RECORDINGS.is_dir():
        yield {"load": "", "missing": "the recordings are not here"}
        return
    for name in ("mix", "trades"):
        folder = options.folder / "load"
        file = folder / "stalled.sqlite"
        done = threading.Event()
        holder = threading.Thread(target=_hold, args=(file, done))
        threading.Timer(1.0, holder.start).start()
        run_up = 5.0 if options.quick else RUN_UP_S
        seconds = run_up + options.seconds
        threading.Timer(seconds + 6, done.set).start()
        said = loading.run(Load(name, RATE, seconds, sinks=(f"sqlite:{file}",)), folder)
        done.set()
        yield _summarise(name, said, seconds, options.seconds)


def _hold(file: Path, done: threading.Event) -> None:
    """Hold the write lock of the sink's file, as another program may."""
    while not done.is_set() and not file.exists():
        time.sleep(0.05)
    time.sleep(3)
    with contextlib.closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as line:
        line.execute("BEGIN IMMEDIATE")
        done.wait()
        line.execute("ROLLBACK")


def _summarise(name: str, said: dict[str, Any], seconds: float, stalled_s: float) -> Row:
    views, recorder = said["views"]["memory"], said["recorder"]
    begin = recorder[0]["at"]
    row: Row = {
        "load": name,
        "rate": round(said["blaster"]["rate"]),
        "dropped": recorder[-1]["dropped"],
        "seconds": seconds,
    }
    for title, series in (("recorder", recorder), ("view", views)):
        during = [(one["at"] - begin, one["rss"] / 1e6) for one in series if one["at"] - begin <= seconds]
        stalled = [(at, rss) for at, rss in during if at >= seconds - stalled_s * 0.75]
        slope = np.polyfit(*map(np.array, zip(*stalled, strict=True)), 1)[0] * 60 if len(stalled) > 2 else 0.0
        row[title] = {
            "max_mb": round(max(rss for _, rss in during), 1), "slope_mb_a_minute": round(float(slope), 1),
            "series": [(round(at), round(rss)) for at, rss in during[::5]],
        }  # fmt: skip
    row["said"] = said["views"]["said"][:3]
    row["rows"] = {key: value for key, value in said["views"]["counts"].items() if key.startswith("rows.")}
    return row


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    if "missing" in rows[0]:
        return f"Not measured: {rows[0]['missing']}.\n"
    lines, series = [], []
    for row in rows:
        for part in ("recorder", "view"):
            own = row[part]
            flat = "flat" if own["slope_mb_a_minute"] <= FLAT_MB_A_MINUTE else "growing"
            lines.append([
                f"{row['load']}, {part}", f"≤ {GOAL_MB} MB, flat", f"{own['max_mb']:.0f} MB, {own['slope_mb_a_minute']:+.1f} MB a minute",
                f"{judge(own['max_mb'], GOAL_MB, at_most=True)}, {flat}",
            ])  # fmt: skip
            series.append([f"{row['load']}, {part}", ", ".join(f"{at} s {rss}" for at, rss in own["series"])])
    return (
        f"{RATE:,} frames/s; the sink is an SQLite file whose write lock another program holds. Settings as by default. Resident memory of "
        "each process; the slope is that of the last three quarters of the stall.\n\n"
        + make_table(["process", "goal", "measured", "verdict"], lines)
        + "\n"
        + make_table(["process", "MB over time"], series)
    )


if __name__ == "__main__":
    run_main("memory", measure)
