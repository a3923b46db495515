"""Listings: every page, off the event loop, looked at again and again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from truetape.collect.connection import Tuning
from truetape.collect.http import HttpOptions
from truetape.collect.listing import PAGES_MAX
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Backoff, make_decide
from truetape.collect.venue import VenueCollector
from truetape.config import RecordSettings, VenueSettings
from truetape.errors import Fatal
from truetape.venues._contract import Limits, Rest

DECIDE = make_decide(Backoff(0.002, 0.02, 0.05))
TUNING = Tuning(overlap_s=0.02, decide=DECIDE)
FREE = {"venue_rest": Rest(weight_per_minute_max=1_000_000)}


@asynccontextmanager
async def listing(tape: Any, venue: Any, url: str, *, seconds: float = 0.05, wanted: str = "all") -> AsyncIterator[Any]:
    """Plan, and hold what was planned."""
    settings = VenueSettings(instruments=(wanted,), channels=("trade",), url=url, listing_seconds=seconds)
    record = RecordSettings(flush_interval_ms=1, flush_interval_idle_ms=1, fsync_interval_ms=5)
    recorder = Recorder(tape, record)
    part = VenueCollector(venue, settings, recorder, TUNING, HttpOptions(decide=DECIDE))
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        try:
            async with part.http:
                plans = await part.plan()
                if isinstance(plans, Fatal):
                    raise plans
                running = group.create_task(part.run(plans))
                yield part
                running.cancel()
                await asyncio.wait([running])
        finally:
            recorder.close("done")


def list_planned(tape: Any) -> list[tuple[str, list[str]]]:
    return [(e["connection"], [s["venue_symbol"] for s in e["streams"]]) for e in tape.events("planned")]


async def test_every_page_is_read(tape: Any, new_venue: Any, server: Any) -> None:
    pages = [{"symbols": ["A"], "next": ["2"]}, {"symbols": ["B"], "next": ["3"]}, {"symbols": ["C"]}]
    server.replies += [web.json_response(page) for page in pages]
    venue = new_venue(venue_find_next_page=next_of)
    async with listing(tape, venue, server.url, seconds=0):
        await tape.until(lambda: tape.payloads())
    assert server.requests[:3] == ["/fake.test/instruments"] * 3
    asked = [json.loads(f.meta)["url"] for f in tape.frames if '"reason":"listing"' in f.meta]
    assert asked == ["https://fake.test/instruments" + rest for rest in ("", "?cursor=2", "?cursor=3")]
    assert list_planned(tape) == [("fake/spot/1", ["A", "B", "C"])]


def next_of(url: str, body: bytes) -> str | None:
    following = json.loads(body).get("next")
    return f"{url.partition('?')[0]}?cursor={following[0]}" if following else None


async def test_listing_without_end_is_given_up(tape: Any, new_venue: Any, server: Any) -> None:
    venue = new_venue(venue_find_next_page=lambda url, body: url, **FREE)
    with pytest.raises(ExceptionGroup) as caught:
        async with listing(tape, venue, server.url):
            pass
    assert caught.group_contains(Fatal, match=f"more than {PAGES_MAX} pages")
    assert len(server.requests) == PAGES_MAX


async def test_new_instruments_are_subscribed_and_gone_ones_end(tape: Any, new_venue: Any, server: Any) -> None:
    server.symbols = ("A-USD", "B-USD", "X-EUR")
    venue = new_venue(limits=Limits(2, messages_per_second_max=1000, connects_per_minute_max=60_000), **FREE)
    async with listing(tape, venue, server.url, wanted="*-USD") as part:
        await tape.until(lambda: tape.payloads())
        first = tape.events("opened")[0]["connection"]
        server.symbols = ("B-USD", "C-USD", "D-USD", "X-EUR")
        await tape.until(lambda: len(tape.payloads()) >= 4)
        assert len(part.connections) == 2
        server.symbols = ("D-USD", "X-EUR")
        await tape.until(lambda: tape.events("closed"))
        await tape.until(lambda: len(part.connections) == 1)
        server.symbols = ()  # a listing that went wrong
        await tape.until(lambda: tape.events("relist_failed"))
        assert len(part.connections) == 1
    assert list_planned(tape) == [
        ("fake/spot/1", ["A-USD", "B-USD"]),
        ("fake/spot/1", ["C-USD"]),
        ("fake/spot/2", ["D-USD"]),
    ]
    story = [(m["op"], m["topics"]) for m in server.received[0]]
    assert story == [
        ("sub", ["trade.A-USD", "trade.B-USD"]),
        ("un", ["trade.A-USD"]),
        ("sub", ["trade.C-USD"]),
        ("un", ["trade.B-USD", "trade.C-USD"]),
    ]
    assert [s["venue_symbol"] for e in tape.events("unsubscribed") for s in e["streams"]] == ["A-USD", "B-USD", "C-USD"]
    assert tape.events("unsubscribed")[0]["connection"] == first
    assert "the listing of spot is empty" in tape.events("relist_failed")[0]["reason"]


async def test_refused_listing_does_not_end_what_is_held(tape: Any, new_venue: Any, server: Any) -> None:
    async with listing(tape, new_venue(**FREE), server.url) as part:
        await tape.until(lambda: tape.payloads())
        server.replies.append(web.Response(status=401))
        await tape.until(lambda: tape.events("relist_failed"))
        server.symbols = ("BTC-USD", "ETH-USD", "NEW-USD")
        await tape.until(lambda: len(tape.events("planned")) == 2)
        assert part.connections[0].status().state == "open"
    assert not tape.events("gave_up")
