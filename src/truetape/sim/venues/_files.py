"""Published files of fake venues: made when they are first asked for, and then as they were."""

import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from truetape.sim.world import World


def keep_file(world: World, path: str, make: Callable[[World, str], bytes | None]) -> bytes | None:
    """Return the file at a path, as it was when it was first asked for; null when there is none, or none yet."""
    if path not in world.files:
        found = make(world, path)
        if found is None:
            return None
        world.files[path] = found
    return world.files[path]


def find_span(when: str) -> tuple[int, int] | None:
    """Return the first microsecond of a day or month, and that of the next one; null when there is no such one."""
    is_day = len(when) == len("2025-01-01")
    try:
        begin = datetime.strptime(when, "%Y-%m-%d" if is_day else "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        return None
    end = begin + timedelta(days=1) if is_day else (begin + timedelta(days=32)).replace(day=1)
    return int(begin.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000


def pack_zip(name: str, lines: list[str]) -> bytes:
    """Pack lines as the one file of a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(name, "\n".join(lines) + "\n")
    return packed.getvalue()


def pack_gzip(lines: list[str]) -> bytes:
    """Pack lines; the same lines make the same bytes."""
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)
