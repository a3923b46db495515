"""Requests: on the tape whole, paced, patient, bounded."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from truetape.collect.gate import Gate
from truetape.collect.http import Ask, Http, HttpOptions
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.config import RecordSettings
from truetape.errors import Fatal, RateLimited, Refused, VenueUnreachable
from truetape.tape.frame import FrameKind
from truetape.venues._contract import Rest

ASK = Ask("spot", "https://fake.test/book?symbol=BTC", 5, "resync")
OPTIONS = HttpOptions(decide=make_decide(Backoff(0.001, 0.01, 0.05)), total_timeout_s=2, attempts_max=3)


@asynccontextmanager
async def asking(
    tape: Any, venue: Any, url: str, options: HttpOptions = OPTIONS, gate: Gate | None = None
) -> AsyncIterator[Http]:
    recorder = Recorder(tape, RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5))
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        try:
            async with Http(venue, url, recorder, gate or Gate(venue), options) as http:
                yield http
        finally:
            recorder.close("done")


async def test_request_and_answer_are_on_the_tape_under_the_venues_own_url(
    tape: Any, new_venue: Any, server: Any
) -> None:
    async with asking(tape, new_venue(), server.url) as http:
        reply = await http.fetch(ASK)
    assert reply.status == 200
    request, response = (f for f in tape.frames if f.kind in {FrameKind.REQUEST, FrameKind.RESPONSE})
    assert json.loads(request.meta) == {"method": "GET", "url": ASK.url, "reason": "resync"}
    assert (response.venue, response.feed, response.connection) == ("fake", "spot", "fake/http")
    assert response.payload == reply.body == b'{"symbols": ["BTC-USD", "ETH-USD"]}'
    meta = json.loads(response.meta)
    assert (meta["method"], meta["url"], meta["status"]) == ("GET", ASK.url, 200)
    assert meta["elapsed_ms"] > 0
    assert meta["headers"]["x-used"] == "7"
    assert {"date", "content-type"} <= meta["headers"].keys()
    assert "x-secret" not in meta["headers"]
    assert server.requests == ["/fake.test/book"]


async def test_body_is_sent_and_recorded(tape: Any, new_venue: Any, server: Any) -> None:
    async with asking(tape, new_venue(), server.url) as http:
        await http.fetch(Ask("spot", "https://fake.test/graph", method="POST", body=b'{"q":1}'))
    assert tape.payloads(FrameKind.REQUEST) == [b'{"q":1}']


async def test_limit_is_waited_for_and_holds_the_whole_venue(tape: Any, new_venue: Any, server: Any) -> None:
    venue = new_venue()
    gate = Gate(venue)
    server.replies.append(web.Response(status=429, headers={"Retry-After": "0.3"}, text="slow down"))
    async with asking(tape, venue, server.url, gate=gate) as http:
        began = time.monotonic()
        first = asyncio.create_task(http.fetch(ASK))
        await tape.until(lambda: tape.payloads(FrameKind.RESPONSE))
        assert gate.banned_s > 0
        await http.fetch(ASK)
        assert time.monotonic() - began >= 0.3
        assert (await first).status == 200
    assert [json.loads(f.meta)["status"] for f in tape.frames if f.kind == FrameKind.RESPONSE] == [429, 200, 200]


async def test_ban_without_retry_after_takes_the_venues_default(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies += [web.Response(status=418) for _ in range(3)]
    began = time.monotonic()
    async with asking(tape, new_venue(), server.url) as http:
        with pytest.raises(RateLimited, match="418"):
            await http.fetch(ASK)
    assert time.monotonic() - began >= 0.1


async def test_transient_errors_are_tried_again_a_bounded_number_of_times(
    tape: Any, new_venue: Any, server: Any, unused_tcp_port: int
) -> None:
    server.replies += [web.Response(status=502), web.Response(status=503)]
    async with asking(tape, new_venue(), server.url) as http:
        assert (await http.fetch(ASK)).status == 200
    async with asking(tape, new_venue(), f"http://127.0.0.1:{unused_tcp_port}") as http:
        with pytest.raises(VenueUnreachable):
            await http.fetch(ASK)
    failed = tape.events("request_failed")
    assert len(failed) == 3
    assert failed[0]["url"] == ASK.url
    assert str(unused_tcp_port) in failed[0]["error"]


async def test_refusal_is_not_tried_again(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies.append(web.Response(status=401))
    async with asking(tape, new_venue(), server.url) as http:
        with pytest.raises(Refused, match=r"venues\.fake: .*401.*venues\.fake\.url"):
            await http.fetch(ASK)
    server.replies.append(web.Response(status=403))
    async with asking(tape, new_venue(venue_rest=Rest(ban_statuses=(429,))), server.url) as http:
        with pytest.raises(Refused, match="403"):
            await http.fetch(ASK)


async def test_other_answers_stand(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies.append(web.Response(status=404, text="no such thing"))
    async with asking(tape, new_venue(), server.url) as http:
        assert (await http.fetch(ASK)).status == 404


async def test_too_large_body_is_not_kept(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies.append(web.Response(body=b"x" * 100_000))
    options = HttpOptions(body_bytes_max=1000, decide=OPTIONS.decide)
    async with asking(tape, new_venue(), server.url, options) as http:
        with pytest.raises(Fatal, match="larger than 1000"):
            await http.fetch(ASK)
    assert "larger than 1000" in tape.events("request_failed")[0]["error"]
    assert not tape.payloads(FrameKind.RESPONSE)


async def test_venues_own_count_slows_us_down(tape: Any, new_venue: Any, server: Any) -> None:
    venue = new_venue(venue_rest=Rest(weight_per_minute_max=20, weight_header="X-Used"))
    server.replies.append(web.json_response({}, headers={"X-Used": "19"}))
    async with asking(tape, venue, server.url) as http:
        await http.fetch(ASK)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await http.fetch(ASK)
    assert len(server.requests) == 1
