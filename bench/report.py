"""Write docs/benchmarks.md from the results of the last runs."""

import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path

import peers
from results import ROOT, load

TITLES = {
    "decode": "Decode",
    "prove_books": "Book proof",
    "tape": "Tape",
    "ingest": "Ingest",
    "latency": "Latency",
    "memory": "Memory with a stalled sink",
    "sizes": "Sizes in the lake",
    "startup": "Start",
    "markets": "Thousands of markets",
    "build_canonical": "Canonical dataset of prediction markets",
}
TIMED = ("ingest", "latency", "memory", "markets")
"""Benchmarks that hold a load for so many seconds."""
PACKAGES = ("truetape", "pyarrow", "msgspec", "numpy", "picows", "aiohttp", "deltalake", "duckdb")


def write_page(path: Path = ROOT / "docs" / "benchmarks.md") -> None:
    """Write the page."""
    parts = [HEAD.format(machine=describe_machine(), versions=describe_versions())]
    for name, title in TITLES.items():
        rows = load(name)
        if not rows:
            continue
        about, *results = rows
        module = importlib.import_module(name)
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(about["at"]))
        quick = " --quick" if about["quick"] else ""
        quick += f" --seconds {about['seconds']:g}" if name in TIMED else ""
        load_average = f"{about['load']:.1f} → {about['load_after']:.1f}"
        try:
            section = module.render(results)
        except KeyError:
            section = "The last results are of another version of this benchmark: run it again.\n"
        parts.append(f"## {title}\n\n{section}")
        parts.append(f"`python bench/run.py {name}{quick}`, {when}, load average {load_average}.\n")
    path.write_text("\n".join(parts))


HEAD = """# Benchmarks

Written by `make bench` (`python bench/run.py`; name benchmarks to run only these). Nothing here gates anything: the figures
are of one machine at one time. The verdicts compare with the goals that the project set itself.

{machine}

{versions}
"""


def describe_machine() -> str:
    """Say what this machine is."""
    cpu, memory = platform.processor(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = f"{len(names)} x {names[0]}" if names else cpu
        kib = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {kib / 2**20:.0f} GiB of memory"
    return f"Machine: {cpu}{memory}, {platform.system()} {platform.release()}, Python {platform.python_version()}."


def describe_versions() -> str:
    """Say which versions were measured."""
    ours = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    commit = f" (commit {head.stdout.strip()})" if head.returncode == 0 else ""
    theirs = "\n".join(f"* {name}: {peers.version_of(name)}" for name in ("cryptofeed", "tardis-dev", "ccxt"))
    return f"Versions: {ours}{commit}. Peers, each in an environment of its own:\n\n{theirs}\n{UNOBTAINABLE}"


UNOBTAINABLE = "* tardis-machine: not obtainable from the registry under that name\n"

if __name__ == "__main__":
    write_page()
