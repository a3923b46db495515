"""What `truetape run` does: the recorder, and beside it the schedule, the watch and the health port."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from truetape import clock
from truetape.config import Settings, load_alert_urls
from truetape.flow import LiveStatus, idle, record
from truetape.ops import coin
from truetape.ops.alert import Message
from truetape.ops.cron import check_jobs
from truetape.ops.letter import Postman
from truetape.ops.metrics import HealthServer
from truetape.ops.schedule import keep_schedule, launch_process
from truetape.ops.vital import StreamVital, Vitals
from truetape.ops.watch import add_surroundings, keep_watch

Say = Callable[[str], None]


class Daemon:
    """One recording with everything that keeps it going."""

    def __init__(self, settings: Settings, config: Path, show: Callable[[LiveStatus], None], say: Say) -> None:
        self._settings, self._config = settings, config
        self._show, self._say = show, say
        self._status = LiveStatus()

    async def run(self, duration_s: float | None = None) -> LiveStatus:
        """Record until stopped; jobs that are running when it stops are stopped, too, and say so in the history."""
        check_jobs(self._settings)
        addresses = load_alert_urls()
        postman = Postman(addresses) if addresses else None
        async with contextlib.AsyncExitStack() as stack:
            if self._settings.ops.health_port:
                server = await stack.enter_async_context(HealthServer(self._look, self._settings.ops.health_port))
                self._say(f"health at http://127.0.0.1:{server.port}/healthz and /metrics")
            recording = asyncio.create_task(self._record(duration_s))
            launch = partial(launch_process, self._config, self._say)
            beside = [
                asyncio.create_task(keep_schedule(self._settings, launch)),
                asyncio.create_task(keep_watch(self._settings, self._look, postman, self._tell)),
            ]
            try:
                await asyncio.wait([recording, *beside], return_when=asyncio.FIRST_COMPLETED)
                for task in beside:
                    if task.done() and not recording.done():
                        self._say(f"jobs and alerts ended, recording goes on: {task.exception()}")
                return await recording
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _record(self, duration_s: float | None) -> LiveStatus:
        if not self._settings.venues and coin.is_wanted(self._settings):
            self._say("venues: none, nothing is recorded: jobs run when they are due")
            return await idle(duration_s)
        return await record(self._settings, self._take, duration_s=duration_s)

    def _take(self, status: LiveStatus) -> None:
        self._status = status
        self._show(status)

    def _tell(self, message: Message) -> None:
        for line in message.body.splitlines():
            self._say(line if message.is_recovery else f"trouble: {line}")

    def _look(self) -> Vitals:
        return add_surroundings(measure(self._status, clock.wall_ns()), self._settings)


def measure(status: LiveStatus, now_ns: int) -> Vitals:
    """Turn the last word of both processes into vitals."""
    tape, view = status.tape, status.view
    streams = tuple(
        StreamVital(
            s.venue, s.symbol, s.channel, s.rows, (now_ns - s.seen_ns) / 1e9 if s.seen_ns else None, s.gap, s.gaps,
            s.lag_ms,
        )
        for s in (view.streams if view else [])
    )  # fmt: skip
    troubles = [*(tape.troubles if tape else []), *([status.trouble] if status.trouble else [])]
    return Vitals(
        frames=tape.frames if tape else 0,
        durable=tape.durable if tape else 0,
        dropped=tape.dropped_frames if tape else 0,
        behind=max(0, view.end - view.offset) if view else 0,
        counts=view.counts if view else {},
        streams=streams,
        connections=dict(Counter(connection.state for connection in tape.connections)) if tape else {},
        troubles=tuple(troubles),
    )
