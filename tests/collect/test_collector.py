"""Everything together: listings, connections, wishes, stop, and what goes wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from truetape.collect.collector import WISH_REPEAT_S, Collector, collect
from truetape.collect.connection import Tuning
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.collect.status import CollectorStatus
from truetape.config import RecordSettings, Settings, VenueSettings
from truetape.errors import ConfigError, Refused, TapeError
from truetape.events.wish import Fetch, Reconnect, Resubscribe, Wish
from truetape.tape.frame import FrameKind
from truetape.tape.writer import FileTapeWriter

TUNING = Tuning(overlap_s=0.02, status_interval_s=0.02, decide=make_decide(Backoff(0.002, 0.02, 0.05)))


def settings_for(url: str, *names: str, instruments: tuple[str, ...] = ("all",), **record: Any) -> Settings:
    venue = VenueSettings(instruments=instruments, channels=("trade",), url=url)
    times = {
        "flush_interval_ms": 1,
        "flush_interval_idle_ms": 1,
        "fsync_interval_ms": 5,
        "tick_seconds": 0.05,
        **record,
    }
    return Settings(venues=dict.fromkeys(names or ("fake",), venue), record=RecordSettings(**times))


class Wishes:
    """Wishes from another process, as the collector sees them."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Wish] = asyncio.Queue()

    def __aiter__(self) -> "Wishes":
        return self

    async def __anext__(self) -> Wish:
        return await self.queue.get()


@asynccontextmanager
async def collecting(tape: Any, settings: Settings, venues: dict[str, Any], **more: Any) -> AsyncIterator[Wishes]:
    wishes, stop = Wishes(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(collect(settings, tape, wishes, stop, venues=venues, tuning=TUNING, **more))
        yield wishes
        stop.set()


async def test_records_from_listing_to_stop(tape: Any, new_venue: Any, server: Any) -> None:
    seen: list[CollectorStatus] = []
    async with collecting(tape, settings_for(server.url), {"fake": new_venue()}, on_status=seen.append):
        await tape.until(lambda: tape.payloads() and len(tape.events("tick")) >= 2)
        await tape.until(lambda: seen and seen[-1].connections, 3)
    kinds = [json.loads(f.meta)["event"] if f.kind == FrameKind.EVENT else FrameKind(f.kind).name for f in tape.frames]
    kinds = [kind for kind in kinds if kind != "tick"]
    assert kinds == [
        "started", "REQUEST", "RESPONSE", "planned", "opened", "REQUEST", "subscribed", "TEXT", "closed", "stopped",
    ]  # fmt: skip
    started, stopped = tape.events("started")[0], tape.events("stopped")[0]
    assert started["config"]["venues"]["fake"]["channels"] == ["trade"]
    assert started["version"]
    assert stopped["reason"] == "stopped"
    assert tape.synced == len(tape.frames)
    assert server.received[0][0]["topics"] == ["trade.BTC-USD", "trade.ETH-USD"]
    assert seen[-1].connections[0].state == "open"
    assert seen[-1].venues[0].venue == "fake"


async def test_wishes_are_granted_once(tape: Any, new_venue: Any, server: Any) -> None:
    async with collecting(tape, settings_for(server.url), {"fake": new_venue()}) as wishes:
        await tape.until(lambda: tape.payloads())
        name = tape.events("opened")[0]["connection"]
        for reason in ("gap", "gap again"):
            wishes.queue.put_nowait(Fetch("fake", "spot", "https://fake.test/book", reason, 3))
            wishes.queue.put_nowait(Resubscribe("fake", "spot", name, ("trade.ETH-USD",), reason))
        wishes.queue.put_nowait(Fetch("nobody", "spot", "https://nobody.test/book", "x"))
        await tape.until(lambda: "/fake.test/book" in server.requests and len(tape.payloads()) == 3)
        for reason in ("frozen", "still frozen"):
            wishes.queue.put_nowait(Reconnect("fake", "spot", name, reason))
        await tape.until(lambda: tape.events("closed"))
        await asyncio.sleep(0.1)
    assert server.requests.count("/fake.test/book") == 1
    assert [m["op"] for m in server.received[0]] == ["sub", "un", "sub"]
    assert [e["cause"] for e in tape.events("closed")] == ["wish", "shutdown"]
    asked = [json.loads(f.meta) for f in tape.frames if f.kind == FrameKind.REQUEST and '"reason":"gap"' in f.meta]
    assert [meta["url"] for meta in asked] == ["https://fake.test/book"]


async def test_what_still_waits_to_be_asked_is_not_asked_twice(tape: Any, new_venue: Any, server: Any) -> None:
    settings = settings_for(server.url)
    collector = Collector(settings, {"fake": new_venue()}, Recorder(tape, settings.record), TUNING)
    first, other = (Fetch("fake", "spot", f"https://fake.test/{name}", "x") for name in ("book", "listing"))
    granted = [collector.grant(first), collector.grant(other)]
    await asyncio.sleep(WISH_REPEAT_S + 0.1)
    assert [*granted, collector.grant(first)] == [True, True, False]


async def test_unknown_instrument_ends_before_anything_is_subscribed(tape: Any, new_venue: Any, server: Any) -> None:
    settings = settings_for(server.url, instruments=("BTC-USDD",))
    with pytest.raises(ConfigError, match=r"venues\.fake\.instruments: 'BTC-USDD'.*nearest: BTC-USD"):
        await collect(settings, tape, None, asyncio.Event(), venues={"fake": new_venue()}, tuning=TUNING)
    assert not server.sockets
    assert "BTC-USDD" in tape.events("stopped")[0]["reason"]


async def test_unknown_venue_and_channel_start_nothing(tape: Any) -> None:
    for settings, message in (
        (Settings(), "venues: empty"),
        (settings_for("", "binanse"), "venues: 'binanse' is not there .*did you mean binance"),
    ):
        with pytest.raises(ConfigError, match=message):
            await collect(settings, tape, None, asyncio.Event())
    assert not tape.frames


async def test_one_venue_refused_the_others_go_on(tape: Any, new_venue: Any, server: Any) -> None:
    other = new_venue(venue_name="other", url="wss://fake.test/refused")
    venues = {"fake": new_venue(), "other": other}
    async with collecting(tape, settings_for(server.url, "fake", "other"), venues):
        server.symbols = ("BTC-USD",)
        await tape.until(lambda: tape.events("connect_failed"))  # 200 is no handshake: tried again
        server.replies.append(web.Response(status=401))
        await tape.until(lambda: tape.events("gave_up"))
        assert len(server.sockets) == 1
        await tape.until(lambda: tape.payloads())
    assert "venues.other" in tape.events("gave_up")[0]["reason"]
    assert tape.events("stopped")[0]["reason"] == "stopped"


async def test_bug_in_a_venue_ends_that_venue_only(tape: Any, new_venue: Any, server: Any) -> None:
    def stumble(*arguments: Any) -> Any:
        raise KeyError("symbol")

    venues = {
        "fake": new_venue(),
        "other": new_venue(venue_name="other", venue_read_listing=stumble),
        "third": new_venue(venue_name="third", venue_subscribe=stumble),
    }
    async with collecting(tape, settings_for(server.url, *venues), venues):
        await tape.until(lambda: len(tape.events("gave_up")) == 2 and tape.payloads())
    reasons = sorted(e["reason"] for e in tape.events("gave_up"))
    assert reasons == ["venues.other: KeyError: 'symbol'", "venues.third: KeyError: 'symbol'"]


async def test_every_venue_refused_is_fatal(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies += [web.json_response({"symbols": ["A"]}), web.Response(status=403)]
    with pytest.raises(Refused, match=r"venues\.fake: .*403"):
        await collect(
            settings_for(server.url), tape, None, asyncio.Event(), venues={"fake": new_venue()}, tuning=TUNING
        )
    assert tape.events("gave_up")
    assert "403" in tape.events("stopped")[0]["reason"]


async def test_listing_is_waited_for(tape: Any, new_venue: Any, server: Any) -> None:
    server.replies += [web.Response(status=503) for _ in range(7)]
    server.replies += [web.Response(text="<html>"), web.Response(status=404)]
    async with collecting(tape, settings_for(server.url), {"fake": new_venue()}):
        await tape.until(lambda: tape.payloads())
    assert len(tape.payloads(FrameKind.RESPONSE)) == 10


async def test_full_disk_stops_everything(tape: Any, new_venue: Any, server: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with collecting(tape, settings_for(server.url), {"fake": new_venue()}):
            await tape.until(lambda: tape.payloads())
            tape.failure = "cannot write tape: No space left on device"
            await asyncio.sleep(5)
    assert caught.group_contains(TapeError, match="No space left")
    assert all(socket.closed for socket in server.sockets)


async def test_stop_seals_a_real_tape(tmp_path: Path, new_venue: Any, server: Any) -> None:
    async def talk(server: Any, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for number in range(2000):
            await socket.send_str(f'{{"n":{number}}}')
        done.set()
        await server.listen(socket)

    server.talk, done, stop = talk, asyncio.Event(), asyncio.Event()
    writer = FileTapeWriter(tmp_path / "tape")
    status: list[CollectorStatus] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(
            collect(
                settings_for(server.url), writer, None, stop, status.append, venues={"fake": new_venue()}, tuning=TUNING
            )
        )
        await done.wait()
        await asyncio.sleep(0.1)
        stop.set()
    assert writer.pending == 0
    assert writer.next_offset >= 2000 + 8
    writer.close()
    assert (tmp_path / "tape" / "manifest.jsonl").read_text().count("\n") == 1
