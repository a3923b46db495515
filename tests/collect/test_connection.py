"""A connection is kept alive, replaced before it dies, and its story is on the tape."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from truetape.collect.connection import Connection, Tuning
from truetape.collect.gate import Gate
from truetape.collect.plan import plan_connections
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.collect.socket import SocketOptions
from truetape.config import RecordSettings, VenueSettings
from truetape.errors import Refused
from truetape.events.instrument import Instrument
from truetape.tape.frame import FrameKind
from truetape.venues._contract import Heartbeat, Limits, Venue

RECORD = RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5, tick_seconds=60)
TUNING = Tuning(
    overlap_s=0.03,
    handover_timeout_s=0.3,
    stable_s=10,
    refused_handover_s=0.05,
    decide=make_decide(Backoff(base_s=0.002, cap_s=0.02, banned_s=0.1)),
    socket=SocketOptions(handshake_timeout_s=2, close_timeout_s=0.2),
)


@asynccontextmanager
async def holding(
    tape: Any, venue: Venue, url: str, tuning: Tuning = TUNING, lifetime_s: float = 0, topics: int = 2
) -> AsyncIterator[Connection]:
    """Run one connection with a recorder below it."""
    recorder = Recorder(tape, RECORD)
    settings = VenueSettings(instruments=("all",), channels=("trade",), url=url, lifetime_seconds=lifetime_s)
    instruments = [Instrument("fake", "spot", f"S{n}", f"S{n}", "spot") for n in range(topics)]
    (plan,) = plan_connections(venue, settings, instruments)
    connection = Connection(venue, settings, plan, recorder, Gate(venue), tuning)
    async with asyncio.TaskGroup() as above:
        above.create_task(recorder.run())
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(connection.run())
                yield connection
                running.cancel()
        finally:
            recorder.close("done")


async def test_story_of_a_connection(tape: Any, new_venue: Any, server: Any) -> None:
    async with holding(tape, new_venue(greetings=("hello",)), server.url) as connection:
        await tape.until(lambda: len(tape.payloads()) == 1)
        status = connection.status()
        assert (status.state, status.frames, status.topics, status.attempts) == ("open", 1, 2, 0)
        assert status.age_s is not None
        assert status.age_s < 5
    name = status.connection
    assert name.startswith("fake/spot/1#1-")
    assert [e["event"] for e in tape.events(connection="fake/spot/1")] == ["planned"]
    opened, subscribed, closed = tape.events(connection=name)
    assert opened == {
        "event": "opened",
        "url": "wss://fake.test/ws",
        "via": server.url.replace("http", "ws") + "/fake.test/ws",
        "attempt": 1,
        "connection": name,
    }
    assert subscribed["streams"] == [
        {"channel": "trade", "market": "spot", "venue_symbol": f"S{n}", "topic": f"trade.S{n}"} for n in range(2)
    ]
    assert (closed["event"], closed["cause"]) == ("closed", "shutdown")
    requests = [(f.payload, f.meta) for f in tape.frames if f.kind == FrameKind.REQUEST]
    assert requests[0] == (b"hello", '{"purpose":"greeting"}')
    assert json.loads(requests[1][0])["topics"] == ["trade.S0", "trade.S1"]
    assert requests[1][1] == ""
    assert server.received == [["hello", {"op": "sub", "topics": ["trade.S0", "trade.S1"], "id": 1}]]
    assert connection.status().state == "stopped"


async def test_subscriptions_keep_to_the_venues_limits(tape: Any, new_venue: Any, server: Any) -> None:
    limits = Limits(topics_per_message_max=4, message_bytes_max=75, messages_per_second_max=50)
    async with holding(tape, new_venue(limits=limits), server.url, topics=20):
        await tape.until(lambda: sum(len(event["streams"]) for event in tape.events("subscribed")) == 20)
    sent = [f for f in tape.frames if f.kind == FrameKind.REQUEST]
    assert all(len(f.payload) <= 75 and len(json.loads(f.payload)["topics"]) <= 4 for f in sent)
    assert [t for f in sent for t in json.loads(f.payload)["topics"]] == [f"trade.S{n}" for n in range(20)]
    gaps = [b.monotonic_ns - a.monotonic_ns for a, b in pairwise(sent)]
    assert sum(gaps) >= len(gaps) * 19_000_000


async def test_reconnects_with_a_new_name_after_a_cut(tape: Any, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str("x")
        if len(server.sockets) < 4:
            await socket.close(code=1012, message=b"restart")
        else:
            await server.listen(socket)

    server.talk = talk
    async with holding(tape, new_venue(), server.url) as connection:
        await tape.until(lambda: len(tape.payloads()) == 4)
        status = connection.status()
        assert status.frames == 4
        assert status.connection.startswith("fake/spot/1#4-")
    closed = tape.events("closed")
    assert [(e["cause"], e["code"], e["reason"]) for e in closed[:3]] == [("venue", 1012, "restart")] * 3
    assert len({e["connection"] for e in closed}) == 4
    assert [e["attempt"] for e in tape.events("opened")] == [1, 2, 3, 4]


async def test_unreachable_host_is_tried_again_and_declared(tape: Any, new_venue: Any, unused_tcp_port: int) -> None:
    async with holding(tape, new_venue(), f"http://127.0.0.1:{unused_tcp_port}") as connection:
        await tape.until(lambda: len(tape.events("connect_failed")) >= 5)
        assert connection.status().state in {"waiting", "connecting"}
        assert str(unused_tcp_port) in connection.status().reason
    failed = tape.events("connect_failed")
    assert {e["connection"] for e in failed} == {"fake/spot/1"}
    assert [e["attempt"] for e in failed[:5]] == [1, 2, 3, 4, 5]


async def test_connects_are_paced(tape: Any, new_venue: Any, unused_tcp_port: int) -> None:
    limits = Limits(connects_per_minute_max=12)  # two at once, then one each 5.45 s
    async with holding(tape, new_venue(limits=limits), f"http://127.0.0.1:{unused_tcp_port}"):
        await asyncio.sleep(0.3)
    assert len(tape.events("connect_failed")) == 2


async def test_silent_socket_is_cut(tape: Any, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        if len(server.sockets) == 1:
            await asyncio.sleep(1)  # never reads, so never answers pings
        else:
            await server.listen(socket)

    server.talk = talk
    async with holding(tape, new_venue(silence_s=0.1), server.url):
        await tape.until(lambda: len(tape.events("opened")) == 2)
    assert tape.events("closed")[0]["cause"] == "silence"


async def test_pings_keep_a_quiet_socket(tape: Any, new_venue: Any, server: Any) -> None:
    async with holding(tape, new_venue(silence_s=0.15, heartbeat=Heartbeat("", 0.04)), server.url):
        await asyncio.sleep(0.5)  # aiohttp answers pings while it reads
        assert len(tape.events("opened")) == 1
    assert [e["cause"] for e in tape.events("closed")] == ["shutdown"]


async def test_text_heartbeats_are_sent_and_recorded(tape: Any, new_venue: Any, server: Any) -> None:
    async with holding(tape, new_venue(heartbeat=Heartbeat("ping", 0.03)), server.url):
        await tape.until(lambda: tape.payloads(FrameKind.REQUEST).count(b"ping") >= 3)
    assert server.received[0].count("ping") >= 3
    metas = {f.meta for f in tape.frames if f.payload == b"ping"}
    assert metas == {'{"purpose":"heartbeat"}'}


async def test_handover_loses_nothing(tape: Any, new_venue: Any, server: Any) -> None:
    """One counter is sent to all who subscribed: no number may be missing on the tape."""
    subscribed: set[web.WebSocketResponse] = set()

    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        subscribed.add(socket)
        await server.listen(socket)
        subscribed.discard(socket)

    async def broadcast() -> None:
        number = 0
        while True:
            for socket in list(subscribed):
                if not socket.closed:
                    await socket.send_str(str(number))
            number += bool(subscribed)
            await asyncio.sleep(0.001)

    server.talk = talk
    sending = asyncio.create_task(broadcast())
    async with holding(tape, new_venue(), server.url, lifetime_s=0.15) as connection:
        await tape.until(lambda: len(tape.events("closed")) >= 3)
        assert connection.status().attempts == 0
    sending.cancel()
    assert [e["cause"] for e in tape.events("closed")[:3]] == ["lifetime"] * 3
    numbers = [int(payload) for payload in tape.payloads()]
    assert set(numbers) == set(range(max(numbers) + 1))
    assert len(numbers) > len(set(numbers))  # both delivered side by side


async def test_failed_handover_keeps_the_old_connection(tape: Any, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        if len(server.sockets) == 2:
            server.replies = [web.Response(status=503), web.Response(status=403)]
            await socket.close()
        else:
            await server.listen(socket)

    server.talk = talk
    async with holding(tape, new_venue(), server.url, lifetime_s=0.1) as connection:
        await tape.until(lambda: [e["cause"] for e in tape.events("closed")].count("lifetime") == 1)
        assert connection.status().connection.split("#")[1].startswith("3-")
    assert [e["cause"] for e in tape.events("handover_failed")] == ["lifetime"] * 3
    first = tape.events("opened")[0]["connection"]
    order = [(e["event"], e["connection"]) for e in tape.events() if e["event"] in {"closed", "handover_failed"}]
    assert order.index(("closed", first)) > [i for i, (name, _) in enumerate(order) if name == "handover_failed"][-1]


async def test_new_connection_that_stays_silent_does_not_take_over(tape: Any, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        if len(server.sockets) == 2:
            await socket.receive()
            await asyncio.sleep(1)
            return
        while not socket.closed:
            await socket.send_str("x")
            await asyncio.sleep(0.01)

    server.talk = talk
    async with holding(tape, new_venue(), server.url, lifetime_s=0.1):
        await tape.until(lambda: tape.events("handover_failed"))
        first, second = (e["connection"] for e in tape.events("opened")[:2])
    assert "did not take over" in tape.events("handover_failed")[0]["error"]
    assert [e["cause"] for e in tape.events("closed", second)] == ["silence"]
    assert [e["cause"] for e in tape.events("closed", first)] == ["shutdown"]


async def test_wish_replaces_the_connection_once(tape: Any, new_venue: Any, server: Any) -> None:
    async with holding(tape, new_venue(), server.url) as connection:
        await tape.until(lambda: connection.status().state == "open")
        name = connection.status().connection
        assert connection.reconnect(name)
        await tape.until(lambda: tape.events("closed"))
        assert not connection.reconnect(name)  # stale by now
        assert not await connection.resubscribe(name, ["trade.S0"])
    assert [e["cause"] for e in tape.events("closed", name)] == ["wish"]
    opened, closed = tape.events("opened"), tape.events("closed")
    assert len(opened) == 2
    assert tape.events().index(opened[1]) < tape.events().index(closed[0])


async def test_resubscribe_asks_for_known_topics_only(tape: Any, new_venue: Any, server: Any) -> None:
    async with holding(tape, new_venue(), server.url) as connection:
        await tape.until(lambda: connection.status().state == "open")
        assert await connection.resubscribe(connection.status().connection, ["trade.S1", "trade.X"])
        await tape.until(lambda: len(tape.events("subscribed")) == 2)
    assert [m["op"] for m in server.received[0]] == ["sub", "un", "sub"]
    assert [m["topics"] for m in server.received[0]][1:] == [["trade.S1"], ["trade.S1"]]
    assert [s["topic"] for s in tape.events("subscribed")[1]["streams"]] == ["trade.S1"]


async def test_rate_limit_at_the_handshake_is_waited_for(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies += [web.Response(status=429, headers={"Retry-After": "0.2"}), web.Response(status=418)]
    began = time.monotonic()
    async with holding(tape, new_venue(), server.url):
        await tape.until(lambda: tape.events("opened"))
        assert time.monotonic() - began >= 0.2
    assert len(tape.events("connect_failed")) == 2


async def test_refusal_is_fatal_and_names_the_setting(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies.append(web.Response(status=403))
    with pytest.raises(ExceptionGroup) as caught:
        async with holding(tape, new_venue(), server.url):
            await asyncio.sleep(5)
    assert caught.group_contains(Refused, match=r"venues\.fake: .*403.*venues\.fake\.url")


async def test_too_large_frame_is_named(tape: Any, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b"z" * 3000)
        await server.listen(socket)

    server.talk = talk
    tuning = Tuning(decide=TUNING.decide, socket=SocketOptions(frame_bytes_max=2000))
    async with holding(tape, new_venue(), server.url, tuning):
        await tape.until(lambda: len(tape.events("closed")) >= 2)
    assert tape.events("closed")[0]["cause"] == "frame_too_big"
    assert tape.events("closed")[0]["code"] == 1009
