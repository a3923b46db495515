"""Backfills of what is no stream's row by row: open interest and candles, from fake venues, once each."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from truetape import clock
from truetape.collect.backfill import Backfiller, Order
from truetape.config import Settings, parse_settings
from truetape.errors import ConfigError
from truetape.events.backfill import Began, Lost
from truetape.flow import verify
from truetape.flow.history import bound_began, find_lake, hold_tape, settle_lake
from truetape.flow.loss import Past
from truetape.flow.repair import backfill, find_backfill
from truetape.flow.subject import Subject, to_us
from truetape.lake import Lake
from truetape.sim.server import SimServer, Synthetic
from truetape.venues import load_venue

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


async def test_what_is_known_by_too_many_ids_is_asked_for_in_pieces(tmp_path: Path) -> None:
    """Decoding is told no more ids at once than it may, and whatever the pieces, each trade comes once."""
    most = 60
    async with SimServer(venues=["kraken"], feed=Synthetic(seed=3, rate=20.0)) as server:
        settings = make_settings(tmp_path, server.url, "kraken")
        end = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)
        span = end - timedelta(seconds=100), end - timedelta(seconds=5)
        wanted = Subject("kraken", "futures", "BTC-USD-PERP", "PI_XBTUSD", "trade")
        some = span[0] + timedelta(seconds=20), span[0] + timedelta(seconds=60)
        await asyncio.to_thread(backfill, settings, wanted, *some)
        before = len(ask(tmp_path, "select 1 from trade"))
        pieces = await asyncio.to_thread(ask_in_pieces, settings, wanted, span, most, server.url)
        made = server.market("kraken", "futures", "PI_XBTUSD")
        whole = len(made.trades_between(*(int(at.timestamp() * 1e6) for at in span)))
    assert before > 4 * most and len(pieces) > 2 * before / most
    assert [(one.place, one.places) for one in pieces] == [(n, len(pieces)) for n in range(1, len(pieces) + 1)]
    assert all(one.to_us + 1 == two.from_us for one, two in pairwise(pieces))
    told = ask(tmp_path, "select detail from connection where event = 'backfill_began' order by tape_offset")
    known = [len(json.loads(row["detail"])["known_ids"]) for row in told[-len(pieces) :]]
    assert max(known) <= most and sum(known) >= before
    assert ask(tmp_path, "select trade_id from trade group by all having count(*) > 1") == []
    assert abs(len(ask(tmp_path, "select 1 from trade")) - whole) < 4  # times are cut to milliseconds
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


def ask_in_pieces(
    settings: Settings, wanted: Subject, span: tuple[datetime, datetime], most: int, url: str
) -> list[Began]:
    """Do what `backfill` does, told no more than `most` ids at once."""
    venue = load_venue(wanted.venue)
    found = find_backfill(venue, wanted)
    lost = Lost("", to_us(span[0]), to_us(span[1]), "")
    with hold_tape(settings) as writer:
        past = Past(settle_lake(settings, writer), wanted, found, most)
        pieces = [one for began in past.plan([lost]) for one in past.divide(bound_began(began, lost))]
        orders = [Order(one, found, complete=past.complete) for one in pieces]
        clock.run(Backfiller(venue, url, writer).run(orders))
    return pieces


async def test_a_moment_with_too_many_trades_is_told(tmp_path: Path) -> None:
    async with SimServer(venues=["kraken"], feed=Synthetic(seed=3, rate=20.0)) as server:
        settings = make_settings(tmp_path, server.url, "kraken")
        end = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)
        wanted = Subject("kraken", "futures", "BTC-USD-PERP", "PI_XBTUSD", "trade")
        await asyncio.to_thread(backfill, settings, wanted, end - timedelta(seconds=9), end)
    past = Past(find_lake(settings), wanted, find_backfill(load_venue("kraken"), wanted), 6)
    (began,) = past.plan([Lost("", to_us(end) - 9_000_000, to_us(end), "")])
    with pytest.raises(ConfigError, match="kraken BTC-USD-PERP: the lake has more than 6 trades of a time"):
        past.complete(began)
