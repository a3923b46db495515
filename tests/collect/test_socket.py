"""Bytes from the wire: every kind of frame, whole, stamped, as sent."""

import asyncio
import base64
import hashlib
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from truetape import clock
from truetape.collect.recorder import Row
from truetape.collect.socket import (
    RETRY_AFTER_MAX_S,
    Ending,
    Hooks,
    Socket,
    SocketOptions,
    open_socket,
    read_retry_after,
)
from truetape.errors import RateLimited, Refused, VenueUnreachable
from truetape.tape.frame import FrameKind

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(opcode: int, payload: bytes, fin: bool = True, deflated: bool = False) -> bytes:
    head = bytes([(0x80 if fin else 0) | (0x40 if deflated else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + struct.pack(">BH", 126, len(payload)) + payload
    return head + struct.pack(">BQ", 127, len(payload)) + payload


@asynccontextmanager
async def serve(talk: Talk, extra: str = "") -> AsyncIterator[str]:
    """Serve raw WebSocket bytes."""

    handling: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.append(asyncio.current_task())
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(":")[1].strip() for line in request.split("\r\n") if "websocket-key" in line.lower())
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        answer = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extra}"
        writer.write(f"{answer}Sec-WebSocket-Accept: {accept.decode()}\r\n\r\n".encode())
        try:
            await talk(reader, writer)
            await writer.drain()
            await reader.read(1000)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*filter(None, handling))


async def receive(url: str, options: SocketOptions | None = None, **more: Any) -> tuple[list[Row], Ending, Socket]:
    """Receive until the other side ends it."""
    rows: list[Row] = []
    socket = await open_socket(url, rows.append, 5, options or SocketOptions(), **more)
    async with asyncio.timeout(20):
        return rows, await socket.ended, socket


def write(*frames: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in frames:
            writer.write(piece)

    return talk


BYE = frame(8, struct.pack(">H", 1001) + b"going away")


async def test_text_and_binary_are_kept_apart_and_stamped() -> None:
    before_ns = time.time_ns()
    async with serve(
        write(frame(1, b"pong"), frame(2, b"\x00\xff not text"), frame(1, b""), frame(1, b"\xff"), BYE)
    ) as url:
        rows, ending, socket = await receive(url)
    assert [(row[0], row[3], row[4]) for row in rows] == [
        (5, FrameKind.TEXT, b"pong"),
        (5, FrameKind.BINARY, b"\x00\xff not text"),
        (5, FrameKind.TEXT, b""),
        (5, FrameKind.TEXT, b"\xff"),
    ]
    assert all(before_ns <= row[1] <= time.time_ns() and row[2] for row in rows)
    assert ending == Ending("venue", 1001, "going away")
    assert (socket.frames, socket.bytes) == (4, 16)


async def test_fragments_become_one_message_pings_in_between_included() -> None:
    async with serve(
        write(
            frame(1, b"ab", fin=False),
            frame(0, b"cd", fin=False),
            frame(9, b"hi"),
            frame(0, b"ef"),
            frame(1, b"x"),
            BYE,
        )
    ) as url:
        rows, _, _ = await receive(url)
    assert [row[4] for row in rows] == [b"abcdef", b"x"]


async def test_ping_is_answered_with_its_payload() -> None:
    answered: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(9, b"1718000000000"))
        head = await reader.readexactly(6)
        body = await reader.readexactly(head[1] & 0x7F)
        answered.append(head[:1] + bytes(b ^ head[2 + i % 4] for i, b in enumerate(body)))
        writer.write(BYE)

    async with serve(talk) as url:
        await receive(url)
    assert answered == [b"\x8a1718000000000"]


async def test_sixteen_megabytes() -> None:
    big = b'{"x":"' + b"y" * 16 * 1024 * 1024 + b'"}'
    async with serve(write(frame(1, big), frame(1, b"next"), BYE)) as url:
        rows, _, _ = await receive(url)
    assert [len(row[4]) for row in rows] == [len(big), 4]


@pytest.mark.parametrize("frames", [(frame(1, b"z" * 2000),), (frame(1, b"z" * 600, fin=False), frame(0, b"z" * 600))])
async def test_larger_than_allowed_closes_and_says_so(frames: tuple[bytes, ...]) -> None:
    async with serve(write(frame(1, b"ok"), *frames)) as url:
        rows, ending, _ = await receive(url, SocketOptions(frame_bytes_max=1000))
    assert [row[4] for row in rows] == [b"ok"]
    assert (ending.cause, ending.code) == ("frame_too_big", 1009)
    assert "1000" in ending.reason


@pytest.mark.parametrize("keeps_context", [True, False])
async def test_deflate(keeps_context: bool) -> None:
    messages = [b'{"price":"60000.%d"}' % n for n in range(50)]
    deflate, frames = zlib.compressobj(wbits=-12), []
    for message in messages:
        data = (deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if not keeps_context:
            deflate = zlib.compressobj(wbits=-12)
        half = len(data) // 2
        frames += [frame(1, data[:half], fin=False, deflated=True), frame(0, data[half:]), frame(1, b"plain")]
    terms = "" if keeps_context else "; server_no_context_takeover"
    extra = f"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12{terms}\r\n"
    async with serve(write(*frames, BYE), extra) as url:
        rows, _, _ = await receive(url)
    assert [row[4] for row in rows] == [piece for message in messages for piece in (message, b"plain")]


async def test_deflate_bomb_is_not_unpacked() -> None:
    bomb = zlib.compress(b"0" * 10_000_000, wbits=-15)
    extra = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    async with serve(write(frame(1, bomb, deflated=True)), extra) as url:
        rows, ending, _ = await receive(url, SocketOptions(frame_bytes_max=100_000))
    assert not rows
    assert ending.cause == "frame_too_big"


@pytest.mark.parametrize("wrong", [frame(1, b"abc", deflated=True), frame(0, b"abc"), b"\x83\x00"])
async def test_broken_protocol_ends_the_connection(wrong: bytes) -> None:
    async with serve(write(wrong)) as url:
        rows, ending, _ = await receive(url)
    assert not rows
    assert ending.code == 1002


async def test_aiohttp_server_compresses(server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        for number in range(200):
            await socket.send_str(f'{{"number":{number}}}')
        await socket.close(code=4001, message=b"own code")

    server.compress, server.talk = True, talk
    rows, ending, _ = await receive(server.url.replace("http", "ws") + "/fake.test/ws")
    assert [row[4] for row in rows] == [b'{"number":%d}' % number for number in range(200)]
    assert ending == Ending("venue", 4001, "own code")


async def test_declared_answer_is_sent(server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        await socket.send_str("are you there?")
        server.received[0].append((await socket.receive()).data)

    server.talk = talk
    told: list[bytes] = []
    rows: list[Row] = []
    answer = {b"are you there?": b"yes"}.get
    opened: list[int] = []
    ended: list[Ending] = []
    hooks = Hooks(lambda: opened.append(len(rows)), ended.append, told.append)
    url = server.url.replace("http", "ws") + "/fake.test/ws"
    socket = await open_socket(url, rows.append, 0, SocketOptions(), answer, hooks)
    ending = await socket.ended
    assert server.received == [["yes"]]
    assert told == [b"yes"]
    assert opened == [0]  # before the first frame
    assert ended == [ending]


async def test_line_that_breaks() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, b"x"))
        await writer.drain()
        writer.close()

    async with serve(talk) as url:
        rows, ending, _ = await receive(url)
    assert (ending.cause, ending.code) == ("network", None)
    assert len(rows) == 1


async def test_close_by_us_names_the_cause(server: Any) -> None:
    socket = await open_socket(server.url.replace("http", "ws") + "/fake.test/ws", lambda row: None, 0, SocketOptions())
    assert (await socket.close("lifetime")).cause == "lifetime"
    assert (await socket.close("shutdown")).cause == "lifetime"
    socket.send(b"into the void")


async def test_close_does_not_wait_for_a_dead_peer() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)

    async with serve(talk) as url:
        socket = await open_socket(url, lambda row: None, 0, SocketOptions(close_timeout_s=0.01))
        async with asyncio.timeout(0.25):
            assert (await socket.close("shutdown")).cause == "shutdown"


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [(401, {}, Refused), (403, {}, Refused), (429, {"Retry-After": "7"}, RateLimited), (503, {}, VenueUnreachable)],
)
async def test_handshake_refusals(server: Any, status: int, headers: dict[str, str], error: type[Exception]) -> None:
    server.replies.append(web.Response(status=status, headers=headers))
    with pytest.raises(error, match=str(status)) as caught:
        await receive(server.url.replace("http", "ws") + "/fake.test/ws")
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Sat, 01 Jan 2000 00:02:00 GMT", 120.0),
        ("Saturday, 01-Jan-00 00:02:00 GMT", 120.0),
        ("Fri, 31 Dec 1999 23:00:00 GMT", 0.0),
        ("-3", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("soon", 0.0),
        ("Sat, 99 Jan 2000 00:02:00 GMT", 0.0),
        ("1e300", RETRY_AFTER_MAX_S),
        ("Sat, 01 Jan 2028 00:00:00 GMT", RETRY_AFTER_MAX_S),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    with clock.compress(946_684_800.0, 1e-6):
        assert read_retry_after(header) == pytest.approx(seconds, abs=0.01)


async def test_nobody_there(unused_tcp_port: int) -> None:
    with pytest.raises(VenueUnreachable, match=str(unused_tcp_port)):
        await receive(f"ws://127.0.0.1:{unused_tcp_port}/")
    with pytest.raises(VenueUnreachable, match=r"nowhere\.invalid"):
        await receive("ws://nowhere.invalid/")


async def test_server_that_hangs_up_at_once() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        with pytest.raises(VenueUnreachable, match="handshake"):
            await receive(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


async def test_server_that_never_answers() -> None:
    async def stutter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"H")
        await reader.read()
        writer.close()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(stutter, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(VenueUnreachable):
            await receive(f"ws://127.0.0.1:{port}/", SocketOptions(handshake_timeout_s=0.05))
        await done.wait()
