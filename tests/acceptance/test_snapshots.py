"""Weeks of quarter-hours in simulated time: outages, 429s and abrupt ends; completeness is what these allow, no more, no less."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from truetape import clock
from truetape.collect.recorder import Recorder
from truetape.collect.services import open_services, run_services
from truetape.collect.tracked import read_past
from truetape.config import DeliverSettings, RecordSettings, SnapshotSettings
from truetape.flow import deliver, verify
from truetape.lake import Lake, lake_hash
from truetape.quality.snapshots import survey_snapshots
from truetape.sim.protocol import Query
from truetape.sim.venues.snapshot import answer
from truetape.tape import TapeSettings, open_writer

START_S = 1_795_255_200
DAY_S = 86_400
TURN_S = 900
RECORD = RecordSettings(
    flush_interval_ms=50, flush_interval_idle_ms=100, fsync_interval_ms=3_600_000, tick_seconds=3600, stop_seconds=1e9
)


class Service:
    """The fake service with outages, and exact books of what it answered to whom."""

    def __init__(self, days: int) -> None:
        span_s = days * DAY_S
        self.outages = [
            (START_S + 0.1 * span_s, 3 * 3600), (START_S + 0.35 * span_s, 1700), (START_S + 0.8 * span_s, 9 * 3600),
        ]  # fmt: skip
        """(from, seconds) in which it answers 503."""
        self.count = 0
        self.refused: Counter[int] = Counter()
        self.told: list[tuple[str, int]] = []
        """(market, second of the turn) that it told the price of."""
        self.kill_at_s = float("inf")
        self.kill: Callable[[], Awaitable[None]] | None = None
        self.left = 0
        """Prices that it tells after that moment before the kill."""

    async def handle(self, request: web.Request) -> web.Response:
        at_s = clock.wall_ns() / 1e9
        is_price = request.path.endswith("/prices")
        if self.kill is not None and is_price and at_s >= self.kill_at_s:
            self.left -= 1
            if self.left <= 0:
                kill, self.kill = self.kill, None
                await kill()
                self.kill_at_s = 0.0
        if self.kill is None and self.kill_at_s == 0.0:
            return web.Response(status=503)  # nobody hears it any more
        self.count += 1
        if any(begin <= at_s < begin + length_s for begin, length_s in self.outages):
            return self._refuse(503)
        if self.count % 97 == 0:
            return self._refuse(429)
        if self.count % 20 == 0:
            return self._refuse(500)
        reply = answer(1, Query("", request.path, dict(request.query)), at_s)
        if is_price and reply.status == 200:
            self.told.append((request.path.split("/")[2], int(at_s // TURN_S) * TURN_S))
        return web.Response(body=reply.body, status=reply.status, content_type="application/json")

    def _refuse(self, status: int) -> web.Response:
        self.refused[status] += 1
        return web.Response(status=status, headers={"Retry-After": "7"} if status == 429 else {})


@asynccontextmanager
async def breathing() -> AsyncIterator[None]:
    """Let time jump by little while threads begin or end."""

    async def breathe() -> None:
        while True:  # noqa: ASYNC110 - it is the sleeping that counts
            await asyncio.sleep(0.25)

    task = asyncio.create_task(breathe())
    yield
    task.cancel()


async def live(folder: Path, url: str, service: Service, until_s: float, grave: Path | None) -> None:
    """Poll until a moment, or be killed in the middle of the first turn after it: what is on the disk then goes on."""
    writer = open_writer(str(folder), TapeSettings(segment_seconds=DAY_S))
    recorder = Recorder(writer, RECORD)
    services = open_services({"fake": SnapshotSettings(url=url)}, recorder, read_past(str(folder), ["fake"]))
    stop = asyncio.Event()

    async def kill() -> None:
        while recorder.status().held_frames:  # noqa: ASYNC110 - the disk has all that was answered
            await asyncio.sleep(0.01)
        assert grave is not None
        shutil.copytree(folder, grave)
        stop.set()

    async def end() -> None:
        while clock.wall_ns() / 1e9 < until_s:  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(min(until_s - clock.wall_ns() / 1e9, 3600))
        if grave is None:
            stop.set()

    service.kill_at_s, service.kill, service.left = until_s, kill if grave else None, 8
    async with breathing():
        running = asyncio.create_task(recorder.run())
        await recorder.begun.wait()
    ending = asyncio.create_task(end())
    await run_services(services, stop, 0, lambda cycle: None)
    async with breathing():
        await ending
        recorder.close("stopped")
        await running
    writer.close()
    service.kill_at_s = float("inf")


async def live_weeks(folder: Path, service: Service, days: int) -> Path:
    """Live through four lives, three of which end abruptly; return the last tape."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    tape = folder / "tape0"
    begin_s, span_s = clock.wall_ns() / 1e9, days * DAY_S
    try:
        # Down for a minute (the same turn goes on), for two hours, and for 26 minutes.
        for life, (share, down_s) in enumerate(((0.2, 60), (0.5, 7200), (0.7, 1560)), 1):
            following = folder / f"tape{life}"
            await live(tape, url, service, begin_s + share * span_s, following)
            tape = following
            await asyncio.sleep(down_s)
        await live(tape, url, service, begin_s + span_s, None)
    finally:
        await runner.cleanup()
    return tape


def ask(lake: Lake, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.sql(query).arrow().to_pylist()
    return rows


def check(folder: Path, days: int) -> None:
    service = Service(days)
    with clock.step_virtual(START_S):
        tape = clock.run(live_weeks(folder, service, days))
    sink = f"lake:{folder / 'lake'}"
    deliver(str(tape), (sink,), DeliverSettings(commit_seconds=1e9))
    assert verify(str(tape), sink, lambda: lake_hash(folder / "lake")).balanced
    lake = Lake(folder / "lake")
    rows = ask(
        lake, "select market_id, epoch(due_at)::bigint as due_s, count(*) as n from market_snapshot group by all"
    )
    assert {row["n"] for row in rows} == {1}
    assert len(service.told) == len(set(service.told))  # what was answered was never asked again
    assert {(row["market_id"], row["due_s"]) for row in rows} == set(service.told)
    survey = survey_snapshots(lake)
    assert (survey.unexplained, survey.repeats) == (0, 0)
    assert survey.observed == len(service.told)
    assert survey.observed + survey.explained == survey.expected
    assert len(ask(lake, "from error where status in (500, 503, 429)")) == sum(service.refused.values())
    lost = Counter(hole.reason for hole in survey.holes)
    assert set(lost) <= {"disconnect", "not_started", "torn_tail", "rate_limit"}
    turns = {row["due_s"] for row in rows}
    whole = Counter(row["due_s"] for row in rows)
    dark = {
        due_s
        for due_s in range(min(turns), max(turns) + 1, TURN_S)
        if any(begin <= due_s and due_s + TURN_S <= begin + length_s for begin, length_s in service.outages)
    }
    assert len(dark) > 40
    assert not dark & turns
    # Outside of outages and of the two pauses that were longer than a turn, each turn has all of its markets.
    bad = [due_s for due_s in range(min(turns), max(turns) + 1, TURN_S) if due_s not in dark and whole[due_s] < 20]
    assert len(bad) <= 8 + 2 + 2 + 6, bad  # two hours, 26 minutes, two turns cut short, edges of outages
    print(
        f"{days} days: {survey.expected} expected, {survey.observed} observed, {survey.explained} explained, "
        f"{survey.unexplained} unexplained; {service.count} requests, {dict(service.refused)} refused; {dict(lost)}"
    )


def test_two_days_of_quarter_hours(tmp_path: Path) -> None:
    check(tmp_path, 2)


@pytest.mark.soak
def test_a_month_of_quarter_hours(tmp_path: Path) -> None:
    check(tmp_path, 30)
