"""The second half of `truetape demo`: a prediction market's quarter of an hour, in compressed time."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from truetape import clock
from truetape.config import CLOCK_KEY
from truetape.errors import ConfigError
from truetape.flow import verify
from truetape.flow.dataset import Selection
from truetape.flow.research import export_research
from truetape.lake import Lake, lake_hash
from truetape.quality import judge_market, read_markets, run_checks, write_report
from truetape.transform import build

OPENS_S = 1_767_571_200
"""2026-01-05 00:00 UTC: the window that is recorded whole."""
LEAD_S = 600
"""Venue seconds before it: the processes start meanwhile."""
TAIL_S = 240
"""Venue seconds after its end: its resolution, and the beginning of the next one."""
WINDOW_S = 900
SPEED = 60
FAULTS = "at 900s polymarket cut; at 1100s drop 2 frames of polymarket/clob"
ASSETS = ("BTC", "ETH")


class MarketDemo:
    """Two assets' up-or-down markets: discovered, handed over, resolved, labelled, checked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self) -> Path:
        """Run every step; return the report's page."""
        seconds = LEAD_S + WINDOW_S + TAIL_S
        click.echo(
            f"8. prediction markets of {' and '.join(ASSETS)}: {seconds // 60} minutes in {seconds // SPEED} s …"
        )
        told = f"{OPENS_S - LEAD_S}@{SPEED}@{clock.wall_ns() / 1e9:.3f}"
        with start_sim(told) as url:
            self._record(told, url, seconds)
        lake = Lake(self._folder / "lake")
        verdict = verify(str(self._folder / "tape"), f"lake:{lake.path}", lambda: lake_hash(lake.path))
        state = "balanced" if verdict.balanced else f"NOT balanced: {'; '.join(verdict.problems)}"
        click.echo(f"   verify: {state}; {verdict.frames:,} frames, lake {verdict.lake_sha256}")
        built = build(lake.path)
        click.echo("   built " + ", ".join(f"{model.rows:,} {model.name}" for model in built.models))
        self._tell_markets(lake)
        checks = run_checks(lake)
        click.echo(f"   checks: {checks.summary}")
        written = export_research(lake, Selection(), self._folder / "research")
        click.echo(f"   research files: {len(written)} in {self._folder / 'research'}")
        page = write_report(
            lake, self._folder / "report", "truetape demo: prediction markets", balance=msgspec.to_builtins(verdict)
        )
        if not verdict.balanced:
            sys.exit(1)
        return page

    def _record(self, told: str, url: str, seconds: int) -> None:
        command = [*_PROGRAM, "record", "--preset", "updown-15m", "--assets", ",".join(ASSETS), "--plain",
                   "--duration", str(seconds), "--tape", str(self._folder / "tape"),
                   "--sink", f"lake:{self._folder / 'lake'}"]  # fmt: skip
        variables = {f"TRUETAPE_URL_{venue}": url for venue in ("POLYMARKET", "COINBASE")}
        done = subprocess.run(_with(command, **{CLOCK_KEY: told}, **variables), capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise ConfigError(
                f"recording prediction markets failed: {done.stderr.strip() or done.stdout.strip()[-500:]}"
            )

    def _tell_markets(self, lake: Lake) -> None:
        for market in read_markets(lake):
            if market.truth is None or market.truth.label == "unknown":
                continue
            truth, verdict = market.truth, judge_market(market)
            click.echo(
                f"   {market.slug}: {_tell(truth.strike)} → {_tell(truth.settlement)} is {truth.computed_outcome},"
                f" the venue says {truth.official_outcome}; {verdict.grade}"
            )


def _tell(price: float | None) -> str:
    return "not observed" if price is None else f"{price:,.2f}"


_PROGRAM = [sys.executable, "-m", "truetape.cli"]


@contextmanager
def start_sim(told: str) -> Iterator[str]:
    """Run the fake venues on the same clock; yield their address."""
    command = [*_PROGRAM, "sim", "--port", "0", "--venue", "polymarket", "--venue", "coinbase", "--rate", "1"]
    with subprocess.Popen(  # noqa: S603
        _with([*command, "--faults", FAULTS], **{CLOCK_KEY: told}), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+?:\d+", process.stdout.readline())
            if found is None:
                raise ConfigError("the fake venues did not start")
            yield found[0]
        finally:
            process.terminate()


def _with(command: list[str], **variables: str) -> list[str]:
    """Run a command with more variables than ours."""
    return ["env", *(f"{name}={value}" for name, value in variables.items()), *command]
