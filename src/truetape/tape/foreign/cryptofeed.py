"""cryptofeed's raw captures: JSON lines (format 2 and the like), and the older text lines.

The older text has `configuration: …`, `<url> <-> <time>` (connect), `<url> <- <time>: …` (sent), `<url> -> <time>: …`
(HTTP answer) and `<time>: …` (received; binary frames as a Python bytes literal).
"""

import ast
import base64
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from truetape.tape.foreign.origin import Origin, ReadLine
from truetape.tape.frame import Frame, FrameKind


class _Entry(msgspec.Struct):
    t: str
    conn: str = ""
    ts: Decimal = Decimal(0)
    addr: str = ""
    url: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    b64: str | None = None


_decode_entry = msgspec.json.Decoder(_Entry).decode
_decode_text = msgspec.json.Decoder(str).decode
_RECEIVED = re.compile(rb"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?): (.*)", re.DOTALL)
_ADDRESSED = re.compile(rb"(\S+) (<->|<-|->) (\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?:: (.*))?", re.DOTALL)
_CONFIGURATION = b"configuration: "
_ARROWS = {b"<->": "connect", b"<-": "send", b"->": "http"}


def start_reading(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Read captures of either form, line by line."""
    feeds: dict[str, str] = {}

    def make_frame(entry: _Entry, kind: FrameKind, payload: bytes, meta: str = "") -> Frame:
        url = entry.addr or entry.url
        if entry.addr:
            feeds[entry.conn] = origin.find_feed(entry.addr)
        feed = feeds.get(entry.conn) if not entry.url else None
        if feed is None:
            feed = origin.find_feed(url) if url else (origin.feed or "")
        connection = f"{origin.connection}/{entry.conn}" if entry.conn else origin.connection
        return Frame(_to_ns(entry.ts), 0, kind, origin.venue, feed, connection, payload, meta)

    def read_line(line: bytes) -> tuple[Frame, ...]:
        entry, payload = _read_json(line) if line.startswith(b"{") else _read_text(line)
        match entry.t:
            case "header" | "config":
                return ()
            case "connect":
                return (make_frame(entry, FrameKind.EVENT, b"", _meta(event="opened", url=entry.addr)),)
            case "send":
                return (make_frame(entry, FrameKind.REQUEST, payload, _meta(url=entry.addr)),)
            case "http":
                meta = _meta(method="GET", url=entry.url, status=200)
                return (make_frame(entry, FrameKind.RESPONSE, payload, meta),)
            case "recv":
                kind = FrameKind.TEXT if entry.b64 is None else FrameKind.BINARY
                return (make_frame(entry, kind, payload),)
        raise ValueError(f"unknown entry {entry.t!r}")

    return read_line


def _read_json(line: bytes) -> tuple[_Entry, bytes]:
    entry = _decode_entry(line)
    if entry.t in ("connect", "send", "http", "recv") and not entry.ts:
        raise ValueError("an entry without time")
    if entry.b64 is not None:
        return entry, base64.b64decode(entry.b64, validate=True)
    raw = bytes(entry.data)
    # Headers keep an object here, everything else the frame as a string.
    return entry, _decode_text(raw).encode() if raw.startswith(b'"') else raw


def _read_text(line: bytes) -> tuple[_Entry, bytes]:
    received = _RECEIVED.fullmatch(line)
    if received:
        text, ts = received[2], Decimal(received[1].decode())
        if text[:2] in (b"b'", b'b"'):
            return _Entry("recv", ts=ts, b64=""), _read_literal(text)
        return _Entry("recv", ts=ts), text
    if line.startswith(_CONFIGURATION):
        return _Entry("config"), b""
    addressed = _ADDRESSED.fullmatch(line)
    if not addressed:
        raise ValueError("neither JSON nor a cryptofeed text line")
    url, arrow, ts = addressed[1].decode(), _ARROWS[addressed[2]], Decimal(addressed[3].decode())
    if arrow == "http":
        return _Entry(arrow, ts=ts, url=url), addressed[4] or b""
    return _Entry(arrow, ts=ts, addr=url), addressed[4] or b""


def _read_literal(text: bytes) -> bytes:
    try:
        value = ast.literal_eval(text.decode())
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError("unreadable bytes literal") from error
    if not isinstance(value, bytes):
        raise ValueError("unreadable bytes literal")
    return value


def _to_ns(seconds: Decimal) -> int:
    return int(seconds.scaleb(9))


def _meta(**meta: str | int) -> str:
    return msgspec.json.encode(meta).decode()
