"""What a job file must offer: one frozen value named JOB."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from truetape.config import Settings
from truetape.ops.history import History


class Context(msgspec.Struct, frozen=True):
    """What a job is given."""

    settings: Settings
    scratch: Path
    """A folder of its own that is emptied after the run, however it ends."""
    history: History
    """Where it marks how far it came, so that the next run goes on there."""
    say: Callable[[str], None]
    """Tell what happens, one line at a time."""
    show: Callable[[str, int, int], None] | None = None
    """(what, how much of it is done, how much there is): shown where somebody looks on, else said now and then."""


class Job(msgspec.Struct, frozen=True):
    """Something done on a schedule."""

    name: str
    doc: str
    """One line: what it does."""
    at: str
    """When, as five fields of cron in UTC, where the settings do not say; empty: only by hand."""
    run: Callable[[Context], dict[str, int | str]]
    """Does it, and returns what it counted; raises TruetapeError when it cannot."""
    is_wanted: Callable[[Settings], bool] = lambda settings: True
    """Whether the settings give it anything to do; if not, it is not scheduled."""
