"""Ranks over time: who is first now, who changed places, who is new."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from truetape.datasets.coin import list_rank_changes, list_rank_steps, list_top
from truetape.errors import ConfigError
from truetape.flow import deliver
from truetape.lake import Lake
from truetape.sim.protocol import encode_json
from truetape.tape import FrameKind, Source, open_writer

START = datetime(2026, 1, 1, tzinfo=UTC)
RANKS = [["a", "b", "c"], ["a", "b", "c"], ["b", "a", "c"], ["b", "d", "a"]]
"""Coins by market cap, one list every twelve hours."""


def describe(coin: str, rank: int) -> dict[str, Any]:
    return {"id": coin, "symbol": "x", "name": coin.upper(), "current_price": 10.0 * rank, "market_cap": 1000.0 / rank,
            "market_cap_rank": rank, "total_volume": None if coin == "b" else 5.0 * rank}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("coins")
    writer = open_writer(folder / "tape")
    source = writer.register(Source("coingecko", "rest", "jobs"))
    for number, ranked in enumerate(RANKS):
        at_ns = int((START + timedelta(hours=12 * number)).timestamp()) * 10**9
        for currency in ("usd", "eur"):
            url = f"https://api.coingecko.com/api/v3/coins/markets?vs_currency={currency}"
            body = encode_json([describe(coin, rank) for rank, coin in enumerate(ranked, 1)])
            meta = encode_json({"url": url, "status": 200}).decode()
            writer.append(source, at_ns, 0, FrameKind.RESPONSE, body, meta)
    writer.close()
    deliver(str(folder / "tape"), (f"lake:{folder / 'lake'}",))
    return Lake(folder / "lake")


def test_the_top_is_of_the_last_snapshot_only(lake: Lake) -> None:
    assert [(coin.coin, coin.rank) for coin in list_top(lake)] == [("b", 1), ("d", 2), ("a", 3)]
    assert [coin.coin for coin in list_top(lake, "price", 2, "eur")] == ["a", "d"]
    assert [coin.coin for coin in list_top(lake, "volume_24h")] == ["a", "d", "b"]
    assert list_top(lake, "rank")[0].name == "B"
    assert list_top(lake, currency="gbp") == []
    with pytest.raises(ConfigError, match=r"--by: 'size' is not there \(allowed: market_cap, "):
        list_top(lake, "size")


def test_changes_compare_with_a_time_before(lake: Lake) -> None:
    changes = list_rank_changes(lake, 24)
    assert [(one.coin, one.rank_before, one.rank, one.change) for one in changes] == [
        ("a", 1, 3, -2), ("b", 2, 1, 1), ("d", None, 2, None),
    ]  # fmt: skip
    assert changes[0].before_at == START + timedelta(hours=12)
    assert [one.coin for one in list_rank_changes(lake, 12)] == ["a", "d"]
    assert list_rank_changes(lake, 1000) == []


def test_steps_are_where_the_rank_of_a_coin_changed(lake: Lake) -> None:
    steps = [(step.at - START, step.rank_before, step.rank) for step in list_rank_steps(lake, "a")]
    assert steps == [(timedelta(0), None, 1), (timedelta(hours=24), 1, 2), (timedelta(hours=36), 2, 3)]
    assert list_rank_steps(lake, "nothing") == []


def test_a_lake_without_coins_has_none(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    assert list_top(Lake(tmp_path / "lake")) == []
