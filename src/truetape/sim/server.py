"""The server of the fake venues: owns the sockets, the clockwork and the faults; `truetape sim` runs it.

Every venue is mounted under its real hosts as first part of the path (`/stream.binance.com/stream`), which is where
`TRUETAPE_URL_<VENUE>` sends a recorder, and under its bare name (`/binance/stream`) for other programs.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import msgspec
from aiohttp import WSMsgType, web

from truetape.errors import ConfigError
from truetape.sim.account import describe_truth, list_done
from truetape.sim.fake import FakeVenue, open_doors
from truetape.sim.faults import Fault, check_venues, load_faults
from truetape.sim.hub import Judge, SimClock
from truetape.sim.line import Conversation
from truetape.sim.market import TRADES_MAX, Market
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.quota import Meter
from truetape.sim.recording import Recording
from truetape.sim.spec import Spec
from truetape.sim.venues import list_fakes, load_fake
from truetape.sim.world import World

TICK_S = 0.005
"""Markets move and frames leave this often."""
MARKET_REST_S = 0.25
"""Where markets of coins move slowly, it rests a quarter of the time between two steps, at most so long."""
REST_S = 1.0
"""Where no market moves by steps, the clockwork rests at most so long."""
IDLE_REST_S = 3600.0
"""Where nothing moves at all, at most so long."""
MESSAGE_BYTES_MAX = 1024 * 1024
"""A client's message may be this large."""
_UNAVAILABLE = b"<html><body>503 Service Temporarily Unavailable</body></html>"


class Synthetic(msgspec.Struct, frozen=True):
    """A seeded market as the feed of the fake venues."""

    seed: int = 1
    rate: float = 50.0
    """Events per second of market time and instrument; frames come in about the same number."""
    speed: float = 1.0
    """How fast market time runs."""
    trades_max: int = TRADES_MAX
    """Trades that each market remembers."""


class SimServer:
    """Fake venues on loopback; `async with SimServer() as server:` then `server.url`.

    `time_scale` is how fast the protocol's own times run (heartbeats, deadlines, lifetimes); `port=0` takes a free port.
    """

    def __init__(
        self,
        port: int = 0,
        venues: "Sequence[str | FakeVenue]" = (),
        *,
        feed: "Synthetic | Recording | None" = None,
        faults: str | tuple[Fault, ...] = (),
        time_scale: float = 1.0,
        host: str = "127.0.0.1",
        has_limits: bool = True,
    ) -> None:
        synthetic = feed if isinstance(feed, Synthetic) else Synthetic()
        for name, value in (("rate", synthetic.rate), ("speed", synthetic.speed), ("time_scale", time_scale)):
            if not 0 < value < math.inf:
                raise ConfigError(f"sim: {name}: {value:g} is not above 0 and finite")
        self._host, self._port = host, port
        self.time = SimClock(synthetic.speed)
        self.time_scale = time_scale
        self.has_limits = has_limits
        self._fakes = [load_fake(one) if isinstance(one, str) else one for one in (venues or list_fakes())]
        self._stands_for = {*list_fakes(), *(fake.name for fake in self._fakes)}
        self.judge = Judge(self._read_faults(faults) if isinstance(faults, str) else faults, self.time)
        self.world = World(synthetic.seed, synthetic.rate, self.time, self.judge, synthetic.trades_max)
        self.recording = feed if isinstance(feed, Recording) else None
        self._hosts = {host: fake for fake in self._fakes for host in (*fake.hosts, fake.name)}
        for fake in self._fakes:
            open_doors(self.world, fake)
        if self.recording is not None:
            self.recording.attach(self.world, self._fakes)
        self._meter = Meter(time_scale)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._count = 0

    # life

    async def start(self) -> None:
        """Listen, and start the clockwork."""
        app = web.Application()
        app.router.add_get("/_sim/faults", self._show_faults)
        app.router.add_get("/_sim/truth", self._show_truth)
        app.router.add_get("/_sim/status", self._show_status)
        app.router.add_route("*", "/{host}", self._handle)
        app.router.add_route("*", "/{host}/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(f"sim: cannot listen on {self._host}:{self._port} ({error.strerror})") from error
        self._port = self._runner.addresses[0][1]
        self._tasks = [asyncio.create_task(self._run_clockwork())]
        if self.recording is not None:
            self._tasks.append(asyncio.create_task(self.recording.play()))

    async def stop(self) -> None:
        """Cut everybody off and stop listening."""
        for task in self._tasks:
            task.cancel()
        for hub in self.world.hubs.values():
            for session in list(hub.sessions):
                session.transport.abort()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def __aenter__(self) -> "SimServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """What `TRUETAPE_URL_<VENUE>` should be."""
        return f"http://{self._host}:{self._port}"

    # truth

    @property
    def faults_done(self) -> list[dict[str, object]]:
        """Everything the faults did: when, to which stream, which ids."""
        return list_done(self.judge)

    def strike(self, script: str) -> None:
        """Arm more faults while it runs; their times count from now."""
        self.judge.arm(self._read_faults(script))
        self.world.awoken.set()

    def _read_faults(self, script: str) -> tuple[Fault, ...]:
        faults = load_faults(script)
        check_venues(faults, self._stands_for)
        return faults

    def market(self, venue: str, feed: str, symbol: str) -> Market:
        """Return the true market of an instrument; ConfigError when the venue does not list it."""
        market = self.world.market(venue, feed, symbol)
        if market is None:
            raise ConfigError(f"sim: {venue} {feed} lists no {symbol!r}")
        return market

    def list_specs(self, venue: str, feed: str) -> list[Spec]:
        """List what a fake venue trades."""
        return self.world.list_specs(venue, feed)

    # clockwork

    async def _run_clockwork(self) -> None:
        while True:
            self._apply_timed_faults()
            self.world.advance()
            self.flush()
            pause_s = self._find_pause()
            if pause_s <= TICK_S:
                await asyncio.sleep(TICK_S)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.world.awoken.wait(), pause_s)
            self.world.awoken.clear()

    def _find_pause(self) -> float:
        """Return how long the clockwork may rest: until something is due, as far as that is known."""
        world, speed = self.world, self.time.speed
        if not world.is_synthetic:
            return TICK_S
        if world.markets:
            left_s = [MARKET_REST_S, MARKET_REST_S / world.rate]
        elif not world.stages:  # a market that wakes ends the rest
            left_s = [IDLE_REST_S * speed]
        else:
            left_s = [REST_S * speed, *((stage.due_us - self.time.now_us()) / 1e6 for stage in world.stages.values())]
        left_s += [armed.fault.value - self.time.elapsed_s() for armed in self.judge.timed]
        return max(TICK_S, min(left_s) / speed)

    def flush(self) -> None:
        """Send everything that waits."""
        for hub in self.world.hubs.values():
            for session in hub.sessions:
                session.flush()

    def _apply_timed_faults(self) -> None:
        elapsed_s = self.time.elapsed_s()
        for armed in [a for a in self.judge.timed if a.fault.value <= elapsed_s]:
            self.judge.timed.remove(armed)
            fault = armed.fault
            for fake in self._fakes:
                if fault.venue not in ("", fake.name):
                    continue
                if fault.action == "freeze":
                    self.judge.freeze(fake.name, elapsed_s + fault.seconds)
                    self.judge.record(fake.name, "", "*", "freeze", detail=f"{fault.seconds:g}s")
                elif fault.action == "close":
                    self._close(fake.name, fault)
                else:
                    self.cut(fake.name)

    def cut(self, venue: str) -> int:
        """Close all of a venue's connections without a goodbye; returns how many there were."""
        count = 0
        for hub in self.world.hubs.values():
            if hub.venue != venue:
                continue
            for session in list(hub.sessions):
                session.flush()
                for topic, delivery in session.topics.items():
                    self.judge.record(venue, hub.feed, topic, "cut", last_id=delivery.last_id, connection=session.name)
                self.judge.record(venue, hub.feed, "*", "cut", connection=session.name)
                session.leave()
                session.transport.close()
                count += 1
        return count

    def _close(self, venue: str, fault: Fault) -> None:
        """Close a product line's connections with a code, as a venue does that drains or punishes."""
        for hub in self.world.hubs.values():
            if hub.venue != venue or not fnmatchcase(hub.feed, fault.pattern):
                continue
            for session in hub.sessions:
                session.close(fault.count, "scripted")
                self.judge.record(venue, hub.feed, "*", "close", connection=session.name, detail=str(fault.count))

    # requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fake = self._hosts.get(request.match_info["host"])
        if fake is None:
            known = ", ".join(sorted(self._hosts))
            return web.json_response({"error": f"no fake venue at this path (first part: {known})"}, status=404)
        host = request.match_info["host"]
        path = "/" + request.match_info.get("path", "")
        target = request.rel_url.raw_path_qs[len(host) + 1 :] or "/"
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read() if request.method != "GET" else b""
        said = "" if host == fake.name else host
        query = Query(said, path, dict(request.query), target, request.method, headers, body)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._handle_socket(request, fake, query)
        return await self._handle_rest(request, fake, query)

    async def _handle_socket(self, request: web.Request, fake: FakeVenue, query: Query) -> web.StreamResponse:
        fault = self.judge.judge_request(fake.name, query.path, is_connect=True)
        if fault is not None:
            self.judge.record(fake.name, "", query.path, fault.action, detail="connect")
            if fault.action != "slow":
                return self._refuse(fake, fault)
            await asyncio.sleep(fault.seconds / self.time_scale)
        line = fake.admit(self.world, query) or fake.connect(query)
        if line is None:
            return web.Response(status=404)
        if isinstance(line, Reply):
            return web.Response(body=line.body, status=line.status, content_type=line.content_type)
        socket = web.WebSocketResponse(autoping=False, autoclose=True, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response(status=408)  # nobody hears it: the client went away before it was greeted
        self._count += 1
        hub = self.world.hub(fake.name, line.feed)
        assert request.transport is not None
        conversation = Conversation(
            f"{fake.name}/{line.feed}#{self._count}", hub, request.transport, line, self.world, self.time_scale
        )
        conversation.has_limits = self.has_limits
        ticker = asyncio.create_task(conversation.run_clock(socket))
        try:
            async for message in socket:
                if message.type in (WSMsgType.ERROR, WSMsgType.CLOSE):
                    break
                conversation.take(message)
                conversation.session.flush()
        finally:
            ticker.cancel()
            conversation.session.leave()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
        return socket

    def _refuse(self, fake: FakeVenue, fault: Fault) -> web.Response:
        """Answer as a scripted refusal has it."""
        if fault.action == "5xx":
            return web.Response(body=_UNAVAILABLE, status=503)
        headers = {"Retry-After": f"{fault.retry_after_s:g}"} if fault.action == "429" else {}
        return web.Response(body=fake.refuse(int(fault.action)), status=int(fault.action), headers=headers)

    async def _handle_rest(self, request: web.Request, fake: FakeVenue, query: Query) -> web.Response:
        if request.method not in fake.methods:
            return web.Response(status=405)
        reply = self.world.recorded_reply(fake.name, fake.find_feed(query.host + query.path), query)
        if reply is None:
            reply = fake.respond(self.world, query)
        charged, refused_s = self._meter.charge(fake, reply, self.has_limits)
        headers = {**reply.headers, **charged}
        if refused_s:
            reply, headers["Retry-After"] = Reply(fake.refuse(429), 429), str(refused_s)
        fault = self.judge.judge_request(fake.name, query.path, reply.is_book)
        body, status = reply.body, reply.status
        if fault is not None:
            self.judge.record(fake.name, "", query.path, fault.action, detail=request.query_string)
            match fault.action:
                case "429":
                    body, status = fake.refuse(429), 429
                    headers["Retry-After"] = f"{fault.retry_after_s:g}"
                case "425":
                    body, status = fake.refuse(425), 425
                case "5xx":
                    body, status = _UNAVAILABLE, 503
                case "slow":
                    await asyncio.sleep(fault.seconds / self.time_scale)
                case _:
                    body = body[: len(body) * 2 // 3]
        return web.Response(body=body, status=status, headers=headers, content_type=reply.content_type)

    # what it says of itself

    async def _show_faults(self, _: web.Request) -> web.Response:
        return web.Response(body=encode_json(self.faults_done), content_type="application/json")

    async def _show_truth(self, request: web.Request) -> web.Response:
        body = encode_json(describe_truth(self.world, dict(request.query)))
        return web.Response(body=body, content_type="application/json")

    async def _show_status(self, _: web.Request) -> web.Response:
        hubs = [
            {
                "venue": h.venue,
                "feed": h.feed,
                "sessions": len(h.sessions),
                "topics": len(h.rooms),
                "frames": h.published,
            }
            for h in self.world.hubs.values()
        ]
        recording = None if self.recording is None else self.recording.describe()
        body = encode_json({"now_ms": self.world.now_ms, "hubs": hubs, "recording": recording})
        return web.Response(body=body, content_type="application/json")


async def serve(  # noqa: PLR0913 - one argument per option of the command
    port: int = 9000,
    venues: Sequence[str] = (),
    seed: int = 1,
    rate: float = 50.0,
    faults: str = "",
    recording: Sequence[str] = (),
    speed: float = 1.0,
    *,
    host: str = "127.0.0.1",
    time_scale: float = 1.0,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Run the fake venues until cancelled: what `truetape sim` does; `on_ready` gets the URL once it listens."""
    feed = Recording(recording, speed) if recording else Synthetic(seed, rate, speed)
    async with SimServer(port, venues, feed=feed, faults=faults, host=host, time_scale=time_scale) as server:
        on_ready(server.url)
        await asyncio.Event().wait()
