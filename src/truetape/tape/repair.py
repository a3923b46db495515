"""Make a damaged tape readable again: what is lost of sealed segments is declared on the tape, in its place.

Damaged bytes are cut out and kept beside the segment; an event takes the last of the offsets that were lost with them, so
that every view that has not passed them yet learns of the hole.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from truetape.tape.check import verify_tape
from truetape.tape.contract import SegmentInfo
from truetape.tape.folder import append_manifest, explain_os_error, read_manifest, segment_path, sync_folder
from truetape.tape.frame import FrameKind, Source
from truetape.tape.message import END_OF_STREAM, SCHEMA_MESSAGE, build_batch, encode_batch, options_for, read_batch
from truetape.tape.pruning import REASON as PRUNED
from truetape.tape.recovery import copy_range, describe_segment, keep_evidence
from truetape.tape.segment import Place, Window, scan_segment

REASON = "repaired"
"""What the manifest says of a segment that has lost something."""
_RECORDER = Source("", "", "recorder")


class Hole(NamedTuple):
    """Frames that are lost."""

    segment: str
    begin: int
    """First offset lost."""
    end: int
    """One more than the last."""
    from_ns: int
    """When the frame before was received, ns; the first that is known, where there is none."""
    to_ns: int
    """When the frame after was received, ns."""


def repair_tape(folder: Path) -> list[Hole]:
    """Cut damage out of sealed segments and declare what is lost, missing segments included; return that, in order.

    The open segment is left to the writer that comes next, and one whose batches are all intact though its hash is another
    to whoever knows why. Raises `TapeError` when the manifest does not read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    wrong = {problem.segment for problem in verify_tape(folder).problems}
    holes = []
    for first, info in sorted(manifest.items()):
        path = segment_path(folder, first)
        if path.name in wrong and info.reason != PRUNED:
            holes += _repair_segment(folder, path, info)
    return holes


def _repair_segment(folder: Path, path: Path, info: SegmentInfo) -> list[Hole]:
    """Rewrite one segment, or write one in place of a missing one."""
    window = Window(path) if path.exists() else None
    try:
        places = list(scan_segment(window, info.first)) if window else []
        damaged = [place for place in places if place.problem]
        holes = list(_find_holes(path.name, info, window, places))
        if not damaged and not holes:
            return []
        if window:
            keep_evidence(path, window, damaged)
        _write(path, window, [place for place in places if place.frames], holes)
    finally:
        if window:
            window.close()
    sync_folder(path.parent)
    append_manifest(folder, describe_segment(path, info.first, REASON))
    return holes


def _write(path: Path, window: Window | None, good: list[Place], holes: list[Hole]) -> None:
    """Write whole batches and what declares the holes, in the order of their offsets."""
    temporary = path.with_name(f".{path.name}.repair.tmp")
    pieces = {place.offset: place for place in good}
    declared = {hole.end - 1: _declare(hole) for hole in holes}
    try:
        with explain_os_error(temporary, "write"), temporary.open("wb", buffering=0) as file:
            file.write(SCHEMA_MESSAGE)
            for offset in sorted([*pieces, *declared]):
                if offset in declared:
                    file.write(declared[offset])
                elif window:
                    copy_range(window, pieces[offset].byte, pieces[offset].size, file.fileno())
            file.write(END_OF_STREAM)
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _find_holes(name: str, info: SegmentInfo, window: Window | None, places: list[Place]) -> Iterator[Hole]:
    """Yield what is lost: where a batch is damaged, and what is missing up to the segment's end."""
    expected, from_ns, is_damaged = info.first, info.first_received_ns, False
    for place in places:
        if window and place.frames:
            received = read_batch(window.view(place.byte, place.size)).column("received_ns")
            if is_damaged and place.offset > expected:
                yield Hole(name, expected, place.offset, from_ns, received[0].as_py())
            expected, from_ns, is_damaged = place.offset + place.frames, received[-1].as_py(), False
        is_damaged = is_damaged or bool(place.problem)
    if expected < info.end:
        yield Hole(name, expected, info.end, from_ns, info.last_received_ns)


def _declare(hole: Hole) -> bytes:
    """Return a batch of one event, with the last offset that is lost."""
    event = {
        "event": "damaged", "segment": hole.segment, "offset": hole.begin, "frames": hole.end - hole.begin,
        "from_ns": hole.from_ns, "to_ns": hole.to_ns,
    }  # fmt: skip
    row = (0, hole.to_ns, 0, FrameKind.EVENT, b"", msgspec.json.encode(event).decode())
    return encode_batch(build_batch([row], [_RECORDER]), hole.end - 1, options_for(1))
