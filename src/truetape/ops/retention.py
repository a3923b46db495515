"""What may be thrown away: old segments of the tape and old days of tables, and never what is still needed.

A segment goes only when every sink has it, its content is what the manifest says, no gap that is still open
began in it, and no pinned dataset was built from it. What its decoding added up to is kept, so that `verify` still balances the whole.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from truetape import clock
from truetape.collect.errand import SUFFIX, name_tape
from truetape.config import RetentionSettings, Settings
from truetape.decode.engine import Engine
from truetape.decode.past import decode_to, start_engine
from truetape.errors import ConfigError, TapeError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.lake import drop_days, find_holder
from truetape.ops.place import list_lakes
from truetape.sinks import name_beside, open_sink, split_spec
from truetape.tape import SegmentInfo, find_folder, has_tape, list_sealed, open_reader
from truetape.tape.folder import check_identity, hash_file, segment_path
from truetape.tape.pruning import prune_segments

DAY_NS = 86_400 * 10**9


class PruneReport(msgspec.Struct, frozen=True):
    """What was thrown away, and why not more."""

    segments: int
    bytes: int
    rows: dict[str, int]
    """Table → rows."""
    kept: str
    """What holds the oldest segment that the settings would let go; empty: nothing."""


def prune(settings: Settings, *, dry_run: bool = False) -> PruneReport:
    """Throw away what the settings let go and nothing needs; says what it would do on a dry run."""
    rules = settings.retention
    _check_tables(rules)
    now_ns = clock.wall_ns()
    segments, size, kept = 0, 0, ""
    for part in _list_parts(settings):
        chosen, holds = _choose_segments(part, now_ns)
        segments += len(chosen)
        size += sum(info.bytes for info in chosen)
        kept = kept or holds
        if chosen and not dry_run:
            _prune_tape(part, chosen)
    return PruneReport(segments, size, {} if dry_run else _prune_tables(settings, now_ns), kept)


def _list_parts(settings: Settings) -> list[Settings]:
    """Return settings for the recorder's tape and for that of jobs, as far as there are such."""
    sinks = tuple(name_beside(spec, SUFFIX) for spec in settings.sinks)
    beside = msgspec.structs.replace(settings, tape=name_tape(settings.tape), sinks=sinks)
    return [part for part in (settings, beside) if has_tape(part.tape)] or [settings]


def _check_tables(rules: RetentionSettings) -> None:
    for kind in rules.table_days:
        if kind not in KINDS:
            raise ConfigError(f"retention.table_days: no table {kind!r} (there are: {', '.join(KINDS)})")


def _choose_segments(settings: Settings, now_ns: int) -> tuple[list[SegmentInfo], str]:
    """Return the oldest segments that may go, and what keeps the next one that is due."""
    rules = settings.retention
    sealed = list_sealed(find_folder(settings.tape))
    left = sum(info.bytes for info in sealed)
    chosen: list[SegmentInfo] = []
    checkpoints = _read_checkpoints(settings)
    delivered = _find_delivered(checkpoints)
    tape_id, lakes = check_identity(find_folder(settings.tape)).id, list_lakes(settings)
    open_ns = _find_open_gap(checkpoints, now_ns - int(rules.open_gap_days * DAY_NS))
    for info in sealed[:-1]:  # the newest stays: it says where the tape goes on
        is_old = bool(rules.tape_days) and info.last_received_ns < now_ns - int(rules.tape_days * DAY_NS)
        is_over = bool(rules.tape_bytes_max) and left > rules.tape_bytes_max
        if not (is_old or is_over):
            return chosen, ""
        name = segment_path(Path(), info.first).name
        if info.end > delivered[0]:
            return chosen, f"{name}: {delivered[1]} stands at offset {delivered[0]}"
        if open_ns is not None and info.last_received_ns >= open_ns:
            return chosen, f"{name}: a gap that began at {_tell(open_ns)} is open"
        pins = (find_holder(lake, tape_id, info.first, info.end, info.first_received_ns) for lake in lakes)
        if pin := next(filter(None, pins), None):
            return chosen, f"{name}: the pinned dataset {pin!r} was built from it (`truetape dataset unpin {pin}`)"
        chosen.append(info)
        left -= info.bytes
    return chosen, ""


def _read_checkpoints(settings: Settings) -> dict[str, Checkpoint | None]:
    """Return where each sink stands, and what decoding remembered there."""
    tape_id = check_identity(find_folder(settings.tape)).id
    checkpoints = {}
    for spec in settings.sinks:
        sink = open_sink(spec, tape_id)
        try:
            checkpoints[spec] = sink.resume()
        finally:
            sink.close()
    return checkpoints


def _find_delivered(checkpoints: dict[str, Checkpoint | None]) -> tuple[int, str]:
    """Return up to where every sink has the tape, and which sink is the last."""
    stands = [(checkpoint.offset if checkpoint else 0, spec) for spec, checkpoint in checkpoints.items()]
    return min(stands, default=(0, "no sink"))


def _find_open_gap(checkpoints: dict[str, Checkpoint | None], oldest_ns: int) -> int | None:
    """Return when the oldest gap began that lakes say is still open, of those that began after a moment."""
    begun: list[int] = []
    for spec, checkpoint in checkpoints.items():
        if checkpoint is not None and split_spec(spec)[0] == "lake":
            engine = Engine(checkpoint.tape_id)
            engine.restore(checkpoint)
            begun += [state.gap_from_ns for _, state in engine.states if state.gap]
    return min((at for at in begun if at >= oldest_ns), default=None)


def _prune_tape(settings: Settings, segments: list[SegmentInfo]) -> None:
    """Decode the segments once more, which proves that they read, and take them off."""
    folder = find_folder(settings.tape)
    for info in segments:
        path = segment_path(folder, info.first)
        if hash_file(path) != info.sha256:
            raise TapeError(f"{path} is not as the manifest says: nothing was pruned")
    reader = open_reader(settings.tape)
    try:
        engine, end = start_engine(reader), segments[-1].end
        decode_to(engine, reader, end)
    finally:
        reader.close()
    prune_segments(folder, segments, msgspec.structs.replace(engine.save(), offset=end))


def _prune_tables(settings: Settings, now_ns: int) -> dict[str, int]:
    dropped: dict[str, int] = {}
    for place in list_lakes(settings):
        for kind, days in settings.retention.table_days.items():
            before = (datetime.fromtimestamp(now_ns / 1e9, UTC) - timedelta(days=days)).date()
            if rows := drop_days(place, kind, before):
                dropped[kind] = dropped.get(kind, 0) + rows
    return dropped


def _tell(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"
