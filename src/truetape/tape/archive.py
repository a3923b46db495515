"""Rewrite a sealed segment in larger batches and compressed harder; the frames stay the same."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from truetape.errors import TapeError
from truetape.tape.contract import SegmentInfo
from truetape.tape.folder import (
    append_manifest,
    check_identity,
    explain_os_error,
    read_manifest,
    segment_path,
    sync_folder,
)
from truetape.tape.frame import FrameBatch, join_batches
from truetape.tape.message import decode_batch, encode_batch, options_for, pack_names
from truetape.tape.segment import SegmentFile, Window, scan_segment

ARCHIVE_LEVEL = 9
ARCHIVE_FRAMES = 16_384
_ARCHIVE_BYTES_MAX = 32 * 1024 * 1024


def archive_segment(folder: Path, first: int, level: int = ARCHIVE_LEVEL, frames: int = ARCHIVE_FRAMES) -> SegmentInfo:
    """Replace the sealed segment that begins at offset `first` by a smaller one with equal frames.

    Readers in the middle of the old file go on reading it. Raises `TapeError` when it is open or damaged.
    """
    folder = Path(folder)
    check_identity(folder)
    if first not in read_manifest(folder):
        raise TapeError(f"{segment_path(folder, first)} is not sealed: only sealed segments can be archived")
    path = segment_path(folder, first)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        info = _write_archive(path, temporary, first, options_for(level), frames)
        _compare_frames(path, temporary, first, frames)
        with explain_os_error(path, "replace"):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    append_manifest(folder, info)
    return info


def _write_archive(
    path: Path, temporary: Path, first: int, options: pa.ipc.IpcWriteOptions, frames: int
) -> SegmentInfo:
    segment = SegmentFile(temporary, first)
    try:
        for batch in _rebatch(path, first, frames):
            segment.write(encode_batch(pack_names(batch.data), batch.offset, options), batch.data, batch.offset)
        segment.finish()
        with explain_os_error(temporary, "sync"):
            os.fsync(segment.descriptor)
        return segment.describe("archived")
    finally:
        os.close(segment.descriptor)


def _decode_batches(path: Path, first: int) -> Iterator[FrameBatch]:
    window = Window(path)
    try:
        for place in scan_segment(window, first):
            if place.problem:
                raise TapeError(f"{path} is damaged at byte {place.byte}, offset {place.offset}: {place.problem}")
            if place.frames:
                yield FrameBatch(place.offset, decode_batch(window.view(place.byte, place.size)))
    finally:
        window.close()


def _rebatch(path: Path, first: int, frames_max: int) -> Iterator[FrameBatch]:
    return join_batches(_decode_batches(path, first), frames_max, _ARCHIVE_BYTES_MAX)


def _compare_frames(old: Path, new: Path, first: int, frames: int) -> None:
    """Read both files again and hold every column of every frame against the other."""
    for before, after in zip(_rebatch(old, first, frames), _decode_batches(new, first), strict=True):
        if before.offset != after.offset or not before.data.equals(after.data):
            raise TapeError(f"archiving {old} changed frames at offset {before.offset}: the old file is kept")
