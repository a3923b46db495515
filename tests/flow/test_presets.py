"""Presets of snapshot services against services that answer as theirs do: what is tracked, told, and how markets end."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from manifold_service import Manifold

from truetape import clock
from truetape.collect.turn import Cycle
from truetape.config import DeliverSettings, RecordSettings, Settings, SnapshotFilters, SnapshotSettings
from truetape.flow import verify
from truetape.flow.poll import poll
from truetape.lake import Lake
from truetape.sim.server import SimServer

START_S = 1_795_255_200
TURN_S = 900
RECORD = RecordSettings(
    flush_interval_ms=200, flush_interval_idle_ms=500, fsync_interval_ms=600_000, tick_seconds=600, stop_seconds=1e9
)
BETTABLE = SnapshotFilters(categories=("BINARY", "MULTIPLE_CHOICE"))


def read(folder: Path, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return rows


async def take_turns(folder: Path, service: SnapshotSettings, cycles: int, name: str) -> list[Cycle]:
    """Poll one service; time jumps by little while the threads of the tape begin."""
    seen: list[Cycle] = []

    async def breathe() -> None:
        while not seen:  # noqa: ASYNC110 - it is the sleeping that counts
            await asyncio.sleep(0.25)

    settings = Settings(
        tape=str(folder / "tape"), sinks=(f"lake:{folder / 'lake'}",), snapshots={name: service}, record=RECORD,
        deliver=DeliverSettings(commit_seconds=1e9),
    )  # fmt: skip
    breathing = asyncio.create_task(breathe())
    await poll(settings, cycles, seen.append)
    await breathing
    return seen


def test_manifold_is_read_as_it_documents_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sorts of markets to their end, prices by the names of answers, bets as history, its own sort of key."""
    monkeypatch.setenv("TRUETAPE_KEY_SNAPSHOT_MANI", "key-of-mine")
    manifold = Manifold(START_S + 2.5 * TURN_S)

    async def main() -> list[Cycle]:
        runner = web.AppRunner(manifold.make_app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        service = SnapshotSettings(
            preset="manifold", url=f"http://127.0.0.1:{runner.addresses[0][1]}/v0", filters=BETTABLE
        )
        try:
            return await take_turns(tmp_path, service, 5, "mani")
        finally:
            await runner.cleanup()

    with clock.step_virtual(START_S):
        cycles = clock.run(main())
    assert [(one.tracked, one.snapshots, one.missed) for one in cycles] == [(3, 3, 0)] * 4 + [(1, 1, 0)]
    query = "select symbol, status, outcomes, yes_price, no_price, volume from market_snapshot order by received_at, symbol limit 3"
    first, second, third = read(tmp_path, query)
    assert (first["symbol"], first["yes_price"], first["no_price"], first["volume"]) == (
        "mani/market0Xyz",
        0.62,
        None,
        90_241.25,
    )
    assert second["outcomes"] == '{"Yes":0.08}'
    assert third["outcomes"] == '{"Ada":0.2,"Grace":0.7,"Other":0.1}'
    query = "select symbol, winner, is_resolved, status from resolution order by symbol"
    assert [tuple(row.values()) for row in read(tmp_path, query)] == [
        ("mani/market1Xyz", "No", True, "NO"), ("mani/market2Xyz", "Grace", True, "Grace")
    ]  # fmt: skip
    history = read(tmp_path, "select condition, outcome from outcome_price where source = 'mani history'")
    assert Counter(tuple(row.values()) for row in history) == {
        ("market0Xyz", "Yes"): 5, ("market1Xyz", "Yes"): 5,
        ("market2Xyz", "Ada"): 2, ("market2Xyz", "Grace"): 2, ("market2Xyz", "Other"): 1,
    }  # fmt: skip
    assert {key for _, _, key in manifold.asked} == {"Key key-of-mine"}
    searched = next(arguments for path, arguments, _ in manifold.asked if path == "/v0/search-markets")
    assert searched == {"term": "", "sort": "most-popular", "filter": "open", "limit": "1000"}
    assert "quarantine" not in Lake(tmp_path / "lake").versions()
    assert verify(str(tmp_path / "tape"), f"lake:{tmp_path / 'lake'}").problems == []


@pytest.mark.parametrize(
    ("preset", "path"), [("polymarket", "gamma-api.polymarket.com"), ("kalshi", "kalshi/trade-api/v2")]
)
def test_polymarket_and_kalshi_are_read_as_their_own_clients_read_them(tmp_path: Path, preset: str, path: str) -> None:
    """Against the fake venues, which the official clients read, too; a market of minutes is followed to its end."""

    async def main() -> list[Cycle]:
        async with SimServer(venues=[preset]) as server:
            url = f"{server.url}/{path}"
            short = (await find_short(url),) if preset == "polymarket" else ()  # the largest go on for hours there
            service = SnapshotSettings(
                preset=preset, url=url, interval_seconds=120, filters=SnapshotFilters(markets_max=4), ids=short,
                requests_per_minute_max=10_000,
            )  # fmt: skip
            return await take_turns(tmp_path, service, 6, "svc")

    with clock.step_virtual(START_S + 600):
        cycles = clock.run(main())
    assert sum(one.missed for one in cycles) == 0, [one.reason for one in cycles]
    assert all(one.snapshots >= 4 for one in cycles)
    (row,) = read(tmp_path, "select count(distinct symbol) as n, count(*) filter (question is null) as bare, "
                  "count(*) filter (status = 'open' and price_sum not between 0.9 and 1.3) as odd from market_snapshot")  # fmt: skip
    assert (row["n"] > 4, row["bare"], row["odd"]) == (True, 0, 0)
    ended = read(tmp_path, "select symbol, winner from resolution where is_resolved")
    assert ended and all(one["winner"] for one in ended)
    assert "quarantine" not in Lake(tmp_path / "lake").versions()
    assert verify(str(tmp_path / "tape"), f"lake:{tmp_path / 'lake'}").problems == []


async def find_short(url: str) -> str:
    """Return the id of the market of five minutes that is open."""
    slug = f"btc-updown-5m-{clock.wall_ns() // 10**9 // 300 * 300}"
    async with ClientSession() as session, session.get(f"{url}/markets/slug/{slug}") as answer:
        return str((await answer.json())["id"])
