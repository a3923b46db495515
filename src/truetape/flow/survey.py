"""A look at a tape and its sinks from outside, while others write them."""

from datetime import UTC, datetime

import msgspec

from truetape.errors import TruetapeError
from truetape.sinks import open_sink
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
