"""Ingest: the highest rate from a loopback socket onto a durable, compressed tape that is held, and with the lake."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import load as loading
import peers
from frames import RECORDINGS
from load import Load
from results import Options, Row, judge, make_table, run_main

RATES = (50_000, 75_000, 100_000, 150_000, 200_000, 300_000)
PEER_RATES = (5_000, 10_000, 20_000, 30_000, 50_000)
LATE_MAX_S = 1.0
"""A receiver that lets the sender fall behind its schedule by more does not hold the rate."""
BACKLOG_MAX_S = 2.0
"""Frames of so many seconds may wait for decoding, as long as they do not become more: a commit stops decoding."""
GROWTH_MAX = 1.3
GOALS = {"tape": 150_000, "tape and lake": 100_000}
BRIEF = 4
"""Rates below the goal, and a peer's, are run for so many times less long."""


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per attempt, from low rates to the first that is not held."""
    if not RECORDINGS.is_dir():
        yield {"what": "", "missing": "the recordings are not here"}
        return
    for what, name in (("tape", "mix"), ("tape", "trades"), ("tape and lake", "mix"), ("tape and lake", "trades")):
        for rate in RATES[::2][:2] if options.quick else RATES:
            row = _try_rate(what, name, rate, options)
            yield row
            if not row["held"]:
                break
    yield from _measure_cryptofeed(options)
    yield {"what": "tape", "tool": "tardis-machine", "missing": "not obtainable from the registry under that name"}


def _try_rate(what: str, name: str, rate: int, options: Options) -> Row:
    folder = options.folder / "load"
    sinks = (f"lake:{folder / 'lake'}",) if what == "tape and lake" else ()
    seconds = options.seconds if rate >= GOALS[what] else options.seconds / BRIEF
    said = loading.run(Load(name, rate, seconds, sinks=sinks), folder)
    recorder, fired = said["recorder"], said["blaster"]
    waiting = [one["held_frames"] for one in recorder]
    row = {
        "what": what, "tool": "truetape", "load": name, "rate": rate, "seconds": seconds,
        "achieved": round(fired["rate"]), "late_s": round(fired["late_max_s"], 3), "dropped": recorder[-1]["dropped"],
        "waiting_s": round(max(waiting) / rate, 3), "cpu": round(recorder[-2]["cpu_share"], 3),
        "rss_mb": round(said["recorder_end"]["rss_peak"] / 1e6), "bytes": round(said["recorder_end"]["tape_bytes"] / fired["sent"], 1),
        "blaster_cpu": round(fired["cpu_share"], 3),
    }  # fmt: skip
    held = fired["late_max_s"] <= LATE_MAX_S and not row["dropped"] and row["waiting_s"] <= LATE_MAX_S
    if sinks:
        row |= _judge_views(said["views"], rate)
        held = held and row["is_steady"]
    return row | {"held": held}


def _judge_views(views: dict[str, Any], rate: int) -> Row:
    lags = [(end - offset) / rate for _, offset, end in views["progress"]]
    quarter = max(len(lags) // 4, 1)
    early, late = max(lags[quarter : 2 * quarter] or [0]), max(lags[-quarter:] or [0])
    spent = views["memory"][-1]["cpu_s"] / max(views["memory"][-1]["at"] - views["memory"][0]["at"], 1)
    return {
        "backlog_early_s": round(early, 2), "backlog_late_s": round(late, 2), "drain_s": round(views["drain_s"], 1),
        "view_cpu": round(spent, 3), "view_rss_mb": round(max(one["rss"] for one in views["memory"]) / 1e6),
        "is_steady": late <= max(BACKLOG_MAX_S, early * GROWTH_MAX) and views["code"] == 0,
        "rows": {name: count for name, count in views["counts"].items() if name.startswith("rows.")},
    }  # fmt: skip


def _measure_cryptofeed(options: Options) -> Iterator[Row]:
    try:
        python = peers.cryptofeed()
    except peers.Missing as missing:
        yield {"what": "tape", "tool": "cryptofeed", "missing": str(missing)}
        return
    script = Path(__file__).with_name("peer_cryptofeed_ingest.py")
    for rate in PEER_RATES[:2] if options.quick else PEER_RATES:
        seconds = options.seconds / BRIEF
        arguments = ("--rate", rate, "--seconds", seconds, "--core", loading.OTHER_CORE)
        blaster = loading.start("blaster.py", "aggtrades", *arguments)
        assert blaster.stdout
        port = blaster.stdout.readline().decode().strip()
        target = options.folder / "cryptofeed.pcap"
        command = [python, str(script), port, str(target)]
        ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        loading.pin(ran.pid, loading.RECORDER_CORE)
        fired = json.loads(blaster.communicate()[0].splitlines()[-1])
        try:
            out, error = ran.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            ran.kill()
            out, error = ran.communicate()
        if not out.strip():
            last = (error.strip().splitlines() or ["no word"])[-1]
            yield {"what": "tape", "tool": "cryptofeed", "missing": f"it failed: {last}"}
            return
        heard = json.loads(out.splitlines()[-1])
        held = fired["late_max_s"] <= LATE_MAX_S and heard["frames"] >= 0.999 * fired["sent"]
        yield {
            "what": "tape", "tool": "cryptofeed", "load": "trades", "rate": rate, "seconds": seconds, "achieved": round(fired["rate"]),
            "late_s": round(fired["late_max_s"], 3), "cpu": round(heard["cpu_share"], 3), "held": held,
            "bytes": round(heard["bytes"] / max(heard["frames"], 1), 1), "lost": fired["sent"] - heard["frames"],
        }  # fmt: skip
        if not held:
            return


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    if "missing" in rows[0]:
        return f"Not measured: {rows[0]['missing']}.\n"
    verdicts, lines = [], []
    for what, goal in GOALS.items():
        for name in ("mix", "trades"):
            tried = [
                row for row in rows if row["what"] == what and row.get("load") == name and row["tool"] == "truetape"
            ]
            held = max((row["rate"] for row in tried if row["held"]), default=0)
            verdicts.append([f"{what}, {name}", f"≥ {goal:,}/s", f"{held:,}/s held", judge(held, goal)])
    for row in rows:
        if "missing" in row:
            lines.append([row["tool"], row["what"], "", "", "", row["missing"], *[""] * 6])
            continue
        backlog = f"{row['backlog_early_s']} → {row['backlog_late_s']} s" if "view_cpu" in row else ""
        lines.append([
            row["tool"], row["what"], row["load"], f"{row['rate']:,}", f"{row['seconds']:g}",
            "held" if row["held"] else "not held", f"{row['achieved']:,}", f"{row['late_s']} s", f"{row['cpu']:.0%}", f"{row['view_cpu']:.0%}" if "view_cpu" in row else "",
            backlog, f"{row['bytes']}",
        ])  # fmt: skip
    heads = [
        "tool", "what", "load", "frames/s", "for s", "verdict", "sent/s", "sender late by", "CPU, recorder", "CPU, view",
        "view's backlog, early → late", "bytes a frame",
    ]  # fmt: skip
    return make_table(["figure", "goal", "measured", "verdict"], verdicts) + "\n" + make_table(heads, lines) + NOTES


NOTES = """
The sender is one process on one core, the recorder alone on another; views share the sender's core. *mix* is USD-M as recorded
(trades, quotes and depth of all kinds of sizes, 5 rows a frame); *trades* are its trades. The frames repeat with ids that go on, so they
compress better than life: bytes a frame are those of the tape section. Held: nothing dropped, the sender never more than a
second behind its schedule, not more than a second of frames in the recorder's memory, and the view's backlog not growing.
cryptofeed decodes each frame while it records it; that cannot be switched off. Its URL check wants `wss://`, so the address was set
behind it.
"""


if __name__ == "__main__":
    run_main("ingest", measure)
