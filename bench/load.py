"""Run a load: blaster, recorder and, when wanted, views and a reader, each in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truetape.config import DeliverSettings, Settings
from truetape.flow.message import Begin, Finish, ViewStatus, read_from_child, write_line

HERE = Path(__file__).parent
RECORDER_CORE, OTHER_CORE = 0, (1 if (os.cpu_count() or 1) > 1 else 0)
"""The recorder has a core for itself; everything else shares the other."""


@dataclass
class Load:
    """What to run."""

    name: str
    rate: float
    seconds: float
    sinks: tuple[str, ...] = ()
    """Sinks of the second process; none: no second process."""
    deliver: DeliverSettings = field(default_factory=DeliverSettings)
    has_reader: bool = False


@dataclass
class Views:
    """The view process: what it says, and its memory."""

    process: subprocess.Popen[bytes]
    progress: list[tuple[float, int, int, int]] = field(default_factory=list)
    """(time, offset, end, resident bytes)."""
    counts: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Take lines until the process ends."""
        assert self.process.stdout
        for line in self.process.stdout:
            message = read_from_child(line)
            if isinstance(message, ViewStatus):
                self.counts = message.counts
                self.progress.append((time.time(), message.offset, message.end, 0))
            elif error := getattr(message, "error", ""):
                self.said.append(error)


def start_views(settings: Settings) -> Views:
    """Start the view process as `record` does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "truetape.flow.view_process"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    pin(process.pid, OTHER_CORE)
    assert process.stdin
    process.stdin.write(write_line(Begin(settings)))
    process.stdin.flush()
    views = Views(process)
    threading.Thread(target=views.listen, daemon=True).start()
    return views


def run(load: Load, folder: Path) -> dict[str, Any]:
    """Run a load to its end and return everything that was said."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tape = folder / "tape"
    blaster = start("blaster.py", load.name, "--rate", load.rate, "--seconds", load.seconds, "--core", OTHER_CORE)
    assert blaster.stdout
    port = int(blaster.stdout.readline())
    recorder = start("load_recorder.py", f"ws://127.0.0.1:{port}/", tape, "--core", RECORDER_CORE)
    while not (tape / "tape.json").exists():
        time.sleep(0.01)
    reader = start("load_reader.py", tape, "--core", OTHER_CORE) if load.has_reader else None
    views = start_views(Settings(tape=str(tape), sinks=load.sinks, deliver=load.deliver)) if load.sinks else None
    watched: list[dict[str, float]] = []
    if views:
        threading.Thread(target=watch_memory, args=(views.process, watched), daemon=True).start()
    said = [json.loads(line) for line in recorder.communicate()[0].splitlines()]
    fired = json.loads(blaster.communicate()[0].splitlines()[-1])
    result: dict[str, Any] = {"blaster": fired, "recorder": said[:-1], "recorder_end": said[-1]}
    if reader:
        result["reader"] = json.loads(reader.communicate()[0])
    if views:
        result["views"] = finish_views(views) | {"memory": watched}
    shutil.rmtree(folder)
    return result


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start one of our scripts."""
    return subprocess.Popen([sys.executable, str(HERE / script), *map(str, arguments)], stdout=subprocess.PIPE)


def pin(process: int, core: int) -> None:
    """Keep a process on one core, where the system can; 0 is ourselves."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, {core})


def finish_views(views: Views) -> dict[str, Any]:
    """Let the view process deliver the rest and end."""
    live = list(views.progress)
    assert views.process.stdin
    begin = time.perf_counter()
    views.process.stdin.write(write_line(Finish()))
    views.process.stdin.flush()
    try:
        views.process.wait(timeout=300)
    except subprocess.TimeoutExpired:
        views.process.kill()
    return {
        "progress": [one[:3] for one in live], "counts": views.counts, "drain_s": time.perf_counter() - begin,
        "said": views.said, "code": views.process.returncode,
    }  # fmt: skip


def watch_memory(process: subprocess.Popen[bytes], watched: list[dict[str, float]]) -> None:
    """Note a process's memory and CPU time each second until it ends."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    while process.poll() is None:
        try:
            memory = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        watched.append({"at": time.time(), "rss": memory, "cpu_s": (int(fields[11]) + int(fields[12])) / ticks})
        time.sleep(1)
