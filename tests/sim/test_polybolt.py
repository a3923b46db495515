"""The fake PolyBolt: keys first, numbered prices of the world's oracle, and the venue's ways of closing."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from truetape import clock
from truetape.config import rewrite_url
from truetape.events.rows import Rows, Scribe
from truetape.sim.fake import FakeVenue, NoDesk
from truetape.sim.protocol import Reply
from truetape.sim.server import SimServer
from truetape.sim.venues import _polybolt
from truetape.venues import load_venue

VENUE = load_venue("polymarket")
FEED = next(feed for feed in VENUE.feeds if feed.name == "polybolt")
START_S = 1_791_000_000
SPOT = {"channel": "price.crypto", "filter": {"symbol": "btcusd", "provider": "chainlink"}}
AVERAGE = {"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 60}}

FAKE = FakeVenue(
    "polymarket", _polybolt.HOSTS, (), _polybolt.connect, lambda world, query: Reply(b"", 404), NoDesk, {},
    lambda status: b"", stages={"polybolt": _polybolt.BoltStage},
)  # fmt: skip


class Line:
    """A client's connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, server: SimServer) -> None:
        self.socket, self.server = socket, server

    async def say(self, **message: Any) -> None:
        await self.socket.send_json(message)

    async def hear(self) -> dict[str, Any]:
        message = await self.socket.receive(timeout=30)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def open(self, *subscriptions: dict[str, Any]) -> None:
        await self.say(op="auth", rid="a1", auth=_polybolt.CREDENTIALS)
        assert await self.hear() == {"op": "authed", "rid": "a1"}
        if subscriptions:
            await self.say(op="subscribe", rid="s1", subscriptions=subscriptions)

    async def wait_close(self) -> int:
        while not self.socket.closed:
            message = await self.socket.receive(timeout=30)
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                break
        return self.socket.close_code or 0


def meet(talk: Callable[[Line], Awaitable[None]], faults: str = "", start_s: float = START_S) -> None:
    async def main() -> None:
        async with (
            SimServer(venues=(FAKE,), faults=faults) as server,
            aiohttp.ClientSession() as client,
            client.ws_connect(rewrite_url(FEED.url, server.url)) as socket,
        ):
            await talk(Line(socket, server))

    with clock.step_virtual(start_s):
        clock.run(main())


def decode(frames: list[dict[str, Any]]) -> Rows:
    rows = Rows()
    on_message = VENUE.make_decoder(Scribe("polymarket", rows)).open("polybolt", "line")
    for number, frame in enumerate(frames):
        on_message(json.dumps(frame).encode(), number, number)
    return rows


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(value[0])] if isinstance(value, list) else type(value).__name__


def test_frames_have_the_documented_shapes(recordings: Path) -> None:
    lines = (recordings / "prediction/polybolt/frames.jsonl").read_text().splitlines()
    known = [shape(json.loads(line)["frame"]) for line in lines if json.loads(line)["dir"] == "recv"]

    async def talk(line: Line) -> None:
        await line.open(SPOT, AVERAGE)
        await line.say(op="ping", rid="p1")
        seen = [await line.hear() for _ in range(12)]
        assert [list(frame) for frame in seen[:2]] == [
            ["op", "channel", "rid"],
            ["v", "channel", "seq", "ts", "snapshot", "payload"],
        ]
        for frame in seen:
            found = shape(frame)
            documented = [one for one in known if one == found]
            if "snapshot" in frame and "window_seconds" in frame["payload"]:
                found["payload"].pop("window_seconds")  # the examples have no picture of an average
                documented = [one for one in known if one == found]
            assert documented, frame

    meet(talk)


def test_prices_are_the_oracles_each_second_once_from_the_snapshot_on() -> None:
    async def talk(line: Line) -> None:
        await line.open(SPOT, AVERAGE)
        frames = [await line.hear() for _ in range(44)]
        rows = decode(frames)
        assert "error" not in rows.plain and not rows.counters and len(rows.acks) == 2
        oracle = line.server.world.prediction.oracle
        told: dict[str, list[int]] = {}
        for row in rows.plain["oracle_price"]:
            stream, second, exact = rows.streams[row[0]].symbol, row[1] // 10**6, row[10]
            told.setdefault(stream, []).append(second)
            is_average = "twap" in stream
            true = oracle.average("BTC", second, 60) if is_average else oracle.price("BTC", second)
            whole, _, part = exact.partition(".")
            assert int(whole + part.ljust(18, "0")) == true
        assert set(told) == {"BTC-USD:polybolt_chainlink", "BTC-USD:polybolt_chainlink_twap60"}
        assert all(seconds == list(range(seconds[0], seconds[0] + len(seconds))) for seconds in told.values())
        assert all(len(seconds) == 140 for seconds in told.values())

    meet(talk)


def test_numbers_are_of_each_channel() -> None:
    async def talk(line: Line) -> None:
        await line.open(SPOT, AVERAGE)
        frames = [f for f in [await line.hear() for _ in range(14)] if "seq" in f]
        for channel in ("price.crypto", "price.crypto.twap"):
            numbers = [f["seq"] for f in frames if f["channel"] == channel]
            assert numbers == list(range(1, len(numbers) + 1))

    meet(talk)


@pytest.mark.parametrize(("action", "is_told"), [("drop", False), ("lose", True)])
def test_losses_show_as_a_hole_or_are_told(action: str, is_told: bool) -> None:
    async def talk(line: Line) -> None:
        await line.open(SPOT)
        frames = [await line.hear() for _ in range(10)]
        told = [frame.get("dropped", 0) for frame in frames if "seq" in frame]
        assert sum(told) == (3 if is_told else 0)
        rows = decode(frames)
        (hole,) = rows.counters
        assert hole.number - hole.last == 4
        missing = [done["first_id"] for done in line.server.faults_done]
        seconds = {row[1] // 10**6 for row in rows.plain["oracle_price"]}
        assert len(missing) == 3 and not seconds & set(missing)

    meet(talk, f"after 2 {action} 3 frames of price.crypto*")


def test_who_does_not_say_who_it_is_is_closed() -> None:
    async def subscribe(line: Line) -> None:
        await line.say(op="subscribe", rid="s1", subscriptions=[SPOT])
        expected = {"op": "error", "code": "auth_required", "channel": "price.crypto", "rid": "s1"}
        assert await line.hear() == expected
        assert await line.wait_close() == 4001

    async def guess(line: Line) -> None:
        await line.say(op="auth", rid="a1", auth={**_polybolt.CREDENTIALS, "secret": "guess"})
        assert (await line.hear())["code"] == "auth_invalid"
        assert await line.wait_close() == 4001

    async def wait(line: Line) -> None:
        assert await line.wait_close() == 4001

    for talk in (subscribe, guess, wait):
        meet(talk)


@pytest.mark.parametrize("code", [4002, 4003])
def test_a_slow_reader_and_a_draining_server_are_scripted(code: int) -> None:
    async def talk(line: Line) -> None:
        await line.open(SPOT)
        assert await line.wait_close() == code

    meet(talk, f"at 5s polymarket close {code} of polybolt")


def test_limits_are_kept() -> None:
    async def many(line: Line) -> None:
        await line.open()
        for _ in range(25):
            await line.say(op="subscribe", subscriptions=[SPOT])
        assert await line.wait_close() == 4008

    async def large(line: Line) -> None:
        await line.open()
        await line.say(op="subscribe", rid="x" * 70_000)
        assert await line.wait_close() == 4008

    for talk in (many, large):
        meet(talk)


@pytest.mark.parametrize(
    ("subscription", "code"),
    [
        ({"channel": "price.metal", "filter": {"symbol": "btcusd"}}, "bad_channel"),
        ({"channel": "price.crypto"}, "bad_filter"),
        ({"channel": "price.crypto", "filter": {"symbol": "btcusd", "provider": "nobody"}}, "bad_filter"),
        ({"channel": "price.crypto", "filter": {"symbol": "btcusd", "window_seconds": 60}}, "bad_filter"),
        ({"channel": "price.crypto", "filter": {"symbol": "nothing"}}, "bad_filter"),
        ({"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 30}}, "bad_filter"),
    ],
)
def test_what_cannot_be_subscribed_is_an_error(subscription: dict[str, Any], code: str) -> None:
    async def talk(line: Line) -> None:
        await line.open(subscription)
        assert (await line.hear())["code"] == code
        await line.say(op="sing")
        assert (await line.hear())["code"] == "bad_op"
        await line.socket.send_str("no json")
        assert (await line.hear())["code"] == "bad_op"

    meet(talk)


def test_leaving_is_answered_and_stops_the_stream() -> None:
    async def talk(line: Line) -> None:
        await line.open(SPOT)
        await line.hear()
        await line.say(op="unsubscribe", subscriptions=[SPOT])
        while (frame := await line.hear()).get("op") != "unsubscribed":
            assert "payload" in frame
        await line.say(op="ping")
        assert await line.hear() == {"op": "pong"}

    meet(talk)


def test_the_provider_that_is_meant_without_a_name_changed() -> None:
    for start_s, source in ((1_790_000_000, "pyth"), (START_S, "chainlink")):

        async def talk(line: Line, source: str = source) -> None:
            await line.open({"channel": "price.crypto", "filter": {"symbol": "ethusd"}})
            await line.hear()
            assert (await line.hear())["payload"]["source"] == source

        meet(talk, start_s=start_s)
