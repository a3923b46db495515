"""What benchmarks have in common: options, rows of results as JSON lines, tables, verdicts."""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench"

Row = dict[str, Any]
"""One result: plain JSON."""


@dataclass(frozen=True)
class Options:
    """How to measure."""

    quick: bool = False
    seconds: float = 60.0
    """How long a load must hold."""
    folder: Path = BUILD
    """Where results and scratch files go."""


Measure = Callable[[Options], Iterator[Row]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark takes."""
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it runs, not how fast")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="how long a load must hold (default: 60; 5 if quick)"
    )


def read_options(given: argparse.Namespace) -> Options:
    """Return the options of a command line."""
    return Options(given.quick, given.seconds or (5.0 if given.quick else 60.0))


def run_main(name: str, measure: Measure) -> None:
    """Run one benchmark from the command line: rows to standard output and into the build folder."""
    parser = argparse.ArgumentParser(description=f"truetape benchmark: {name}")
    add_options(parser)
    save(name, measure, read_options(parser.parse_args()))


def save(name: str, measure: Measure, options: Options) -> list[Row]:
    """Measure, write the rows as JSON lines when all went well, and return them."""
    options.folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = [
        {"at": time.time(), "quick": options.quick, "seconds": options.seconds, "load": os.getloadavg()[0]}
    ]
    for row in measure(options):
        print(name, json.dumps(row, ensure_ascii=False), flush=True)
        rows.append(row)
    rows[0]["load_after"] = os.getloadavg()[0]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (options.folder / f"{name}.jsonl").write_text(text)
    return rows


def load(name: str) -> list[Row]:
    """Return the rows of the last run, the first being about the run itself; empty when there was none."""
    path = BUILD / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def make_table(heads: list[str], lines: list[list[str]]) -> str:
    """Return a Markdown table."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def judge(value: float, goal: float, *, at_most: bool = False) -> str:
    """Say whether a goal was met, and by how much it was not."""
    if (value <= goal) if at_most else (value >= goal):
        return "met"
    return f"missed by {abs(value - goal) / goal:.0%}"


def format_ratio(ratio: float) -> str:
    """Write a ratio: 2.4x."""
    return f"{ratio:.1f}x" if ratio >= 1.95 else f"{ratio:.2f}x"
