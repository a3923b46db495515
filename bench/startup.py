"""Start: how long `truetape --help` takes, from exec to exit."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from results import Options, Row, judge, make_table, run_main

GOAL_MS = 150
COMMANDS = (["--help"], ["record", "--help"], ["--version"])


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per command."""
    program = str(Path(sys.executable).with_name("truetape"))
    for arguments in COMMANDS:
        spent = []
        for _ in range(3 if options.quick else 21):
            begin = time.perf_counter()
            subprocess.run([program, *arguments], stdout=subprocess.DEVNULL, check=True)
            spent.append((time.perf_counter() - begin) * 1e3)
        yield {
            "command": " ".join(["truetape", *arguments]),
            "ms": round(median(spent), 1),
            "ms_min": round(min(spent), 1),
        }


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    lines = [
        [f"`{row['command']}`", f"< {GOAL_MS} ms", f"{row['ms']:.0f} ms (fastest {row['ms_min']:.0f})", judge(row["ms"], GOAL_MS, at_most=True)]
        for row in rows
    ]  # fmt: skip
    return make_table(["command", "goal", "median", "verdict"], lines)


if __name__ == "__main__":
    run_main("startup", measure)
