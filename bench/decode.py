"""Decode: recorded frames to rows, next to cryptofeed, tardis-dev and ccxt on the same frames.

Every round starts each tool anew, in turn, so that noise of the machine hits all of them; the median of the
rounds' medians counts. CPU time, because the machine may be shared.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import peers
from frames import CASES, RECORDINGS, Case, write_case
from results import Options, Row, format_ratio, judge, make_table, run_main

HERE = Path(__file__).parent
TOOLS = ("truetape", "truetape, books kept", "truetape, Python only", "cryptofeed", "tardis-dev", "ccxt")
GOALS = {"trade": {"cryptofeed": 3.0, "tardis-dev": 1.7}, "book_change": {"cryptofeed": 8.0, "tardis-dev": 1.6}}
"""So many times faster, books not kept."""
ABSOLUTE = {"usdm_trade": 1.1, "usdm_depth_23": 8.8}
"""µs a frame measured when the goals were set."""


def find_command(case: Case, tool: str, path: Path, seconds: float) -> list[str]:
    """Return how to run a tool on a case; Missing says why it cannot be."""
    if reason := case.refusals.get(tool):
        raise peers.Missing(reason)
    tail = [str(path), str(seconds)]
    if tool == "truetape":
        return [sys.executable, str(HERE / "decode_worker.py"), case.name, "plain", str(seconds)]
    if tool == "truetape, Python only":
        worker = [sys.executable, str(HERE / "decode_worker.py"), case.name, "plain", str(seconds)]
        return ["env", "TRUETAPE_PURE=1", *worker]
    if tool == "truetape, books kept":
        return [sys.executable, str(HERE / "decode_worker.py"), case.name, "books", str(seconds)]
    if tool == "cryptofeed" and case.cryptofeed:
        return [peers.cryptofeed(), str(HERE / "peer_cryptofeed.py"), *tail]
    if tool == "tardis-dev" and case.tardis:
        return ["node", str(HERE / "peer_tardis.cjs"), str(peers.tardis()), *tail]
    if tool == "ccxt" and case.ccxt:
        return [peers.ccxt(), str(HERE / "peer_ccxt.py"), *tail]
    raise peers.Missing("not comparable")


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per case and tool."""
    if not RECORDINGS.is_dir():
        yield {"case": "", "missing": "the recordings are not here"}
        return
    rounds, seconds = (1, 0.3) if options.quick else (5, 1.0)
    for case in CASES:
        path = options.folder / f"{case.name}.case"
        write_case(case, path)
        commands: dict[str, list[str]] = {}
        for tool in TOOLS:
            try:
                commands[tool] = find_command(case, tool, path, seconds)
            except peers.Missing as missing:
                yield {"case": case.name, "tool": tool, "missing": str(missing)}
        yield from _measure_case(case, commands, rounds)


def _measure_case(case: Case, commands: dict[str, list[str]], rounds: int) -> Iterator[Row]:
    answers: dict[str, list[dict[str, Any]]] = {tool: [] for tool in commands}
    for _ in range(rounds):
        for tool, command in commands.items():
            ran = subprocess.run(command, capture_output=True, text=True)
            if ran.returncode:
                print(f"{case.name}, {tool}: {ran.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            answers[tool].append(json.loads(ran.stdout.splitlines()[-1]))
    for tool, said in answers.items():
        if not said:
            yield {"case": case.name, "tool": tool, "missing": "it failed on these frames"}
            continue
        frames = said[0]["frames"]
        costs = {
            name: [median(cost[index] for cost in answer["costs"]) / frames / 1e3 for answer in said]
            for index, name in enumerate(("cpu_us", "wall_us"))
        }
        yield {
            "case": case.name, "tool": tool, "frames": frames, "cpu_us": round(median(costs["cpu_us"]), 3),
            "wall_us": round(median(costs["wall_us"]), 3), "cpu_us_min": round(min(costs["cpu_us"]), 3),
            "cpu_us_max": round(max(costs["cpu_us"]), 3), "output": said[0]["output"],
        }  # fmt: skip


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    by_case: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {})[row.get("tool", "")] = row
    cost_table = [_list_costs(case, by_case[case.name]) for case in CASES if case.name in by_case]
    verdicts = [line for case in CASES if case.name in by_case for line in _judge_case(case, by_case[case.name])]
    return (
        "µs of CPU a frame, median (lowest to highest round):\n\n"
        + make_table(["frames", "levels", *TOOLS], cost_table)
        + "\nAgainst the goals:\n\n"
        + make_table(["frames", "goal", "measured", "verdict"], verdicts)
        + NOTES
    )


NOTES = """
* truetape: `Engine.feed` of batches of 4,096 frames, as a view joins them when a tape is busy, and `take` of each into
  Arrow tables, with the garbage collector off, as the view process runs. On OKX each book's checksum is proven, which
  no other tool does. Continuity rules, drift samples and lineage columns included. *Python only*: without the compiled
  part. Each round starts with an empty engine, so that first pictures count: of OKX's 1,514 frames 20 are pictures of
  800 levels, which are two thirds of its cost.
* cryptofeed: its message handlers with callbacks that do nothing; it keeps books and builds `Decimal`s in any case,
  and with `msgspec` installed, which it then uses to parse. Of trades it reads `aggTrade` only: the frames were renamed.
* tardis-dev: `JSON.parse` and its normalising mappers, the objects dropped; it keeps no books.
* ccxt: the pro parsers behind `watch_trades` and `watch_order_book`, with their caches, which are inherent.
"""


def _list_costs(case: Case, tools: dict[str, Row]) -> list[str]:
    ours = tools.get("truetape", {})
    levels = ours.get("output", {}).get("book_change", 0) / ours.get("frames", 1)
    cells = [case.title, f"{levels:.0f}" if levels else ""]
    for tool in TOOLS:
        row = tools.get(tool, {"missing": "not measured"})
        if "missing" in row:
            cells.append(row["missing"])
        else:
            cells.append(f"{row['cpu_us']:.2f} ({row['cpu_us_min']:.2f} to {row['cpu_us_max']:.2f})")
    return cells


def _judge_case(case: Case, tools: dict[str, Row]) -> Iterator[list[str]]:
    ours = tools.get("truetape", {}).get("cpu_us")
    books = tools.get("truetape, books kept", {}).get("cpu_us")
    if ours is None:
        return
    if limit := ABSOLUTE.get(case.name):
        yield [case.title, f"≤ {limit} µs", f"{ours:.2f} µs", judge(ours, limit, at_most=True)]
    for tool, goal in GOALS.get(case.kind, {}).items():
        if theirs := tools.get(tool, {}).get("cpu_us"):
            yield [case.title, f"≥ {goal}x {tool}", format_ratio(theirs / ours), judge(theirs / ours, goal)]
            if books and case.kind == "book_change":
                ratio = theirs / books
                yield [case.title, f"books kept: ahead of {tool}", format_ratio(ratio), judge(ratio, 1.0)]


if __name__ == "__main__":
    run_main("decode", measure)
