"""The second half of `truetape demo`: a prediction market's quarter of an hour, in compressed time."""

import subprocess
from pathlib import Path

import click

from truetape import clock
from truetape.cli._demo_part import PROGRAM, Recorded, start_sim, with_variables
from truetape.config import CLOCK_KEY
from truetape.errors import ConfigError
from truetape.flow.dataset import Selection
from truetape.flow.research import export_research
from truetape.lake import Lake
from truetape.quality import judge_market, read_markets

OPENS_S = 1_767_571_200
"""2026-01-05 00:00 UTC: the window that is recorded whole."""
LEAD_S = 840
"""Venue seconds before it: the processes start meanwhile, which takes a busy machine ten seconds and more."""
TAIL_S = 240
"""Venue seconds after its end: its resolution, and the beginning of the next one."""
WINDOW_S = 900
SPEED = 60
FAULTS = f"at {LEAD_S + 300}s polymarket cut; at {LEAD_S + 500}s drop 2 frames of polymarket/clob"
ASSETS = ("BTC", "ETH")


class MarketDemo:
    """Two assets' up-or-down markets: discovered, handed over, resolved, labelled, checked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, step: int) -> None:
        """Run every step, the first of which has this number; exit 1 when anything is not balanced."""
        seconds = LEAD_S + WINDOW_S + TAIL_S
        assets = " and ".join(ASSETS)
        click.echo(f"{step}. prediction markets of {assets}: {seconds // 60} minutes in {seconds // SPEED} s …")
        told = f"{OPENS_S - LEAD_S}@{SPEED}@{clock.wall_ns() / 1e9:.3f}"
        options = ("--venue", "polymarket", "--venue", "coinbase", "--rate", "1", "--faults", FAULTS)
        with start_sim(*options, **{CLOCK_KEY: told}) as url:
            self._record(told, url, seconds)
        recorded = Recorded(self._folder, _tell)
        recorded.tell_verdict()
        recorded.build()
        self._tell_markets(recorded.lake)
        recorded.check()
        written = export_research(recorded.lake, Selection(), self._folder / "research")
        _tell(f"research files: {len(written)} in {self._folder / 'research'}")
        recorded.write_report("truetape demo: prediction markets")
        recorded.end()

    def _record(self, told: str, url: str, seconds: int) -> None:
        command = [*PROGRAM, "record", "--preset", "updown-15m", "--assets", ",".join(ASSETS), "--plain",
                   "--duration", str(seconds), "--tape", str(self._folder / "tape"),
                   "--sink", f"lake:{self._folder / 'lake'}"]  # fmt: skip
        variables = {f"TRUETAPE_URL_{venue}": url for venue in ("POLYMARKET", "COINBASE")}
        done = subprocess.run(with_variables(command, **{CLOCK_KEY: told}, **variables), capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise ConfigError(
                f"recording prediction markets failed: {done.stderr.strip() or done.stdout.strip()[-500:]}"
            )

    def _tell_markets(self, lake: Lake) -> None:
        for market in read_markets(lake):
            if market.truth is None or market.truth.label == "unknown":
                continue
            truth, verdict = market.truth, judge_market(market)
            _tell(
                f"{market.slug}: {_write(truth.strike)} → {_write(truth.settlement)} is {truth.computed_outcome},"
                f" the venue says {truth.official_outcome}; {verdict.grade}"
            )


def _tell(line: str) -> None:
    click.echo(f"   {line}")


def _write(price: float | None) -> str:
    return "not observed" if price is None else f"{price:,.2f}"
