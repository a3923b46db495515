"""Frames without times, one a line: times are made up from a given start, and the tape says so."""

from collections.abc import Callable, Iterator

from truetape.tape.foreign.origin import Origin, ReadLine, make_event
from truetape.tape.frame import Frame, FrameKind

_STEP_NS = 1000


def start_reading(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Give each frame the start time and a microsecond more than the one before."""
    if not origin.start_ns:
        raise ValueError("plain frames have no times: give the first frame's with --start")
    at = origin.start_ns
    is_first = True

    def read_line(line: bytes) -> tuple[Frame, ...]:
        nonlocal at, is_first
        frame = Frame(at, 0, FrameKind.TEXT, origin.venue, origin.feed or "", origin.connection, line)
        at += _STEP_NS
        if not is_first:
            return (frame,)
        is_first = False
        note = make_event(frame, event="note", times="made up", start_ns=frame.received_ns, step_ns=_STEP_NS)
        return (note, frame)

    return read_line
