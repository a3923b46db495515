"""Wake the readers of a tape inside one process at once."""

import threading
from pathlib import Path
from weakref import WeakValueDictionary


class Notice:
    """One tape's bell; readers in other processes poll instead."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting = 0

    def ring(self) -> None:
        """Wake everyone who waits."""
        if self._waiting:
            with self._condition:
                self._condition.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Sleep until the bell or the timeout, whichever is first."""
        with self._condition:
            self._waiting += 1
            self._condition.wait(timeout_s)
            self._waiting -= 1


_notices: WeakValueDictionary[Path, Notice] = WeakValueDictionary()
_lock = threading.Lock()


def find_notice(folder: Path) -> Notice:
    """Return the bell of the tape in `folder`, the same object for everyone in this process."""
    with _lock:
        key = folder.resolve()
        notice = _notices.get(key)
        if notice is None:
            notice = _notices[key] = Notice()
        return notice
