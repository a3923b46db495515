"""Exchanges' raw recordings of whole minutes: fetched, several at once, and joined in order to one file of raw lines.

The vendor answers a minute of lines at `GET {base}/data-feeds/{exchange}?from&offset&filters`; tardis-machine has them at
`/replay` over HTTP and at `/ws-replay` over a socket. What is joined already is noted beside the file, so that a run which
broke off goes on with the next minute.
"""

import asyncio
import gzip
import os
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from truetape.collect.download import Downloader, unpack
from truetape.collect.replay import fetch_replay
from truetape.collect.socket import SocketOptions
from truetape.errors import TapeError
from truetape.tape.foreign.lines import read_lines
from truetape.venues.tardis import replay
from truetape.venues.tardis.replay import Minutes, write_filters

PARALLEL = 8
"""Minutes fetched at once."""
MINUTE_US = 60_000_000
RAW, TIMELESS = "raw", "minutes"
"""Forms of files: lines with times, and lines of which only the minute is known."""
_END_OF_LINE = gzip.compress(b"\n", mtime=0)
"""A gzip member of one line end."""

FetchMinute = Callable[[int, Path], Coroutine[Any, Any, None]]
"""Puts the lines of a minute, by its number, into a gzipped file."""


def name_file(wanted: Minutes, form: str = RAW) -> str:
    """Name the file of a recording: the same for the same wish, whoever is asked."""
    mark = sha256(write_filters(wanted.filters)).hexdigest()[:12]
    return f"{wanted.exchange}_{wanted.begin:%Y-%m-%dT%H-%M}_{wanted.count}min_{mark}.{form}.gz"


# -- whom to ask ------------------------------------------------------------------------------------------------


def ask_vendor(downloader: Downloader, base: str, wanted: Minutes) -> FetchMinute:
    """Return what fetches minutes from the vendor."""
    filters = f"&filters={quote(write_filters(wanted.filters))}" if wanted.filters else ""
    place = f"{base}/data-feeds/{wanted.exchange}?from={wanted.spell(0)}"

    async def fetch(minute: int, path: Path) -> None:
        await downloader.fetch(f"{place}&offset={minute}{filters}", path)

    return fetch


def ask_machine(downloader: Downloader, base: str, wanted: Minutes) -> FetchMinute:
    """Return what fetches minutes from a tardis-machine over HTTP."""
    begin_us = int(wanted.begin.timestamp()) * 1_000_000

    async def fetch(minute: int, path: Path) -> None:
        told = path.with_name(path.name + ".ndjson")
        await downloader.fetch(replay.name_replay(base, wanted, minute), told, _prove_lines)
        from_us = begin_us + minute * MINUTE_US
        await asyncio.to_thread(_arrange, told, path, from_us)

    return fetch


def _prove_lines(path: Path) -> None:
    try:
        for line in read_lines(path):
            replay.check_line(line)
    except TapeError as error:
        raise ValueError(str(error)) from error


def _arrange(told: Path, path: Path, begin_us: int) -> None:
    _write_lines(path, replay.arrange_lines(read_lines(told), begin_us, begin_us + MINUTE_US))
    told.unlink()  # here, for whoever waits may be cancelled meanwhile


def ask_socket(base: str, wanted: Minutes, options: SocketOptions | None = None) -> FetchMinute:
    """Return what fetches minutes from a tardis-machine over sockets; each message bears the end of its minute."""
    said = replay.write_subscriptions(wanted.exchange, wanted.filters)

    async def fetch(minute: int, path: Path) -> None:
        told = path.with_name(path.name + ".told.gz")
        await fetch_replay(replay.name_socket(base, wanted, minute), told, options, said)
        stamp = replay.stamp_minute(wanted, minute)
        await asyncio.to_thread(_stamp, told, path, stamp)

    return fetch


def _stamp(told: Path, path: Path, stamp: bytes) -> None:
    _write_lines(path, (stamp + b" " + line for line in read_lines(told)))
    told.unlink()


def _write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write a gzipped file, which gets its name when it is whole."""
    part = path.with_name(path.name + ".new")
    with gzip.open(part, "wb", 1) as file:
        for line in lines:
            file.write(line + b"\n")
    part.replace(path)


# -- joined -----------------------------------------------------------------------------------------------------


class _Joined(msgspec.Struct):
    """How far a file has come."""

    minutes: int = 0
    bytes: int = 0


async def fetch_recording(
    fetch: FetchMinute, count: int, path: Path, on_minutes: Callable[[int], None] = lambda count: None
) -> None:
    """Fetch minutes into one file; `on_minutes` hears how many are there.

    Raises what `fetch` raises; what came until then stays for the next run.
    """
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".json")
    joined = _find_joined(path, part, note)
    if joined is None:
        return
    while joined.minutes < count:
        numbers = range(joined.minutes, min(joined.minutes + PARALLEL, count))
        slices = {number: path.with_name(f"{path.name}.{number}") for number in numbers}
        async with asyncio.TaskGroup() as group:
            for number in _list_missing(slices):
                group.create_task(fetch(number, slices[number]))
        await asyncio.to_thread(_join, part, list(slices.values()))
        joined = _Joined(numbers.stop, part.stat().st_size)
        _write_note(note, joined)
        for place in slices.values():
            place.unlink()
        on_minutes(joined.minutes)
    part.replace(path)
    note.unlink(missing_ok=True)


def _list_missing(slices: Mapping[int, Path]) -> list[int]:
    """Return the minutes that an earlier run did not get."""
    return [number for number, place in slices.items() if not place.exists()]


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
