"""The past from a relay, against the fake one over sockets: every kind, overlap free, resumed, failures told."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from truetape.collect.http import HttpOptions
from truetape.collect.retry import Backoff, make_decide
from truetape.config import Settings, name_key, parse_settings
from truetape.errors import ConfigError, VenueUnreachable
from truetape.flow import LiveStatus, deliver, verify
from truetape.flow.live import Recording
from truetape.flow.relay import backfill_from_relay, find_stretches
from truetape.flow.repair import backfill
from truetape.flow.subject import Subject
from truetape.lake import Lake, lake_hash
from truetape.sim.server import SimServer, Synthetic
from truetape.sim.venues._tardis_rows import TICK_US
from truetape.sim.venues.tardis import RELAY_KEY

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
tardis: {{relay_url: "{url}/relay.test", relay_limit: {limit}, book_levels: 5, relay_times: {times},
  relay_requests_per_minute_max: 6000}}
venues:
  binance: {{instruments: [BTC-USDT], markets: [spot], channels: [trade], url: "{url}"}}
  okx: {{instruments: [BTC-USDT-PERP], channels: [trade], url: "{url}"}}
"""
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
HASTY = HttpOptions(attempts_max=3, decide=make_decide(Backoff(base_s=0.001, cap_s=0.01)))
ONCE = HttpOptions(attempts_max=1, decide=make_decide(Backoff(base_s=0.001)))
VENUES = ["tardis", "binance", "bybit", "okx", "deribit"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name_key("tardis", "RELAY"), RELAY_KEY)


def make(folder: Path, server: SimServer, limit: int = 50, times: str = "iso") -> Settings:
    return parse_settings(YAML.format(folder=folder, url=server.url, limit=limit, times=times), "test", {})


def subject(text: str) -> Subject:
    venue, market, symbol, channel = text.split()
    return Subject(venue, market, symbol, "", channel)


async def fetch(settings: Settings, text: str, minutes: float = 10, begin: datetime = BEGIN, **more: Any) -> int:
    def ask() -> int:
        more.setdefault("options", HASTY)
        return backfill_from_relay(settings, subject(text), begin, begin + timedelta(minutes=minutes), **more)

    return await asyncio.to_thread(ask)


def read(folder: Path, table: str, columns: str = "*") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        Lake(folder / "lake").sql(f"select {columns} from {table} order by received_at").arrow().to_pylist()
    )
    return rows


def check(folder: Path) -> None:
    verdict = verify(str(folder / "tape"), f"lake:{folder / 'lake'}")
    assert verdict.problems == []
    assert "quarantine" not in Lake(folder / "lake").versions()


TICKS = 10 * 60 * 1_000_000 // TICK_US
COUNTS = [
    ("okx all BTC-USDT-PERP quote", "quote", TICKS),
    ("okx all BTC-USDT-PERP derivative", "derivative", TICKS),
    ("okx all BTC-USDT-PERP liquidation", "liquidation", 10),
    ("bybit linear BTC-USDT-PERP book_snapshot", "book_snapshot", TICKS),
    ("deribit all BTC-USD-PERP book_change", "book_change", (TICKS - 1) * 2 + 10),
    ("bybit linear BTC-USDT-PERP trade", "trade", None),
]


async def test_every_kind_comes_whole_whatever_the_pages(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES, feed=Synthetic(seed=3, rate=5)) as server:
        few, many = make(tmp_path / "few", server, 17, "ms"), make(tmp_path / "many", server, 4000)
        for text, _, count in COUNTS:
            rows = await fetch(few, text)
            assert rows == await fetch(many, text) > 0
            assert count is None or rows == count
        assert await fetch(few, COUNTS[0][0]) == 0
    columns = "* exclude (tape_offset, tape_row)"
    for table in {table for _, table, _ in COUNTS}:
        query = f"select {columns} from {table} order by all"
        one, other = (Lake(tmp_path / name / "lake").sql(query).arrow() for name in ("few", "many"))
        assert one.num_rows and one.equals(other)
    check(tmp_path / "few")


async def test_options_bring_tickers_and_greeks(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES) as server:
        rows = await fetch(make(tmp_path, server), "deribit all BTC-26SEP26-80000-C derivative")
    assert rows == TICKS == len(read(tmp_path, "ticker"))
    (row, *_) = read(tmp_path, "derivative")
    assert (row["symbol"], row["venue_symbol"], row["delta"]) == ("BTC-USD-260926-80000-C", "BTC-26SEP26-80000-C", 0.31)


async def record_some(settings: Settings) -> None:
    """Record until some live trades are decoded, however long a busy machine takes to subscribe."""
    stop = asyncio.Event()

    def look(status: LiveStatus) -> None:
        if status.view is not None and status.view.counts.get("rows.trade", 0) > 20:
            stop.set()

    async with asyncio.timeout(60):
        await Recording(settings, look, lambda cycle: None).run(stop)
    deliver(settings.tape, settings.sinks, settings.deliver)


async def test_what_was_recorded_live_is_not_stored_again(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES, feed=Synthetic(seed=3, rate=40)) as server:
        settings = make(tmp_path, server)
        await record_some(settings)
        before = len(read(tmp_path, "trade"))
        market = server.market("binance", "spot", "BTCUSDT")
        begin = datetime.fromtimestamp(market.trades()[0].at_us / 1e6, UTC) - timedelta(seconds=1)
        rows = await fetch(settings, "binance spot BTC-USDT trade", minutes=30, begin=begin)
        made = {str(trade.id) for trade in market.trades()}
    own = [row["trade_id"] for row in read(tmp_path, "trade") if row["venue"] == "binance"]
    assert rows > 0 and before > 0
    assert len(own) == len(set(own)) and set(own) <= made
    numbers = sorted(int(one) for one in own)
    assert numbers == [*range(numbers[0], numbers[-1] + 1)]
    check(tmp_path)


@pytest.mark.parametrize("name", ["okx all BTC-USDT-PERP trade", "binance spot BTC-USDT trade"])
async def test_what_the_venue_told_of_its_past_is_not_stored_again(tmp_path: Path, name: str) -> None:
    """The venue's answers were received long after the relay's rows: ids tell that they are the same trades."""
    venue, market, symbol, _ = name.split()
    feed, called = ("public", "BTC-USDT-SWAP") if venue == "okx" else (market, "BTCUSDT")
    async with SimServer(venues=VENUES, feed=Synthetic(seed=3, rate=20.0)) as server:
        settings = make(tmp_path, server, 500)
        trades = server.market(venue, feed, called).trades()
        end = datetime.fromtimestamp(trades[-1].at_us / 1e6, UTC)
        span = end - timedelta(seconds=20), end - timedelta(seconds=10)
        some = await asyncio.to_thread(backfill, settings, Subject(venue, market, symbol, "", "trade"), *span)
        rest = await fetch(settings, name, 15 / 60, span[0] - timedelta(seconds=5))
        again = await asyncio.to_thread(backfill, settings, Subject(venue, market, symbol, "", "trade"), *span)
    ids = [row["trade_id"] for row in read(tmp_path, "trade")]
    assert some > 20 and rest > 0 and again == 0
    assert len(set(ids)) == len(ids) == some + rest
    check(tmp_path)


async def test_a_relay_that_fails_half_way_is_asked_for_the_rest(tmp_path: Path) -> None:
    text = "okx all BTC-USDT-PERP quote"
    async with SimServer(venues=VENUES, faults="after 3 tardis 5xx for 1 request of */quotes") as server:
        with pytest.raises(VenueUnreachable, match=r"rows came, then the relay failed.*503"):
            await fetch(make(tmp_path, server, 20), text, options=ONCE)
        part = len(read(tmp_path, "quote"))
        assert 0 < part < TICKS
        assert await fetch(make(tmp_path, server, 20), text) == TICKS - part
        await fetch(make(tmp_path / "whole", server, 4000), text)
    columns = "* exclude (tape_offset, tape_row)"
    assert read(tmp_path, "quote", columns) == read(tmp_path / "whole", "quote", columns)


@pytest.mark.parametrize("fault", ["429 retry-after 0.1 for 2 requests", "5xx for 1 request"])
async def test_pauses_and_stumbles_are_waited_for(tmp_path: Path, fault: str) -> None:
    async with SimServer(venues=VENUES, faults=f"after 2 tardis {fault} of */quotes") as server:
        assert await fetch(make(tmp_path, server, 50), "okx all BTC-USDT-PERP quote") == TICKS
    check(tmp_path)


async def test_a_page_cut_off_is_quarantined_and_asked_for_again(tmp_path: Path) -> None:
    text = "okx all BTC-USDT-PERP quote"
    async with SimServer(venues=VENUES, faults="after 2 tardis cut-snapshot") as server:
        with pytest.raises(VenueUnreachable, match="relay failed"):
            await fetch(make(tmp_path, server, 50), text)
        part = len(read(tmp_path, "quote"))
        assert await fetch(make(tmp_path, server, 50), text) == TICKS - part
    assert len(read(tmp_path, "quarantine")) == 1


async def test_what_cannot_be_asked_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SimServer(venues=VENUES) as server:
        settings = make(tmp_path, server)
        for text, words in (
            ("okx all BTC-USDT-PERP candle", "no 'candle'"),
            ("okx nowhere BTC-USDT-PERP trade", "no such market"),
            ("kalshi events X trade", "no such market"),
        ):
            with pytest.raises(ConfigError, match=words):
                await fetch(settings, text)
        monkeypatch.setenv(name_key("tardis", "RELAY"), "wrong-key")
        with pytest.raises(VenueUnreachable, match=r"answered 401.*TRUETAPE_KEY_TARDIS_RELAY"):
            await fetch(settings, "okx all BTC-USDT-PERP quote")
        monkeypatch.delenv(name_key("tardis", "RELAY"))
        with pytest.raises(ConfigError, match="set TRUETAPE_KEY_TARDIS_RELAY"):
            await fetch(settings, "okx all BTC-USDT-PERP quote")
        with pytest.raises(ConfigError, match="relay_url: not set"):
            await fetch(parse_settings("{}", "test", {}), "okx all BTC-USDT-PERP quote")
    assert b"wrong-key" not in b"".join(p.read_bytes() for p in (tmp_path / "tape").rglob("*") if p.is_file())


async def test_one_moment_larger_than_a_page_is_refused(tmp_path: Path) -> None:
    async with SimServer(venues=VENUES) as server:
        with pytest.raises(VenueUnreachable, match=r"one moment has 5 rows: tardis\.relay_limit"):
            await fetch(make(tmp_path, server, 5), "deribit all BTC-USD-PERP book_change", begin=BEGIN)


async def test_a_run_that_is_killed_goes_on_where_it_ended(tmp_path: Path) -> None:
    # One answer hangs, so that there is time to kill who waits for it.
    async with SimServer(venues=VENUES, faults="after 12 tardis slow 4s for 1 request of */quotes") as server:
        settings = make(tmp_path, server, 20)
        (tmp_path / "truetape.yaml").write_text(
            YAML.format(folder=tmp_path, url=server.url, limit=20, times="us").replace("6000", "600")
        )
        words = "backfill okx BTC-USDT-PERP quote --from 2026-01-05 --to 2026-01-05T01:00 --from-relay"
        command = [sys.executable, "-m", "truetape.cli", *words.split(), "--config", str(tmp_path / "truetape.yaml")]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        while not any(hub for hub in (tmp_path / "tape").rglob("*") if hub.is_file() and hub.stat().st_size > 30_000):
            await asyncio.sleep(0.02)
            assert process.returncode is None
        process.kill()
        await process.wait()
        rest = await fetch(settings, "okx all BTC-USDT-PERP quote", minutes=60)
        await fetch(make(tmp_path / "whole", server, 4000), "okx all BTC-USDT-PERP quote", minutes=60)
    assert 0 < rest < 720
    columns = "* exclude (tape_offset, tape_row)"
    assert read(tmp_path, "quote", columns) == read(tmp_path / "whole", "quote", columns)
    check(tmp_path)
    assert lake_hash(tmp_path / "lake")


def test_stretches_without_rows_are_found(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert find_stretches(lake, subject("okx all BTC-USDT quote"), 10, 20) == [(10, 19)]
