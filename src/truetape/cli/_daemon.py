"""What `truetape run` does: the recorder, and beside it the schedule, the watch and the health port."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from truetape import clock
from truetape.cli._live import Lines
from truetape.collect.connection import find_first
from truetape.collect.errand import name_tape
from truetape.config import Settings, load_alert_urls
from truetape.errors import Busy, TruetapeError
from truetape.flow import LiveStatus, deliver_jobs, idle, record
from truetape.ops import coin
from truetape.ops.alert import Message
from truetape.ops.cron import check_jobs
from truetape.ops.letter import Postman
from truetape.ops.lock import hold
from truetape.ops.metrics import HealthServer
from truetape.ops.schedule import RETRY_S, keep_schedule, launch_process
from truetape.ops.vital import Vitals
from truetape.ops.watch import add_surroundings, keep_watch
from truetape.tape import has_tape


class Daemon:
    """One recording with everything that keeps it going."""

    def __init__(self, settings: Settings, config: Path, screen: Lines) -> None:
        self._settings, self._config = settings, config
        self._screen, self._say = screen, screen.say
        self._status = LiveStatus()
        self._troubles: dict[str, str] = {}
        """What is done beside the recording → why it is not done now."""

    async def run(self, duration_s: float | None = None) -> LiveStatus:
        """Record until stopped; jobs that are running when it stops are stopped, too, and say so in the history."""
        check_jobs(self._settings)
        addresses = load_alert_urls()
        postman = Postman(addresses) if addresses else None
        for doubt in postman.doubts if postman else ():
            self._say(doubt)
        async with contextlib.AsyncExitStack() as stack:
            if self._settings.ops.health_port:
                server = await stack.enter_async_context(HealthServer(self._look, self._settings.ops.health_port))
                self._say(f"health at http://127.0.0.1:{server.port}/healthz and /metrics")
            recording = asyncio.create_task(self._record(duration_s))
            launch = partial(launch_process, self._config, self._say)
            beside = [
                asyncio.create_task(self._keep("jobs", lambda: keep_schedule(self._settings, launch, self._note_job))),
                asyncio.create_task(
                    self._keep("alerts", lambda: keep_watch(self._settings, self._look, postman, self._tell))
                ),
            ]
            try:
                return await recording
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await asyncio.to_thread(deliver_quietly, self._settings)  # a job that was stopped could not

    async def _keep(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do what is done beside the recording, and begin it again when it breaks: recording goes on meanwhile."""
        while True:
            try:
                return await work()
            except Exception as error:  # noqa: BLE001 - supervisor: what is beside the recording must not end for months
                first = find_first(error) if isinstance(error, BaseExceptionGroup) else error
                told = str(first) if isinstance(first, TruetapeError) else f"{type(first).__name__}: {first}"
                self._note(what, f"{what} broke, begun again in {RETRY_S:.0f} s, recording goes on: {told}")
            await asyncio.sleep(RETRY_S)
            self._note(what, "")

    def _note_job(self, job: str, why: str) -> None:
        self._note(f"job {job}", why and f"job {job} cannot begin, tried again: {why}")

    def _note(self, what: str, why: str) -> None:
        """Keep a trouble until it is over, and say it once."""
        if why and self._troubles.get(what) != why:
            self._say(why)
        self._troubles = {key: told for key, told in self._troubles.items() if key != what} | (
            {what: why} if why else {}
        )

    async def _record(self, duration_s: float | None) -> LiveStatus:
        settings = self._settings
        if not is_recording(settings) and (settings.archive or coin.is_wanted(settings)):
            self._say("venues: none, nothing is recorded: jobs run when they are due")
            return await idle(duration_s)
        return await record(settings, self._take, duration_s, self._screen.show_cycle)

    def _take(self, status: LiveStatus) -> None:
        self._status = status
        self._screen.show(status)

    def _tell(self, message: Message) -> None:
        for line in message.body.splitlines():
            self._say(line if message.is_recovery else f"trouble: {line}")

    def _look(self) -> Vitals:
        vitals = measure(self._status, clock.wall_ns(), is_streaming=bool(self._settings.venues))
        troubles = list(vitals.troubles)
        if is_recording(self._settings) and self._status.tape is None:
            troubles.append("recording has not begun")
        troubles += self._troubles.values()
        return add_surroundings(msgspec.structs.replace(vitals, troubles=tuple(troubles)), self._settings)


def is_recording(settings: Settings) -> bool:
    """Tell whether there is anything for the recorder, jobs not counted."""
    return bool(settings.venues or settings.snapshots)


def measure(status: LiveStatus, now_ns: int, *, is_streaming: bool = True) -> Vitals:
    """Turn the last word of both processes into vitals."""
    tape, view = status.tape, status.view
    troubles = [*(tape.troubles if tape else []), *([status.trouble] if status.trouble else [])]
    return Vitals(
        now_ns=now_ns,
        frames=tape.frames if tape else 0,
        durable=tape.durable if tape else 0,
        dropped=tape.dropped_frames if tape else 0,
        behind=max(0, view.end - view.offset) if view else 0,
        counts=view.counts if view else {},
        streams=tuple(view.streams) if view else (),
        connections=dict(Counter(connection.state for connection in tape.connections)) if tape else {},
        troubles=tuple(troubles),
        services=tape.services if tape else (),
        failing=tape.failing if tape else {},
        is_streaming=is_streaming,
    )


def deliver_quietly(settings: Settings) -> None:
    """Carry what jobs fetched into the sinks, whatever became of them; somebody who does so already will."""
    if not has_tape(name_tape(settings.tape)):
        return
    with contextlib.suppress(Busy), hold(Path(settings.ops.state) / "locks", "deliver-jobs"):
        deliver_jobs(settings)
