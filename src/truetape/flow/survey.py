"""A look at a tape and its sinks from outside, while others write them."""

from datetime import UTC, datetime

import msgspec

from truetape.collect.errand import SUFFIX, name_tape
from truetape.collect.tracked import read_past
from truetape.config import Settings
from truetape.errors import TruetapeError
from truetape.flow.beside import list_tapes
from truetape.sinks import name_beside, open_sink
from truetape.tape import find_folder, find_writer, list_segments, open_reader


class SinkStatus(msgspec.Struct, frozen=True):
    """How far one sink is."""

    sink: str
    offset: int
    behind: int
    """Frames on the tape that are not in it yet."""
    quarantined: int
    rows: int
    problem: str


class TapeStatus(msgspec.Struct, frozen=True):
    """What is on a tape."""

    tape: str
    first: int
    end: int
    segments: int
    bytes: int
    writer: int | None
    """Process id of who writes it now."""
    last_received_at: datetime | None
    sinks: list[SinkStatus]


class ServiceStatus(msgspec.Struct, frozen=True):
    """What the tape's end says of one snapshot service."""

    service: str
    tracked: int
    """Markets asked for in every turn."""
    turn_at: datetime | None
    """When the newest turn with an answer was due."""
    answered: int
    """Markets that were answered in it."""


FRAMES_MAX = 2_000_000
"""Frames read backwards for a word of services: about a second."""


def list_services(tape: str, services: list[str]) -> list[ServiceStatus]:
    """Return what the tape's end says of snapshot services."""
    found = []
    for name, past in sorted(read_past(tape, services, FRAMES_MAX).items()) if services else ():
        due_us, done = past.answered
        turn_at = datetime.fromtimestamp(due_us / 1e6, UTC) if due_us else None
        found.append(ServiceStatus(name, len(past.markets), turn_at, len(done)))
    return found


def read_all_status(settings: Settings, tape: str | None = None) -> list[TapeStatus]:
    """Return what is on a tape, or on the recorder's and on that of jobs; TapeError when there is none."""
    jobs = name_tape(settings.tape)
    return [
        read_status(one, tuple(name_beside(spec, SUFFIX) for spec in settings.sinks) if one == jobs else settings.sinks)
        for one in ([tape] if tape else list_tapes(settings.tape))
    ]


def read_status(tape: str, sinks: tuple[str, ...]) -> TapeStatus:
    """Return what is on the tape and how far each sink is; TapeError when there is no tape."""
    reader = open_reader(tape)
    try:
        segments = list_segments(find_folder(tape))
        end = reader.end
        last = max((segment.last_received_ns for segment in segments), default=0)
        return TapeStatus(
            tape,
            reader.first,
            end,
            len(segments),
            sum(segment.bytes for segment in segments),
            find_writer(find_folder(tape)),
            datetime.fromtimestamp(last / 1e9, UTC) if last else None,
            [_look_at(spec, reader.tape_id, end) for spec in sinks],
        )
    finally:
        reader.close()


def _look_at(spec: str, tape_id: str, end: int) -> SinkStatus:
    try:
        sink = open_sink(spec, tape_id)
        try:
            checkpoint = sink.resume()
        finally:
            sink.close()
    except TruetapeError as error:
        return SinkStatus(spec, 0, end, 0, 0, str(error))
    if checkpoint is None:
        return SinkStatus(spec, 0, end, 0, 0, "nothing delivered yet")
    counts = checkpoint.counts
    rows = sum(n for name, n in counts.items() if name.startswith("rows."))
    return SinkStatus(spec, checkpoint.offset, end - checkpoint.offset, counts.get("quarantined", 0), rows, "")
