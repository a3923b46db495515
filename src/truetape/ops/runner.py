"""Run one job as every job is run: lock, history, scratch folder, tries, report."""

import importlib
import pkgutil
import random
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from time import sleep

import msgspec

from truetape.config import JobSettings, Settings, mask_secrets
from truetape.errors import ConfigError, RateLimited, Transient, TruetapeError, suggest
from truetape.ops import jobs as registry
from truetape.ops.history import History, Run, open_history
from truetape.ops.job import Context, Job
from truetape.ops.lock import hold

WAIT_MAX_S = 300.0
_SCRATCH = "truetape-job-"


@cache
def list_jobs() -> tuple[Job, ...]:
    """Load every job there is a file for, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(registry.__path__))
    return tuple(importlib.import_module(f"{registry.__name__}.{name}").JOB for name in names)


def load_job(name: str) -> Job:
    """Load a job; ConfigError names the nearest when there is none of that name."""
    known = {job.name: job for job in list_jobs()}
    if name not in known:
        raise ConfigError(f"job {name!r}: unknown (allowed: {', '.join(known)}){suggest(name, known)}")
    return known[name]


Say = Callable[[str], None]
Show = Callable[[str, int, int], None]


def run_job(
    job: Job,
    settings: Settings,
    *,
    due_at: datetime | None = None,
    say: Say = lambda line: None,
    show: Show | None = None,
) -> Run:
    """Run a job and write down how it went; raises Busy when it is running already, else what the last try failed with.

    A try that failed because something is away is repeated, with growing waits.
    """
    state = Path(settings.ops.state)
    with hold(state / "locks", job.name), open_history(state) as history:
        _clear_scratch(state, job)
        number = history.begin(job.name, due_at)
        attempts_max = settings.jobs.get(job.name, JobSettings()).attempts
        for attempt in range(1, attempts_max + 1):
            try:
                report = _try(job, settings, history, (say, show))
            except Transient as error:
                if attempt == attempts_max:
                    history.end(number, "failed", attempt, "{}", _tell(error))
                    raise
                wait_s = _choose_wait(error, attempt)
                say(f"{_tell(error)}; next try in {wait_s:.0f} s")
                sleep(wait_s)
            except BaseException as error:
                history.end(number, "failed", attempt, "{}", _tell(error))
                raise
            else:
                history.end(number, "done", attempt, msgspec.json.encode(report).decode())
                break
        return history.read_run(number)


def _try(job: Job, settings: Settings, history: History, tell: tuple[Say, Show | None]) -> dict[str, int | str]:
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{job.name}-", dir=settings.ops.state))
    try:
        return job.run(Context(settings, scratch, history, *tell))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _clear_scratch(state: Path, job: Job) -> None:
    """Remove what a killed run left; the lock says that nobody uses it."""
    for left in state.glob(f"{_SCRATCH}{job.name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _choose_wait(error: Transient, attempt: int) -> float:
    if isinstance(error, RateLimited):
        return min(error.retry_after_s, WAIT_MAX_S)
    return min(2.0**attempt * (0.5 + random.random() / 2), WAIT_MAX_S)  # noqa: S311 - jitter


def _tell(error: BaseException) -> str:
    text = str(error) if isinstance(error, TruetapeError) else f"{type(error).__name__}: {error}"
    return mask_secrets(text)
