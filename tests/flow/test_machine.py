"""The fake tardis-machine over sockets: recorded live through the ordinary collector, and replayed into a file."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from truetape.config import Settings, parse_settings
from truetape.errors import VenueUnreachable
from truetape.flow import LiveStatus, deliver, verify
from truetape.flow.live import Recording
from truetape.flow.tardis import fetch_machine, import_fetched
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps
from truetape.sim.server import SimServer, Synthetic
from truetape.sim.venues._tardis_rows import TICK_US
from truetape.venues.tardis.machine import Option

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
tardis: {{folder: {folder}/files}}
venues:
  tardis:
    instruments: ["binance-futures:BTCUSDT", "deribit:BTC-PERPETUAL"]
    channels: [trade, book_change, quote, book_snapshot, derivative, liquidation, ticker]
    url: "{url}"
"""
TYPES = ("trade", "book_change", "quote", "derivative_ticker", "liquidation")


def make(folder: Path, server: SimServer) -> Settings:
    return parse_settings(YAML.format(folder=folder, url=server.url), "test", {})


def count(folder: Path, table: str) -> int:
    lake = Lake(folder / "lake")
    if table not in lake.versions():
        return 0
    return int(lake.sql(f"select count(*) as n from {table}").arrow()["n"][0].as_py())


def ask(minutes: int = 10) -> Option:
    return Option(
        "binance-futures", ("BTCUSDT",), TYPES, True, "2026-01-05T10:00:00.000Z", f"2026-01-05T10:{minutes}:00.000Z"
    )


async def test_it_is_recorded_like_any_venue(tmp_path: Path) -> None:
    """Its market's time runs 100 times as fast, so that it loses exchanges every other second."""
    async with SimServer(venues=["tardis"], feed=Synthetic(seed=3, speed=100), faults="at 150s tardis cut") as server:
        settings = make(tmp_path, server)
        stop = asyncio.Event()

        def look(status: LiveStatus) -> None:
            counts = status.view.counts if status.view else {}
            kinds = ("trade", "book_change", "quote", "book_snapshot", "derivative", "liquidation", "ticker")
            # A gap is two rows: each stream has one at its beginning, and one of the cut. More are what the machine lost,
            # and more than one for each stream are ends, too.
            if all(counts.get(f"rows.{kind}") for kind in kinds) and counts.get("rows.gap", 0) > 2 * 2 * 14 + 14:
                stop.set()

        async with asyncio.timeout(60):
            await Recording(settings, look, lambda cycle: None).run(stop)
    deliver(settings.tape, settings.sinks, settings.deliver)
    reasons = {gap.reason for gap in list_gaps(Lake(tmp_path / "lake")) if "server said" in gap.evidence}
    assert cuts(tmp_path)
    lake = Lake(tmp_path / "lake")
    assert "quarantine" not in lake.versions() and reasons <= {"disconnect"}
    symbols = {row["symbol"] for row in lake.sql("select distinct symbol from trade").arrow().to_pylist()}
    assert symbols == {"BTCUSDT@binance-futures", "BTC-PERPETUAL@deribit"}
    (trade, *_) = lake.sql("select * from trade where symbol like '%deribit' limit 1").arrow().to_pylist()
    assert trade["amount"] == pytest.approx(trade["contracts"] / trade["price"])  # deribit counts dollars
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def cuts(folder: Path) -> list[dict[str, Any]]:
    """Return the gaps that the machine declared and that ended."""
    query = """
        select distinct a.channel from gap a join gap b using (gap_id)
        where a.evidence like '%server said%' and b.state = 'closed'"""
    rows: list[dict[str, Any]] = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return rows


async def test_a_replay_comes_whole_and_once(tmp_path: Path) -> None:
    async with SimServer(venues=["tardis"]) as server:
        settings = make(tmp_path, server)
        one = await asyncio.to_thread(fetch_machine, settings, ask())
        again = await asyncio.to_thread(fetch_machine, settings, ask())
    assert (one.status, again.status) == ("fetched", "there")
    (done,) = import_fetched(settings, [one])
    assert done.frames and import_fetched(settings, [again]) == [again]
    ticks = 10 * 60 * 1_000_000 // TICK_US
    assert (count(tmp_path, "quote"), count(tmp_path, "derivative")) == (ticks, ticks)
    assert {row["channel"] for row in cuts(tmp_path)} >= {"trade", "book_change", "quote", "derivative"}
    query = "select min(received_at) as first, max(received_at) as last from quote"
    (span,) = Lake(tmp_path / "lake").sql(query).arrow().to_pylist()
    assert (
        datetime(2026, 1, 5, 10, tzinfo=UTC) <= span["first"] < span["last"] < datetime(2026, 1, 5, 10, 10, tzinfo=UTC)
    )
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


async def test_what_the_machine_refuses_is_told(tmp_path: Path) -> None:
    async with SimServer(venues=["tardis"]) as server:
        settings = make(tmp_path, server)
        wrong = msgspec.structs.replace(ask(), exchange="nowhere")
        with pytest.raises(VenueUnreachable, match="closed: 1011 Error: not supported: nowhere"):
            await asyncio.to_thread(fetch_machine, settings, wrong)
    with pytest.raises(VenueUnreachable):
        await asyncio.to_thread(fetch_machine, settings, ask())
    assert not any(name.endswith(".gz") for name in list_names(tmp_path / "files"))


def list_names(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


async def test_the_command_replays(tmp_path: Path) -> None:
    async with SimServer(venues=["tardis"]) as server:
        (tmp_path / "truetape.yaml").write_text(YAML.format(folder=tmp_path, url=server.url))
        words = "tardis machine deribit BTC-PERPETUAL --type trade --from 2026-01-05T10:00 --to 2026-01-05T10:01 --json"
        command = [sys.executable, "-m", "truetape.cli", *words.split(), "--config", str(tmp_path / "truetape.yaml")]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["frames"] > 12
