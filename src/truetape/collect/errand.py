"""Requests of a job, once each: answers go onto a tape of the jobs' own, beside that of the recorder.

The recorder holds its tape as long as it runs, and a job must neither wait for it nor stop it. So jobs share a second
tape, `<tape>-jobs`, one job at a time; it is delivered into the same lake. An answer counts as had when it is durable.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.metadata import version
from typing import TypeVar

import msgspec

from truetape.collect.connection import find_first
from truetape.collect.gate import Gate
from truetape.collect.http import Http, HttpOptions, Reply
from truetape.collect.key import Key
from truetape.collect.recorder import Recorder
from truetape.config import RecordSettings
from truetape.errors import Fatal, RateLimited, Refused, TapeLocked, TruetapeError
from truetape.tape import open_writer
from truetape.tape.contract import TapeWriter
from truetape.tape.frame import Source
from truetape.venues._contract import Ask, Venue

SUFFIX = "-jobs"
LOCK_LOOK_S = 1.0
LOCK_WAIT_MAX_S = 3600.0
"""So long a job waits for another one to be done with the tape."""
DURABLE_LOOK_S = 0.02

Result = TypeVar("Result")


def name_tape(tape: str) -> str:
    """Name the jobs' tape that lies beside a recorder's."""
    return f"{tape.rstrip('/')}{SUFFIX}"


class Errand(msgspec.Struct, frozen=True):
    """One request, and what it is remembered by."""

    key: str
    ask: Ask


class Failure(msgspec.Struct, frozen=True):
    """An errand that brought nothing."""

    errand: Errand
    error: TruetapeError


class Service(msgspec.Struct, frozen=True):
    """Whom to ask, and how much at once."""

    venue: Venue
    key: Key | None
    url: str
    """Server that stands for it; empty: its own."""
    calls_per_minute: int
    parallel: int
    judge: Callable[[Ask, Reply], TruetapeError | None] = lambda ask, reply: None
    """What is wrong with an answer; Refused ends all errands."""
    options: HttpOptions = HttpOptions()


class Errands:
    """Runs errands of one service; use within `visit`."""

    def __init__(self, service: Service, http: Http, gate: Gate, recorder: Recorder) -> None:
        self._service, self._http, self._gate, self._recorder = service, http, gate, recorder

    async def run(self, errands: Sequence[Errand], take: Callable[[Errand, Reply], None]) -> list[Failure]:
        """Ask for everything, several at once; `take` gets each answer once it is durable. Raises Refused."""
        failures: list[Failure] = []
        waiting = iter(errands)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._service.parallel, len(errands))):
                    group.create_task(self._work(waiting, take, failures))
        except* TruetapeError as errors:
            raise find_first(errors) from None
        return failures

    def note_missed(self, poll: str, from_ns: int, turns: int, reason: str) -> None:
        """Say on the tape that so many turns of a poll were not taken since a moment: a gap of the whole service."""
        venue = self._service.venue.name
        source = self._recorder.register(Source(venue, poll, f"{venue}/{poll}"))
        self._recorder.note(
            source, "poll_missed", poll=poll, subject="", gap="not_started", from_ns=from_ns, turns=turns, reason=reason
        )

    async def _work(
        self, waiting: Iterator[Errand], take: Callable[[Errand, Reply], None], failures: list[Failure]
    ) -> None:
        for errand in waiting:
            try:
                reply = await self._ask(errand.ask)
            except Refused:
                raise
            except TruetapeError as error:
                failures.append(Failure(errand, error))
                continue
            await self._settle()
            take(errand, reply)

    async def _ask(self, ask: Ask) -> Reply:
        """Ask until there is an answer worth keeping; one that says to slow down in its body is waited for, too."""
        for attempt in range(1, self._service.options.attempts_max + 1):
            reply = await self._http.fetch(ask)
            fault = self._service.judge(ask, reply)
            if fault is None:
                return reply
            if not isinstance(fault, RateLimited) or attempt == self._service.options.attempts_max:
                raise fault
            self._gate.ban(fault.retry_after_s)
        raise Fatal("attempts_max is below 1")

    async def _settle(self) -> None:
        """Wait until everything taken so far survives a power cut."""
        status = self._recorder.status()
        end = status.end + status.held_frames
        while self._recorder.status().durable < end:  # noqa: ASYNC110 - the recorder tells a number, not an event
            await asyncio.sleep(DURABLE_LOOK_S)


async def visit(
    tape: str,
    record: RecordSettings,
    service: Service,
    work: Callable[[Errands], Awaitable[Result]],
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """Open the jobs' tape, let `work` run errands, and close it after the last frame."""
    writer = await _open_tape(tape, say)
    recorder = Recorder(writer, record, {"version": version("truetape"), "tape": tape})
    gate = Gate(service.venue, service.key, (service.calls_per_minute, 60.0))
    http = Http(service.venue, service.url, recorder, gate, service.options, name="jobs")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            await recorder.begun.wait()
            try:
                async with http:
                    return await work(Errands(service, http, gate, recorder))
            finally:
                recorder.close("done")
    except* TruetapeError as errors:
        raise find_first(errors) from None
    finally:
        writer.close()


async def _open_tape(tape: str, say: Callable[[str], None]) -> TapeWriter:
    """Open the tape for writing; wait while another job has it."""
    waited_s = 0.0
    while True:
        try:
            return open_writer(tape)
        except TapeLocked as error:
            if waited_s >= LOCK_WAIT_MAX_S:
                raise
            if not waited_s:
                say(f"waiting: {error}")
            waited_s += LOCK_LOOK_S
            await asyncio.sleep(LOCK_LOOK_S)
