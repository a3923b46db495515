"""Tardis: raw replay lines (`<time, 7 decimals>Z <frame>`, an empty line is a disconnect), and JSON lines."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from truetape.tape.foreign.origin import Origin, ReadLine, make_event
from truetape.tape.frame import Frame, FrameKind

_TIME_SIZE = 28


def start_reading(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Read raw replay lines."""
    last = Frame(0, 0, FrameKind.TEXT, origin.venue, origin.feed or "", origin.connection, b"")

    def read_line(line: bytes) -> tuple[Frame, ...]:
        nonlocal last
        if not line:
            return (make_event(last, event="closed", reason="recorder disconnect"),) if last.received_ns else ()
        if line[_TIME_SIZE : _TIME_SIZE + 1] != b" ":
            raise ValueError("not `<time> <frame>` with a time of 28 characters")
        received_ns = read_time(line[:_TIME_SIZE].decode("ascii"))
        last = last._replace(received_ns=received_ns, payload=line[_TIME_SIZE + 1 :])
        return (last,)

    return read_line


def start_reading_minutes(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Read raw replay lines of tardis-machine's sockets, which bear the end of their minute; the tape says so."""
    read_line, is_first = start_reading(origin, lines), True

    def read_first(line: bytes) -> tuple[Frame, ...]:
        nonlocal is_first
        frames = tuple(read_line(line))
        if not is_first or not frames:
            return frames
        is_first = False
        return (make_event(frames[0], event="note", times="the ends of the minutes", losses="not told"), *frames)

    return read_first


class _Entry(msgspec.Struct, rename="camel"):
    local_timestamp: str
    message: msgspec.Raw
    exchange: str = ""


_decode_entry = msgspec.json.Decoder(_Entry).decode


def start_reading_json(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Read lines of `{"localTimestamp", "exchange", "message"}`; without a venue given, the line names it."""

    def read_line(line: bytes) -> tuple[Frame, ...]:
        entry = _decode_entry(line)
        venue = origin.venue or entry.exchange
        payload, at = bytes(entry.message), read_time(entry.local_timestamp)
        return (Frame(at, 0, FrameKind.TEXT, venue, origin.feed or "", origin.connection, payload),)

    return read_line


class _Normalized(msgspec.Struct, rename="camel"):
    local_timestamp: str


_decode_normalized = msgspec.json.Decoder(_Normalized).decode


def start_reading_normalized(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Read lines of tardis-machine's `replay-normalized`, disconnects among them."""

    def read_line(line: bytes) -> tuple[Frame, ...]:
        at = read_time(_decode_normalized(line).local_timestamp)
        return (Frame(at, 0, FrameKind.TEXT, origin.venue, origin.feed or "", origin.connection, line),)

    return read_line


def read_time(text: str) -> int:
    """Return nanoseconds of an ISO time in UTC, exact to its last digit."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or len(seconds) != 19 or (fraction and not fraction.isdigit()) or len(fraction) > 9:
        raise ValueError(f"not a time in UTC: {text!r}")
    whole = int(datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp())
    return whole * 1_000_000_000 + int(fraction.ljust(9, "0"))
