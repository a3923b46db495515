"""What `truetape poll` shows, and how it runs against a fake service."""

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import click
import msgspec

from truetape import clock
from truetape.cli._log import open_log
from truetape.cli._output import print_rows
from truetape.collect.status import ServiceStatus
from truetape.collect.turn import Cycle
from truetape.config import DeliverSettings, RecordSettings, Settings, SnapshotSettings, load_alert_urls, mask_secrets
from truetape.errors import ConfigError, VenueUnreachable
from truetape.flow.poll import PollTotal, poll
from truetape.lake import Lake
from truetape.ops.alert import Message, find_troubles
from truetape.ops.letter import Postman
from truetape.ops.vital import Vitals
from truetape.ops.watch import add_surroundings, keep_watch
from truetape.quality.snapshots_report import make_tables, write_snapshot_report
from truetape.sim.server import SimServer

FAULTS = (
    "every 20 snapshot 5xx for 1 request; after 60 snapshot 5xx for 3 requests of */prices; "
    "after 75 snapshot 429 retry-after 9 for 1 request"
)
"""One request in twenty fails, a snapshot is lost, and one answer asks for patience."""
MARK = "poll --sim"
BREATH_S = 0.25


def print_cycle(cycle: Cycle) -> None:
    """Print a turn as one JSON line."""
    said = msgspec.json.encode({"event": "cycle", **msgspec.to_builtins(cycle)}).decode()
    click.echo(mask_secrets(said))


def simulate(folder: Path, cycles: int) -> tuple[Settings, PollTotal]:
    """Poll the fake service in time that jumps from turn to turn; what an earlier run left in the folder is replaced."""
    mark = folder / "made-by"
    if folder.exists() and not (mark.is_file() and mark.read_text(encoding="utf-8") == MARK):
        raise ConfigError(f"{folder} holds something else; give another folder with --to")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.write_text(MARK, encoding="utf-8")
    click.echo(f"a fake service on loopback (faults: {FAULTS})")
    with clock.step_virtual(clock.wall_ns() / 1e9):
        return clock.run(_simulate(folder, cycles))


async def _simulate(folder: Path, cycles: int) -> tuple[Settings, PollTotal]:
    seen: list[Cycle] = []

    def hear(cycle: Cycle) -> None:
        seen.append(cycle)
        print_cycle(cycle)

    async with SimServer(venues=["snapshot"], faults=FAULTS) as server:
        settings = Settings(
            tape=str(folder / "tape"),
            sinks=(f"lake:{folder / 'lake'}",),
            snapshots={"fake": SnapshotSettings(url=f"{server.url}/snapshot")},
            # Time jumps whenever nothing is to be done: what happens by the clock must happen rarely.
            record=RecordSettings(
                flush_interval_idle_ms=500, fsync_interval_ms=60_000, tick_seconds=240, stop_seconds=1e9,
                segment_seconds=6 * 3600,
            ),
            deliver=DeliverSettings(commit_seconds=1e9),
        )  # fmt: skip
        breathing = asyncio.create_task(_breathe(seen))
        try:
            return settings, await poll(settings, cycles, hear)
        finally:
            breathing.cancel()


async def _breathe(seen: list[Cycle]) -> None:
    """Let time jump by little while the threads of the tape begin."""
    while not seen:  # noqa: ASYNC110 - it is the sleeping that counts
        await asyncio.sleep(BREATH_S)


class Watch:
    """What alerts judge of a run: the newest turn of each service, and requests that failed."""

    def __init__(self, settings: Settings, log: Any) -> None:
        self._settings, self._log = settings, log
        self._newest: dict[str, Cycle] = {}
        self._failures = 0

    def take(self, cycle: Cycle) -> None:
        """Take a turn, print it, and log it where there is a file."""
        print_cycle(cycle)
        self._log.info("cycle", **msgspec.to_builtins(cycle))
        self._newest[cycle.service] = cycle
        self._failures += cycle.requests.failures

    @property
    def has_turns(self) -> bool:
        """Tell whether any turn was taken."""
        return bool(self._newest)

    def look(self) -> Vitals:
        """Return what is wrong now; a line stays the same while the reasons do."""
        services = tuple(
            ServiceStatus(name, cycle.number, cycle.snapshots, cycle.missed, cycle.tracked, cycle.requests.requests,
                          cycle.requests.failures, cycle.requests.rate_limited, 0, 0, tuple(sorted(cycle.faults)))
            for name, cycle in self._newest.items()
        )  # fmt: skip
        return add_surroundings(
            Vitals(services=services, counts={"rows.error": self._failures}, is_streaming=False), self._settings
        )


async def poll_watched(settings: Settings, cycles: int) -> PollTotal:
    """Poll, and let people know of what goes wrong, by the rules of `alerts`; what is wrong at the end is told then."""
    with open_log(settings.log, is_silent=True) as log:
        return await _poll_watched(settings, cycles, log)


async def _poll_watched(settings: Settings, cycles: int, log: Any) -> PollTotal:
    addresses = load_alert_urls()
    postman = Postman(addresses) if addresses else None
    watch, told = Watch(settings, log), set[str]()

    def say(message: Message) -> None:
        told.update(message.body.splitlines())
        click.echo(message.body, err=True)
        log.log(logging.INFO if message.is_recovery else logging.WARNING, message.title, what=message.body)

    async def keep() -> None:
        while not watch.has_turns:  # noqa: ASYNC110 - what is refused at the start leaves no traces
            await asyncio.sleep(1)
        await keep_watch(settings, watch.look, postman, say)

    watching = asyncio.create_task(keep())
    try:
        total = await poll(settings, cycles, watch.take)
        log.info("polled", **msgspec.to_builtins(total))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    troubles = find_troubles(watch.look(), None, settings.alerts) if watch.has_turns else {}
    left = [text for key, text in troubles.items() if key.startswith("snapshots ") and text not in told]
    if left and postman is not None:
        await postman.send(Message("truetape: snapshots are missed", "\n".join(left), is_recovery=False))
    return total


def summarize(settings: Settings, total: PollTotal) -> None:
    """Print how the run went."""
    rows = [
        {
            "service": one.service, "cycles": one.cycles, "snapshots": one.snapshots, "missed": one.missed,
            "tracked now": one.tracked, "requests": one.requests.requests, "success": one.requests.success,
            "failures": one.requests.failures, "rate limited": one.requests.rate_limited,
            "success rate": _show_share(one.requests.success_rate),
        }
        for one in total.services
    ]  # fmt: skip
    print_rows(rows, as_json=False, title=f"This run, {total.seconds:,.0f} s")
    click.echo(f"sealed {settings.tape}; delivered into {', '.join(settings.sinks)}")


def check_total(total: PollTotal) -> None:
    """Tell which services told nothing; VenueUnreachable when none of them told anything."""
    mute = [f"{one.service}: {one.trouble}" for one in total.services if not one.snapshots and one.trouble]
    if mute and not any(one.snapshots for one in total.services):
        raise VenueUnreachable(f"no snapshot came ({'; '.join(mute)})")
    for line in mute:
        click.echo(f"truetape: no snapshot came of {line}", err=True)


def print_analysis(lake: str, folder: Path, total: PollTotal) -> None:
    """Print what the lake's snapshots tell, and write the report."""
    requests = total.requests
    facts = {"requests": f"{requests.requests:,}", "success rate": _show_share(requests.success_rate)}
    survey, page = write_snapshot_report(Lake(lake), folder, "truetape: snapshots of prediction markets", facts=facts)
    for title, _, rows in make_tables(survey):
        print_rows(rows, as_json=False, title=title)
    missing = survey.expected - survey.observed
    click.echo(
        f"completeness: {survey.observed:,} + {missing:,} missing = {survey.expected:,} expected; "
        f"{survey.explained:,} explained by the ledger, {survey.unexplained:,} not; {survey.repeats:,} repeats"
        + (f"; {survey.listings_failed:,} listings failed" if survey.listings_failed else "")
    )
    written = [path for path in (page, page.with_suffix(".png")) if path.exists()]
    click.echo(f"report: {', '.join(map(str, written))}")


def _show_share(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"
