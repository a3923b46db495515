"""The job that repairs gaps: by itself, or by the recorder that holds the tape."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from truetape.collect.backfill import Order
from truetape.collect.recorder import Recorder
from truetape.config import Settings, parse_settings
from truetape.errors import Busy
from truetape.events.backfill import Began
from truetape.flow import record
from truetape.flow.repair import Handed, repair_beside
from truetape.flow.spool import hand_over, name_spool, take_orders
from truetape.lake import Lake
from truetape.ops import load_job, run_job
from truetape.quality.ledger import Gap, list_gaps
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
        done = await asyncio.to_thread(repair_beside, settings, now=later)
        assert isinstance(done, Handed)
        assert done.asked and not done.failed, done
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
