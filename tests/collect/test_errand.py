"""Errands of a job: answers are durable before they count, one writer at a time, refusals end everything."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from coin_service import CoinService

from truetape import clock
from truetape.collect.errand import Errand, Errands, Failure, Service, name_tape, visit
from truetape.collect.http import HttpOptions, Reply
from truetape.collect.key import Key
from truetape.config import RecordSettings
from truetape.errors import Fatal, RateLimited, Refused, TapeError, TruetapeError
from truetape.sim.venues.coingecko import DEMO_KEY
from truetape.tape import FrameKind, open_reader, open_writer
from truetape.venues import coingecko, load_venue

PLAN = coingecko.PLANS["DEMO"]
COINS = [
    Errand(name, coingecko.ask_chart(PLAN, name, "usd", 2, "hourly")) for name in ("bitcoin", "ethereum", "tether")
]
RECORD = RecordSettings(fsync_interval_ms=20)


@pytest.fixture
def service() -> Iterator[CoinService]:
    with CoinService() as running:
        yield running


def make_service(url: str, key: str = DEMO_KEY, **options: object) -> Service:
    given = {"calls_per_minute": 1000, "parallel": 2, "options": HttpOptions(attempts_max=2), **options}
    return Service(load_venue("coingecko"), Key("coingecko", PLAN.credentials, {"DEMO": key}), url, **given)  # type: ignore[arg-type]


def list_answered(tape: Path) -> list[str]:
    reader = open_reader(tape)
    frames = [frame for batch in reader.read(0) for frame in batch.data.to_pylist()]
    reader.close()
    return [str(frame["meta"]) for frame in frames if frame["kind"] == FrameKind.RESPONSE]


async def test_an_answer_is_readable_on_the_tape_when_it_is_taken(service: CoinService, tmp_path: Path) -> None:
    tape, seen = tmp_path / "tape", []

    def take(errand: Errand, reply: Reply) -> None:
        seen.append((errand.key, reply.status, any(errand.ask.url in meta for meta in list_answered(tape))))

    async def work(errands: Errands) -> list[Failure]:
        return await errands.run(COINS, take)

    assert await visit(str(tape), RECORD, make_service(service.url), work) == []
    assert sorted(seen) == [("bitcoin", 200, True), ("ethereum", 200, True), ("tether", 200, True)]
    assert len(list_answered(tape)) == 3


async def test_a_refusal_ends_everything_and_leaves_a_whole_tape(service: CoinService, tmp_path: Path) -> None:
    taken: list[str] = []

    async def work(errands: Errands) -> list[Failure]:
        return await errands.run(COINS * 20, lambda errand, reply: taken.append(errand.key))

    with pytest.raises(Refused, match="its key is TRUETAPE_KEY_COINGECKO_DEMO"):
        await visit(str(tmp_path / "tape"), RECORD, make_service(service.url, "CG-wrong-key"), work)
    assert taken == []
    assert sum(service.asked.values()) <= 4
    open_writer(tmp_path / "tape").close()


async def test_what_is_judged_bad_is_a_failure_and_a_limit_is_waited_for(service: CoinService, tmp_path: Path) -> None:
    faults: list[TruetapeError | None] = [
        RateLimited("slow down", 0.2),
        None,
        Fatal("never"),
        RateLimited("a", 0),
        RateLimited("b", 0),
    ]
    chosen = make_service(service.url, judge=lambda ask, reply: faults.pop(0), parallel=1)

    async def work(errands: Errands) -> list[Failure]:
        return await errands.run(COINS, lambda errand, reply: None)

    began_ns = clock.monotonic_ns()
    failures = await visit(str(tmp_path / "tape"), RECORD, chosen, work)
    assert clock.monotonic_ns() - began_ns >= 200_000_000
    assert [(one.errand.key, str(one.error)) for one in failures] == [("ethereum", "never"), ("tether", "b")]


async def test_a_tape_that_another_job_has_is_waited_for(service: CoinService, tmp_path: Path) -> None:
    tape, said = tmp_path / "tape", []
    held = open_writer(tape)
    asyncio.get_running_loop().call_later(0.3, held.close)

    async def work(errands: Errands) -> int:
        return 7

    assert await visit(str(tape), RECORD, make_service(service.url), work, said.append) == 7
    assert len(said) == 1
    assert said[0].startswith("waiting: ")


async def test_what_is_no_tape_is_told_and_nothing_is_asked(service: CoinService, tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    (tmp_path / "tape/x").touch()

    async def work(errands: Errands) -> list[Failure]:
        return await errands.run(COINS, lambda errand, reply: None)

    with pytest.raises(TapeError, match="is not a tape"):
        await visit(str(tmp_path / "tape"), RECORD, make_service(service.url), work)
    assert not service.asked


def test_the_tape_of_jobs_lies_beside() -> None:
    assert name_tape("data/tape/") == name_tape("data/tape") == "data/tape-jobs"
