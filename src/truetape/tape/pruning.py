"""Take old segments off a tape, keeping what their decoding led to: the rest still decodes and balances as the whole."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from truetape.errors import TapeError
from truetape.events.checkpoint import Checkpoint
from truetape.tape.contract import SegmentInfo
from truetape.tape.folder import append_manifest, read_manifest, segment_path, sync_folder, write_durably

REASON = "pruned"
"""What the manifest says of a segment that was taken off; its hash and count stay."""
_NAME = "pruned.json"


def read_pruned(folder: Path) -> Checkpoint | None:
    """Return what decoding of everything that was taken off had led to; null when nothing was."""
    path = folder / _NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise TapeError(f"{path} does not read: {error}") from error


def prune_segments(folder: Path, infos: Sequence[SegmentInfo], checkpoint: Checkpoint) -> None:
    """Take the oldest segments off; `checkpoint` stands where the last of them ends.

    A crash in between leaves segments below the checkpoint, which nobody reads; the next call takes them off.
    """
    if infos[-1].end != checkpoint.offset:
        raise TapeError(f"{folder}: the checkpoint stands at {checkpoint.offset}, the segments end at {infos[-1].end}")
    write_durably(folder / _NAME, msgspec.json.encode(checkpoint))
    for info in infos:
        append_manifest(folder, replace(info, reason=REASON))
        segment_path(folder, info.first).unlink(missing_ok=True)
    sync_folder(folder / "segments")


def list_pruned(folder: Path) -> list[SegmentInfo]:
    """List the segments that were taken off, in order."""
    return sorted((i for i in read_manifest(folder).values() if i.reason == REASON), key=lambda info: info.first)
