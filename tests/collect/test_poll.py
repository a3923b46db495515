"""Polls: each turn in its time or declared, pages of one snapshot, patience, credentials nowhere."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from truetape.collect.http import HttpOptions
from truetape.collect.key import Key
from truetape.collect.poll import Poller
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.config import RecordSettings, VenueSettings
from truetape.errors import ConfigError
from truetape.tape.frame import FrameKind
from truetape.venues import load_venue
from truetape.venues._contract import Ask, Followed, Poll, Round, Told

OPTIONS = HttpOptions(decide=make_decide(Backoff(0.001, 0.01, 0.05)), total_timeout_s=5)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOLD = Told("oracle_price", "page", "S")


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def polling(
    tape: Any, venue: Any, poll: Poll, url: str, wanted: Sequence[str] = ("all",), **more: Any
) -> AsyncIterator[Poller]:
    recorder = Recorder(tape, RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5))
    settings = VenueSettings(instruments=tuple(wanted), url=url)
    poller = Poller(venue, settings, poll, recorder, options=OPTIONS, **more)
    async with asyncio.TaskGroup() as above:
        above.create_task(recorder.run())
        try:
            running = asyncio.create_task(poller.run())
            yield poller
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            recorder.close("done")


def make_poll(interval_s: float = 0.05, **changes: Any) -> Poll:
    def make_asks(turn: Round) -> list[Ask]:
        return [Ask("page", f"https://fake.test/price?of={turn.subject}", reason="poll", streams=(TOLD,))]

    return Poll(**{"name": "page", "market": "page", "feed": "page", "channels": ("oracle_price",),
                   "interval_s": interval_s, "make_asks": make_asks, "allowance": (100_000, 1.0)} | changes)  # fmt: skip


def counted(replies: list[web.Response], hits: list[float], default: str = "{}") -> Answer:
    """Answer with the replies first."""

    async def answer(request: web.Request) -> web.Response:
        hits.append(asyncio.get_running_loop().time())
        return replies.pop(0) if replies else web.Response(text=default)

    return answer


async def test_turns_keep_to_the_grid_and_are_on_the_tape(tape: Any, new_venue: Any) -> None:
    hits: list[float] = []
    async with serving(counted([], hits)) as url, polling(tape, new_venue(), make_poll(0.1), url) as poller:
        await tape.until(lambda: len(tape.payloads(FrameKind.RESPONSE)) >= 10)
        status = poller.status()
    assert (status.connection, status.state, status.attempts, status.topics) == ("fake/page", "open", 0, 1)
    names = [e["event"] for e in tape.events(connection="fake/page")]
    assert names[:3] == ["opened", "subscribed", "poll_resumed"]
    assert names[-1] == "closed"
    assert names.count("subscribed") == 1
    sent = [f.monotonic_ns for f in tape.frames if f.kind == FrameKind.REQUEST]
    missed = sum(e["turns"] for e in tape.events("poll_missed"))
    assert abs((sent[-1] - sent[0]) / 100e6 - (len(sent) - 1 + missed)) < 1


async def test_a_slow_answer_makes_turns_late_and_each_is_declared(tape: Any, new_venue: Any) -> None:
    open_at_once = [0, 0]

    async def answer(request: web.Request) -> web.Response:
        open_at_once[0] += 1
        open_at_once[1] = max(open_at_once)
        await asyncio.sleep(0.24)
        open_at_once[0] -= 1
        return web.Response(text="{}")

    async with serving(answer) as url, polling(tape, new_venue(), make_poll(0.1), url):
        await tape.until(lambda: len(tape.payloads(FrameKind.RESPONSE)) >= 3)
    assert open_at_once[1] == 1
    missed = tape.events("poll_missed")
    assert missed[0]["gap"] == "silence"
    assert all(e["turns"] >= 1 and e["streams"][0]["venue_symbol"] == "S" for e in missed)
    assert "from_ns" in missed[0]
    sent = [f.monotonic_ns for f in tape.frames if f.kind == FrameKind.REQUEST]
    # What was asked and what was missed add up to the turns that there were.
    turns = sum(e["turns"] for e in missed_between(tape, sent[0], sent[-1]))
    assert abs((sent[-1] - sent[0]) / 1e8 - (len(sent) - 1) - turns) <= 1


def missed_between(tape: Any, begin_ns: int, end_ns: int) -> list[dict[str, Any]]:
    found = [f for f in tape.frames if f.kind == FrameKind.EVENT and begin_ns < f.monotonic_ns <= end_ns]
    return [e for f in found if (e := json.loads(f.meta))["event"] == "poll_missed"]


async def test_failures_are_declared_counted_and_told_when_over(tape: Any, new_venue: Any) -> None:
    replies = [web.Response(status=502) for _ in range(6)]
    async with serving(counted(replies, [])) as url, polling(tape, new_venue(), make_poll(), url) as poller:
        assert poller.status().trouble == ""
        await tape.until(lambda: poller.status().trouble)
        told = poller.status().trouble
        await tape.until(lambda: tape.events("poll_recovered"))
        assert poller.status().trouble == ""
    assert "turns in a row failed" in told and "502" in told
    missed = tape.events("poll_missed")
    assert [e["gap"] for e in missed if e["gap"] != "silence"] == ["disconnect"] * 6
    (failing,) = tape.events("poll_failing")
    assert (failing["failures"], failing["poll"]) == (5, "page")
    assert failing["reason"].endswith("502")
    assert tape.events("poll_recovered")[0]["failures"] >= 6
    assert len(tape.events("poll_resumed")) >= 1
    assert [(len(e["streams"]), e["still"]) for e in missed[:2]] == [(1, 0), (0, 1)]


async def test_a_limit_is_obeyed_and_the_turns_it_cost_are_declared(tape: Any, new_venue: Any) -> None:
    hits: list[float] = []
    replies = [web.Response(status=429, headers={"Retry-After": "0.4"})]
    async with serving(counted(replies, hits)) as url, polling(tape, new_venue(), make_poll(), url) as poller:
        await tape.until(lambda: tape.events("poll_missed"))
        assert poller.status().state == "waiting"
        await tape.until(lambda: tape.events("poll_resumed"))
    assert hits[1] - hits[0] >= 0.34
    assert {e["gap"] for e in tape.events("poll_missed")} <= {"rate_limit", "silence"}
    assert sum(e["turns"] for e in tape.events("poll_missed") if e["gap"] == "rate_limit") >= 4


async def test_answers_that_are_none_are_failures(tape: Any, new_venue: Any) -> None:
    replies = [web.Response(status=404), web.Response(text="complaint"), web.Response(text="?")]

    def follow(ask: Ask, body: bytes) -> Ask | None:
        msgspec.json.decode(body)
        return None

    poll = make_poll(find_fault=lambda body: "it complains" if body == b"complaint" else "", follow=follow)
    async with serving(counted(replies, [])) as url, polling(tape, new_venue(), poll, url):
        await tape.until(lambda: tape.events("poll_resumed"))
    missed = [(e["gap"], e["reason"]) for e in tape.events("poll_missed") if e["gap"] != "silence"]
    assert missed[:2] == [("venue_status", "answered 404"), ("venue_status", "it complains")]
    assert missed[2][0] == "decode"


async def test_pages_belong_to_one_snapshot_and_have_an_end(tape: Any, new_venue: Any) -> None:
    def follow(ask: Ask, body: bytes) -> Ask | None:
        is_last = ask.page == 3 or "endless" in ask.url
        return None if is_last and "endless" not in ask.url else msgspec.structs.replace(ask, page=ask.page + 1)

    def make_asks(turn: Round) -> list[Ask]:
        return [
            Ask("page", f"https://fake.test/{name}", streams=(Told("position", "page", name),))
            for name in ("a", "endless")
        ]

    poll = make_poll(10.0, make_asks=make_asks, follow=follow, pages_max=5, parallel_max=2)
    hits: list[float] = []
    async with serving(counted([], hits)) as url, polling(tape, new_venue(), poll, url):
        await tape.until(lambda: tape.events("poll_missed"))
    assert len(hits) == 3 + 5
    (missed,) = tape.events("poll_missed")
    assert (missed["reason"], missed["streams"][0]["venue_symbol"]) == ("more than 5 pages", "endless")
    assert [s["venue_symbol"] for e in tape.events("poll_resumed") for s in e["streams"]] == ["a"]


async def test_a_hanging_answer_is_given_up(tape: Any, new_venue: Any) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with serving(hang) as url, polling(tape, new_venue(), make_poll(1.0, patience_s=0.1), url):
        await tape.until(lambda: tape.events("poll_missed"))
    assert tape.events("poll_missed")[0]["gap"] == "disconnect"
    assert tape.events("request_failed")[0]["error"] == "given up"


async def test_what_is_asked_follows_the_markets(tape: Any, new_venue: Any) -> None:
    now = [Followed("one", "c1", ("t1", "t2"), 0, 1, "open")]

    def make_asks(turn: Round) -> list[Ask]:
        return [Ask("page", f"https://fake.test/{m.slug}", streams=tuple(Told("position", "d", t) for t in m.tokens))
                for m in turn.markets]  # fmt: skip

    poll = make_poll(0.03, make_asks=make_asks)
    async with serving(counted([], [])) as url, polling(tape, new_venue(), poll, url, find_markets=lambda us: now):
        await tape.until(lambda: tape.events("poll_resumed"))
        now[:] = [Followed("two", "c2", ("t3",), 0, 1, "open")]
        await tape.until(lambda: len(tape.events("poll_resumed")) == 2)
        now.clear()
        await tape.until(lambda: len(tape.events("unsubscribed")) == 2)
    told = [[s["venue_symbol"] for s in e["streams"]] for e in tape.events("subscribed") + tape.events("unsubscribed")]
    assert told == [["t1", "t2"], ["t3"], ["t1", "t2"], ["t3"]]


async def test_a_refusal_ends_this_poll_and_names_what_holds_the_key(tape: Any) -> None:
    chainlink = load_venue("chainlink")
    poll = next(poll for poll in chainlink.polls if poll.name == "latest")
    assert chainlink.credentials is not None
    key = Key("chainlink", chainlink.credentials, {"CLIENT": "client-4711", "SECRET": "secret-0815"})
    seen: list[Any] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append((request.headers, request.raw_path))
        return web.json_response({"error": "client-4711 with secret-0815 is not welcome"}, status=401)

    async with serving(refuse) as url, polling(tape, chainlink, poll, url, ("BTC-USD",), key=key) as poller:
        await tape.until(lambda: tape.events("closed"))
        assert poller.status().state == "refused"
    headers, path = seen[0]
    digest = hashlib.sha256(b"").hexdigest()
    own_path = path.removeprefix("/api.dataengine.chain.link")
    text = f"GET {own_path} {digest} client-4711 {headers['X-Authorization-Timestamp']}"
    assert headers["Authorization"] == "client-4711"
    assert (
        headers["X-Authorization-Signature-SHA256"]
        == hmac.new(b"secret-0815", text.encode(), hashlib.sha256).hexdigest()
    )
    (refused,) = tape.events("feed_refused")
    assert "TRUETAPE_KEY_CHAINLINK_CLIENT and TRUETAPE_KEY_CHAINLINK_SECRET" in refused["reason"]
    everything = repr(tape.frames) + repr(key)
    assert "4711" not in everything
    assert "0815" not in everything
    assert headers["X-Authorization-Signature-SHA256"] not in everything


async def test_no_such_subject_is_refused_at_once(tape: Any) -> None:
    chainlink = load_venue("chainlink")
    with pytest.raises(ConfigError, match=r"venues\.chainlink\.instruments: DOGE-USD: page has none of these"):
        async with polling(tape, chainlink, chainlink.polls[0], "http://127.0.0.1:1", ("DOGE-USD",)):
            pass


async def test_the_page_of_each_asset_has_its_own_turns(tape: Any) -> None:
    chainlink = load_venue("chainlink")
    poll = msgspec.structs.replace(chainlink.polls[0], interval_s=0.2)
    answer = counted([], [], '{"data":{"liveStreamReports":{"nodes":[]}}}')
    async with serving(answer) as url, polling(tape, chainlink, poll, url, ("all",)):
        await tape.until(lambda: len(tape.payloads(FrameKind.RESPONSE)) >= 8)
    subjects = {e["subject"] for e in tape.events("subscribed")}
    assert subjects == {"BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD"}
    asked = [json.loads(f.meta)["url"] for f in tape.frames if f.kind == FrameKind.REQUEST]
    assert len(set(asked[:4])) == 4
