"""The job that repairs gaps: by itself, or by the recorder that holds the tape."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time

import pytest
from killed import kill_job, list_pages
from killed import run_job as run_process

from truetape import clock
from truetape.collect.backfill import Order
from truetape.collect.recorder import Recorder
from truetape.config import Settings, parse_settings
from truetape.errors import Busy
from truetape.events.backfill import Began
from truetape.flow import record, verify
from truetape.flow.live import LiveStatus, Recording
from truetape.flow.repair import Handed, repair_beside
from truetape.flow.spool import hand_over, name_spool, take_orders
from truetape.lake import Lake
from truetape.ops import load_job, run_job
from truetape.quality.ledger import Gap, list_gaps
from truetape.sim.market import Market
from truetape.sim.server import SimServer, Synthetic
from truetape.tape import open_writer

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
deliver: {{commit_seconds: 0.5}}
record: {{tick_seconds: 0.5}}
ops: {{state: {folder}/state}}
jobs: {{gaps_repair: {{attempts: 1}}}}
venues:
  binance: {{instruments: [BTC-USDT], markets: [spot], channels: [trade, quote], url: "{url}"}}
"""
FAULTS = "at 1s binance drop 3 frames of *@trade\nat 1.5s binance cut\nat 2s binance drop 2 frames of *@trade"


def list_own(settings: Settings) -> list[Gap]:
    if not Path(settings.sinks[0].removeprefix("lake:"), "gap").is_dir():
        return []
    return [gap for gap in list_gaps(Lake(settings.sinks[0].removeprefix("lake:"))) if gap.symbol]


async def wait_for(settings: Settings, *states: str, looks: int = 200) -> list[Gap]:
    """Look until every gap that is over is in one of these states."""
    gaps: list[Gap] = []
    for _ in range(looks):
        gaps = [gap for gap in list_own(settings) if gap.state != "open"]
        if gaps and {gap.state for gap in gaps} <= {*states}:
            break
        await asyncio.sleep(0.1)
    return gaps


async def repair_rest(settings: Settings, asked: set[str], later: datetime) -> list[Gap]:
    """Hand over what has come up meanwhile, too, until nothing is left."""
    gaps: list[Gap] = []
    for _ in range(10):
        gaps = await wait_for(settings, "repaired", "unrecoverable", looks=40)
        if all(gap.state != "closed" for gap in gaps):
            break
        more = await asyncio.to_thread(repair_beside, settings, pending=asked, now=later)
        assert isinstance(more, Handed)
        asked |= {*more.asked}
    return gaps


async def test_a_recorder_does_the_work_that_it_is_handed(tmp_path: Path) -> None:
    async with SimServer(venues=["binance"], feed=Synthetic(seed=3), faults=FAULTS) as server:
        settings = parse_settings(YAML.format(folder=tmp_path, url=server.url), "test", {})
        recording = asyncio.create_task(record(settings, lambda status: None, duration_s=60))
        assert await wait_for(settings, "closed")
        later = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC) + timedelta(hours=1)
        done = Handed((), (), 0, ())
        while not done.asked:  # tables are committed one after the other: the streams may come after their gaps
            found = await asyncio.to_thread(repair_beside, settings, now=later)
            assert isinstance(found, Handed)
            done = found
        assert not done.failed, done
        ahead = await asyncio.to_thread(repair_beside, settings, pending=done.asked, now=later)
        assert isinstance(ahead, Handed)
        assert not set(ahead.asked) & set(done.asked)
        gaps = await repair_rest(settings, {*done.asked, *ahead.asked}, later)
        assert {gap.channel: gap.state for gap in gaps if gap.reason != "decode"}.items() <= {
            ("trade", "repaired"), ("quote", "unrecoverable")
        }  # fmt: skip
        assert {json.loads(gap.evidence).get("by") for gap in gaps} >= {"backfill"}
        os.kill(os.getpid(), signal.SIGTERM)  # as a user stops it
        await recording
        told = json.loads((await asyncio.to_thread(run_job, load_job("gaps_repair"), settings)).report)
        assert told["repaired"] + told["unrecoverable"] >= 0
    assert {gap.state for gap in list_own(settings) if gap.channel == "trade"} <= {"repaired", "open"}
    query = "select trade_id from trade group by 1 having count(*) > 1"
    assert Lake(tmp_path / "lake").sql(query).arrow().to_pylist() == []


async def test_nobody_takes_the_work_and_what_was_left_is_cleared(tmp_path: Path) -> None:
    settings = parse_settings(YAML.format(folder=tmp_path, url=""), "test", {})
    began = Began(market="spot", channel="trade", venue_symbol="BTCUSDT", identity="step", from_us=0, to_us=1)
    orders = {"binance": [Order(began, None, "spot", "told once")]}
    with pytest.raises(Busy, match="does not take"):
        await hand_over(settings, orders, wait_s=0)
    assert list(name_spool(settings.tape).iterdir()) == []
    (name_spool(settings.tape) / "1.orders").write_bytes(b"[{}]")
    (name_spool(settings.tape) / "2.taken").write_bytes(b"{")
    writer = open_writer(settings.tape)
    recorder = Recorder(writer, settings.record)
    running = asyncio.create_task(recorder.run())
    taking = asyncio.create_task(take_orders(settings, recorder))
    while any(name_spool(settings.tape).iterdir()):  # noqa: ASYNC110 - until it has cleared up
        await asyncio.sleep(0.01)
    (outcome,) = await hand_over(settings, orders)
    assert (outcome.gaps, outcome.ended.status, outcome.ended.reason) == ((), "impossible", "told once")
    taking.cancel()
    recorder.close("test")
    await asyncio.gather(running, taking, return_exceptions=True)
    writer.close()
    assert list(name_spool(settings.tape).iterdir()) == []


OKX = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
record: {{tick_seconds: 0.5}}
ops: {{state: {folder}/state}}
jobs: {{gaps_repair: {{attempts: 1}}}}
venues:
  okx: {{instruments: [BTC-USDT-PERP], channels: [trade], url: "{url}"}}
"""


async def record_trades(settings: Settings) -> None:
    """Record until some trades are decoded that come now, and after what was lost before."""
    stop, began_ns = asyncio.Event(), clock.wall_ns()

    def look(status: LiveStatus) -> None:
        streams = status.view.streams if status.view else []
        if any(one.rows > 20 and one.seen_ns > began_ns and not one.gap for one in streams):
            stop.set()

    async with asyncio.timeout(120):
        await Recording(settings, look, lambda cycle: None).run(stop)


async def lose_trades(settings: Settings, server: SimServer) -> Market:
    """Record, and do not record while some hundred trades happen."""
    await record_trades(settings)
    market = server.market("okx", "public", "BTC-USDT-SWAP")
    last = market.trades()[-1].id
    while market.trades()[-1].id < last + 450:  # noqa: ASYNC110 - the market goes on
        await asyncio.sleep(0.05)
    return market


def check_repaired(settings: Settings, market: Market) -> None:
    """Hold what came against what happened: all of it, once, asked for about once."""
    query = "select min(id) as first, max(id) as last, count(*) as n, count(distinct id) as ids from (select trade_id::bigint as id from trade)"
    (row,) = Lake(settings.sinks[0].removeprefix("lake:")).sql(query).arrow().to_pylist()
    gaps = list_own(settings)
    assert {gap.state for gap in gaps if gap.to_at is not None} == {"repaired"}, gaps
    assert row["n"] == row["ids"]
    pages = [url for url in list_pages(Path(settings.tape)) if "history-trades" in url]
    made = sum(row["first"] <= one.id <= row["last"] for one in market.trades())
    assert 4 < len(pages) <= made // 100 + 6, (made, pages)
    assert verify(settings.tape, settings.sinks[0]).problems == []


async def test_a_killed_job_goes_on_where_it_was(tmp_path: Path) -> None:
    """Nobody recorded for a while: some hundred trades are asked for by the hundred, newest first."""
    async with SimServer(venues=["okx"], feed=Synthetic(seed=3, rate=300)) as server:
        config = tmp_path / "truetape.yaml"
        config.write_text(OKX.format(folder=tmp_path, url=server.url))
        settings = parse_settings(config.read_text(), "test", {})
        market = await lose_trades(settings, server)
        await record_trades(settings)
        await kill_job(config, "gaps_repair", server, "after 3 okx slow 60s for 1 request of */history-trades*")
        assert {gap.state for gap in list_own(settings)} >= {"closed"}
        assert "unrecoverable 0" in await run_process(config, "gaps_repair")
        check_repaired(settings, market)


async def test_a_job_that_is_killed_while_the_recorder_works_hands_nothing_over_twice(tmp_path: Path) -> None:
    async with SimServer(venues=["okx"], feed=Synthetic(seed=3, rate=300)) as server:
        config = tmp_path / "truetape.yaml"
        config.write_text(OKX.format(folder=tmp_path, url=server.url) + "deliver: {commit_seconds: 0.5}\n")
        settings = parse_settings(config.read_text(), "test", {})
        market = await lose_trades(settings, server)
        stop = asyncio.Event()
        recording = asyncio.create_task(Recording(settings, lambda status: None, lambda cycle: None).run(stop))
        while len(list_own(settings)) < 2 or any(gap.to_at is None for gap in list_own(settings)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        now_s = time()  # what ended just now is left alone
        later = {"TRUETAPE_CLOCK": f"{now_s + 600:.3f}@1@{now_s:.3f}"}
        await kill_job(config, "gaps_repair", server, "after 2 okx slow 5s for 1 request of */history-trades*", **later)
        assert "asked 0, waiting 1" in await run_process(config, "gaps_repair", **later)
        await wait_for(settings, "repaired")
        stop.set()
        await recording
        check_repaired(settings, market)
