"""What `truetape demo` does, step by step."""

import shutil
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import click

from truetape import clock
from truetape.cli._demo_market import MarketDemo
from truetape.cli._demo_part import Recorded, start_sim
from truetape.cli._live import Lines, LiveTable
from truetape.config import LogSettings, load_settings
from truetape.errors import ConfigError
from truetape.flow import record
from truetape.quality import list_gaps

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
        with start_sim("--rate", str(rate), "--seed", str(seed), "--faults", FAULTS) as url:
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
        number = count(3)
        recorded = Recorded(self._folder, lambda line: click.echo(f"{next(number)}. {line}"))
        recorded.tell_verdict()
        reasons = Counter(gap.reason for gap in list_gaps(recorded.lake)).most_common()
        found = ", ".join(f"{gaps} {reason}" for reason, gaps in reasons)
        click.echo(f"{next(number)}. {sum(gaps for _, gaps in reasons)} gaps declared: {found}")
        recorded.build()
        recorded.check()
        recorded.write_report("truetape demo")
        if self._has_markets:
            MarketDemo(self._folder / "markets").run(next(number))
        recorded.end()
