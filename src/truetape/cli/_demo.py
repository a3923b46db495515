"""What `truetape demo` does, step by step."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from truetape import clock
from truetape.cli._demo_market import MarketDemo
from truetape.cli._live import Lines, LiveTable
from truetape.config import LogSettings, load_settings
from truetape.errors import ConfigError
from truetape.flow import record, verify
from truetape.lake import Lake, lake_hash
from truetape.quality import list_gaps, run_checks, write_report
from truetape.transform import build

FAULTS = "at 9s coinbase cut; at 13s drop 3 frames of btcusdt@trade; at 17s binance freeze 2s"
"""So that there is something to declare and to repair."""

YAML = """\
# Written by `truetape demo`: everything is sent to fake venues on loopback.
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
record: {{segment_seconds: 10, tick_seconds: 1}}
venues:
  binance:  {{url: "{url}", markets: [spot, usdm], instruments: [BTC-USDT, ETH-USDT, BTC-USDT-PERP],
             channels: [trade, book_change, quote, derivative]}}
  coinbase: {{url: "{url}", instruments: [BTC-USD, ETH-USD]}}
  bybit:    {{url: "{url}", markets: [linear], instruments: [BTC-USDT-PERP]}}
  okx:      {{url: "{url}", instruments: [BTC-USDT-PERP]}}
  deribit:  {{url: "{url}", instruments: [BTC-USD-PERP]}}
"""


class Demo:
    """One demonstration in one folder."""

    def __init__(self, folder: Path, seconds: float, *, has_markets: bool) -> None:
        self._folder = folder
        self._seconds = seconds
        self._has_markets = has_markets

    def run(self, rate: float, seed: int) -> None:
        """Run every step; ConfigError when the folder holds something else."""
        self._clear()
        with start_sim(rate, seed) as url:
            path = self._folder / "truetape.yaml"
            path.write_text(YAML.format(folder=self._folder, url=url), encoding="utf-8")
            click.echo(f"1. fake venues at {url} (faults: {FAULTS})")
            click.echo(f"2. recording for {self._seconds:g} s …")
            self._record(path)
        self._finish()

    def _clear(self) -> None:
        if self._folder.exists() and any(self._folder.iterdir()):
            if not (self._folder / "truetape.yaml").exists():
                raise ConfigError(f"{self._folder} holds something else; give another folder with --to")
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def _record(self, path: Path) -> None:
        settings = load_settings(path)
        screen = LiveTable() if sys.stdout.isatty() else Lines(LogSettings())
        with screen:
            status = clock.run(record(settings, screen.show, duration_s=self._seconds))
        screen.summarize(status, settings)

    def _finish(self) -> None:
        tape, lake_path = self._folder / "tape", self._folder / "lake"
        verdict = verify(str(tape), f"lake:{lake_path}", lambda: lake_hash(lake_path))
        state = "balanced" if verdict.balanced else f"NOT balanced: {'; '.join(verdict.problems)}"
        click.echo(f"3. verify: {state}; {verdict.frames:,} frames, lake {verdict.lake_sha256}")
        lake = Lake(lake_path)
        gaps = list_gaps(lake)
        click.echo(f"4. {len(gaps)} gaps declared: " + ", ".join(f"{n} {r}" for r, n in _count(g.reason for g in gaps)))
        result = build(lake_path)
        click.echo("5. built " + ", ".join(f"{model.rows:,} {model.name}" for model in result.models if model.rows))
        checks = run_checks(lake)
        click.echo(f"6. checks: {checks.summary}")
        page = write_report(lake, self._folder / "report", "truetape demo", balance=msgspec.to_builtins(verdict))
        click.echo(f"7. report: {page}")
        if self._has_markets:
            click.echo(f"9. report: {MarketDemo(self._folder / 'markets').run()}")
        if not verdict.balanced:
            sys.exit(1)


def _count(words: Iterator[str]) -> list[tuple[str, int]]:
    return Counter(words).most_common()


@contextmanager
def start_sim(rate: float, seed: int) -> Iterator[str]:
    """Run fake venues in a process of their own; yield their address."""
    command = [sys.executable, "-m", "truetape.cli", "sim", "--port", "0", "--rate", str(rate), "--seed", str(seed)]
    process = subprocess.Popen([*command, "--faults", FAULTS], stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+?:\d+", process.stdout.readline())
        if found is None:
            raise ConfigError("the fake venues did not start")
        yield found[0]
    finally:
        process.terminate()
        process.wait()
