"""One thread beside the event loop, for work on the disk that may hang."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """Does one thing after the other; a process may end though its worker hangs, unlike with an executor."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """Return the future of what `work` returns or raises; cancelling it does not stop the work."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future))
        return future

    def end(self) -> None:
        """Let the thread end after what it was given."""
        self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            work, future = job
            settle: Callable[[asyncio.Future[Any], Any], None] = _succeed
            try:
                outcome = work()
            except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
                settle, outcome = _fail, error
            try:
                future.get_loop().call_soon_threadsafe(settle, future, outcome)
            except RuntimeError:
                return  # the loop is over, nobody waits any more


def _succeed(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
