"""One at a time: a lock in a file that says who holds it, and that the system frees when its holder dies."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from truetape import clock
from truetape.errors import Busy


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    process: int
    since: datetime


@contextmanager
def hold(folder: Path, name: str) -> Iterator[None]:
    """Hold a lock within the block; raises Busy, naming the holder, when somebody else has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{name} is already running: {_tell_holder(path)}") from None
        file.truncate(0)
        with contextlib.suppress(OSError):  # who prunes a full disk must get in, and holds it all the same
            file.write(msgspec.json.encode(Holder(os.getpid(), datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC))))
        try:
            yield
        finally:
            file.truncate(0)  # the lock itself ends with the file


def _tell_holder(path: Path) -> str:
    try:
        holder = msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return f"somebody holds {path}"
    return f"process {holder.process} since {holder.since:%Y-%m-%d %H:%M:%S} UTC"
