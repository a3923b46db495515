"""One venue's door."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from truetape.collect.gate import Gate
from truetape.venues._contract import Limits, Rest


async def is_open(gate: Gate, feed: Any) -> bool:
    try:
        async with asyncio.timeout(0.05):
            await gate.enter(feed)
    except TimeoutError:
        return False
    return True


async def test_connects_are_counted_per_host(new_venue: Any) -> None:
    venue = new_venue(limits=Limits(connects_per_minute_max=6))
    feed = venue.feeds[0]
    gate = Gate(venue)
    assert await is_open(gate, feed)
    assert not await is_open(gate, msgspec.structs.replace(feed, name="other feed, same host"))
    assert await is_open(gate, msgspec.structs.replace(feed, url="wss://elsewhere.test/ws"))


async def test_ban_holds_connects_and_requests(new_venue: Any) -> None:
    venue = new_venue(venue_rest=Rest(weight_per_minute_max=10))
    gate = Gate(venue)
    gate.ban(0.1)
    assert gate.banned_s == pytest.approx(0.1, abs=0.05)
    assert not await is_open(gate, venue.feeds[0])
    began = time.monotonic()
    await gate.pay(10)
    assert time.monotonic() - began < 5
    assert gate.banned_s == 0


async def test_an_allowance_of_its_own_takes_the_place_of_the_venues(new_venue: Any) -> None:
    gate = Gate(new_venue(venue_rest=Rest(weight_per_minute_max=1)), allowance=(3, 0.2))
    for _ in range(3):
        assert gate.wait_s == 0
        await gate.pay(1)
    assert 0 < gate.wait_s <= 0.2
    await gate.pay(1)


async def test_weight_of_others_counts(new_venue: Any) -> None:
    gate = Gate(new_venue(venue_rest=Rest(weight_per_minute_max=10)))
    gate.observe(10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await gate.pay(1)
