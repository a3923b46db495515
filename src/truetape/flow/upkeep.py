"""What is done to a tape and its lakes beside views that run: segments recompressed, small files joined.

Both take seconds to minutes, so a thread of the lowest priority does them and keeps no view waiting. What is under way
when the process ends is thrown away, and begun anew by the next one.
"""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial

from truetape import clock
from truetape.config import Settings
from truetape.flow.child import say
from truetape.flow.message import Failed
from truetape.lake import compact
from truetape.tape import archive_segment, find_folder, list_sealed

LOOK_EVERY_NS = 30_000_000_000
NICENESS = 19

Task = Callable[[], object]


class Upkeep:
    """Work on what is sealed and committed; one task after the other, and none before it is due."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread: threading.Thread | None = None
        self._archived = 0
        """No segment that ends here or below is to be archived any more."""
        self._looked_ns = 0
        self._compacted_ns = clock.monotonic_ns()

    def go_on(self, committed: int) -> None:
        """Begin what is due, unless something is under way. `committed`: every sink has the frames below."""
        now_ns = clock.monotonic_ns()
        if now_ns - self._looked_ns < LOOK_EVERY_NS or (self._thread and self._thread.is_alive()):
            return
        self._looked_ns = now_ns
        tasks = [*self._list_archivings(committed), *self._list_compactions(now_ns)]
        if tasks:
            self._thread = threading.Thread(target=_do, args=(tasks,), name="upkeep", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait for what is under way."""
        if self._thread:
            self._thread.join()

    def _list_archivings(self, committed: int) -> list[Task]:
        if not self._settings.deliver.archive:
            return []
        folder = find_folder(self._settings.tape)
        due = [one for one in list_sealed(folder) if self._archived < one.end <= committed]
        self._archived = max((one.end for one in due), default=self._archived)
        return [partial(archive_segment, folder, one.first) for one in due if one.reason != "archived"]

    def _list_compactions(self, now_ns: int) -> list[Task]:
        hours = self._settings.deliver.compact_hours
        if not hours or now_ns - self._compacted_ns < hours * 3600e9:
            return []
        self._compacted_ns = now_ns
        lakes = [spec for spec in self._settings.sinks if spec.startswith("lake:")]
        return [partial(compact, spec.removeprefix("lake:").partition("?")[0]) for spec in lakes]


def _do(tasks: list[Task]) -> None:
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    for task in tasks:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - supervisor: what fails stays as it was: larger, and whole
            say(Failed(f"upkeep: {error}; left as it was", is_fatal=False))
