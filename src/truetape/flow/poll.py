"""`poll`: snapshot services → tape → sinks, in one process: what is asked for every quarter of an hour needs no second."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from importlib.metadata import version

import msgspec

from truetape import clock
from truetape.collect.collector import find_error
from truetape.collect.recorder import Recorder
from truetape.collect.services import check_services, open_services, run_services
from truetape.collect.snapshot import Service
from truetape.collect.tracked import read_past
from truetape.collect.turn import Cycle, Tally
from truetape.config import Settings, describe_settings
from truetape.errors import Fatal, TruetapeError
from truetape.flow.view import deliver
from truetape.sinks import split_spec
from truetape.tape import TapeSettings, open_writer


class ServiceTotal(msgspec.Struct, frozen=True):
    """How one service did in a run."""

    service: str
    cycles: int
    snapshots: int
    missed: int
    tracked: int
    requests: Tally
    trouble: str = ""
    """Why nothing came of it in the last turn, or why it is not asked any more; empty: something did."""


class PollTotal(msgspec.Struct, frozen=True):
    """What a run of `poll` did."""

    seconds: float
    services: tuple[ServiceTotal, ...]

    @property
    def requests(self) -> Tally:
        """Return all services' requests together."""
        total = Tally()
        for service in self.services:
            total.add(service.requests)
        return total


OnCycle = Callable[[Cycle], None]


async def poll(
    settings: Settings, cycles_max: int, on_cycle: OnCycle, *, stop: asyncio.Event | None = None
) -> PollTotal:
    """Take so many turns of each snapshot service of the settings (0: until SIGINT, SIGTERM or `stop`).

    Rows are delivered now and then, at the end at the latest. Raises ConfigError before anything starts, Refused when
    every service refuses us, TapeLocked while somebody else writes the tape.
    """
    check_services(settings.snapshots)
    for spec in settings.sinks:
        split_spec(spec)
    stop = stop or asyncio.Event()
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # only the main thread may
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    record = settings.record
    writer = open_writer(
        settings.tape,
        TapeSettings(segment_seconds=int(record.segment_seconds), segment_bytes_max=record.segment_bytes_max),
    )
    try:
        past = read_past(settings.tape, list(settings.snapshots))  # after the writer has mended what a crash left
        about = {"version": version("truetape"), "tape": settings.tape, "config": describe_settings(settings)}
        recorder = Recorder(writer, record, about)
        services = open_services(settings.snapshots, recorder, past)
        seconds = await _run(settings, recorder, services, stop, (cycles_max, on_cycle))
    except* Fatal as errors:
        raise find_error(errors) from None
    finally:
        writer.close()
    await asyncio.to_thread(deliver, settings.tape, settings.sinks, settings.deliver)
    return PollTotal(seconds, tuple(map(describe_service, services)))


async def _run(
    settings: Settings,
    recorder: Recorder,
    services: list[Service],
    stop: asyncio.Event,
    turns: tuple[int, OnCycle],
) -> float:
    """Take turns, and carry them into the sinks now and then; return how many seconds that took."""
    cycles_max, on_cycle = turns
    began_ns = clock.monotonic_ns()
    carrier = Carrier(settings, lambda error: recorder.note_self("deliver_failed", reason=str(error)))
    async with asyncio.TaskGroup() as group:

        def hear(cycle: Cycle) -> None:
            on_cycle(cycle)
            carrier.hear(group)

        group.create_task(recorder.run())
        await recorder.begun.wait()
        reason = "cancelled"
        try:
            await run_services(services, stop, cycles_max, hear)
            reason = "stopped"
        finally:
            recorder.close(reason)
        return round((clock.monotonic_ns() - began_ns) / 1e9, 3)


class Carrier:
    """Delivers the tape beside the polling, not more often than the settings say; a sink that fails is tried again."""

    def __init__(self, settings: Settings, complain: Callable[[Exception], None]) -> None:
        self._settings = settings
        self._complain = complain
        self._delivered_ns = clock.monotonic_ns()
        self._task: asyncio.Task[None] | None = None

    def hear(self, group: asyncio.TaskGroup) -> None:
        """Take note that a turn is over."""
        now_ns = clock.monotonic_ns()
        is_due = now_ns - self._delivered_ns >= self._settings.deliver.commit_seconds * 1e9
        if is_due and (self._task is None or self._task.done()):
            self._delivered_ns = now_ns
            self._task = group.create_task(self._deliver())

    async def _deliver(self) -> None:
        settings = self._settings
        try:
            await asyncio.to_thread(deliver, settings.tape, settings.sinks, settings.deliver)
        except (TruetapeError, OSError) as error:  # the tape keeps everything; whoever polls must not stop for it
            self._complain(error)


def describe_service(service: Service) -> ServiceTotal:
    """Return how a service did."""
    trouble = service.refusal or (service.last.reason if service.last and not service.last.snapshots else "")
    return ServiceTotal(
        service.name, service.cycles, service.snapshots, service.missed, len(service.tracked), service.total, trouble
    )
