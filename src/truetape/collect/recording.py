"""Tardis' raw recordings over its HTTP API: minutes fetched, several at once, and joined in order to one file.

`GET {base}/data-feeds/{exchange}?from&offset&filters` answers one minute of lines. What is joined already is noted beside
the file, so that a run which broke off goes on with the next minute.
"""

import asyncio
import gzip
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import msgspec

from truetape.collect.download import Downloader, unpack

PARALLEL = 8
"""Minutes fetched at once."""
_END_OF_LINE = gzip.compress(b"\n", mtime=0)
"""A gzip member of one line end."""


class Filter(msgspec.Struct, frozen=True):
    """Which messages: of a channel, as the exchange calls it, and of symbols; no symbols: of all."""

    channel: str
    symbols: tuple[str, ...] = ()


class Span(msgspec.Struct, frozen=True):
    """What of an exchange's recordings is wanted: whole minutes."""

    exchange: str
    begin: datetime
    minutes: int
    filters: tuple[Filter, ...]

    @property
    def name(self) -> str:
        """Name the file of it: the same for the same wish."""
        mark = sha256(_spell(self.filters)).hexdigest()[:12]
        return f"{self.exchange}_{self.begin:%Y-%m-%dT%H-%M}_{self.minutes}min_{mark}.raw.gz"

    def name_url(self, base: str, minute: int) -> str:
        """Return the address of one minute."""
        begin = f"{self.begin.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
        filters = f"&filters={quote(_spell(self.filters))}" if self.filters else ""
        return f"{base}/data-feeds/{self.exchange}?from={begin}&offset={minute}{filters}"


def _spell(filters: Sequence[Filter]) -> bytes:
    told = [{"channel": one.channel} | ({"symbols": one.symbols} if one.symbols else {}) for one in filters]
    return msgspec.json.encode(told)


class _Joined(msgspec.Struct):
    """How far a file has come."""

    minutes: int = 0
    bytes: int = 0


async def fetch_recording(
    downloader: Downloader, base: str, span: Span, folder: Path, on_minutes: Callable[[int], None]
) -> Path:
    """Fetch a span's minutes and return the file they are in; `on_minutes` hears how many are there.

    Raises what the downloader raises; what came until then stays for the next run.
    """
    path = folder / span.name
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".json")
    joined = _find_joined(path, part, note)
    if joined is None:
        return path
    while joined.minutes < span.minutes:
        numbers = range(joined.minutes, min(joined.minutes + PARALLEL, span.minutes))
        slices = {number: path.with_name(f"{path.name}.{number}") for number in numbers}
        async with asyncio.TaskGroup() as group:
            for number, place in slices.items():
                group.create_task(downloader.fetch(span.name_url(base, number), place))
        await asyncio.to_thread(_join, part, list(slices.values()))
        joined = _Joined(numbers.stop, part.stat().st_size)
        _write_note(note, joined)
        for place in slices.values():
            place.unlink()
        on_minutes(joined.minutes)
    part.replace(path)
    note.unlink(missing_ok=True)
    return path


def _find_joined(path: Path, part: Path, note: Path) -> _Joined | None:
    """Return how far a file has come, with its part cut to that; null when it is whole."""
    if path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    joined = msgspec.json.decode(note.read_bytes(), type=_Joined) if note.exists() and part.exists() else _Joined()
    with part.open("ab") as file:
        file.truncate(joined.bytes)
    return joined


def _join(part: Path, slices: Sequence[Path]) -> None:
    """Add files to the end of another, durably; each ends with a whole line."""
    with part.open("ab") as out:
        for place in slices:
            with place.open("rb") as minute:
                shutil.copyfileobj(minute, out)
            if not _ends_line(place):
                out.write(_END_OF_LINE)
        out.flush()
        os.fsync(out.fileno())


def _ends_line(path: Path) -> bool:
    last = b"\n"

    def look(piece: bytes) -> None:
        nonlocal last
        last = piece[-1:] or last

    unpack(path, look)
    return last == b"\n"


def _write_note(note: Path, joined: _Joined) -> None:
    new = note.with_name(note.name + ".new")
    new.write_bytes(msgspec.json.encode(joined))
    new.replace(note)
