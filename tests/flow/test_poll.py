"""Polling snapshot services: each turn's snapshots are in the lake once, each that is not is in the ledger."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from truetape import clock
from truetape.collect.turn import Cycle
from truetape.config import DeliverSettings, RecordSettings, Settings, SnapshotFilters, SnapshotSettings
from truetape.errors import ConfigError, Refused, TapeLocked, TruetapeError
from truetape.flow import verify
from truetape.flow.poll import PollTotal, poll
from truetape.lake import Lake, lake_hash
from truetape.sim.server import SimServer
from truetape.tape import open_writer

START_S = 1_795_255_200 + 600
"""Ten minutes past: the first turn is late in its quarter of an hour."""
RECORD = RecordSettings(
    flush_interval_ms=200,
    flush_interval_idle_ms=500,
    fsync_interval_ms=600_000,
    tick_seconds=600,
    stop_seconds=1e9,
    segment_seconds=6 * 3600,
)


def make_settings(folder: Path, **services: SnapshotSettings) -> Settings:
    return Settings(
        tape=str(folder / "tape"),
        sinks=(f"lake:{folder / 'lake'}",),
        snapshots=services,
        record=RECORD,
        deliver=DeliverSettings(commit_seconds=1e9),
    )


def run(
    folder: Path, cycles: int, faults: str = "", start_s: float = START_S, **changes: Any
) -> tuple[PollTotal, list[Cycle]]:
    seen: list[Cycle] = []

    async def main() -> PollTotal:
        async with SimServer(venues=["snapshot"], faults=faults) as server:
            service = SnapshotSettings(**{"url": f"{server.url}/snapshot", **changes})
            breathing = asyncio.create_task(breathe(seen))
            total = await poll(make_settings(folder, fake=service), cycles, seen.append)
            await breathing
            return total

    with clock.step_virtual(start_s):
        return clock.run(main()), seen


async def breathe(seen: list[Cycle]) -> None:
    """Let time jump by little while the threads of the tape begin."""
    while not seen:  # noqa: ASYNC110 - it is the sleeping that counts
        await asyncio.sleep(0.25)


def read(folder: Path, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return rows


def test_every_failure_is_in_the_ledger_and_all_adds_up(tmp_path: Path) -> None:
    faults = "every 20 snapshot 5xx for 1 request; after 60 snapshot 5xx for 3 requests of */prices"
    total, cycles = run(tmp_path, 5, faults + "; after 70 snapshot 429 retry-after 9 for 1 request")
    (service,) = total.services
    assert [(c.number, c.tracked, c.snapshots + c.missed) for c in cycles] == [(n, 20, 20) for n in range(1, 6)]
    assert service.missed >= 1
    assert service.requests.rate_limited == 1
    assert service.requests.requests == service.requests.success + service.requests.failures
    assert len(read(tmp_path, "from error")) == service.requests.failures
    rows = read(tmp_path, "select symbol, due_at, count(*) as n from market_snapshot group by all")
    assert len(rows) == service.snapshots
    assert {row["n"] for row in rows} == {1}
    assert {row["due_at"].minute % 15 for row in rows} == {0}
    gaps = read(tmp_path, "from gap where reason = 'disconnect' and state = 'closed'")
    assert len(gaps) == service.missed
    verdict = verify(str(tmp_path / "tape"), f"lake:{tmp_path / 'lake'}", lambda: lake_hash(tmp_path / "lake"))
    assert verdict.balanced
    assert verdict.quarantined == 0


def test_a_run_that_begins_anew_goes_on(tmp_path: Path) -> None:
    """What was answered is not asked again, who was tracked stays, histories are asked for once."""
    _, before = run(tmp_path, 2)
    total, cycles = run(tmp_path, 3, start_s=before[-1].due_us / 1e6 + 1)
    done = sum(cycle.due_us == before[-1].due_us for cycle in cycles)
    assert [c.snapshots for c in cycles] == [0] * done + [20] * (3 - done)
    rows = read(tmp_path, "select due_at, count(*) as n, count(distinct symbol) as m from market_snapshot group by all")
    assert sorted((row["n"], row["m"]) for row in rows) == [(20, 20)] * (2 + 3 - done)
    histories = read(tmp_path, "select count(*) as n from outcome_price where source like '% history'")
    assert histories[0]["n"] == 20 * 24 * 2
    assert done
    assert total.services[0].tracked == 20


def test_markets_are_followed_to_their_end(tmp_path: Path) -> None:
    """The largest volumes of the fake are markets that end within days; each has a last snapshot that pays."""
    filters = SnapshotFilters(markets_max=5, volume_min=1e6)
    run(tmp_path, 44, interval_seconds=3600, filters=filters)
    final = read(tmp_path, "from market_snapshot where is_final")
    assert final
    for row in final:
        assert sorted(msgspec.json.decode(row["outcomes"]).values()) == [0, 1]
        later = read(tmp_path, f"from market_snapshot where symbol = '{row['symbol']}' and due_at > '{row['due_at']}'")
        assert not later
    states = Counter(row["state"] for row in read(tmp_path, "from market_state"))
    assert states["settled"] == len(final)
    resolved = read(tmp_path, "from resolution where is_resolved")
    assert len(resolved) == len(final)
    seen = read(tmp_path, "select count(distinct symbol) as n from market_snapshot where due_at = "
                "(select max(due_at) from market_snapshot)")  # fmt: skip
    assert seen[0]["n"] == 5  # others took their places
    assert not read(tmp_path, "from gap where reason = 'venue_status'")


def test_a_changed_format_is_quarantined_and_missed(tmp_path: Path) -> None:
    total, _ = run(tmp_path, 1, fields={"prices": "quotes"})
    assert total.services[0].missed == 20
    quarantined = read(tmp_path, "from quarantine")
    assert len(quarantined) == 20
    assert "has no prices" in quarantined[0]["reason"]
    assert total.services[0].requests.failures == 20


def test_several_services_and_filters(tmp_path: Path) -> None:
    seen: list[Cycle] = []

    async def main() -> PollTotal:
        async with SimServer(venues=["snapshot"]) as server:
            url = f"{server.url}/snapshot"
            few = SnapshotSettings(url=url, ids=("m02", "nobody"), filters=SnapshotFilters(markets_max=0))
            some = SnapshotSettings(
                url=url, interval_seconds=300, filters=SnapshotFilters(categories=("crypto",), markets_max=3)
            )
            return await poll(make_settings(tmp_path, few=few, some=some), 4, seen.append)

    with clock.step_virtual(START_S):
        total = clock.run(main())
    rows = read(tmp_path, "select service, category, count(*) as n from market_snapshot group by all")
    assert {(row["service"], row["category"], row["n"]) for row in rows} == {
        ("few", "politics", 4),
        ("some", "crypto", 12),
    }
    few = next(one for one in total.services if one.service == "few")
    assert (few.snapshots, few.missed, few.tracked) == (4, 3, 1)  # who is unknown for three turns is let go


def test_a_key_is_sent_and_asked_for(tmp_path: Path) -> None:
    async def main(settings: Settings) -> PollTotal:
        return await poll(settings, 1, lambda cycle: None)

    keyed = make_settings(tmp_path, svc=SnapshotSettings(url="http://127.0.0.1:9", needs_key=True))
    with pytest.raises(ConfigError, match=r"set TRUETAPE_KEY_SNAPSHOT_SVC in the environment or \.env"):
        asyncio.run(main(keyed))
    assert "TRUETAPE_KEY_SNAPSHOT_SVC" not in os.environ
    for change, told in (({}, "snapshots: empty"), ({"A-b": SnapshotSettings(url="http://x")}, "not a name")):
        with pytest.raises(ConfigError, match=told):
            asyncio.run(main(msgspec.structs.replace(keyed, snapshots=change)))
    nothing = SnapshotSettings(url="http://x", filters=SnapshotFilters(markets_max=0))
    with pytest.raises(ConfigError, match="nothing to track"):
        asyncio.run(main(make_settings(tmp_path, svc=nothing)))


def test_a_tape_that_is_written_is_refused(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, svc=SnapshotSettings(url="http://127.0.0.1:9"))
    writer = open_writer(settings.tape)
    try:
        with pytest.raises(TapeLocked):
            asyncio.run(poll(settings, 1, lambda cycle: None))
    finally:
        writer.close()


async def test_who_refuses_us_is_named_with_the_key(tmp_path: Path) -> None:
    from aiohttp import web

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", _refuse)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settings = make_settings(tmp_path, svc=SnapshotSettings(url=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    try:
        with pytest.raises(Refused, match=r"snapshots\.svc: .*answered 401.*TRUETAPE_KEY_SNAPSHOT_SVC"):
            await poll(settings, 1, lambda cycle: None)
    finally:
        await runner.cleanup()


async def _refuse(request: Any) -> Any:
    from aiohttp import web

    return web.Response(status=401)


def test_a_sink_that_fails_does_not_stop_the_polling(tmp_path: Path) -> None:
    """The tape goes on; the end says what is wrong."""
    seen: list[Cycle] = []
    (tmp_path / "lake").write_text("a file where the lake should be")

    async def main() -> None:
        async with SimServer(venues=["snapshot"]) as server:
            service = SnapshotSettings(url=f"{server.url}/snapshot", filters=SnapshotFilters(markets_max=2))
            settings = make_settings(tmp_path, fake=service)
            often = msgspec.structs.replace(settings, deliver=DeliverSettings(commit_seconds=60))
            breathing = asyncio.create_task(breathe(seen))
            try:
                await poll(often, 3, seen.append)
            finally:
                breathing.cancel()

    with clock.step_virtual(START_S), pytest.raises((TruetapeError, OSError)):
        clock.run(main())
    assert [cycle.snapshots for cycle in seen] == [2, 2, 2]
