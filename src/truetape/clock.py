"""The only reader of the time: wall and monotonic nanoseconds, and the event loop that keeps them.

A run may be compressed: time runs `speed` times as fast from a chosen instant, for every clock and timer of the
process alike, so that a quarter of an hour of a fake venue lasts seconds. Or it may be virtual: time stands while
anything is ready and jumps to the next timer when nothing is, so that a simulated day lasts as long as its work.
Call `clock.wall_ns()` through the module: the functions are replaced while a run is compressed.
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

wall_ns: Callable[[], int] = time.time_ns
"""Nanoseconds since 1970-01-01 UTC, as the machine's clock has them; may step."""

monotonic_ns: Callable[[], int] = time.monotonic_ns
"""Nanoseconds of a clock that never steps back; only differences mean anything."""

GRACE_S = 0.0002
"""Virtual time waits so long (of the real one) for sockets and threads before it jumps."""

Result = TypeVar("Result")


class _Pace:
    """How this process's time runs: as it does."""

    def select(self, selector: selectors.BaseSelector, timeout: float | None) -> list[Any]:
        """Wait for what is ready, at most so many seconds of this process's time."""
        return selector.select(timeout)


class _Compressed(_Pace):
    """Time runs `speed` times as fast from `start_ns`, which it was when the machine's clock said `since_ns`."""

    def __init__(self, start_ns: int, speed: float, since_ns: int) -> None:
        self._start_ns, self._speed = start_ns, speed
        self._began_ns = time.monotonic_ns() - (time.time_ns() - since_ns)

    def wall_ns(self) -> int:
        return self._start_ns + int((time.monotonic_ns() - self._began_ns) * self._speed)

    def monotonic_ns(self) -> int:
        return int((time.monotonic_ns() - self._began_ns) * self._speed)

    def select(self, selector: selectors.BaseSelector, timeout: float | None) -> list[Any]:
        return selector.select(timeout if timeout is None else timeout / self._speed)


class _Virtual(_Pace):
    """Time stands, and jumps to the next timer when nothing is ready."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._passed_ns = 0

    def wall_ns(self) -> int:
        return self._start_ns + self._passed_ns

    def monotonic_ns(self) -> int:
        return self._passed_ns

    def select(self, selector: selectors.BaseSelector, timeout: float | None) -> list[Any]:
        if timeout is None:
            return selector.select(timeout)
        ready = selector.select(0)
        if not ready and timeout:
            time.sleep(GRACE_S)  # the selector's own timeout is in whole milliseconds
            ready = selector.select(0)
        if not ready and timeout:
            self._passed_ns += int(timeout * 1e9) + 1  # one more: a timer must be due when its time has come
        return ready


_pace: _Pace = _Pace()


class _Selector(selectors.DefaultSelector):
    """Waits in this process's time."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return _pace.select(super(), timeout)  # type: ignore[arg-type]


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow this process's time."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return monotonic_ns() / 1e9


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, as `asyncio.run` does, on timers that follow this process's time."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop if type(_pace) is _Pace else _Loop) as runner:
        return runner.run(main)


def start_compressed(start_s: float, speed: float, since_s: float) -> None:
    """Let time run so many times as fast, for good: it was `start_s` when the machine's clock said `since_s`.

    Processes that are told the same three numbers have the same time.
    """
    _install(_Compressed(int(start_s * 1e9), speed, int(since_s * 1e9)))


@contextlib.contextmanager
def compress(start_s: float, speed: float) -> Iterator[None]:
    """Let time run from an instant on, so many times as fast, within the block."""
    yield from _install_for(_Compressed(int(start_s * 1e9), speed, time.time_ns()))


@contextlib.contextmanager
def step_virtual(start_s: float) -> Iterator[None]:
    """Let time jump wherever nothing is ready, from an instant on, within the block."""
    yield from _install_for(_Virtual(int(start_s * 1e9)))


def _install_for(pace: _Compressed | _Virtual) -> Iterator[None]:
    global _pace, wall_ns, monotonic_ns
    before = _pace, wall_ns, monotonic_ns
    _install(pace)
    try:
        yield
    finally:
        _pace, wall_ns, monotonic_ns = before


def _install(pace: _Compressed | _Virtual) -> None:
    global _pace, wall_ns, monotonic_ns
    _pace, wall_ns, monotonic_ns = pace, pace.wall_ns, pace.monotonic_ns
