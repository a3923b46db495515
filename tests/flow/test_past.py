"""Backfills of what is no stream's row by row: open interest and candles, from fake venues, once each."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from truetape.config import Settings, parse_settings
from truetape.errors import ConfigError
from truetape.flow import verify
from truetape.flow.loss import Subject
from truetape.flow.repair import backfill
from truetape.lake import Lake
from truetape.sim.server import SimServer, Synthetic

INTEREST = [
    ("binance", "ETH-USDT-PERP", "usdm", 500 * 300),
    ("binance", "BTC-USD-PERP", "coinm", 3 * 3600),
    ("bybit", "BTC-USDT-PERP", "linear", 250 * 300),
    ("okx", "BTC-USDT-PERP", "", 150 * 300),
]


def make_settings(folder: Path, url: str, *venues: str) -> Settings:
    told = "\n".join(f'  {name}: {{instruments: [BTC-USDT], url: "{url}"}}' for name in venues)
    return parse_settings(f'tape: {folder}/tape\nsinks: ["lake:{folder}/lake"]\nvenues:\n{told}\n', "test", {})


def ask(folder: Path, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return rows


async def test_open_interest_of_the_past_comes_once(tmp_path: Path) -> None:
    async with SimServer(venues=["binance", "bybit", "okx"], feed=Synthetic(seed=3)) as server:
        settings = make_settings(tmp_path, server.url, "binance", "bybit", "okx")
        end = datetime.fromtimestamp(server.time.now_us() // 10**6 // 300 * 300, UTC)
        for venue, symbol, market, seconds in INTEREST:
            wanted = Subject(venue, market, symbol, "", "open_interest", "5m")
            span = end - timedelta(seconds=seconds), end
            assert await asyncio.to_thread(backfill, settings, wanted, *span) == seconds // 300 + 1
        assert await asyncio.to_thread(backfill, settings, wanted, *span) == 0
        wanted = Subject("binance", "usdm", "ETH-USDT-PERP", "", "open_interest", "7m")
        with pytest.raises(ConfigError, match="allowed: 5m, 15m"):
            await asyncio.to_thread(backfill, settings, wanted, *span)
        old = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
        wanted = Subject("binance", "usdm", "ETH-USDT-PERP", "", "open_interest", "5m")
        with pytest.raises(ConfigError, match="tells nothing of it"):
            await asyncio.to_thread(backfill, settings, wanted, *old)
    rows = ask(tmp_path, "select venue, symbol, count(*) as n, count(distinct exchange_at) as times, "
               "count(open_interest) as amounts, count(open_interest_contracts) as contracts from derivative group by all")  # fmt: skip
    assert all(row["n"] == row["times"] for row in rows)
    kinds = {(row["venue"], row["symbol"]): (row["amounts"] > 0, row["contracts"] > 0) for row in rows}
    assert kinds == {
        ("binance", "ETH-USDT-PERP"): (True, False), ("binance", "BTC-USD-PERP"): (False, True),
        ("bybit", "BTC-USDT-PERP"): (True, False),
        ("okx", "BTC-USDT-PERP"): (True, True),
    }  # fmt: skip
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


async def test_candles_of_the_past_come_once(tmp_path: Path) -> None:
    async with SimServer(venues=["coinbase"], feed=Synthetic(seed=3, rate=2.0)) as server:
        settings = make_settings(tmp_path, server.url, "coinbase")
        for market, symbol in (("spot", "BTC-USD"), ("exchange", "ETH-USD")):
            feed = "advanced" if market == "spot" else "exchange"
            made = server.market("coinbase", feed, symbol)
            end = datetime.fromtimestamp(made.now_us // 60_000_000 * 60 - 60, UTC)
            wanted, span = Subject("coinbase", market, symbol, "", "candle", "1m"), (end - timedelta(minutes=15), end)
            rows = await asyncio.to_thread(backfill, settings, wanted, *span)
            bars = list(made.bars(60_000_000, *(int(at.timestamp()) * 10**6 for at in span)))
            assert rows == len(bars) + 1 > 10  # the end is within
        assert await asyncio.to_thread(backfill, settings, wanted, *span) == 0
    rows = ask(tmp_path, "select symbol, open_at, is_closed from candle where low > least(open, close) or high < greatest(open, close)")  # fmt: skip
    assert rows == []
    assert ask(tmp_path, "select count(*) as n from candle where is_closed") == ask(
        tmp_path, "select count(*) as n from candle"
    )


async def test_krakens_past_comes_once(tmp_path: Path) -> None:
    """Trades of futures are told apart by their ids, whose numbers in the stream the past does not tell."""
    async with SimServer(venues=["kraken"], feed=Synthetic(seed=3, rate=20.0)) as server:
        settings = make_settings(tmp_path, server.url, "kraken")
        end = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)
        span = end - timedelta(seconds=100), end - timedelta(seconds=5)
        for symbol, market in (("BTC-USD", "spot"), ("BTC-USD-PERP", "futures")):
            wanted = Subject("kraken", market, symbol, "", "trade")
            begin_us, end_us = (int(at.timestamp() * 1e6) for at in span)
            half = span[0] + timedelta(seconds=40)
            rows = await asyncio.to_thread(backfill, settings, wanted, span[0], half)
            rows += await asyncio.to_thread(backfill, settings, wanted, *span)
            made = server.market("kraken", market, "BTC/USD" if market == "spot" else "PI_XBTUSD")
            assert abs(rows - len(made.trades_between(begin_us, end_us))) < 4  # times are cut to milliseconds
            bars = Subject("kraken", market, symbol, "", "candle", "1m")
            assert await asyncio.to_thread(backfill, settings, bars, *span) >= 1
        assert await asyncio.to_thread(backfill, settings, wanted, *span) == 0
    twice = "select symbol, trade_id from trade group by all having count(*) > 1"
    assert ask(tmp_path, twice) == []
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []
