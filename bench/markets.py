"""Markets by the thousand: `truetape record` follows 2,000 prediction markets under traffic, and nothing is lost.

The venue is made up (`market_venue.py`): every frame changes both outcomes' books and carries their hashes. What is
measured is the command as a user runs it, with its recorder and its view into a lake; the venue shares the machine. Then
every message that was sent is looked for on the tape, and `truetape verify` decodes the tape again.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from market_venue import digest
from results import Options, Row, make_table, run_main

from truetape.lake import Lake
from truetape.tape import FrameKind, iter_payloads, open_reader

MARKETS = 2000
RATES = (2_000, 5_000, 10_000, 20_000)
"""Frames a second of all markets together."""
WAIT_S = 300
CONFIG = """
tape: {folder}/tape
sinks: ['lake:{folder}/lake']
venues:
  polymarket:
    url: {url}
    instruments: []
    markets: [clob]
    channels: [trade, book_change]
    filters: {{tags: [bench], markets_max: {markets}}}
"""


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per rate."""
    markets, rates = (200, RATES[:1]) if options.quick else (MARKETS, RATES)
    for rate in rates:
        yield {"rate": rate, "markets": markets, **run(markets, rate, options.seconds, options.folder / "markets")}


def run(markets: int, rate: int, seconds: float, folder: Path) -> Row:
    """Record one load from the first listing to the last commit, and prove it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    venue = start(
        "market_venue.py", "--markets", markets, "--rate", rate, "--seconds", seconds, "--told", folder / "told.npz"
    )
    try:
        assert venue.stdout
        url = f"http://127.0.0.1:{int(venue.stdout.readline())}"
        config = folder / "truetape.yaml"
        config.write_text(CONFIG.format(folder=folder, url=url, markets=markets))
        begin = time.perf_counter()
        command = subprocess.Popen(
            [sys.executable, "-m", "truetape.cli", "record", "--config", str(config)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        wait_for(venue, "subscribed")
        subscribed_s = time.perf_counter() - begin
        wait_for(venue, "sending")
        meter = Meter(command.pid)
        meter.start()
        sent = json.loads(wait_for(venue, "sent ").removeprefix("sent "))
        meter.stop()
        time.sleep(1.0)  # what is in the sockets' buffers
        ending = time.perf_counter()
        command.send_signal(signal.SIGTERM)
        said = command.communicate(timeout=WAIT_S)[0].decode()
        drain_s = time.perf_counter() - ending
    finally:
        venue.kill()
    if command.returncode:
        raise RuntimeError(f"record ended with {command.returncode}: {said[-500:]}")
    row = {"subscribed_s": subscribed_s, "drain_s": drain_s, "sent": sent, **meter.tell()}
    row |= prove(folder, np.load(folder / "told.npz"))
    shutil.rmtree(folder)
    return row


def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start one of our scripts."""
    path = Path(__file__).parent / script
    return subprocess.Popen([sys.executable, str(path), *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def wait_for(process: "subprocess.Popen[str]", word: str) -> str:
    """Return the next line that begins with a word."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(word):
            return line.strip()
    raise RuntimeError(f"the venue ended before it said {word!r}")


class Meter(threading.Thread):
    """Looks at the recorder's and the view's processor time and memory every half a second."""

    def __init__(self, parent: int) -> None:
        super().__init__(daemon=True)
        self._pids = {name: pid for pid in list_children(parent) if (name := name_part(pid))}
        self._seen: dict[str, list[tuple[float, float, int]]] = {name: [] for name in self._pids}
        self._over = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(0.5):
            for name, pid in self._pids.items():
                self._seen[name].append((time.perf_counter(), *read_usage(pid)))

    def stop(self) -> None:
        """End looking."""
        self._over.set()
        self.join()

    def tell(self) -> dict[str, Any]:
        """Return cores used, and the most memory, of each part."""
        told: dict[str, Any] = {}
        for name, seen in self._seen.items():
            (begin, cpu, _), (end, cpu_end, _) = seen[0], seen[-1]
            told[name] = {"cores": (cpu_end - cpu) / (end - begin), "rss": max(rss for _, _, rss in seen)}
        return told


def list_children(parent: int) -> list[int]:
    """List a process's children and theirs."""
    own = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return own + [pid for child in own for pid in list_children(child)]


def name_part(pid: int) -> str:
    """Return recorder or view; empty for another process."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    return next((name for name in ("recorder", "view") if f"{name}_process".encode() in line), "")


def read_usage(pid: int) -> tuple[float, int]:
    """Return seconds of processor time and resident bytes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), memory


def prove(folder: Path, told: Any) -> dict[str, Any]:
    """Look for every message on the tape, verify, and read the proofs of the books."""
    keys, received = read_tape(folder / "tape")
    order, mine = np.argsort(told["keys"], kind="stable"), np.argsort(keys, kind="stable")
    is_whole = bool(np.array_equal(told["keys"][order], keys[mine]))
    delays = (received[mine] - told["sent_ns"][order]) / 1e6 if is_whole else np.zeros(1)
    p50, p99 = np.percentile(delays, [50, 99])
    done = subprocess.run(
        [sys.executable, "-m", "truetape.cli", "verify", "--config", str(folder / "truetape.yaml")], capture_output=True
    )
    proofs = Lake(folder / "lake").sql("select sum(proven) as proven, sum(broken) as broken from book_proof").arrow()
    gaps = (
        Lake(folder / "lake").sql("select count(distinct gap_id) as n from gap where reason <> 'not_started'").arrow()
    )
    return {
        "recorded": len(keys), "is_whole": is_whole, "p50_ms": float(p50), "p99_ms": float(p99),
        "max_ms": float(delays.max()), "is_balanced": done.returncode == 0,
        "proofs": {name: int(value) for name, value in proofs.to_pylist()[0].items()}, "gaps": gaps["n"][0].as_py(),
    }  # fmt: skip


def read_tape(tape: Path) -> tuple[Any, Any]:
    """Return the digests of all messages but pictures and PONGs, and when they were received."""
    reader = open_reader(str(tape))
    keys: list[int] = []
    received: list[int] = []
    for batch in reader.read(0):
        kinds = batch.data.column("kind").to_numpy()
        stamps = batch.data.column("received_ns").to_numpy()
        for i, payload in enumerate(iter_payloads(batch.data)):
            if kinds[i] == FrameKind.TEXT and payload[:10] == b'{"market":':
                keys.append(digest(payload))
                received.append(int(stamps[i]))
    reader.close()
    return np.array(keys), np.array(received)


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    lines = []
    for row in rows:
        recorder, view = row["recorder"], row["view"]
        lost = row["sent"]["frames"] - row["recorded"]
        is_fine = row["is_whole"] and row["is_balanced"] and not row["proofs"]["broken"] and not row["gaps"]
        lines.append(
            [
                f"{row['rate']:,}",
                f"{row['sent']['frames'] / row['sent']['seconds']:,.0f}",
                f"{recorder['cores']:.2f}, {recorder['rss'] / 1e6:.0f} MB",
                f"{view['cores']:.2f}, {view['rss'] / 1e6:.0f} MB",
                f"{row['p50_ms']:.1f}, {row['p99_ms']:.1f}, {row['max_ms']:.0f}",
                f"{row['drain_s']:.0f} s",
                f"{lost} lost of {row['recorded']:,}, {'balanced' if row['is_balanced'] else 'NOT balanced'}",
                f"{row['proofs']['proven']:,} proven, {row['proofs']['broken']} broken; {row['gaps']} gaps",
                "met" if is_fine else "missed",
            ]
        )
    first = rows[0]
    heads = ["frames/s", "sent/s", "recorder: cores, memory", "view: cores, memory", "lag ms: median, p99, most",
             "rest after the end", "on the tape; verify", "books", "nothing lost"]  # fmt: skip
    return (
        f"{first['markets']:,} markets ({2 * first['markets']:,} tokens on {first['sent']['connections']} sockets, as many as the venue's limits "
        f"ask for) by one `truetape record` into a lake; all subscribed {max(row['subscribed_s'] for row in rows):.0f} s after the command. "
        "Each frame changes a level of both outcomes' books and has their hashes; one in 50 is a trade.\n\n"
        + make_table(heads, lines)
        + "\nLag is from the venue's write to the recorder's stamp. The venue, the recorder and the view share two cores; where the view cannot "
        "decode as fast, the tape holds what it has not got to, and *rest* says how long that took after the last frame.\n"
    )


if __name__ == "__main__":
    run_main("markets", measure)
