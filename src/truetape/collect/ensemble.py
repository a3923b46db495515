"""Venues and snapshot services on one tape: each goes on whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec

from truetape.collect.collector import Beside, Collector, collect, find_error, load_venues, open_recorder, run_recorder
from truetape.collect.memory import Followed
from truetape.collect.recorder import Recorder
from truetape.collect.services import check_services, describe_service, open_services, run_services
from truetape.collect.snapshot import Service
from truetape.collect.status import CollectorStatus
from truetape.collect.tracked import read_past
from truetape.collect.turn import Cycle
from truetape.config import Settings
from truetape.errors import ConfigError, Fatal
from truetape.events.wish import Wish
from truetape.tape.contract import TapeWriter

STATUS_INTERVAL_S = 1.0


class Ensemble:
    """All that one recorder records; `run` until `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        collector: Collector,
        on_cycle: Callable[[Cycle], None] = lambda cycle: None,
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._collector = collector
        self._on_cycle = on_cycle
        self._services: list[Service] = []

    def status(self) -> CollectorStatus:
        """Return how everything is doing."""
        return msgspec.structs.replace(self._collector.status(), services=tuple(map(describe_service, self._services)))

    async def run(
        self,
        stop: asyncio.Event,
        collecting: Coroutine[Any, Any, None],
        on_status: Callable[[CollectorStatus], None] | None = None,
    ) -> None:
        """Record until `stop`; raises ConfigError, or Fatal when everything that is recorded refuses us."""
        parts: list[Coroutine[Any, Any, None]] = [self._run_services(stop)]
        if self._settings.venues:
            parts.append(collecting)
        else:
            collecting.close()
        reporting = asyncio.create_task(self._report_always(on_status)) if on_status else None
        try:
            await run_side_by_side(parts)
        finally:
            if reporting is not None:
                reporting.cancel()

    async def _run_services(self, stop: asyncio.Event) -> None:
        """Look at what an earlier run left, beside the venues, which do not wait for it; then take turns."""
        chosen = self._settings.snapshots
        past = await asyncio.to_thread(read_past, self._settings.tape, list(chosen))
        self._services = open_services(chosen, self._recorder, past)
        await run_services(self._services, stop, 0, self._on_cycle)

    async def _report_always(self, on_status: Callable[[CollectorStatus], None]) -> None:
        while True:
            on_status(self.status())
            await asyncio.sleep(STATUS_INTERVAL_S)


async def run_side_by_side(parts: list[Coroutine[Any, Any, None]]) -> None:
    """Run parts until all have ended; one that is refused ends alone, what is wrong in the settings ends all."""
    running = {asyncio.create_task(part) for part in parts}
    refusals: list[Fatal] = []
    try:
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            refusals += [refusal for task in done if (refusal := _find_refusal(task)) is not None]
            if wrong := [refusal for refusal in refusals if isinstance(refusal, ConfigError)]:
                raise wrong[0]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if len(refusals) == len(parts):
        raise refusals[0]


def _find_refusal(task: asyncio.Task[None]) -> Fatal | None:
    """Return what ended a part; anything but a refusal is raised."""
    error = task.exception()
    if isinstance(error, BaseExceptionGroup):
        if error.split(Fatal)[1] is None:
            return find_error(error)
    elif error is None or isinstance(error, Fatal):
        return error
    raise error


async def collect_all(
    settings: Settings,
    writer: TapeWriter,
    wishes: AsyncIterator[Wish] | None,
    stop: asyncio.Event,
    on_status: Callable[[CollectorStatus], None] | None = None,
    on_cycle: Callable[[Cycle], None] = lambda cycle: None,
    *,
    followed: Followed | None = None,
    beside: Beside | None = None,
) -> None:
    """Record venues, as `collect` does, and snapshot services beside them, as `truetape poll` does, onto one tape."""
    if not settings.snapshots:
        return await collect(settings, writer, wishes, stop, on_status, followed=followed, beside=beside)
    check_services(settings.snapshots)
    recorder = open_recorder(settings, writer)
    collector = Collector(settings, load_venues(settings), recorder, followed=followed)
    ensemble = Ensemble(settings, recorder, collector, on_cycle)
    await run_recorder(recorder, lambda: ensemble.run(stop, collector.run(stop, wishes), on_status), beside)
