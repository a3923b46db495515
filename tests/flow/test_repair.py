"""Backfills against fake venues: every hole in trades closes where the venue still tells it, and says why where not."""

import asyncio
from pathlib import Path

from truetape.config import Settings, parse_settings
from truetape.flow import record, verify
from truetape.flow.repair import Repair, repair_gaps
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps
from truetape.sim.server import SimServer, Synthetic

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
deliver: {{commit_seconds: 5}}
record: {{tick_seconds: 0.5}}
venues:
  binance: {{instruments: [BTC-USDT, ETH-USDT-PERP], markets: [spot, usdm], url: "{url}"}}
"""
FAULTS = """
at 3.0s binance cut
at 5.0s binance freeze 1.0s
at 6.5s drop 3 frames of *@trade
at 7.0s drop 2 frames of *@trade
at 7.5s corrupt 2 frames of *@trade
"""
SECONDS = 10.0


async def record_and_repair(folder: Path, yaml: str, faults: str, trades_max: int) -> tuple[Settings, Repair]:
    """Record venues that lose something, then ask them for it."""
    feed = Synthetic(seed=3, rate=50.0, trades_max=trades_max)
    async with SimServer(feed=feed, faults=faults) as server:
        settings = parse_settings(yaml.format(folder=folder, url=server.url), "test", {})
        await record(settings, lambda status: None, duration_s=SECONDS)
        repair = await asyncio.to_thread(repair_gaps, settings)
    return settings, repair


def list_trades(lake: Lake, venue: str, symbol: str) -> list[str]:
    rows = lake.sql("select trade_id from trade where venue = ? and symbol = ?", [venue, symbol]).arrow().to_pylist()
    return [row["trade_id"] for row in rows]


async def test_every_hole_in_trades_closes(tmp_path: Path) -> None:
    settings, repair = await record_and_repair(tmp_path, YAML, FAULTS, 100_000)
    lake = Lake(tmp_path / "lake")
    gaps = [gap for gap in list_gaps(lake) if gap.channel == "trade" and gap.symbol]
    assert {gap.state for gap in gaps} == {"repaired"}
    assert len(gaps) > 4
    assert (repair.failed, repair.waiting) == (0, 0)
    verdict = verify(settings.tape, f"lake:{tmp_path / 'lake'}")
    assert verdict.problems == []
    for symbol in ("BTC-USDT", "ETH-USDT-PERP"):
        ids = [int(one) for one in list_trades(lake, "binance", symbol)]
        assert len(ids) == len(set(ids))
        assert set(range(min(ids), max(ids) + 1)) == set(ids)
