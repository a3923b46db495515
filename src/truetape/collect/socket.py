"""One WebSocket: bytes from the wire, stamped at once, handed on unparsed."""

import asyncio
import logging
import math
import ssl
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Literal, NamedTuple, cast

import msgspec
from picows import (
    WSCloseCode,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)

from truetape import clock
from truetape.collect.recorder import Row
from truetape.errors import RateLimited, Refused, VenueUnreachable
from truetape.tape.frame import FrameKind

Cause = Literal["venue", "network", "silence", "lifetime", "wish", "frame_too_big", "shutdown"]
"""Why a connection ended."""

DEFLATE_OFFER = "permessage-deflate; client_max_window_bits"
REFUSALS = (401, 403, 451)
"""Handshake answers that trying again does not change."""
REDIRECTS_MAX = 5
LIMITS = (418, 429)
"""Handshake answers that ask for patience."""

RETRY_AFTER_MAX_S = 7 * 86_400.0
"""Nobody waits longer before asking again; the longest ban a venue is known to speak of is three days."""

_TAIL = b"\x00\x00\xff\xff"
_FRAGMENTS_MAX = 65_536
_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_FRAME_TEXT, _FRAME_BINARY = int(FrameKind.TEXT), int(FrameKind.BINARY)

_log = logging.getLogger("truetape.wire")
_log.addHandler(logging.NullHandler())
_log.propagate = False  # what picows would say is on the tape as an event


class SocketOptions(msgspec.Struct, frozen=True):
    """Limits of one socket."""

    frame_bytes_max: int = 64 * 1024 * 1024
    """A larger message, decompressed, closes the connection."""
    handshake_timeout_s: float = 10.0
    close_timeout_s: float = 2.0
    """How long the venue may take to answer our close."""
    read_buffer_bytes: int = 256 * 1024
    """What one read may take; grows with the largest message."""
    is_deflate_offered: bool = True
    trust: ssl.SSLContext | None = None
    """Whom to trust as a venue; null: the certificate authorities this machine trusts."""


class Ending(msgspec.Struct, frozen=True):
    """How a connection ended."""

    cause: Cause
    code: int | None
    """WebSocket close code, ours or theirs; null when the line just broke."""
    reason: str


class Hooks(NamedTuple):
    """Whom a socket tells what happens, at once: data may come with the handshake, before anyone could ask."""

    on_open: Callable[[], None] = lambda: None
    on_end: Callable[[Ending], None] = lambda ending: None
    on_answer: Callable[[bytes], None] = lambda payload: None
    """Before an answer that the venue asked for is sent."""


class Socket(WSListener):
    """Receives one connection's messages and hands each on as a tape row."""

    def __init__(
        self,
        take: Callable[[Row], None],
        source: int,
        options: SocketOptions,
        answer: Callable[[bytes], bytes | None] | None,
        hooks: Hooks,
    ) -> None:
        super().__init__()
        self.frames = 0
        """Messages received."""
        self.bytes = 0
        self.last_ns = clock.monotonic_ns()
        """Monotonic time of the last sign of life, pings included."""
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone."""
        self._take = take
        self._source = source
        self._options = options
        self._answer = answer
        self._hooks = hooks
        self._inflate: Inflater | None = None
        self._fragments: list[bytes] = []
        self._fragments_kind = _FRAME_TEXT
        self._fragments_size = 0
        self._fragments_deflated = False
        self._cause: Cause | None = None
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Remember the transport and what was negotiated."""
        self._transport = transport
        self.last_ns = clock.monotonic_ns()
        self._inflate = negotiate_deflate(transport.response, self._options.frame_bytes_max)
        # picows keeps a local failure in a future that someone must look at; we read the close codes instead.
        self._watch = asyncio.ensure_future(transport.wait_disconnected())
        self._watch.add_done_callback(lambda watch: watch.cancelled() or watch.exception())
        self._hooks.on_open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # hot: bench/collect
        """Stamp and hand on a message."""
        received_ns = clock.wall_ns()
        monotonic_ns = self.last_ns = clock.monotonic_ns()
        kind = frame.msg_type
        if frame.fin and not frame.rsv1 and (kind is _TEXT or kind is _BINARY) and not self._fragments:
            payload = frame.get_payload_as_bytes()
            self.frames += 1
            self.bytes += len(payload)
            self._take(
                (self._source, received_ns, monotonic_ns, _FRAME_TEXT if kind is _TEXT else _FRAME_BINARY, payload, "")
            )
            if self._answer is not None:
                self._reply(payload)
            return
        self._accept(transport, frame, received_ns, monotonic_ns)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Say how it ended."""
        if not self.ended.done():
            ending = self._explain(transport)
            self._hooks.on_end(ending)
            self.ended.set_result(ending)

    def send(self, payload: bytes) -> None:
        """Send one text message; nothing happens when the connection is gone."""
        if self._transport is not None:
            self._transport.send(_TEXT, payload)

    def ping(self) -> None:
        """Send a protocol ping."""
        if self._transport is not None:
            self._transport.send_ping(b"")

    async def close(self, cause: Cause) -> Ending:
        """Close politely, then for good; returns how it ended."""
        if not self.ended.done() and self._transport is not None:
            self._cause = self._cause or cause
            self._transport.send_close(WSCloseCode.OK)
            await asyncio.wait([self.ended], timeout=0 if cause == "silence" else self._options.close_timeout_s)
            if not self.ended.done():
                self._transport.disconnect(graceful=False)
        return await self.ended

    def _accept(self, transport: WSTransport, frame: WSFrame, received_ns: int, monotonic_ns: int) -> None:
        """Take everything but plain whole messages: control frames, fragments, compressed ones."""
        kind = frame.msg_type
        if kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind is _TEXT or kind is _BINARY or kind is _CONTINUATION:
            payload = self._assemble(frame)
            if payload is not None:
                self.frames += 1
                self.bytes += len(payload)
                self._take((self._source, received_ns, monotonic_ns, self._fragments_kind, payload, ""))
                self._reply(payload)

    def _assemble(self, frame: WSFrame) -> bytes | None:
        """Collect fragments and decompress; the message when it is whole."""
        is_first = not self._fragments
        if is_first == (frame.msg_type is _CONTINUATION):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
        if is_first:
            self._fragments_kind = _FRAME_TEXT if frame.msg_type is _TEXT else _FRAME_BINARY
            self._fragments_deflated = bool(frame.rsv1)
            self._fragments_size = 0
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragments_size += frame.payload_size
        if self._fragments_size > self._options.frame_bytes_max or len(self._fragments) > _FRAGMENTS_MAX:
            raise _too_big(self._options.frame_bytes_max)
        if not frame.fin:
            return None
        payload = b"".join(self._fragments)
        self._fragments.clear()
        if not self._fragments_deflated:
            return payload
        if self._inflate is None:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "compressed frame without agreement")
        return self._inflate.inflate(payload)

    def _reply(self, payload: bytes) -> None:
        """Answer what the venue asks of us in a message."""
        answer = self._answer(payload) if self._answer is not None else None
        if answer is not None:
            self._hooks.on_answer(answer)
            self.send(answer)

    def _explain(self, transport: WSTransport) -> Ending:
        handshake = transport.close_handshake
        received, sent = (handshake.recv, handshake.sent) if handshake else (None, None)
        # Whoever closed first gave the reason; the other side only echoes it.
        info = sent if sent and not (handshake.recv_then_sent and received) else received
        if info is None:
            return Ending(self._cause or "network", None, "connection lost")
        # A code of the application's own (3000 up) is a plain integer.
        code = info.code.value if isinstance(info.code, WSCloseCode) else int(info.code)
        is_ours = info is sent and code == WSCloseCode.MESSAGE_TOO_BIG.value
        return Ending(self._cause or ("frame_too_big" if is_ours else "venue"), code, info.reason or "")


class Inflater:
    """The receiving half of permessage-deflate (RFC 7692)."""

    def __init__(self, window_bits: int, keeps_context: bool, bytes_max: int) -> None:
        self._window_bits = window_bits
        self._keeps_context = keeps_context
        self._bytes_max = bytes_max
        self._zlib = zlib.decompressobj(-window_bits)

    def inflate(self, payload: bytes) -> bytes:
        """Decompress one message; raises WSProtocolError when it is too large or damaged."""
        try:
            data = self._zlib.decompress(payload + _TAIL, self._bytes_max + 1)
        except zlib.error as error:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"damaged compressed frame: {error}") from error
        if len(data) > self._bytes_max:
            raise _too_big(self._bytes_max)
        if not self._keeps_context or self._zlib.eof:
            self._zlib = zlib.decompressobj(-self._window_bits)
        return data


def _too_big(bytes_max: int) -> WSProtocolError:
    return WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"message larger than record.frame_bytes_max {bytes_max}")


def negotiate_deflate(response: WSUpgradeResponse, bytes_max: int) -> Inflater | None:
    """Return what decompresses as the server agreed; None when it did not."""
    agreed = response.headers.get("Sec-WebSocket-Extensions", "") if response is not None else ""
    parts = [part.strip() for part in agreed.split(",")[0].split(";")]
    if parts[0].lower() != "permessage-deflate":
        return None
    terms = dict(part.lower().partition("=")[::2] for part in parts[1:])
    bits = terms.get("server_max_window_bits", "15").strip('"')
    window_bits = int(bits) if bits.isdigit() and 8 <= int(bits) <= 15 else 15
    # zlib cannot read windows of 8 bits with 8; a larger window reads them all.
    return Inflater(max(window_bits, 9), "server_no_context_takeover" not in terms, bytes_max)


@cache
def _trust() -> ssl.SSLContext:
    """Read the trusted certificates once: it takes 20 ms."""
    return ssl.create_default_context()


async def open_socket(
    url: str,
    take: Callable[[Row], None],
    source: int,
    options: SocketOptions,
    answer: Callable[[bytes], bytes | None] | None = None,
    hooks: Hooks = Hooks(),  # noqa: B008 - immutable
    headers: Mapping[str, str] | None = None,
) -> Socket:
    """Connect; raises VenueUnreachable, RateLimited or Refused. `headers` say who we are, and go to this host only."""

    def make(request: WSUpgradeRequest, response: WSUpgradeResponse) -> Socket:
        return Socket(take, source, options, answer, hooks)

    where = url.partition("?")[0]
    sent = dict(headers or {}) | ({"Sec-WebSocket-Extensions": DEFLATE_OFFER} if options.is_deflate_offered else {})
    try:
        async with asyncio.timeout(options.handshake_timeout_s):
            _, listener = await ws_connect(
                make,
                url,
                ssl_context=options.trust or _trust() if url.startswith("wss:") else None,
                websocket_handshake_timeout=options.handshake_timeout_s,
                logger_name=_log,
                enable_auto_pong=False,  # a ping is a sign of life that we must see
                max_frame_size=options.frame_bytes_max,
                extra_headers=sent or None,
                read_buffer_init_size=options.read_buffer_bytes,
                max_redirects=0 if headers else REDIRECTS_MAX,
            )
    except WSHandshakeError as error:
        raise explain_refusal(where, error) from error
    except TimeoutError as error:
        raise VenueUnreachable(f"{where}: no answer within {options.handshake_timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise VenueUnreachable(f"{where}: {error}") from error
    if listener is None:
        raise VenueUnreachable(f"{where}: hung up during the handshake")
    return cast(Socket, listener)


def explain_refusal(url: str, error: WSHandshakeError) -> VenueUnreachable | RateLimited | Refused:
    """Turn a failed handshake into what it means for trying again."""
    if error.response is None:
        return VenueUnreachable(f"{url}: {error}")
    status = int(error.response.status)
    if status in REFUSALS:
        return Refused(f"{url} answered {status}")
    if status in LIMITS:
        return RateLimited(f"{url} answered {status}", read_retry_after(error.response.headers.get("Retry-After")))
    return VenueUnreachable(f"{url} answered {status}")


def read_retry_after(value: str | None) -> float:
    """Return the seconds of a Retry-After header (RFC 9110: seconds, or a date); 0 when there is none that makes sense.

    Never more than `RETRY_AFTER_MAX_S`.
    """
    text = (value or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = _count_seconds_until(text)
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if math.isfinite(seconds) else 0.0


def _count_seconds_until(date: str) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return 0.0
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - clock.wall_ns() / 1e9
