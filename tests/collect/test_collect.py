"""Bad input at the edge, end to end: real sockets, a real tape on a real disk."""

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from truetape.collect.collector import collect
from truetape.collect.connection import Tuning
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.collect.socket import SocketOptions, open_socket
from truetape.collect.status import CollectorStatus
from truetape.config import RecordSettings, Settings, VenueSettings
from truetape.errors import Refused, TapeError, TapeLocked, VenueUnreachable
from truetape.tape import open_reader, open_writer, verify_tape
from truetape.tape.frame import Frame, FrameKind, Source
from truetape.venues._contract import Rest

TUNING = Tuning(overlap_s=0.02, status_interval_s=0.02, decide=make_decide(Backoff(0.002, 0.02, 0.05)))
RECORD = RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5, tick_seconds=0.05)


def settings_for(url: str, record: RecordSettings = RECORD) -> Settings:
    return Settings(venues={"fake": VenueSettings(instruments=("all",), channels=("trade",), url=url)}, record=record)


def read_frames(folder: Path) -> list[Frame]:
    reader = open_reader(folder)
    return [Frame(**row) for batch in reader.read(reader.first) for row in batch.data.to_pylist()]


def list_events(folder: Path, name: str) -> list[dict[str, Any]]:
    found = [json.loads(frame.meta) for frame in read_frames(folder) if frame.kind == FrameKind.EVENT]
    return [event for event in found if event["event"] == name]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the tape is written by threads
            await asyncio.sleep(0.01)


@asynccontextmanager
async def collecting(folder: Path, venue: Any, url: str, tuning: Tuning = TUNING, **more: Any) -> AsyncIterator[None]:
    """Collect onto a tape in `folder`; what is wrong with it afterwards fails the test."""
    writer, stop = open_writer(folder), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(
                collect(settings_for(url), writer, None, stop, venues={"fake": venue}, tuning=tuning, **more)
            )
            yield
            stop.set()
    finally:
        writer.close()
    assert verify_tape(folder).ok


async def test_host_that_is_not_there_is_tried_until_it_is(
    tmp_path: Path, new_venue: Any, unused_tcp_port: int
) -> None:
    status: list[CollectorStatus] = []
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with collecting(tmp_path / "tape", new_venue(), url, on_status=status.append):
        await until(lambda: status and str(unused_tcp_port) in status[-1].venues[0].reason)
    failed = list_events(tmp_path / "tape", "request_failed")
    assert failed[0]["url"] == "https://fake.test/instruments"
    assert "Connect call failed" in failed[0]["error"]
    assert list_events(tmp_path / "tape", "stopped")[0]["reason"] == "stopped"


ODD_FRAMES: list[tuple[FrameKind, bytes]] = [
    (FrameKind.TEXT, b"pong"),
    (FrameKind.TEXT, b""),
    (FrameKind.TEXT, b'{"connectionID":13935949241502919679,"price":NaN,"cut":'),
    (FrameKind.TEXT, "{\"n\":\"\u2028\U0001f4a9\\u0000\"}".encode()),
    (FrameKind.BINARY, b""),
    (FrameKind.BINARY, bytes(range(256))),
    (FrameKind.BINARY, b"\x1f\x8b\x08\x00 not really gzip"),
    (FrameKind.TEXT, b'{"big":"' + b"0123456789abcdef" * (1024 * 1024) + b'"}'),
    (FrameKind.BINARY, os.urandom(16 * 1024 * 1024)),
    (FrameKind.TEXT, b'{"after":1}'),
]  # fmt: skip


async def test_every_frame_is_on_the_tape_byte_for_byte(tmp_path: Path, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for kind, payload in ODD_FRAMES:
            if kind is FrameKind.TEXT:
                await socket.send_str(payload.decode())
            else:
                await socket.send_bytes(payload)
        await server.listen(socket)

    server.talk, status = talk, []
    async with collecting(tmp_path / "tape", new_venue(), server.url, on_status=status.append):
        await until(lambda: status and status[-1].connections and status[-1].connections[0].frames == len(ODD_FRAMES))
    frames = [frame for frame in read_frames(tmp_path / "tape") if frame.kind in {FrameKind.TEXT, FrameKind.BINARY}]
    assert [(frame.kind, len(frame.payload)) for frame in frames] == [(int(k), len(p)) for k, p in ODD_FRAMES]
    assert all(frame.payload == payload for frame, (_, payload) in zip(frames, ODD_FRAMES, strict=True))


async def test_clock_that_steps_back_is_declared_and_keeps_the_order(tmp_path: Path) -> None:
    step_ns = 0
    writer = open_writer(tmp_path / "tape")
    recorder = Recorder(writer, RECORD, wall_ns=lambda: time.time_ns() + step_ns)
    source = recorder.register(Source("fake", "spot", "fake/spot/1#1"))
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        recorder.put(source, FrameKind.TEXT, b"before")
        await until(lambda: recorder.status().end > 2)
        step_ns = -3_600_000_000_000
        recorder.put(source, FrameKind.TEXT, b"after")
        await until(lambda: list_events(tmp_path / "tape", "clock_step"))
        recorder.close("done")
    writer.close()
    assert verify_tape(tmp_path / "tape").ok
    (step,) = list_events(tmp_path / "tape", "clock_step")
    assert step["step_ns"] == pytest.approx(step_ns, abs=50_000_000)
    before, after = (frame for frame in read_frames(tmp_path / "tape") if frame.kind == FrameKind.TEXT)
    assert (before.payload, after.payload) == (b"before", b"after")
    assert before.received_ns - after.received_ns > 3_500_000_000_000
    assert after.monotonic_ns >= before.monotonic_ns


async def test_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path, new_venue: Any, server: Any) -> None:
    async with collecting(tmp_path / "tape", new_venue(), server.url):
        await until(lambda: server.received and server.received[0])
        with pytest.raises(TapeLocked, match=f"is being written by process {os.getpid()}: one writer at a time"):
            open_writer(tmp_path / "tape")
    assert list_events(tmp_path / "tape", "stopped")


async def test_full_disk_ends_with_one_line_and_a_whole_tape(
    small_disk: Callable[..., Path], new_venue: Any, server: Any
) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        with suppress(ConnectionError):
            while not socket.closed:
                await socket.send_bytes(os.urandom(2000))
                await asyncio.sleep(0.0005)  # one event loop serves and collects

    server.talk = talk
    folder = small_disk("-t", "tmpfs", "-o", "size=2m", "tmpfs") / "tape"
    writer = open_writer(folder)
    with pytest.raises(TapeError, match="No space left on device") as caught:
        await collect(
            settings_for(server.url), writer, None, asyncio.Event(), venues={"fake": new_venue()}, tuning=TUNING
        )
    with suppress(TapeError):
        writer.close()
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    await until(lambda: all(socket.closed for socket in server.sockets))
    check = verify_tape(folder)
    assert check.ok
    assert check.frames > 500


async def test_read_only_disk_starts_nothing(small_disk: Callable[..., Path]) -> None:
    folder = small_disk("-t", "tmpfs", "-o", "ro,size=512k", "tmpfs") / "tape"
    with pytest.raises(TapeError, match=f"cannot create a tape in {folder}: Read-only file system"):
        open_writer(folder)


async def test_tape_that_cannot_be_written_is_found_before_anyone_is_asked(
    small_disk: Callable[..., Path], new_venue: Any, server: Any
) -> None:
    disk = small_disk("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    writer = open_writer(disk / "tape")
    (disk / "ballast").write_bytes(bytes(8192))
    with suppress(OSError), (disk / "ballast").open("ab", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    with pytest.raises(TapeError, match="No space left on device"):
        await collect(
            settings_for(server.url), writer, None, asyncio.Event(), venues={"fake": new_venue()}, tuning=TUNING
        )
    assert not server.requests
    with suppress(TapeError):
        writer.close()
    assert verify_tape(disk / "tape").ok


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("at", ["listing", "handshake"])
async def test_refusal_is_one_line_that_names_the_setting(
    tmp_path: Path, new_venue: Any, server: Any, at: str, status: int
) -> None:
    server.replies += [web.json_response({"symbols": ["A"]})] * (at == "handshake") + [web.Response(status=status)]
    venue = new_venue(venue_rest=Rest(ban_statuses=(418, 429)))
    with pytest.raises(ExceptionGroup) as caught:
        async with collecting(tmp_path / "tape", venue, server.url):
            await asyncio.sleep(20)
    message = rf"^venues\.fake: .* answered {status}: refused, trying again does not help; .* venues\.fake\.url$"
    assert caught.group_contains(Refused, match=message)
    assert f"{status}" in list_events(tmp_path / "tape", "gave_up")[0]["reason"]
    assert f"{status}" in list_events(tmp_path / "tape", "stopped")[0]["reason"]


@pytest.mark.parametrize("status", [418, 429])
@pytest.mark.parametrize("at", ["listing", "handshake"])
async def test_retry_after_is_honoured(tmp_path: Path, new_venue: Any, server: Any, at: str, status: int) -> None:
    limit = web.Response(status=status, headers={"Retry-After": "0.4"})
    server.replies += [web.json_response({"symbols": ["A"]})] * (at == "handshake") + [limit]
    asked: list[CollectorStatus] = []
    async with collecting(tmp_path / "tape", new_venue(), server.url, on_status=asked.append):
        await until(lambda: server.received and server.received[0])
    assert max(s.venues[0].waits_s for s in asked) > 0
    moments = [
        frame.monotonic_ns
        for frame in read_frames(tmp_path / "tape")
        if (frame.kind == FrameKind.RESPONSE and f'"status":{status}' in frame.meta)
        or (frame.kind == FrameKind.EVENT and json.loads(frame.meta)["event"] in {"connect_failed", "opened"})
    ]  # fmt: skip
    assert moments[1] - moments[0] >= 0.4e9


async def test_certificate_that_is_trusted_is_recorded_from(
    tmp_path: Path, new_venue: Any, secure_server: Any, trust: ssl.SSLContext
) -> None:
    tuning = msgspec.structs.replace(TUNING, socket=SocketOptions(trust=trust))
    async with collecting(tmp_path / "tape", new_venue(), secure_server.url, tuning):
        await until(lambda: secure_server.received and secure_server.received[0])
        await until(lambda: b'{"ack": 1}' in [frame.payload for frame in read_frames(tmp_path / "tape")])
    (opened,) = list_events(tmp_path / "tape", "opened")
    assert opened["via"] == secure_server.url.replace("https", "wss") + "/fake.test/ws"


async def test_certificate_that_nobody_trusts_is_refused(tmp_path: Path, new_venue: Any, secure_server: Any) -> None:
    async with collecting(tmp_path / "tape", new_venue(), secure_server.url):
        await until(lambda: list_events(tmp_path / "tape", "request_failed"))
    assert not secure_server.requests
    assert "certificate verify failed" in list_events(tmp_path / "tape", "request_failed")[0]["error"]


async def test_socket_verifies_certificate_and_name(secure_server: Any, trust: ssl.SSLContext) -> None:
    url = secure_server.url.replace("https", "wss") + "/fake.test/ws"
    with pytest.raises(VenueUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await open_socket(url, lambda row: None, 0, SocketOptions())
    with pytest.raises(VenueUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await open_socket(url.replace("127.0.0.1", "localhost"), lambda row: None, 0, SocketOptions(trust=trust))
    assert not secure_server.requests
    socket = await open_socket(url, lambda row: None, 0, SocketOptions(trust=trust))
    await socket.close("shutdown")
