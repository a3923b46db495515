"""The model `bars`: what a bar holds, when it could be used, and that builds agree."""

import datetime
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import at, gap, started, trade, write_rows

from truetape.transform import build, hash_gold, read_bars


def bar(lake: Path, interval: str, seconds: float = 0, symbol: str = "BTC-USDT") -> dict[str, Any]:
    rows = read_bars(lake, "binance", symbol, interval).to_pylist()
    return next(row for row in rows if row["open_at"] == at(seconds))


def test_a_bar_adds_up(lake: Path) -> None:
    write_rows(
        lake, "trade", [trade(0.1, 1, 100, 0.1), trade(20, 2, 103, 0.2), trade(59.9, 3, 101, 0.7), trade(70, 4, 99)]
    )
    build(lake)
    made = bar(lake, "1m")
    assert [made[k] for k in ("open", "high", "low", "close", "trades")] == [100, 103, 100, 101, 3]
    assert made["volume"] == 1.0  # not 0.9999999999999999: sums are exact
    assert made["quote_volume"] == 101.3
    assert made["taker_buy_volume"] == 0.8
    assert made["vwap"] == made["quote_volume"] / 1.0
    assert (made["first_trade_at"], made["last_trade_at"]) == (at(0.1), at(59.9))
    assert (made["close_at"], made["venue_symbol"]) == (at(60), "BTCUSDT")


def test_an_interval_without_trades_has_no_bar(lake: Path) -> None:
    write_rows(lake, "trade", [trade(0.5, 1, 100), trade(3.5, 2, 100)])
    build(lake)
    opens = [row["open_at"] for row in read_bars(lake, "binance", "BTC-USDT", "1s").to_pylist()]
    assert opens == [at(0), at(3)]


def test_bars_of_a_period(lake: Path) -> None:
    write_rows(lake, "trade", [trade(float(i), i, 100) for i in range(1, 9)])
    build(lake)
    rows = read_bars(lake, "binance", "BTC-USDT", "1s", at(3), at(5)).to_pylist()
    assert [row["open_at"] for row in rows] == [at(3), at(4)]


def test_prints_that_make_no_price_are_left_out(lake: Path) -> None:
    rows = [trade(1, 1, 100), trade(2, 2, 101, flag="liquidation")]
    rows += [trade(3, 10 + i, 500, flag=flag) for i, flag in enumerate(("block", "combo", "insurance", "aggregate"))]
    rows += [trade(4, 20, math.nan), trade(4, 21, -1), trade(4, 22, 0), trade(4, 23, 100, 0.0), trade(4, 24, 100, 1e19)]
    write_rows(lake, "trade", rows)
    build(lake)
    made = bar(lake, "1m")
    assert (made["trades"], made["high"], made["volume"]) == (2, 101, 2)


def test_a_volume_with_an_unknown_part_is_unknown(lake: Path) -> None:
    write_rows(lake, "trade", [trade(1, 1, 100, None), trade(2, 2, 101), trade(61, 3, 101, side=None)])
    build(lake)
    first, second = bar(lake, "1m"), bar(lake, "1m", 60)
    assert [first[k] for k in ("volume", "quote_volume", "taker_buy_volume", "vwap")] == [None] * 4
    assert (second["volume"], second["taker_buy_volume"]) == (1, None)


def test_trades_of_one_instant_stand_in_the_venues_order(lake: Path) -> None:
    """Number 7 reached us last but happened between 6 and 8."""
    rows = [trade(1, 8, 103, tape_offset=1), trade(1, 6, 101, tape_offset=2), trade(1, 7, 102, tape_offset=3)]
    write_rows(lake, "trade", rows)
    build(lake)
    made = bar(lake, "1s", 1)
    assert (made["open"], made["close"]) == (101, 103)


def test_a_trade_without_the_venues_time_stands_where_it_was_received(lake: Path) -> None:
    write_rows(lake, "trade", [trade(0, 1, 100, lag=61, exchange_at=None)])
    build(lake)
    assert bar(lake, "1m", 60)["trades"] == 1


def test_a_bar_is_complete_once_the_venue_was_heard_after_it(lake: Path) -> None:
    write_rows(lake, "trade", [trade(1, 1, 100), trade(59, 2, 100)])
    write_rows(lake, "gap", [started()])
    build(lake)
    assert (bar(lake, "1m")["is_complete"], bar(lake, "1m")["available_at"]) == (False, at(59.02))
    write_rows(lake, "trade", [trade(61, 3, 100, symbol="ETH-USDT")])
    build(lake)
    assert (bar(lake, "1m")["is_complete"], bar(lake, "1m")["available_at"]) == (True, at(60))


def test_a_bar_that_began_before_its_stream_is_not_complete(lake: Path) -> None:
    """A recording that begins within a minute has no gap row for what was before it."""
    write_rows(lake, "trade", [trade(i * 5 + 20, i, 100) for i in range(40)])
    build(lake)
    assert [bar(lake, "1m", s)["is_complete"] for s in (0, 60)] == [False, True]
    write_rows(lake, "trade", [trade(-30, 500, 100, lag=7 * 86400)])  # an older recording of the same stream
    build(lake)
    assert [bar(lake, "1m", s)["is_complete"] for s in (-60, 0, 60)] == [False, True, True]


@pytest.mark.parametrize("where", [{}, {"symbol": "", "channel": "*"}])
def test_a_gap_makes_its_bars_incomplete(lake: Path, where: dict[str, Any]) -> None:
    write_rows(lake, "trade", [trade(i + 0.5, i, 100) for i in range(300)])
    write_rows(lake, "gap", [gap("a", 90, None, 5, "open", **where), gap("a", 90, 130, 9, "closed", **where)])
    write_rows(lake, "gap", [started(), gap("b", 100, 110, 10, "closed")])  # inside the other: not counted twice
    build(lake)
    seconds = [bar(lake, "1m", s)["gap_seconds"] for s in (0, 60, 120, 180)]
    assert seconds == [0, 31, 10, 0]  # from one second before: trades are older than their reception
    assert [bar(lake, "1m", s)["is_complete"] for s in (0, 60, 120, 180)] == [True, False, False, True]
    assert bar(lake, "1m", 60)["available_at"] == at(130)  # the hole was not known before


def test_another_streams_gap_is_nothing_to_a_bar(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i + 0.5, i, 100) for i in range(100)])
    others = [{"symbol": "ETH-USDT"}, {"channel": "quote"}, {"venue": "okx"}]
    write_rows(lake, "gap", [started(), *(gap(f"g{i}", 10, 20, i, "closed", **o) for i, o in enumerate(others))])
    build(lake)
    assert bar(lake, "1m")["is_complete"]


def test_an_open_gap_reaches_to_the_end_and_a_repaired_one_is_none(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i + 0.5, i, 100) for i in range(200)])
    write_rows(lake, "gap", [gap("a", 90, None, 5, "open")])
    build(lake)
    assert [bar(lake, "1m", s)["gap_seconds"] for s in (0, 60, 120)] == [0, 31, 60]
    write_rows(lake, "gap", [gap("a", 90, 95, 9, "repaired")])
    build(lake)
    assert [bar(lake, "1m", s)["gap_seconds"] for s in (0, 60, 120)] == [0, 0, 0]


def test_a_late_trade_reaches_its_bar_however_late(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i + 0.5, i, 100) for i in range(120)])
    build(lake)
    write_rows(lake, "trade", [trade(30.25, 900, 250, lag=40 * 86400)])
    result = build(lake)
    made = bar(lake, "1m")
    assert (made["high"], made["trades"]) == (250, 61)
    assert made["available_at"] == at(30.25 + 40 * 86400)
    assert result.models[0].units == 1  # nothing else was built again


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_pass_and_many_are_equal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Rows in any commits, built after each, across midnight, gaps opening and closing: the same bytes."""
    start = 86400 - 200
    rows = [
        trade(start + i * 3.1, i, 100 + i % 13 / 10, 0.1 * (i % 5 + 1), lag=data.draw(st.sampled_from([0.02, 400.0])))
        for i in range(150)
    ]
    gaps = [gap("g", start + 50, None, 3, "open"), gap("g", start + 50, start + 230, 8, "closed")]
    cuts = sorted(data.draw(st.lists(st.integers(1, 149), min_size=2, max_size=3, unique=True)))
    order = data.draw(st.permutations(range(len(cuts) + 1)))
    once, often = tmp_path_factory.mktemp("once"), tmp_path_factory.mktemp("often")
    write_rows(once, "trade", rows)
    write_rows(once, "gap", gaps)
    build(once)
    for step, part in enumerate(order):
        write_rows(often, "trade", rows[([0, *cuts])[part] : ([*cuts, 150])[part]])
        if step < len(gaps):
            write_rows(often, "gap", [gaps[step]])
        build(often)
    assert hash_gold(once, "bars") == hash_gold(often, "bars")


def test_nothing_in_a_bar_was_unknown_when_it_could_be_used(lake: Path, tmp_path: Path) -> None:
    """Forget all that came after a moment: what could be used by then is the same."""
    rows = [trade(i * 1.7, i, 100 + i % 7, 0.3) for i in range(200)]
    write_rows(lake, "trade", rows)
    build(lake)
    cut = at(201)
    past = tmp_path / "past"
    write_rows(past, "trade", [row for row in rows if row["available_at"] <= cut])
    build(past)
    for interval in ("1s", "1m"):
        usable = [r for r in read_bars(lake, "binance", "BTC-USDT", interval).to_pylist() if r["available_at"] <= cut]
        known = {r["open_at"]: r for r in read_bars(past, "binance", "BTC-USDT", interval).to_pylist()}
        changing = {"is_complete"} if interval == "1s" else set()
        for row in usable:
            then = known[row["open_at"]]
            assert {k for k in row if row[k] != then[k]} <= changing | (
                {"available_at"} if then["available_at"] < row["available_at"] else set()
            )
            assert row["available_at"] <= cut + datetime.timedelta(0)
