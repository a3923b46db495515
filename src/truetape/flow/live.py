"""`record`: one process collects onto the tape, another carries the tape into the sinks; this one watches both."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

import msgspec

from truetape.collect.plan import check_venues
from truetape.collect.services import check_services
from truetape.collect.turn import Cycle
from truetape.config import Settings
from truetape.errors import ConfigError, TapeError, TruetapeError
from truetape.flow.child import hold_signals
from truetape.flow.message import (
    Begin,
    Done,
    Failed,
    Finish,
    Grant,
    TapeStatus,
    Turn,
    ViewStatus,
    read_from_child,
    write_line,
)
from truetape.sinks import split_spec

LINE_BYTES_MAX = 16 * 1024 * 1024
RESTARTS_MAX = 20
"""Times a view process that dies is started again; the tape keeps what it missed."""
RESTART_PAUSE_S = 1.0


class LiveStatus(msgspec.Struct):
    """The newest word of both processes."""

    tape: TapeStatus | None = None
    view: ViewStatus | None = None
    trouble: str = ""


OnStatus = Callable[[LiveStatus], None]
OnCycle = Callable[[Cycle], None]


class Recording:
    """The two processes of a running `record`."""

    def __init__(self, settings: Settings, on_status: OnStatus, on_cycle: OnCycle) -> None:
        self._settings = settings
        self._on_status = on_status
        self._on_cycle = on_cycle
        self._collector: Process | None = None
        self._finishing = False
        self.status = LiveStatus()
        self.failure = ""

    async def run(self, stop: asyncio.Event) -> LiveStatus:
        """Record until `stop`, or until the collector cannot go on; then deliver what is on the tape."""
        self._collector = await self._start("truetape.flow.recorder_process")
        stopper = asyncio.create_task(self._stop_collector(stop))
        view = asyncio.create_task(self._keep_view())
        await self._hear(self._collector)
        code = await self._collector.wait()
        stopper.cancel()
        self._finishing = True
        await view
        if code != 0:
            raise TapeError(self.failure or f"the recorder ended with exit code {code}")
        if self.failure:
            raise TruetapeError(self.failure)
        return self.status

    async def _stop_collector(self, stop: asyncio.Event) -> None:
        await stop.wait()
        assert self._collector is not None
        _send(self._collector, Finish())

    async def _start(self, module: str) -> Process:
        with hold_signals():
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
            )
        _send(process, Begin(self._settings))
        return process

    async def _keep_view(self) -> None:
        """Run the view process, again when it dies, until it has delivered the tape's end."""
        for _ in range(RESTARTS_MAX):
            process = await self._start("truetape.flow.view_process")
            watcher = asyncio.create_task(self._finish_view(process))
            done = await self._hear(process)
            watcher.cancel()
            await process.wait()
            if done or self.failure:
                return
            self.status.trouble = "the view process died and was started again"
            self._on_status(self.status)
            await asyncio.sleep(RESTART_PAUSE_S)
        self.failure = f"the view process died {RESTARTS_MAX} times; the tape is whole: run `truetape deliver`"

    async def _finish_view(self, process: Process) -> None:
        assert self._collector is not None
        await self._collector.wait()
        _send(process, Finish())

    async def _hear(self, process: Process) -> bool:
        """Take a child's lines until it ends; true when it ended in good order."""
        assert process.stdout is not None
        done = False
        while line := await process.stdout.readline():
            message = read_from_child(line)
            match message:
                case Grant():
                    assert self._collector is not None
                    if not self._finishing:
                        _send(self._collector, message)
                case TapeStatus():
                    self.status.tape = message
                    self._on_status(self.status)
                case ViewStatus():
                    self.status.view = message
                    self._on_status(self.status)
                case Turn(cycle=cycle):
                    self._on_cycle(cycle)
                case Failed(error=error, is_fatal=True):
                    self.failure = self.status.trouble = error
                    self._on_status(self.status)
                case Failed(error=error):
                    self.status.trouble = error
                    self._on_status(self.status)
                case Done():
                    done = True
        return done


def _send(process: Process, message: msgspec.Struct) -> None:
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(write_line(message))


async def record(
    settings: Settings,
    on_status: OnStatus,
    duration_s: float | None = None,
    on_cycle: OnCycle = lambda cycle: None,
) -> LiveStatus:
    """Record venues and snapshot services until SIGINT or SIGTERM, or for so long; return the last status.

    Raises ConfigError before anything starts when nothing would be recorded, or a venue, channel or sink is not known.
    """
    if not settings.venues and not settings.snapshots:
        raise ConfigError(
            "venues: nothing to record (allowed: one section per venue); `truetape init` writes an example"
        )
    check_venues(settings)
    if settings.snapshots:
        check_services(settings.snapshots)
    for spec in settings.sinks:
        split_spec(spec)
    return await Recording(settings, on_status, on_cycle).run(_listen_for_stop(duration_s))


async def idle(duration_s: float | None = None) -> LiveStatus:
    """Record nothing until SIGINT or SIGTERM, or for so long: where there are jobs only."""
    await _listen_for_stop(duration_s).wait()
    return LiveStatus()


def _listen_for_stop(duration_s: float | None) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if duration_s is not None:
        loop.call_later(duration_s, stop.set)
    return stop
