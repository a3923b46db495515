"""What needs no asking: times that were told or heard, whatever their order, and what runs that broke off had been told."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.collect.http import HttpOptions
from truetape.collect.retry import GiveUp
from truetape.config import Settings, parse_settings
from truetape.flow import verify
from truetape.flow.coverage import Span, subtract
from truetape.flow.repair import backfill
from truetape.flow.subject import Subject
from truetape.lake import Lake, drop_days
from truetape.sim.server import SimServer, Synthetic
from truetape.tape import FrameKind, open_reader

SPANS = st.tuples(st.integers(0, 40), st.integers(0, 40))


@given(SPANS, st.lists(SPANS, max_size=6))
def test_what_is_left_of_a_span(span: Span, covered: list[Span]) -> None:
    left = subtract(span, covered)
    open_moments = {
        at + 0.5 for at in range(*span) if not any(low <= at and at + 1 <= high for low, high in covered if low <= high)
    }
    assert {at + 0.5 for low, high in left for at in range(low, high)} == open_moments
    assert all(low < high for low, high in left)


class Gone(BaseException):
    """Something that ends us between two pages."""


def break_down(error: Exception, attempt: int) -> GiveUp:
    raise Gone from error


def make_settings(folder: Path, url: str, venue: str) -> Settings:
    folder.mkdir(exist_ok=True)
    told = f'venues: {{{venue}: {{instruments: [BTC-USDT], url: "{url}"}}}}\ntape: {folder}/tape\n'
    return parse_settings(told + f'sinks: ["lake:{folder}/lake"]', "test", {})


def ask(folder: Path, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Lake(folder / "lake").sql(query).arrow().to_pylist()
    return rows


def count_pages(folder: Path, part: str) -> int:
    reader = open_reader(str(folder / "tape"))
    metas = [
        meta
        for batch in reader.read(0)
        for kind, meta in zip(*(batch.data.column(n).to_pylist() for n in ("kind", "meta")), strict=True)
        if kind == FrameKind.RESPONSE
    ]
    reader.close()
    return sum(part in json.loads(meta)["url"] for meta in metas)


@pytest.mark.parametrize(
    ("venue", "symbol", "feed", "name"),
    [("deribit", "BTC-USD-PERP", "main", "BTC-PERPETUAL"), ("okx", "BTC-USDT-PERP", "public", "BTC-USDT-SWAP")],
)
async def test_no_time_is_left_out_beside_what_is_there(
    tmp_path: Path, venue: str, symbol: str, feed: str, name: str
) -> None:
    """A time after all that was received is asked for, and so is one around it: before, between and after."""
    async with SimServer(venues=[venue], feed=Synthetic(seed=3, rate=40)) as server:
        settings, wanted = make_settings(tmp_path, server.url, venue), Subject(venue, "", symbol, "", "trade")
        market = server.market(venue, feed, name)

        def now() -> datetime:
            return datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)

        async def fetch(begin: datetime, end: datetime) -> int:
            return await asyncio.to_thread(backfill, settings, wanted, begin, end)

        def count_made(begin: datetime, end: datetime) -> int:
            return len(market.trades_between(int(begin.timestamp() * 1e6), int(end.timestamp() * 1e6)))

        first = now()
        assert await fetch(first - timedelta(seconds=20), first) > 0
        second = now()
        await asyncio.sleep(1.5)
        third = now()
        assert abs(await fetch(second, third) - count_made(second, third)) < 4  # times are cut to milliseconds
        begin = first - timedelta(seconds=25)
        assert await fetch(begin, third) > 0
        assert await fetch(begin, third) == 0
        assert abs(count_made(begin, third) - len(ask(tmp_path, "from trade"))) < 4
        drop_days(tmp_path / "lake", "trade", date(2100, 1, 1))
        again = await fetch(begin, third)  # what retention took out was told, and is not there
        assert again == len(ask(tmp_path, "from trade")) and abs(count_made(begin, third) - again) < 4
    assert ask(tmp_path, "select trade_id from trade group by all having count(*) > 1") == []
    assert verify(settings.tape, f"lake:{tmp_path / 'lake'}").problems == []


@pytest.mark.parametrize(
    ("venue", "wanted", "part", "hours"),
    [
        ("kraken", Subject("kraken", "futures", "BTC-USD-PERP", "", "trade"), "/history?", 0.0),
        ("bybit", Subject("bybit", "linear", "BTC-USDT-PERP", "", "open_interest", "5m"), "/open-interest", 120.0),
        ("okx", Subject("okx", "", "BTC-USDT-PERP", "", "trade"), "/history-trades", 0.0),
    ],
)
async def test_what_broke_off_is_gone_on_with(
    tmp_path: Path, venue: str, wanted: Subject, part: str, hours: float
) -> None:
    async with SimServer(venues=[venue], feed=Synthetic(seed=3, rate=100)) as server:
        end = datetime.fromtimestamp(server.time.now_us() / 1e6, UTC)
        span = end - timedelta(hours=hours or 0.03), end
        whole, parts = (make_settings(tmp_path / name, server.url, venue) for name in ("whole", "parts"))
        await asyncio.to_thread(backfill, whole, wanted, *span)
        for _ in range(2):
            server.strike(f"after 3 {venue} 5xx for 1 request of *{part.removesuffix('?')}*")
            with pytest.raises(Gone):
                await asyncio.to_thread(backfill, parts, wanted, *span, options=HttpOptions(decide=break_down))
        assert await asyncio.to_thread(backfill, parts, wanted, *span) > 0
    kind = "trade" if wanted.channel == "trade" else "derivative"
    query = f"select * exclude (tape_offset, tape_row, received_at, available_at) from {kind} order by all"
    assert ask(tmp_path / "parts", query) == ask(tmp_path / "whole", query)
    assert 6 < count_pages(tmp_path / "whole", part) <= count_pages(tmp_path / "parts", part)
    assert count_pages(tmp_path / "parts", part) <= count_pages(tmp_path / "whole", part) + 5
