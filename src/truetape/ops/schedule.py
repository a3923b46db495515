"""Run jobs when they are due; what was missed is run or written down, never forgotten."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from truetape import clock
from truetape.config import JobSettings, Settings
from truetape.errors import Transient, describe_os_error
from truetape.ops.cron import list_scheduled, parse_schedule
from truetape.ops.history import open_history
from truetape.ops.job import Job

Launch = Callable[[Job, datetime], Awaitable[None]]
"""(job, when it was due) → runs it; raises OSError or Transient when it cannot begin now."""
Tell = Callable[[str, str], None]
"""(job, why it cannot begin): empty when it can again."""

DUE_MAX = 100_000
"""Runs of one job that may have been missed: a minute's job over two months."""
LINE_BYTES_MAX = 1 << 20
NICENESS = 10
"""Jobs give way to the recorder."""
RETRY_S = 60.0
"""What could not begin, as somebody runs it already or the disk is full, is tried again after this."""


async def keep_schedule(settings: Settings, launch: Launch, tell: Tell = lambda job, why: None) -> None:
    """Launch jobs when they are due, one at a time, until cancelled; what one of them breaks is told, and tried again."""
    alone = _take_turns(launch)
    async with asyncio.TaskGroup() as group:
        for job, schedule in list_scheduled(settings):
            group.create_task(_keep_job(settings, job, schedule, alone, tell))


def _take_turns(launch: Launch) -> Launch:
    turn = asyncio.Lock()

    async def launch_alone(job: Job, due_at: datetime) -> None:
        async with turn:
            await launch(job, due_at)

    return launch_alone


async def _keep_job(settings: Settings, job: Job, schedule: str, launch: Launch, tell: Tell) -> None:
    trigger, since = parse_schedule(schedule, f"jobs.{job.name}.at"), _now()
    while True:
        try:
            while (due_at := catch_up(settings, job, schedule, since)) is not None:
                await launch(job, due_at)
                if not _is_written(settings, job, due_at):
                    await asyncio.sleep(RETRY_S)
            tell(job.name, "")
        except (Transient, OSError) as error:
            tell(job.name, str(error) if isinstance(error, Transient) else describe_os_error(error))
            await asyncio.sleep(RETRY_S)
            continue
        now = _now()
        next_at = trigger.get_next_fire_time(None, now)
        if next_at is None:
            return  # a date that never comes again
        # Never longer than a minute: the machine may sleep meanwhile, and its clock may step.
        await asyncio.sleep(min(max((next_at - now).total_seconds(), 0.001), 60.0))


def catch_up(settings: Settings, job: Job, schedule: str, since: datetime | None = None) -> datetime | None:
    """Return the newest time at which the job was due and did not run; write down what was missed before it.

    A job that never ran counts from `since`, when the schedule began; null: from now on.
    """
    rules = settings.jobs.get(job.name, JobSettings())
    with open_history(Path(settings.ops.state)) as history:
        known = history.find_last_due(job.name, _now(), rules.attempts)
        if known is None:
            known = (since or _now()).replace(second=0, microsecond=0) - timedelta(minutes=1)
        due = list(_list_due(schedule, job, known, _now()))
        is_late = bool(due) and _now() - due[-1] > LATE
        run = due.pop() if due and not (rules.missed == "skip" and is_late) else None
        history.miss(job.name, due)
        return run


def _is_written(settings: Settings, job: Job, due_at: datetime) -> bool:
    """Tell whether a run has begun, and was not killed; one that somebody else is at has not."""
    attempts = settings.jobs.get(job.name, JobSettings()).attempts
    with open_history(Path(settings.ops.state)) as history:
        known = history.find_last_due(job.name, due_at, attempts)
    return known is not None and known >= due_at


LATE = timedelta(minutes=5)
"""A run that begins later than this was missed, where the settings say to skip such ones."""


def _list_due(schedule: str, job: Job, after: datetime, until: datetime) -> Iterator[datetime]:
    trigger = parse_schedule(schedule, f"jobs.{job.name}.at")
    at = after
    for _ in range(DUE_MAX):
        found = trigger.get_next_fire_time(at, at + timedelta(microseconds=1))
        if found is None or found > until:
            return
        at = found
        yield at


async def launch_process(config: Path, say: Callable[[str], None], job: Job, due_at: datetime) -> None:
    """Run a job in a process of its own, at lower priority."""
    command = [sys.executable, "-m", "truetape.cli", "jobs", "run", job.name, "--config", str(config),
               "--due", f"{due_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=_give_way,
        limit=LINE_BYTES_MAX,
    )
    try:
        last = await _hear(process, lambda line: say(f"job {job.name}: {line}"))
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    state = "done" if process.returncode == 0 else f"failed (exit code {process.returncode})"
    say(f"job {job.name} {state}" + (f": {last}" if last else ""))


async def _hear(process: asyncio.subprocess.Process, say: Callable[[str], None]) -> str:
    """Pass on what a process says, line by line, until it ends; return the last line, which was not passed on."""
    assert process.stdout is not None
    last = ""
    while True:
        try:
            chunk = await process.stdout.readline()
        except ValueError:
            continue  # a line beyond the limit is left out
        if not chunk:
            break
        if line := chunk.decode(errors="replace").strip():
            if last:
                say(last)
            last = line
    await process.wait()
    return last


def _give_way() -> None:
    os.nice(NICENESS)


def _now() -> datetime:
    return datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
