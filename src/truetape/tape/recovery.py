"""Repair what a crash left: cut damage out of segments, keep it beside them as evidence, and tell of it."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from truetape.errors import TapeError
from truetape.tape.contract import SegmentInfo
from truetape.tape.folder import (
    append_manifest,
    explain_os_error,
    hash_file,
    list_firsts,
    read_manifest,
    segment_path,
    sync_folder,
)
from truetape.tape.message import END_OF_STREAM, SCHEMA_MESSAGE, read_batch
from truetape.tape.segment import Place, Window, list_venues, scan_segment

OFFSET_SKIP = 1_000_000
"""Offsets left out after a power loss: readers may have seen, and acted on, frames that the disk then lost."""

Event = dict[str, int | str]


class Recovered(NamedTuple):
    """Where to go on, and what has to be declared."""

    next_offset: int
    events: tuple[Event, ...]


def recover_tape(folder: Path, rebooted: bool) -> Recovered:
    """Seal every segment that the last writer left open, without damage; the caller holds the lock."""
    manifest = read_manifest(folder)
    events: list[Event] = []
    end = max((info.end for info in manifest.values()), default=0)
    for first in list_firsts(folder):
        if first not in manifest:
            end = max(end, _recover_segment(folder, first, events))
    if rebooted:
        events = events or [_event("", end, 0, "power loss: frames not yet durable may be missing")]
        end += OFFSET_SKIP
    for event in events:
        event["next_offset"] = end
    return Recovered(end, tuple(events))


def _event(segment: str, offset: int, cut: int, reason: str) -> Event:
    return {"event": "torn_tail", "segment": segment, "offset": offset, "bytes_cut": cut, "reason": reason}


def _recover_segment(folder: Path, first: int, events: list[Event]) -> int:
    """Make one open segment a sealed one and return its end."""
    path = segment_path(folder, first)
    window = Window(path)
    try:
        places = list(scan_segment(window, first))
        bad = [place for place in places if place.problem]
        good = [place for place in places if place.frames]
        if not good:
            _discard_empty(path, window, events)
            return first
        if bad:
            keep_evidence(path, window, bad)
            events += [_event(path.name, place.offset, place.size, place.problem) for place in bad]
        if bad or not places[-1].is_end:
            _rewrite(path, window, good, bad)
    finally:
        window.close()
    sync_folder(path.parent)
    info = describe_segment(path, first, "recovered")
    append_manifest(folder, info)
    return info.end


def _discard_empty(path: Path, window: Window, events: list[Event]) -> None:
    """Put a segment without one whole batch aside, unless it never was ours."""
    size = window.size()
    start = bytes(window.view(0, len(SCHEMA_MESSAGE)))
    if start.strip(b"\0") and not SCHEMA_MESSAGE.startswith(start):
        raise TapeError(f"{path} is not a tape segment: move it out of the segments folder")
    with explain_os_error(path, "put aside"):
        path.rename(path.with_name(f"{path.name}.0.torn"))
    sync_folder(path.parent)
    first = int(path.name[:20])
    events.append(_event(path.name, first, size, "no whole batch"))


def keep_evidence(path: Path, window: Window, bad: list[Place]) -> None:
    """Copy what is damaged out of a segment into files beside it."""
    for place in bad:
        evidence = path.with_name(f"{path.name}.{place.byte}.torn")
        with explain_os_error(evidence, "write"), evidence.open("wb") as file:
            copy_range(window, place.byte, place.size, file.fileno())
            os.fsync(file.fileno())


def copy_range(window: Window, at: int, size: int, target: int) -> None:
    """Write bytes of a segment to a file; fewer where it ends."""
    left = size
    while left > 0:
        piece = window.view(at, min(left, 1024 * 1024))
        if not len(piece):
            break
        os.write(target, piece)
        at, left = at + len(piece), left - len(piece)


def _rewrite(path: Path, window: Window, good: list[Place], bad: list[Place]) -> None:
    """Leave exactly the intact batches and a proper end in the file."""
    end = good[-1].byte + good[-1].size
    if any(place.byte < end for place in bad):
        _copy_good(path, window, good)
        return
    with explain_os_error(path, "repair"), path.open("r+b") as file:
        file.truncate(end)
        file.seek(end)
        file.write(END_OF_STREAM)
        file.flush()
        os.fsync(file.fileno())


def _copy_good(path: Path, window: Window, good: list[Place]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with explain_os_error(temporary, "write"), temporary.open("wb", buffering=0) as file:
        file.write(SCHEMA_MESSAGE)
        for place in good:
            copy_range(window, place.byte, place.size, file.fileno())
        file.write(END_OF_STREAM)
        os.fsync(file.fileno())
        shutil.copymode(path, temporary)
        temporary.replace(path)


def describe_segment(path: Path, first: int, reason: str) -> SegmentInfo:
    """Read a whole intact segment and return its line for the manifest."""
    window = Window(path)
    try:
        places = [place for place in scan_segment(window, first) if place.frames]
        venues: set[str] = set()
        received: list[int] = []
        for place in places:
            batch = read_batch(window.view(place.byte, place.size))
            venues.update(list_venues(batch))
            edge = batch.column("received_ns")
            received = [received[0] if received else edge[0].as_py(), edge[-1].as_py()]
    finally:
        window.close()
    with explain_os_error(path, "read"):
        digest = hash_file(path)
    return SegmentInfo(
        first=first,
        end=places[-1].offset + places[-1].frames if places else first,
        count=sum(place.frames for place in places),
        bytes=path.stat().st_size,
        sha256=digest,
        first_received_ns=received[0] if received else 0,
        last_received_ns=received[1] if received else 0,
        venues=tuple(sorted(venue for venue in venues if venue)),
        reason=reason,
    )
