"""A tape in memory, a venue that exists only here, and real servers on loopback."""

import asyncio
import json
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiohttp import WSMsgType, web

from truetape.errors import TapeError
from truetape.events.instrument import Instrument
from truetape.tape.frame import Frame, FrameKind, Source
from truetape.venues._contract import Feed, Heartbeat, Limits, Listing, Rest, Venue

sys.path.insert(0, str(Path(__file__).parent))  # `counted_gamma` lies beside this file


class MemoryTape:
    """A TapeWriter that keeps frames in a list; may be told to stall or to fail."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.frames: list[Frame] = []
        self.synced = 0
        self.may_flush = threading.Event()
        self.may_flush.set()
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.is_abandoned = False
        self.failure: str = ""
        self.pending_frames: list[Frame] = []

    @property
    def next_offset(self) -> int:
        return len(self.frames) + len(self.pending_frames)

    @property
    def pending(self) -> int:
        return len(self.pending_frames)

    def register(self, source: Source) -> int:
        if source not in self.sources:
            self.sources.append(source)
        return self.sources.index(source)

    def append(
        self, source_index: int, received_ns: int, monotonic_ns: int, kind: int, payload: bytes, meta: str = ""
    ) -> None:
        source = self.sources[source_index]
        self.pending_frames.append(Frame(received_ns, monotonic_ns, kind, *source, payload, meta))

    def flush(self) -> None:
        assert self.may_flush.wait(20)
        if self.failure:
            raise TapeError(self.failure)
        self.frames += self.pending_frames
        self.pending_frames = []

    def sync(self) -> int:
        assert self.may_sync.wait(20)
        self.synced = len(self.frames)
        return self.synced

    def close(self) -> None:
        self.flush()

    def abandon(self) -> None:
        self.is_abandoned = True

    # -- what tests ask --------------------------------------------------------------------------------

    def events(self, name: str = "", connection: str = "") -> list[dict[str, Any]]:
        found = [json.loads(f.meta) | {"connection": f.connection} for f in self.frames if f.kind == FrameKind.EVENT]
        return [
            e for e in found if (not name or e["event"] == name) and (not connection or e["connection"] == connection)
        ]

    def payloads(self, kind: FrameKind = FrameKind.TEXT) -> list[bytes]:
        return [f.payload for f in self.frames if f.kind == kind]

    async def until(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        """Wait for something to be on the tape."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the tape is written by threads
                await asyncio.sleep(0.005)


decode_listing = msgspec.json.Decoder(dict[str, list[str]]).decode


def read_listing(url: str, body: bytes) -> list[Instrument]:
    return [Instrument("fake", "spot", name, name, "spot") for name in decode_listing(body)["symbols"]]


def make_venue(**changes: Any) -> Venue:
    """Make a venue with one feed; keyword arguments change the feed, `venue_…` ones the venue."""
    of_venue = {key.removeprefix("venue_"): changes.pop(key) for key in list(changes) if key.startswith("venue_")}
    feed = Feed(
        **{
            "name": "spot",
            "market": "spot",
            "url": "wss://fake.test/ws",
            "channels": ("trade", "quote"),
            "heartbeat": Heartbeat("", 5.0),
            "limits": Limits(messages_per_second_max=1000, connects_per_minute_max=60_000),
            **changes,
        }
    )
    return Venue(
        **{
            "name": "fake",
            "title": "Fake",
            "feeds": (feed,),
            "rest": Rest(weight_header="X-Used", ban_default_s=0.05),
            "listings": (Listing("spot", "https://fake.test/instruments", 2),),
            "continuity": (),
            "make_decoder": None,
            "read_listing": read_listing,
            "name_instrument": lambda market, symbol: Instrument("fake", market, symbol, symbol, "spot"),
            "list_topics": lambda feed, channel, instrument: (f"{channel}.{instrument.venue_symbol}",),
            "subscribe": lambda feed, topics, number: json.dumps(
                {"op": "sub", "topics": [*topics], "id": number}
            ).encode(),
            "unsubscribe": lambda feed, topics, number: json.dumps(
                {"op": "un", "topics": [*topics], "id": number}
            ).encode(),
            **of_venue,
        }
    )


@dataclass
class Server:
    """A real server: HTTP and WebSocket; `talk` is what it does with each WebSocket."""

    talk: Callable[["Server", web.WebSocketResponse], Awaitable[None]] | None = None
    symbols: tuple[str, ...] = ("BTC-USD", "ETH-USD")
    compress: bool = False
    url: str = ""
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    received: list[list[dict[str, Any] | str]] = field(default_factory=list)
    """Messages by connection."""
    replies: list[web.Response] = field(default_factory=list)
    """Answers to hand out first, to handshakes and requests alike."""
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    tls: ssl.SSLContext | None = None

    async def handle_socket(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if self.replies:
            return self.replies.pop(0)
        socket = web.WebSocketResponse(compress=self.compress, max_msg_size=0)
        await socket.prepare(request)
        self.sockets.append(socket)
        self.received.append([])
        if self.talk is not None:
            await self.talk(self, socket)
        else:
            await self.listen(socket)
        return socket

    async def listen(self, socket: web.WebSocketResponse) -> None:
        """Acknowledge subscriptions until the client goes."""
        log = self.received[self.sockets.index(socket)]
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if not message.data.startswith("{"):
                log.append(message.data)
                continue
            said = json.loads(message.data)
            log.append(said)
            await socket.send_str(json.dumps({"ack": said.get("id")}))

    async def handle_listing(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        if self.replies:
            return self.replies.pop(0)
        return web.json_response({"symbols": self.symbols}, headers={"X-Used": "7", "X-Secret": "no"})


@asynccontextmanager
async def run_server(server: Server) -> AsyncIterator[Server]:
    app = web.Application()
    app.router.add_get("/fake.test/ws", server.handle_socket)
    app.router.add_get("/fake.test/{rest:.*}", server.handle_listing)
    app.router.add_post("/fake.test/{rest:.*}", server.handle_listing)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server.tls)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    server.url = f"{'https' if server.tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        for socket in server.sockets:
            await socket.close()
        await runner.cleanup()


@pytest.fixture
def tape() -> MemoryTape:
    return MemoryTape()


@pytest.fixture
def new_tape() -> Callable[[], MemoryTape]:
    return MemoryTape


@pytest.fixture
def new_venue() -> Callable[..., Venue]:
    return make_venue


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with run_server(Server()) as running:
        yield running


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """Trust the certificate of `secure_server`, which nobody else signed."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def secure_server(authority: trustme.CA) -> AsyncIterator[Server]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with run_server(Server(tls=tls)) as running:
        yield running
