"""Look at a tape as a whole: its segments, and whether every byte is as it was written."""

from pathlib import Path

from msgspec.structs import replace

from truetape.errors import TapeError
from truetape.tape.contract import SegmentInfo, TapeCheck, TapeProblem
from truetape.tape.folder import check_identity, hash_file, list_firsts, read_manifest, segment_path
from truetape.tape.pruning import REASON
from truetape.tape.recovery import describe_segment
from truetape.tape.segment import Window, scan_segment


def list_segments(folder: Path) -> list[SegmentInfo]:
    """Return the segments present, in order; the open one has no hash yet."""
    folder = Path(folder)
    check_identity(folder)
    manifest = read_manifest(folder)
    infos = []
    for first in list_firsts(folder):
        info = manifest.get(first)
        infos.append(info or replace(describe_segment(segment_path(folder, first), first, "open"), sha256=""))
    return infos


def list_sealed(folder: Path) -> list[SegmentInfo]:
    """Return the sealed segments present, in order, without reading any of them; TapeError when it is no tape."""
    folder = Path(folder)
    check_identity(folder)
    manifest = read_manifest(folder)
    return [manifest[first] for first in list_firsts(folder) if first in manifest]


def find_losses(folder: Path, end: int) -> list[str]:
    """Say in lines what the manifest names and readers cannot see: whole segments, and what follows the tape's `end`.

    Reads no segment: damage within one is seen by whoever reads it, or by `verify_tape`.
    """
    folder = Path(folder)
    firsts = list_firsts(folder)
    missing = read_manifest(folder).keys() - set(firsts)
    manifest = read_manifest(folder)  # anew: one that was pruned meanwhile is not missing
    losses = [
        f"{segment_path(folder, first).name}: {manifest[first].count} frames from offset {first} on are missing"
        for first in sorted(missing)
        if manifest[first].reason != REASON
    ]
    last = manifest.get(max(firsts, default=-1))
    if last is not None and end < last.end:
        losses.append(
            f"{segment_path(folder, last.first).name}: {last.end - end} frames from offset {end} on are damaged"
        )
    return losses


def verify_tape(folder: Path) -> TapeCheck:
    """Check every message of every segment, and sealed segments against the manifest; goes on after damage."""
    folder = Path(folder)
    check_identity(folder)
    firsts = list_firsts(folder)
    manifest, problems = _manifest_or_problem(folder)
    frames = size = 0
    for first in firsts:
        found, wrong = _check_segment(segment_path(folder, first), first, manifest.get(first), first == firsts[-1])
        frames += found
        problems += wrong
        size += segment_path(folder, first).stat().st_size
    for first in manifest.keys() - set(firsts):
        if manifest[first].reason == REASON:
            continue
        name = segment_path(folder, first).name
        problems.append(TapeProblem(name, -1, first, "the manifest names this segment, but it is missing"))
    return TapeCheck(len(firsts), frames, size, tuple(sorted(problems, key=lambda problem: problem.offset)))


def _manifest_or_problem(folder: Path) -> tuple[dict[int, SegmentInfo], list[TapeProblem]]:
    try:
        return read_manifest(folder), []
    except TapeError as error:
        return {}, [TapeProblem("manifest.jsonl", -1, 0, str(error))]


def _check_segment(path: Path, first: int, info: SegmentInfo | None, is_last: bool) -> tuple[int, list[TapeProblem]]:
    """Return the intact frames of one segment and what is wrong with it."""
    problems: list[TapeProblem] = []
    frames, closed, end = 0, False, first
    window = Window(path)
    try:
        for place in scan_segment(window, first):
            frames += place.frames
            closed = closed or place.is_end
            end = max(end, place.offset + place.frames)
            if place.problem:
                problems.append(TapeProblem(path.name, place.byte, place.offset, place.problem))
    finally:
        window.close()
    if info is None and not closed and not is_last:
        problems.append(TapeProblem(path.name, -1, end, "neither sealed nor the last segment"))
    if info is not None:
        problems += _compare(path, info, frames, closed)
    return frames, problems


def _compare(path: Path, info: SegmentInfo, frames: int, closed: bool) -> list[TapeProblem]:
    """Hold a sealed segment against its line of the manifest."""
    reasons = []
    if not closed:
        reasons.append("sealed, but the end of the stream is missing")
    if frames != info.count:
        reasons.append(f"{frames} intact frames where the manifest says {info.count}")
    if hash_file(path) != info.sha256:
        reasons.append("the file's hash is not the manifest's")
    return [TapeProblem(path.name, -1, info.first, reason) for reason in reasons]
