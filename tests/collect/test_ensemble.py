"""Parts of one recording: one that is refused ends alone, a mistake in the settings ends all."""

import asyncio

import pytest

from truetape.collect.ensemble import run_side_by_side
from truetape.errors import ConfigError, Refused


async def refuse(name: str) -> None:
    raise BaseExceptionGroup("refused", [Refused(name)])


async def go_on(done: list[str], stop: asyncio.Event) -> None:
    await stop.wait()
    done.append("went on")


async def test_a_part_that_is_refused_ends_alone() -> None:
    done: list[str] = []
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    await run_side_by_side([refuse("venues"), go_on(done, stop)])
    assert done == ["went on"]


async def test_when_all_are_refused_the_first_is_told() -> None:
    with pytest.raises(Refused, match="a"):
        await run_side_by_side([refuse("a"), refuse("a")])


async def test_a_mistake_in_the_settings_ends_all() -> None:
    async def mistake() -> None:
        raise ConfigError("venues.binance.instruments: nothing like that")

    done: list[str] = []
    with pytest.raises(ConfigError):
        await run_side_by_side([go_on(done, asyncio.Event()), mistake()])
    assert done == []


async def test_a_bug_is_not_taken_for_a_refusal() -> None:
    async def fail() -> None:
        raise BaseExceptionGroup("mixed", [Refused("no"), ValueError("a bug")])

    with pytest.raises(BaseExceptionGroup):
        await run_side_by_side([go_on([], asyncio.Event()), fail()])
