"""The past of venues that nobody records, kept from run to run; the settings that come with truetape do it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from truetape.cli._starter import read_starter
from truetape.config import Settings, parse_settings
from truetape.errors import ConfigError
from truetape.flow import verify
from truetape.flow.archive import Kept, keep_past, list_kept
from truetape.lake import Lake
from truetape.ops import load_job, run_job
from truetape.sim.server import SimServer, Synthetic


def make_settings(folder: Path, url: str = "http://127.0.0.1:1") -> Settings:
    """Read the starter, one instrument of each venue, and let it ask the fake venues."""
    environ = {f"TRUETAPE_URL_{name}": url for name in ("BINANCE", "BYBIT", "OKX")}
    read = parse_settings(read_starter("exchange-archive")["truetape.yaml"], "exchange-archive", environ)
    archive = {
        name: msgspec.structs.replace(
            one, instruments=one.instruments[:1], channels=one.channels[-1:], intervals=("1h",)
        )
        for name, one in read.archive.items()
    }
    archive["binance"] = msgspec.structs.replace(archive["binance"], channels=("trade",))
    return msgspec.structs.replace(
        read,
        tape=str(folder / "tape"),
        sinks=(f"lake:{folder}/lake",),
        ops=msgspec.structs.replace(read.ops, state=str(folder / "state")),
        archive=archive,
    )


def count(folder: Path, query: str) -> dict[Any, int]:
    rows = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return {tuple(row.values())[:-1]: int(tuple(row.values())[-1]) for row in rows}


async def test_the_starter_keeps_the_past_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async with SimServer(venues=["binance", "bybit", "okx"], feed=Synthetic(seed=3)) as server:
        settings = make_settings(tmp_path, server.url)
        now = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)
        market = server.market("binance", "spot", "BTCUSDT")
        marks: dict[str, str] = {}

        def take(kept: Kept) -> None:
            if kept.until is not None:
                marks[kept.key] = kept.until.isoformat()

        # Files of today are all that the fake venue has: tomorrow they are those of yesterday.
        tomorrow = now + timedelta(days=1)
        done = await asyncio.to_thread(keep_past, settings, tomorrow, marks.get, take)
        assert {one.key: one.reason for one in done if one.status != "kept"} == {}
        assert set(marks) == {key for key, _, _ in list_kept(settings)}
        again = await asyncio.to_thread(keep_past, settings, tomorrow, marks.get, take)
        assert sum(one.rows for one in again) == 0
        trades = count(tmp_path, "select venue, symbol, count(distinct trade_id) as n from trade group by all")
        assert trades[("binance", "BTC-USDT")] >= 1000
        assert market.trades()
        only = msgspec.structs.replace(settings, archive={"okx": settings.archive["okx"]})
        job = await asyncio.to_thread(run_job, load_job("archive"), only)
        told = msgspec.json.decode(job.report)
        assert (told["streams"], told["absent"], told["rows"] % 288) == (1, 0, 0)  # a day that lies before
    interest = "select venue, count(open_interest) as n from derivative group by all"
    assert {venue: n > 4 * 280 for (venue,), n in count(tmp_path, interest).items()} == {"bybit": True, "okx": True}
    assert verify(settings.tape, settings.sinks[0]).problems == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"channels": ("book_change",)}, "allowed: trade, candle"),
        ({"market": "moon"}, "archive.binance.market: 'moon'"),
    ],
)
def test_what_cannot_be_kept_is_told(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    settings = make_settings(tmp_path)
    changed = msgspec.structs.replace(settings.archive["binance"], source="api", **change)
    with pytest.raises(ConfigError, match=why):
        list_kept(msgspec.structs.replace(settings, archive={"binance": changed}))


def test_spot_has_no_funding(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    changed = msgspec.structs.replace(
        settings.archive["binance"], source="api", channels=("funding", "trade"), market=""
    )
    told = list_kept(msgspec.structs.replace(settings, archive={"binance": changed}))
    assert [key for key, _, _ in told] == ["binance//BTC-USDT/trade/"]
