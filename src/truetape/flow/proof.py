"""Prove that a sink holds what the tape says, by decoding the whole tape again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from truetape.decode.past import decode_to, start_engine
from truetape.errors import SinkError
from truetape.lake import count_dropped
from truetape.sinks import open_sink, split_spec
from truetape.tape import find_folder, find_losses, open_reader


class Verdict(msgspec.Struct, frozen=True):
    """What `verify` found: the equation of the tape and of one sink."""

    balanced: bool
    frames: int
    decoded: int
    quarantined: int
    control: int
    rows: dict[str, int]
    stored: dict[str, int]
    duplicates: dict[str, int]
    gaps: int
    lake_sha256: str | None
    problems: list[str]
    """Why it is not balanced; empty when it is."""
    dropped: dict[str, int] = {}
    """Rows that retention took out of the sink: they count as stored."""


class _Told(NamedTuple):
    """What one tape says, and how far the sink has it."""

    tape: str
    counts: dict[str, int]
    offset: int
    end: int
    stored: dict[str, int]
    """Rows by kind in the sink, whichever tape they came from."""
    losses: list[str]
    """What was sealed and cannot be read any more."""


def verify(
    tape: str, sink_spec: str, hash_sink: Callable[[], str] | None = None, *, beside: Sequence[str] = ()
) -> Verdict:
    """Decode the whole tape again and hold it against what the sink has stored.

    `beside` are other tapes that the sink takes: what it has stored is of all of them together.
    """
    told = [_decode(one, sink_spec) for one in (tape, *beside)]
    counts: Counter[str] = Counter()
    for one in told:
        counts.update(one.counts)
    stored = told[0].stored
    dropped = _count_dropped(sink_spec)
    problems = [problem for one in told for problem in _find_loss(one)]
    if not any(one.offset != one.end for one in told):
        problems += _find_imbalance(counts, {k: stored.get(k, 0) + dropped.get(k, 0) for k in stored | dropped})
    return Verdict(
        not problems,
        counts["frames"],
        counts["decoded"],
        counts["quarantined"],
        counts["control"],
        _pick(counts, "rows."),
        stored,
        _pick(counts, "duplicates."),
        stored.get("gap", 0),
        hash_sink() if hash_sink else None,
        problems,
        dropped,
    )


def _decode(tape: str, sink_spec: str) -> _Told:
    reader = open_reader(tape)
    sink = open_sink(sink_spec, reader.tape_id)
    try:
        checkpoint = sink.resume()
        if checkpoint is None:
            raise SinkError(f"{sink_spec}: nothing of tape {tape} was ever delivered there")
        engine = start_engine(reader)
        decode_to(engine, reader)
        stored = {kind: count for kind, count in sorted(sink.stored().items()) if count}
        return _Told(tape, engine.counts, checkpoint.offset, reader.end, stored, find_damage(tape))
    finally:
        sink.close()
        reader.close()


def find_damage(tape: str) -> list[str]:
    """Say what was sealed on a tape and cannot be read any more; nothing when all of it can."""
    reader = open_reader(tape)
    try:
        losses = find_losses(find_folder(tape), reader.end)
    finally:
        reader.close()
    return [f"{tape}: {loss} (`truetape tape verify` says more)" for loss in losses]


def _count_dropped(spec: str) -> dict[str, int]:
    name, place = split_spec(spec)
    return count_dropped(place.partition("?")[0]) if name == "lake" else {}


def _find_loss(told: _Told) -> list[str]:
    counts, problems = told.counts, [*told.losses]
    told_apart = counts["decoded"] + counts["quarantined"] + counts["control"]
    if counts["frames"] != told_apart:
        problems.append(f"{counts['frames']} frames on the tape, {told_apart} decoded, quarantined or control")
    if told.offset != told.end:
        problems.append(f"the tape ends at {told.end}, the sink stands at {told.offset}: run `truetape deliver`")
    return problems


def _find_imbalance(counts: Mapping[str, int], stored: Mapping[str, int]) -> list[str]:
    problems = []
    rows, duplicates = _pick(counts, "rows."), _pick(counts, "duplicates.")
    for kind in sorted(rows.keys() | stored.keys()):
        due = rows.get(kind, 0) - duplicates.get(kind, 0)
        if due != stored.get(kind, 0):
            problems.append(
                f"{kind}: {due} rows are due ({rows.get(kind, 0)} decoded, {duplicates.get(kind, 0)} repeats), {stored.get(kind, 0)} stored"
            )
    return problems


def _pick(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in sorted(counts.items()) if name.startswith(prefix)}
