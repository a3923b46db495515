"""The tape: an append-only log of frames, exactly as they crossed the wire."""

from truetape.tape.archive import archive_segment
from truetape.tape.check import find_losses, list_sealed, list_segments, verify_tape
from truetape.tape.contract import (
    SegmentInfo,
    TapeCheck,
    TapeProblem,
    TapeReader,
    TapeSettings,
    TapeWriter,
)
from truetape.tape.folder import find_writer, hash_file
from truetape.tape.frame import FRAME_SCHEMA, JOIN_FRAMES, Frame, FrameBatch, FrameKind, Source, join_batches
from truetape.tape.message import iter_payloads
from truetape.tape.opening import find_folder, has_tape, open_reader, open_writer
from truetape.tape.reader import FileTapeReader
from truetape.tape.repair import Hole, repair_tape
from truetape.tape.writer import FileTapeWriter

__all__ = [
    "FRAME_SCHEMA",
    "JOIN_FRAMES",
    "FileTapeReader",
    "FileTapeWriter",
    "Frame",
    "FrameBatch",
    "FrameKind",
    "Hole",
    "SegmentInfo",
    "Source",
    "TapeCheck",
    "TapeProblem",
    "TapeReader",
    "TapeSettings",
    "TapeWriter",
    "archive_segment",
    "find_folder",
    "find_losses",
    "find_writer",
    "has_tape",
    "hash_file",
    "iter_payloads",
    "join_batches",
    "list_sealed",
    "list_segments",
    "open_reader",
    "open_writer",
    "repair_tape",
    "verify_tape",
]
