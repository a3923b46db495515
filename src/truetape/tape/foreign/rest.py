"""HTTP answers, one a line: `{"url", "status", "body", "recorded_at", "method", "headers"}`, the body as text."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from truetape.tape.foreign.origin import Origin, ReadLine
from truetape.tape.frame import Frame, FrameKind

HEADERS_KEPT = ("date", "retry-after", "content-type", "age", "cache-control")


class _Entry(msgspec.Struct):
    url: str
    body: str
    status: int | str = 200
    recorded_at: str = ""
    method: str = "GET"
    headers: dict[str, str] = {}


_decode_entry = msgspec.json.Decoder(_Entry).decode


def start_reading(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Read answers; those without a time get the given start's."""

    def read_line(line: bytes) -> tuple[Frame, ...]:
        entry = _decode_entry(line)
        headers = {name.lower(): value for name, value in entry.headers.items() if name.lower() in HEADERS_KEPT}
        at = _read_time(entry.recorded_at or headers.get("date", "")) or origin.start_ns
        if not at:
            raise ValueError("an answer without time: give the start's")
        meta = {"method": entry.method.upper(), "url": entry.url, "status": int(entry.status), "headers": headers}
        text = msgspec.json.encode(meta).decode()
        feed = origin.find_feed(entry.url)
        return (Frame(at, 0, FrameKind.RESPONSE, origin.venue, feed, origin.connection, entry.body.encode(), text),)

    return read_line


def _read_time(text: str) -> int | None:
    """Read the time of an HTTP header, or an ISO one; UTC unless it says otherwise."""
    if not text:
        return None
    moment = parsedate_to_datetime(text) if text[:1].isalpha() else datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
