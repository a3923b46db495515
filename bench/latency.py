"""Latency at 50,000 frames/s: sent → visible on the tape's reader side, and → durable, with and without lake commits."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import load as loading
import numpy as np
from frames import RECORDINGS
from load import Load
from results import Options, Row, judge, make_table, run_main

from truetape.config import DeliverSettings, RecordSettings

RATE = 50_000
COMMIT_ROWS = 500_000
"""A commit every two seconds: far more often than by default, to show whether it disturbs."""
GOAL_VISIBLE_MS = 10.0
GOAL_DURABLE_MS = RecordSettings().fsync_interval_ms + 30


def measure(options: Options) -> Iterator[Row]:
    """Yield one row without and one with a second process that decodes and commits, in turn, several times."""
    if not RECORDINGS.is_dir():
        yield {"lake": False, "missing": "the recordings are not here"}
        return
    folder = options.folder / "load"
    for number in range(1 if options.quick else 3):
        for has_lake in (False, True):
            sinks = (f"lake:{folder / 'lake'}",) if has_lake else ()
            deliver = DeliverSettings(commit_rows=COMMIT_ROWS)
            seconds = max(options.seconds / (1 if options.quick else 3), 5)
            load = Load("mix", RATE, seconds, sinks=sinks, deliver=deliver, has_reader=True)
            yield {"round": number, "lake": has_lake, **_summarise(loading.run(load, folder))}


def _summarise(said: dict[str, Any]) -> Row:
    reader, synced = said["reader"], said["recorder_end"]["synced"]
    ends = [durable for _, durable in synced]
    waits = []
    for offset, sent_ns in reader["sample"]:
        place = bisect_right(ends, offset)
        if place < len(ends):
            waits.append((synced[place][0] - sent_ns) / 1e6)
    return {
        "visible_p50_ms": round(reader["p50_ms"], 2), "visible_p99_ms": round(reader["p99_ms"], 2),
        "visible_max_ms": round(reader["max_ms"], 1), "durable_p50_ms": round(float(np.percentile(waits, 50)), 1),
        "durable_p99_ms": round(float(np.percentile(waits, 99)), 1), "frames": reader["frames"],
        "dropped": said["recorder"][-1]["dropped"], "cpu": round(said["recorder"][-2]["cpu_share"], 3),
    }  # fmt: skip


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    if "missing" in rows[0]:
        return f"Not measured: {rows[0]['missing']}.\n"
    names = ("visible_p50_ms", "visible_p99_ms", "visible_max_ms", "durable_p50_ms", "durable_p99_ms")
    lines, medians = [], {}
    for has_lake, title in ((False, "recorder alone"), (True, "lake commits beside it")):
        part = [row for row in rows if row["lake"] == has_lake]
        medians[has_lake] = {name: float(np.median([row[name] for row in part])) for name in names}
        spread = [
            f"{medians[has_lake][name]:.1f} ({min(row[name] for row in part):.1f} to {max(row[name] for row in part):.1f})"
            for name in names
        ]
        lines.append([title, *spread])
    verdicts = []
    for has_lake, title in ((False, "alone"), (True, "with commits")):
        visible, durable = medians[has_lake]["visible_p99_ms"], medians[has_lake]["durable_p99_ms"]
        verdicts.append(
            [
                f"sent → visible p99, {title}",
                f"≤ {GOAL_VISIBLE_MS:g} ms",
                f"{visible:.1f} ms",
                judge(visible, GOAL_VISIBLE_MS, at_most=True),
            ]
        )
        verdicts.append(
            [
                f"sent → durable p99, {title}",
                f"≤ {GOAL_DURABLE_MS:g} ms",
                f"{durable:.1f} ms",
                judge(durable, GOAL_DURABLE_MS, at_most=True),
            ]
        )
    heads = ["ms, median of rounds", "visible p50", "visible p99", "visible max", "durable p50", "durable p99"]
    return (
        f"{RATE:,} frames/s of the USD-M mix; the time is written into each frame when it is handed to the kernel. Sender, reader and views share "
        f"the second core, so the reader's own waiting for it is included. Commits every {COMMIT_ROWS:,} rows.\n\n"
        + make_table(["figure", "goal", "measured", "verdict"], verdicts)
        + "\n"
        + make_table(heads, lines)
    )


if __name__ == "__main__":
    run_main("latency", measure)
