"""What both child processes of `record` share: where they begin, and how they end with one line."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import NoReturn

import msgspec
import pyarrow as pa

from truetape.config import Settings, load_clock
from truetape.errors import TruetapeError, describe_os_error
from truetape.flow.message import Begin, Done, Failed, read_to_child, write_line

_OF_GROUPS = (signal.SIGINT, signal.SIGTERM)
"""Terminals and service managers send them to the whole group."""


@contextmanager
def hold_signals() -> Iterator[None]:
    """Let no signal end a process that is started meanwhile: it hears none until `run_child` has said what it does then."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_GROUPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def say(message: msgspec.Struct) -> None:
    """Send one message to the parent."""
    sys.stdout.buffer.write(write_line(message))
    sys.stdout.buffer.flush()


class _Without(MetaPathFinder):
    """Hides a package."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Refuse the package."""
        if fullname.partition(".")[0] == self._name:
            raise ModuleNotFoundError(f"{fullname} is left out")


def leave_out_pandas() -> None:
    """Let Arrow find no pandas: it would load it, where it is installed, only to ask whether values are of it.

    Measured: 0.2 s and 50 MB of each process. Arrow asks once, with its first array.
    """
    hidden = _Without("pandas")
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


def run_child(work: Callable[[Settings], dict[str, int]]) -> None:
    """Read the settings, do the work, say how it ended; exit code 2 for errors of ours, 3 for others."""
    for number in _OF_GROUPS:
        signal.signal(number, signal.SIG_IGN)  # the parent decides when it is over
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_GROUPS)
    try:
        leave_out_pandas()
        load_clock()
        counts = work(_read_begin())
    except Exception as error:  # noqa: BLE001 - the last supervisor of this process: one line, then the end
        is_ours = isinstance(_find_cause(error), TruetapeError)
        say(Failed(_tell(_find_cause(error)), is_fatal=True))
        _end(2 if is_ours else 3)
    say(Done(counts))
    _end(0)


def _end(code: int) -> NoReturn:
    """End at once: a thread that waits for standard input outlives the interpreter's own end, and libraries complain."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _read_begin() -> Settings:
    # Unbuffered: whoever reads the rest of standard input must find all of it there.
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0) as lines:
        begin = read_to_child(lines.readline())
    assert isinstance(begin, Begin)
    return begin.settings


def _find_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tell(error: BaseException) -> str:
    """Say in one line what went wrong and, when it is a mistake of ours, where."""
    if isinstance(error, TruetapeError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return describe_os_error(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
