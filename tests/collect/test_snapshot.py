"""One service's turns on a tape in memory: retries, patience, what is cut short, what is late."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from truetape import clock
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.collect.services import open_services, run_services
from truetape.collect.snapshot import Service
from truetape.collect.turn import Cycle
from truetape.config import RecordSettings, SnapshotFilters, SnapshotSettings
from truetape.sim.protocol import Query
from truetape.sim.venues.snapshot import answer
from truetape.tape.frame import FrameKind

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
FEW = SnapshotFilters(markets_max=3)
YEAR_S = 365 * 86_400
"""One turn, however slow the machine is."""


async def poll(
    tape: Any, respond: Answer, cycles: int, stop: asyncio.Event | None = None, **changes: Any
) -> tuple[Service, list[Cycle]]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    recorder = Recorder(tape, RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5))
    given = {"url": url, "filters": FEW, "interval_seconds": YEAR_S, "requests_per_minute_max": 10_000, **changes}
    services = open_services({"svc": SnapshotSettings(**given)}, recorder, {}, make_decide(Backoff(0.001, 0.002, 0.01)))
    cycles_seen: list[Cycle] = []
    running = asyncio.create_task(recorder.run())
    try:
        await run_services(services, stop or asyncio.Event(), cycles, cycles_seen.append)
    finally:
        recorder.close("done")
        await running
        await runner.cleanup()
    return services[0], cycles_seen


def speak(request: web.Request) -> web.Response:
    reply = answer(1, Query("", request.path, dict(request.query)), clock.wall_ns() / 1e9)
    return web.Response(body=reply.body, status=reply.status, content_type="application/json")


async def test_each_kind_of_failure_is_tried_again_and_counted(tape: Any) -> None:
    failures = [500, 429, 503]

    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/prices") and failures:
            status = failures.pop(0)
            return web.Response(status=status, headers={"Retry-After": "0.02"} if status == 429 else {})
        return speak(request)

    service, cycles = await poll(tape, respond, 1, attempts=4)
    assert [(c.snapshots, c.missed) for c in cycles] == [(3, 0)]
    assert (service.total.failures, service.total.rate_limited) == (3, 1)
    assert service.total.requests == service.total.success + 3 == 1 + 3 + 3 + 3
    assert service.total.success_rate == 7 / 10
    assert not tape.events("poll_missed")


async def test_an_answer_that_does_not_come_is_given_up_and_the_others_are_had(tape: Any) -> None:
    first: list[str] = []

    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/prices"):
            first.append(request.path)
            if request.path == first[0]:
                await asyncio.sleep(0.2)
        return speak(request)

    _, cycles = await poll(tape, respond, 1, timeout_seconds=0.05, attempts=2)
    assert [(c.snapshots, c.missed) for c in cycles] == [(2, 1)]
    (missed,) = tape.events("poll_missed")
    assert missed["gap"] == "disconnect"
    assert "#" not in missed["reason"]


async def test_a_stop_in_the_middle_of_a_turn_declares_what_was_not_had(tape: Any) -> None:
    stop, prices = asyncio.Event(), 0

    async def respond(request: web.Request) -> web.StreamResponse:
        nonlocal prices
        prices += request.path.endswith("/prices")
        if prices == 2:
            stop.set()
            await asyncio.sleep(0.2)
        return speak(request)

    service, cycles = await poll(tape, respond, 0, stop)
    assert cycles == []
    (missed,) = tape.events("poll_missed")
    assert (missed["gap"], len(missed["streams"])) == ("not_started", 2)
    assert tape.events("closed")[-1]["cause"] == "shutdown"
    assert len(service.tracked) == 3


async def test_turns_that_a_slow_one_runs_over_are_declared(tape: Any) -> None:
    slow = [True]

    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/prices") and slow:
            slow.pop()
            clock_ns = clock.wall_ns()
            while clock.wall_ns() - clock_ns < 2.3e9:  # the whole process stands still
                pass
        return speak(request)

    await asyncio.sleep(1.05 - clock.wall_ns() % 10**9 / 1e9)  # begin when a second begins
    _, cycles = await poll(tape, respond, 2, interval_seconds=1)
    assert cycles[1].due_us - cycles[0].due_us >= 2_000_000
    late = [event for event in tape.events("poll_missed") if event["gap"] == "silence"]
    assert late[0]["turns"] == (cycles[1].due_us - cycles[0].due_us) // 1_000_000 - 1


async def test_the_form_of_an_answer_is_on_the_tape_and_not_on_the_wire(tape: Any) -> None:
    asked: list[str] = []

    async def respond(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path)
        return speak(request)

    await poll(tape, respond, 1)
    assert not [path for path in asked if "#" in path or "what=" in path]
    metas = [frame.meta for frame in tape.frames if frame.kind == FrameKind.RESPONSE]
    assert all("#what=" in meta and "form=common" in meta for meta in metas)
    assert len(metas) == 1 + 3 + 3
