"""Derived events: what each row says, that nothing in it was unknown, and that one pass and many are equal."""

import datetime
import math
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from synthetic import at, gap, trade, write_rows

from truetape.lake.rows import connect_duckdb
from truetape.transform import build, hash_gold
from truetape.transform.runner import list_derived
from truetape.transform.unit import list_files, select_files

DAY_S = 86_400


def read(lake: Path, model: str) -> list[dict[str, Any]]:
    files = list_files(lake, model)
    query = f"select * exclude (filename) from {select_files(files)} order by all"
    with connect_duckdb() as connection:
        return connection.sql(query).to_arrow_table().to_pylist() if files else []


def make(lake: Path, model: str) -> list[dict[str, Any]]:
    build(lake, [model])
    rows = read(lake, model)
    return sorted(rows, key=lambda row: row.get("happened_at") or row["open_at"])


def event(seconds: float, offset: int, **own: Any) -> dict[str, Any]:
    row = trade(seconds, offset, 1.0)
    common = ("venue", "symbol", "venue_symbol", "exchange_at", "received_at", "available_at", "tape_offset")
    return {name: row[name] for name in common} | own


def test_derived_models_are_built_when_named(lake: Path) -> None:
    write_rows(lake, "trade", [trade(1, 1, 100)])
    assert "trade_event" not in [model.name for model in build(lake).models]
    assert list_derived() == ["bar_trend", "book_state", "coin_rank", "liquidation_event", "trade_event"]
    told: list[tuple[str, int, int]] = []
    result = build(lake, ["trade_event"], on_progress=lambda *how_far: told.append(how_far))
    assert [model.rows for model in result.models] == [1]
    assert told[0] == ("models and tests", 0, len(told))


# -- trades -----------------------------------------------------------------------------------------------


def test_a_trade_tells_notional_side_and_change(lake: Path) -> None:
    write_rows(
        lake,
        "trade",
        [
            trade(1, 1, 100, 2.0),
            trade(2, 2, 101, None),
            trade(3, 3, 99, side=None),
            trade(4000, 5, 99),
            trade(5, 4, 99),
        ],
    )
    first, second, third, fourth, last = make(lake, "trade_event")
    assert (first["notional"], first["is_buy"], first["price_change"]) == (200, True, None)
    assert (second["notional"], second["is_buy"], second["price_change"]) == (None, False, 1)
    assert second["price_change_bps"] == pytest.approx(100)
    assert (third["is_buy"], third["price_change"], fourth["price_change"]) == (None, -2, 0)
    assert last["price_change"] is None  # the one before it is more than an hour old
    assert (first["is_large"], first["hour_trades"]) == (None, 0)


def test_large_and_outlying_are_told_by_the_hour_before(lake: Path) -> None:
    rows = [trade(i * 10, i, 100 + i % 10 / 10, 1 + i % 100) for i in range(200)]
    rows += [trade(2020, 300, 100.5, 96.5), trade(2021, 301, 100.5, 80), trade(2022, 302, 120, 1)]
    write_rows(lake, "trade", rows)
    made = make(lake, "trade_event")
    large, usual, wild = made[-3:]
    notionals = sorted(row["price"] * row["amount"] for row in rows[:200])
    assert large["hour_trades"] == 200
    assert large["large_from"] == notionals[189]  # the 190th of 200
    assert [row["is_large"] for row in (large, usual)] == [True, False]
    assert [row["is_outlier"] for row in (large, usual, wild)] == [False, False, True]
    assert made[100]["is_large"] is None  # 99 trades are more than 10 s older: too few
    assert made[101]["is_large"] is not None


def test_nothing_in_a_trade_was_unknown_then(lake: Path, tmp_path: Path) -> None:
    """Forget everything that came after a moment: the rows usable by then are the same, but for nothing."""
    lags = [0.02, 0.5, 9.0, 30.0, 700.0]
    rows = [trade(i * 2.5, i, 100 + i * 37 % 11 / 7, 1 + i * 53 % 97, lag=lags[i * 7 % 31 % 5]) for i in range(400)]
    write_rows(lake, "trade", rows)
    cut = at(850)
    past = tmp_path / "past"
    past.mkdir()
    write_rows(past, "trade", [row for row in rows if row["available_at"] <= cut])
    whole = {row["trade_id"]: row for row in make(lake, "trade_event") if row["available_at"] <= cut}
    known = {row["trade_id"]: row for row in make(past, "trade_event")}
    assert len(whole) > 200
    assert {name: known[name] for name in whole} == whole


# -- liquidations -----------------------------------------------------------------------------------------


def test_liquidations_tell_position_and_severity(lake: Path) -> None:
    sizes = [99.99, 100.0, 1000.0, 10_000.0, None]
    rows = [event(i, i, side="sell" if i % 2 else "buy", price=100.0, amount=size) for i, size in enumerate(sizes)]
    write_rows(lake, "liquidation", rows)
    made = make(lake, "liquidation_event")
    assert [row["severity"] for row in made] == ["minor", "notable", "major", "extreme", None]
    assert [row["position"] for row in made] == ["short", "long", "short", "long", "short"]
    assert made[3]["notional"] == 1e6


# -- books ------------------------------------------------------------------------------------------------


def test_pictures_are_cleaned(lake: Path) -> None:
    picture = event(
        1,
        1,
        bid_prices=[98.0, 99.0, math.nan, 97.0],
        bid_amounts=[1.0, 2.0, 1.0, 0.0],
        ask_prices=[101.0 + i for i in range(150)],
        ask_amounts=[0.01] * 150,
    )
    empty = event(2, 2, bid_prices=[], bid_amounts=[], ask_prices=[], ask_amounts=[])
    crossed = event(3, 3, bid_prices=[101.0], bid_amounts=[1.0], ask_prices=[100.0], ask_amounts=[1.0])
    write_rows(lake, "book_snapshot", [picture, empty, crossed])
    first, second, third = make(lake, "book_state")
    assert (first["origin"], first["bid"], first["ask"], first["mid"], first["spread"]) == ("snapshot", 99, 101, 100, 2)
    assert (first["bid_prices"], first["bid_amounts"], first["removed_levels"]) == ([99, 98], [2, 1], 2)
    assert len(first["ask_prices"]) == 100
    assert (first["bid_depth"], first["ask_depth"]) == (3, pytest.approx(1))
    assert first["imbalance"] == pytest.approx(0.5)
    assert first["spread_bps"] == pytest.approx(200)
    assert (second["bid"], second["mid"], second["imbalance"], second["bid_depth"]) == (None, None, None, 0)
    assert [row["is_crossed"] for row in (first, second, third)] == [False, False, True]


def change(seconds: float, offset: int, row: int, side: str, price: float, amount: float, *, full: bool = False) -> Any:
    return event(seconds, offset, tape_row=row, side=side, price=price, amount=amount, is_snapshot=full)


def test_books_are_rebuilt_from_changes(lake: Path) -> None:
    rows = [
        change(5, 1, 0, "bid", 90, 9),  # before any picture
        *(change(10, 2, i, "bid", 99 - i, 1 + i, full=True) for i in range(3)),
        *(change(10, 2, 3 + i, "ask", 101 + i, 1, full=True) for i in range(3)),
        change(30, 3, 0, "bid", 99, 0),
        change(40, 4, 0, "ask", 100, 5),
        change(70, 5, 0, "bid", 98, 7),
        change(250, 6, 0, "bid", 96, 1, full=True),
        change(250, 6, 1, "ask", 97, 2, full=True),
    ]
    write_rows(lake, "book_change", rows)
    made = make(lake, "book_state")
    assert [row["happened_at"] for row in made] == [at(60), at(120), at(300)]  # no word in two minutes
    first, second, last = made
    assert (first["bid_prices"], first["bid_amounts"]) == ([98, 97], [2, 3])
    assert (first["ask_prices"], first["ask_amounts"]) == ([100, 101, 102, 103], [5, 1, 1, 1])
    assert (second["bid_amounts"], second["ask_prices"]) == ([7, 3], [100, 101, 102, 103])
    assert (last["bid_prices"], last["ask_prices"], last["origin"]) == ([96], [97], "changes")
    assert last["available_at"] == last["happened_at"]


def test_a_book_in_a_gap_is_not_told(lake: Path) -> None:
    rows = [change(1, 1, 0, "bid", 99, 1, full=True)] + [change(60 * i + 2, 1 + i, 0, "bid", 98, i) for i in range(4)]
    write_rows(lake, "book_change", rows)
    write_rows(lake, "gap", [gap("g", 90, 150, 9, "closed", channel="book_change")])
    assert [row["happened_at"] for row in make(lake, "book_state")] == [at(60), at(180), at(240)]


# -- bars -------------------------------------------------------------------------------------------------


def test_trends_of_bars(lake: Path) -> None:
    prices = [100 + (i * 37 % 11) for i in range(30)]
    # A cent up or down on Bitcoin: the squares of such returns begin at the 14th place.
    cents = [61_737.63 + 0.01 * (i * 7 % 3) for i in range(30)]
    rows = [trade(60 * i + 1, i, price) for i, price in enumerate(prices)]
    small = [trade(60 * i + 2, 100 + i, price, symbol="CENTS") for i, price in enumerate(cents)]
    write_rows(lake, "trade", rows + small)
    build(lake, ["bar_trend"])
    minutes = sorted((r for r in read(lake, "bar_trend") if r["interval"] == "1m"), key=lambda r: r["open_at"])
    made = [row for row in minutes if row["symbol"] != "CENTS"]
    last, last_small = made[-1], [row for row in minutes if row["symbol"] == "CENTS"][-1]
    steps = [math.log(b / a) for a, b in pairwise(cents)]
    assert last_small["volatility_20"] == pytest.approx(statistics.stdev(steps[-20:]), rel=1e-9)
    returns = [math.log(b / a) for a, b in pairwise(prices)]
    assert last["sma_5"] == pytest.approx(statistics.fmean(prices[-5:]))
    assert last["sma_20"] == pytest.approx(statistics.fmean(prices[-20:]))
    assert last["volatility_5"] == pytest.approx(statistics.stdev(returns[-5:]))
    assert last["volatility_20"] == pytest.approx(statistics.stdev(returns[-20:]))
    assert (made[0]["volatility_5"], made[0]["bars_5"], made[0]["sma_5"]) == (None, 1, prices[0])
    assert (last["bars_20"], last["log_return"]) == (20, pytest.approx(returns[-1]))


def test_an_interval_without_bar_is_a_hole_in_returns(lake: Path) -> None:
    write_rows(lake, "trade", [trade(60 * i + 1, i, 100 + i) for i in (0, 1, 3, 4)])
    build(lake, ["bar_trend"])
    made = sorted((r for r in read(lake, "bar_trend") if r["interval"] == "1m"), key=lambda r: r["open_at"])
    assert [row["log_return"] is None for row in made] == [True, False, True, False]
    assert made[-1]["bars_5"] == 4


# -- coins ------------------------------------------------------------------------------------------------


def coin(hours: float, offset: int, rank: int | None, name: str = "bitcoin", *, lag: float = 60, **other: Any) -> Any:
    row = trade(hours * 3600 - lag, offset, 1.0, lag=lag)
    common = ("exchange_at", "received_at", "available_at", "tape_offset")
    own = {"venue": "coingecko", "symbol": f"{name}-USD", "venue_symbol": name, "source": "snapshot", "currency": "USD"}
    return {key: row[key] for key in common} | own | {"rank": rank, "price": 1.0} | other


def test_ranks_tell_what_they_were_an_hour_and_a_day_before(lake: Path) -> None:
    ranks = [3, 3, 2, None, 5, *[5] * 20, 4, 1]
    rows = [coin(hour, hour, rank) for hour, rank in enumerate(ranks)]
    rows += [coin(60, 90, 9, "late"), coin(120, 91, 8, "late"), coin(3, 92, 7, source="chart")]
    write_rows(lake, "coin", rows)
    made = [row for row in make(lake, "coin_rank") if row["venue_symbol"] == "bitcoin"]
    assert [row["rank"] for row in made] == ranks
    assert [row["rank_before"] for row in made] == [None, *ranks[:-1]]
    assert [row["rank_change"] for row in made[:6]] == [None, 0, 1, None, None, 0]
    assert [row["is_change"] for row in made[:6]] == [False, False, True, True, True, False]
    assert [row["is_first"] for row in made[:2]] == [True, False]
    assert [row["rank_24h_before"] for row in made[23:]] == [None, 3, 3, 2]
    assert [row["rank_change_24h"] for row in made[24:]] == [-2, -1, 1]
    assert made[2]["before_at"] == made[1]["happened_at"] == at(3600)
    assert all(row["available_at"] == row["happened_at"] for row in made)
    late = [row for row in read(lake, "coin_rank") if row["venue_symbol"] == "late"]
    assert [(row["is_first"], row["rank_before"]) for row in late] == [(True, None)] * 2, "more than two days apart"


# -- builds -----------------------------------------------------------------------------------------------


def fill(lake: Path, part: int) -> None:
    """Write one of three parts of two and a half days around midnights."""
    own = range(part, 600, 3)
    seconds = {i: DAY_S * (i // 200) + DAY_S - 1500 + i % 200 * 15 for i in range(600)}
    lags = [0.02, 5.0, 200.0]
    rows = [trade(seconds[i], i, 100 + i * 37 % 11 / 7, 0.1 * (1 + i * 53 % 97), lag=lags[i * 7 % 5 % 3]) for i in own]
    write_rows(lake, "trade", rows)
    write_rows(lake, "liquidation", [event(seconds[i], i, side="buy", price=3.3, amount=i * 1.7) for i in own])
    sides = ("bid", "ask")
    changes = [
        change(seconds[i], i, 0, sides[i % 2], 100 + (i % 7 + 1) * (-1) ** (i % 2 + 1), i % 4, full=i % 40 < 2)
        for i in own
    ]
    write_rows(lake, "book_change", changes)
    pictures = [
        event(seconds[i], i, bid_prices=[9.0], bid_amounts=[i + 0.1], ask_prices=[9.3], ask_amounts=[0.7]) for i in own
    ]
    write_rows(lake, "book_snapshot", pictures)
    coins = [
        coin(i / 9, i, i * 7 % 5 + 1, f"c{i % 3}", lag=60 + i % 4 * 40_000) for i in own
    ]  # some stand still for a day
    write_rows(lake, "coin", coins)
    if part == 1:
        write_rows(lake, "gap", [gap("g", 50, 400, 3, "closed"), gap("h", DAY_S, DAY_S + 300, 4, "closed")])


def test_one_pass_and_many_are_equal(tmp_path: Path) -> None:
    """Rows in any order of commits, built after each, on both sides of midnights: the same bytes."""
    once, often = tmp_path / "once", tmp_path / "often"
    for lake in (once, often):
        lake.mkdir()
    for part in range(3):
        fill(once, part)
    build(once, list_derived())
    for part in (2, 0, 1):
        fill(often, part)
        build(often, list_derived())
    assert {row["is_large"] for row in read(once, "trade_event")} == {None, False, True}
    for model in list_derived():
        assert read(once, model), model
        assert hash_gold(once, model) == hash_gold(often, model), model


def test_a_change_yesterday_builds_today_again(lake: Path) -> None:
    begin = DAY_S - 60
    write_rows(lake, "trade", [trade(begin, 1, 100), trade(DAY_S + 60, 2, 110), trade(3 * DAY_S, 3, 110)])
    build(lake, ["trade_event"])
    write_rows(lake, "trade", [trade(begin + 30, 9, 105, lag=2 * DAY_S)])
    result = build(lake, ["trade_event"])
    assert result.models[0].units == 2
    changes = [row["price_change"] for row in make(lake, "trade_event")]
    assert changes == [None, 5, 5, None]
    assert read(lake, "trade_event")[0]["date"] == datetime.date(2024, 8, 8)
