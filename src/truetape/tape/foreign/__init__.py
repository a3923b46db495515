"""Put foreign recordings on a tape: one format, one file; they go on the way live frames go."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from truetape.errors import TapeError
from truetape.tape.contract import TapeWriter
from truetape.tape.foreign import cryptofeed, hftbacktest, plain, rest, tardis, tardis_csv
from truetape.tape.foreign.lines import UNPACK_RATIO_MAX, read_lines
from truetape.tape.foreign.origin import Origin, ReadLine, ReadWhole, StartReading, make_event
from truetape.tape.frame import Frame, FrameKind, Source

_LINE_FORMATS: dict[str, StartReading] = {
    "hftbacktest": hftbacktest.start_reading,
    "cryptofeed": cryptofeed.start_reading,
    "tardis-raw": tardis.start_reading,
    "tardis-minutes": tardis.start_reading_minutes,
    "tardis-json": tardis.start_reading_json,
    "tardis-normalized": tardis.start_reading_normalized,
    "plain": plain.start_reading,
    "rest": rest.start_reading,
}
_TABLE_FORMATS: dict[str, ReadWhole] = {"tardis": tardis_csv.read_dataset}
FORMATS: dict[str, StartReading | ReadWhole] = _LINE_FORMATS | _TABLE_FORMATS
"""Formats of recordings, by the name a user gives."""

FLUSH_EVERY_FRAMES = 2000


class Broken(NamedTuple):
    """An import that ended before its file did."""

    connection: str
    frames: int
    """Frames of the file that are on the tape."""
    last: Frame | None
    """The last of them; null when it closed its connection, or there is none."""


def read_recording(
    format_name: str, origin: Origin, *, skip_bad: bool = False, ratio_max: int = UNPACK_RATIO_MAX
) -> Iterator[Frame]:
    """Yield the frames of a foreign recording, in its order.

    A bad line raises one `TapeError` that names file and line; with `skip_bad` an EVENT frame says so instead.
    """
    if format_name not in FORMATS:
        raise TapeError(f"unknown recording format {format_name!r} (allowed: {', '.join(FORMATS)})")
    if format_name in _TABLE_FORMATS:
        yield from _read_ahead(_TABLE_FORMATS[format_name](origin, skip_bad=skip_bad, ratio_max=ratio_max))
        return
    start = _LINE_FORMATS[format_name]
    try:
        read_line = start(origin, lambda: read_lines(origin.path, ratio_max))
    except ValueError as error:
        raise TapeError(f"{origin.path}: {error}") from error
    yield from _read_frames(read_line, origin, skip_bad=skip_bad, ratio_max=ratio_max)


def _read_ahead(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames; while one is written the next is read, which is other work of another thread."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        coming = pool.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = pool.submit(next, frames, None)
            yield frame


def _read_frames(read_line: ReadLine, origin: Origin, *, skip_bad: bool, ratio_max: int) -> Iterator[Frame]:
    last = Frame(0, 0, FrameKind.EVENT, origin.venue, origin.feed or "", origin.connection, b"")
    for number, line in enumerate(read_lines(origin.path, ratio_max, origin.on_read), 1):
        try:
            frames = read_line(line)
        except (ValueError, ArithmeticError, msgspec.MsgspecError) as error:
            # Some formats say something with an empty line; the others mean nothing by it.
            if not line.strip():
                continue
            if not skip_bad:
                raise TapeError(f"{origin.path} line {number}: {error}") from error
            yield make_event(last, event="bad_line", file=origin.path.name, line=number, reason=str(error))
            continue
        for frame in frames:
            last = frame
            yield frame


def import_recording(  # noqa: PLR0913 - what an import can be told
    format_name: str,
    paths: Iterable[Path],
    venue: str,
    writer: TapeWriter,
    *,
    feed: str | None = None,
    feed_of: Callable[[str], str | None] | None = None,
    start_ns: int | None = None,
    skip_bad: bool = False,
    broken: Mapping[str, Broken] = MappingProxyType({}),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[Path, int]]:
    """Append recordings to a tape, with `opened` and `closed` events around what has none.

    `broken` tells by a file's name what is there of it already: it goes on from there.

    Returns the frames that each file gave, without those events. Everything is durable on return. `on_progress` hears
    how many bytes of the files have been read, and how many there are.
    """
    counts = []
    files = [Path(path) for path in paths]
    done, total = 0, sum(path.stat().st_size for path in files)
    for path in files:
        # The offset makes the name unique on this tape, however often a file is imported.
        left = broken.get(path.name, Broken(f"import/{path.name}@{writer.next_offset}", 0, None))
        connection = left.connection
        hear = partial(_tell_progress, on_progress, done, total)
        origin = Origin(path, venue, connection, feed=feed, feed_of=feed_of, start_ns=start_ns, on_read=hear)
        frames = read_recording(format_name, origin, skip_bad=skip_bad)
        rest = islice(frames, left.frames, None)
        counts.append((path, _append_frames(rest, writer, path.name, left.last)))
        writer.flush()
        writer.sync()
        done += path.stat().st_size
        on_progress(done, total)
    return counts


def find_broken(format_name: str, frames: Iterable[Frame], connection: str) -> Broken:
    """Say what of a file is on a tape already, from the tape's frames since its import began."""
    count, last = 0, None
    for frame in frames:
        if frame.connection != connection:
            continue
        event = msgspec.json.decode(frame.meta).get("event") if frame.kind == FrameKind.EVENT else None
        count += event != "opened" or format_name in _TABLE_FORMATS
        last = None if event == "closed" else frame._replace(payload=b"", meta="")
    return Broken(connection, count, last)


def _tell_progress(on_progress: Callable[[int, int], None], before: int, total: int, read: int) -> None:
    on_progress(before + read, total)


def _append_frames(frames: Iterator[Frame], writer: TapeWriter, name: str, last: Frame | None) -> int:
    indexes: dict[Source, int] = {}
    spoke = {Source(last.venue, last.feed, last.connection): last} if last is not None else {}
    """Open connections and the last frame of each."""

    def put(frame: Frame) -> None:
        source = Source(frame.venue, frame.feed, frame.connection)
        if source not in indexes:
            indexes[source] = writer.register(source)
        writer.append(indexes[source], frame.received_ns, frame.monotonic_ns, frame.kind, frame.payload, frame.meta)

    count = 0
    for frame in frames:
        source = Source(frame.venue, frame.feed, frame.connection)
        event = msgspec.json.decode(frame.meta).get("event") if frame.kind == FrameKind.EVENT else None
        if event == "closed":
            spoke.pop(source, None)
        elif event == "opened":
            spoke[source] = frame
        elif frame.kind in (FrameKind.TEXT, FrameKind.BINARY):
            if source not in spoke:
                put(make_event(frame, event="opened", file=name))
            spoke[source] = frame
        put(frame)
        count += 1
        if count % FLUSH_EVERY_FRAMES == 0:
            writer.flush()
    for frame in spoke.values():
        put(make_event(frame, event="closed", reason="end of recording", file=name))
    return count
