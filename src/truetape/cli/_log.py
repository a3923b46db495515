"""Log lines: events with fields, as text or JSON, on standard output and in a file that is rotated."""

import contextlib
import fcntl
import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any

import click
import structlog

from truetape import clock
from truetape.config import LogSettings, load_secrets, mask_secrets
from truetape.errors import ConfigError

Event = MutableMapping[str, Any]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
HEAD_BYTES = 4096
LOCK_TRIES_MAX = 100
LOCK_PAUSE_S = 0.01
"""Another process that writes a line needs microseconds; one that stands still must not make us stand still."""


class LogFile(logging.handlers.RotatingFileHandler):
    """A file that becomes `NAME.1` when it is too large or too old; files beyond the last number are deleted.

    Several processes may write it: each line and each change of files is made by one at a time.
    """

    def __init__(self, path: Path, bytes_max: int, hours_max: float, keep: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=bytes_max, backupCount=keep, encoding="utf-8")
        self._age_ns = int(hours_max * 3600e9)
        self._began_ns = _find_begin(path)
        self._has_failed = False
        self._is_held = False
        """Without the lock lines are added, and files stay as they are."""
        self._tries = LOCK_TRIES_MAX

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line into the file that has the name now: another process may have put ours by."""
        try:
            with self._hold():
                super().emit(record)
        except OSError:
            self.handleError(record)

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Hold the file that has the name within the block, against other processes."""
        held = self._lock_newest()
        self._is_held = held is not None
        self._tries = LOCK_TRIES_MAX if held is not None else 1  # it is waited for once
        try:
            yield
        finally:
            if held is not None:
                fcntl.flock(held, fcntl.LOCK_UN)
                os.close(held)

    def _lock_newest(self) -> int | None:
        """Lock the file that has the name, opening it anew where that is another than ours; null: somebody holds it on."""
        for _ in range(self._tries):
            if self.stream is None or not self._is_newest():
                self._open_anew()
            held = os.dup(self.stream.fileno())  # stays while a change of files closes the stream
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_newest():
                    return held
                fcntl.flock(held, fcntl.LOCK_UN)
            except BlockingIOError:
                sleep(LOCK_PAUSE_S)
            os.close(held)
        return None

    def _is_newest(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.stream.fileno()), Path(self.baseFilename).stat())
        except FileNotFoundError:
            return False

    def _open_anew(self) -> None:
        if self.stream is not None:
            self.stream.close()
        self.stream = self._open()
        self._began_ns = _find_begin(Path(self.baseFilename))

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Tell whether a line goes into a new file."""
        if not self._is_held:
            return False
        is_old = bool(self._age_ns) and clock.wall_ns() - self._began_ns >= self._age_ns
        return (is_old and Path(self.baseFilename).stat().st_size > 0) or bool(super().shouldRollover(record))

    def doRollover(self) -> None:
        """Begin a new file."""
        super().doRollover()
        self._began_ns = clock.wall_ns()

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that the file cannot be written: what is logged must never stop what is recorded."""
        if not self._has_failed:
            self._has_failed = True
            click.echo(f"log.file: {self.baseFilename} cannot be written ({sys.exc_info()[1]})", err=True)

    def write(self, line: str) -> None:
        """Add a line."""
        self.handle(logging.makeLogRecord({"msg": "%s", "args": (line,)}))


def _find_begin(path: Path) -> int:
    """Return when a file began, by the time in its first line: a program that is started anew goes on with it."""
    with path.open("rb") as file:
        found = _TIME.search(file.read(HEAD_BYTES).decode(errors="replace"))
    if found is None:
        return clock.wall_ns()
    return int(datetime.fromisoformat(found[0]).timestamp() * 1e9)


class Outlets:
    """Where lines go: what structlog calls a logger."""

    def __init__(self, settings: LogSettings, *, is_silent: bool = False) -> None:
        self._file = None if not settings.file else _open_file(settings)
        self._is_silent = is_silent
        self._render_screen = _choose_renderer(settings.format)
        self._render_file = _choose_renderer(settings.file_format)

    def write(self, **event: Any) -> None:
        """Write one event."""
        if not self._is_silent:
            print(self._render_screen(None, "", dict(event)), flush=True)
        if self._file is not None:
            self._file.write(str(self._render_file(None, "", dict(event))))

    debug = info = warning = error = write

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk was told already
                self._file.close()


def _open_file(settings: LogSettings) -> LogFile:
    try:
        return LogFile(Path(settings.file), settings.max_bytes, settings.max_hours, settings.keep)
    except OSError as error:
        raise ConfigError(f"log.file: {settings.file} cannot be written ({error.strerror})") from error


def _choose_renderer(form: str) -> Callable[[Any, str, Event], str | bytes]:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=False)


@contextmanager
def open_log(settings: LogSettings, *, is_silent: bool = False) -> Iterator[Any]:
    """Open the log: a logger of structlog; ConfigError when its file cannot be written. `is_silent`: only to the file."""
    outlets = Outlets(settings, is_silent=is_silent)
    try:
        yield make_logger(settings, outlets)
    finally:
        outlets.close()


def make_logger(settings: LogSettings, outlets: Outlets) -> Any:
    """Make a logger that stamps lines and shows no secret."""
    secrets = load_secrets()

    def mask(logger: Any, name: str, event: Event) -> Event:
        return {key: _mask(value, secrets) for key, value in event.items()}

    def hand_over(logger: Any, name: str, event: Event) -> tuple[tuple[()], Event]:
        return (), event

    return structlog.wrap_logger(
        outlets,
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        processors=[structlog.processors.add_log_level, _add_time, mask, hand_over],
    )


def _add_time(logger: Any, name: str, event: Event) -> Event:
    at = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    event["timestamp"] = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def _mask(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return mask_secrets(value, secrets)
    if isinstance(value, dict):
        return {_mask(key, secrets): _mask(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(inner, secrets) for inner in value]
    return value
