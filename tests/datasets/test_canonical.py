"""The model `canonical`: every second of a market once, with what had been received by then."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from market_lake import LAG_S, START_S, Expected, Shape, at, find_levels, make_row, write_kind, write_market_lake

from truetape.lake import Lake
from truetape.transform import build

Flawed = tuple[Path, list[Expected]]


def read(lake: Path, market: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        Lake(lake).sql("select * from canonical where market_id = $m order by t", {"m": market}).arrow().to_pylist()
    )
    return rows


def find(flawed: Flawed, flaw: str) -> list[dict[str, Any]]:
    return read(flawed[0], next(market.slug for market in flawed[1] if flaw in market.flaws))


def list_seconds(rows: list[dict[str, Any]], column: str, value: str) -> list[int]:
    return [second for second, row in enumerate(rows) if row[column] == value]


def test_every_market_has_exactly_its_seconds(flawed: Flawed) -> None:
    for market in flawed[1]:
        rows = read(flawed[0], market.slug)
        assert [row["t"] for row in rows] == [at(market.opens_s + second) for second in range(900)]
        assert [row["tau"] for row in rows] == list(range(900, 0, -1))


def test_cells_are_what_was_known_then(flawed: Flawed) -> None:
    """Next to the makers of the lake: a book is received 0.2 s after its second, a price 1.25 s after it was observed."""
    number = next(n for n, market in enumerate(flawed[1]) if "wrong" in market.flaws)
    shape = Shape(flaws={n: market.flaws for n, market in enumerate(flawed[1])})
    for second, row in enumerate(read(flawed[0], flawed[1][number].slug)):
        # What was observed two seconds before is the newest that 1.25 s of lag let through.
        before = shape.find_price(number, second - 2) if second >= 2 else shape.find_price(number - 1, 900 + second - 2)
        assert (row["oracle_mid"], row["oracle_age_ms"]) == (before, 2000.0)
        for outcome in ("Up", "Down"):
            levels, side = find_levels(shape, number, second - 1, outcome), outcome.lower()
            bids = {price: amount for (what, price), amount in levels.items() if what == "bid"}
            asks = {price: amount for (what, price), amount in levels.items() if what == "ask"}
            assert (row[f"{side}_bid"], row[f"{side}_ask"]) == (max(bids), min(asks))
            assert (row[f"{side}_bid_depth"], row[f"{side}_ask_depth"]) == (sum(bids.values()), sum(asks.values()))
            assert row[f"{side}_large_orders"] == 2
            assert row[f"{side}_trades"] == (1 if (second - 1) % 4 == 0 else 0)
            assert row[f"{side}_sell_amount"] == (10.0 if (second - 1) % 8 == 0 else 0.0)
        assert row["sum_bids"] == pytest.approx(row["up_bid"] + row["down_bid"])
        assert row["up_mid"] == pytest.approx((row["up_bid"] + row["up_ask"]) / 2)
        assert row["spot_age_ms"] == 570.0


def test_labels_stand_on_every_row_and_delta_waits_for_the_strike(flawed: Flawed) -> None:
    market = next(market for market in flawed[1] if "tie" in market.flaws)
    rows = read(flawed[0], market.slug)
    assert {(row["k"], row["settlement"], row["y"]) for row in rows} == {(market.strike, market.settlement, 1.0)}
    assert [row["delta"] is None for row in rows[:4]] == [True, True, False, False]  # the strike came after 1.25 s
    assert rows[2]["k_available_at"] == at(market.opens_s + LAG_S)
    assert rows[500]["delta"] == rows[500]["oracle_mid"] - market.strike
    assert {row["y"] for row in find(flawed, "split")} == {0.5}
    assert {row["y"] for row in find(flawed, "pending")} == {None}
    assert {row["delta"] for row in find(flawed, "no_strike")} == {None}


def test_a_declared_hole_is_a_gap_and_shows_nothing(flawed: Flawed) -> None:
    books = find(flawed, "book_gap")
    assert list_seconds(books, "up_state", "gap") == list_seconds(books, "down_state", "gap") == list(range(300, 331))
    hidden = [name for name in books[0] if name.startswith(("up_", "down_")) and not name.endswith("_state")]
    flow = [name for name in hidden if name.endswith(("_amount", "_trades"))]
    assert {books[310][name] for name in set(hidden) - set(flow)} == {None}
    assert (books[310]["sum_bids"], books[310]["oracle_state"]) == (None, "observed")
    assert books[331]["up_state"] == "observed"
    oracle = find(flawed, "oracle_gap")
    assert list_seconds(oracle, "oracle_state", "gap") == list(range(401, 422))
    assert (oracle[410]["oracle_mid"], oracle[410]["delta"], oracle[410]["up_state"]) == (None, None, "observed")
    assert list_seconds(find(flawed, "trade_gap"), "spot_state", "gap") == list(range(500, 541))
    assert list_seconds(find(flawed, "late_books"), "up_state", "gap") == list(range(31))


def test_an_undeclared_hole_is_carried_and_ages(flawed: Flawed) -> None:
    rows = find(flawed, "undeclared")
    carried = list_seconds(rows, "oracle_state", "carried")
    assert carried == list(range(602, 608))
    assert [rows[second]["oracle_age_ms"] for second in carried] == [3000.0 + 1000 * i for i in range(6)]
    assert [row["oracle_ffill"] for row in rows] == [row["oracle_state"] == "carried" for row in rows]


def test_a_book_from_before_the_opening_is_marked(flawed: Flawed) -> None:
    rows = find(flawed, "tie")
    assert list_seconds(rows, "up_state", "before_open") == [0]
    assert (rows[0]["book_ffill"], rows[0]["up_bid"] is not None) == (True, True)


def test_a_book_that_never_came_is_missing(flawed: Flawed) -> None:
    rows = find(flawed, "silent_down")
    assert {row["down_state"] for row in rows} == {"missing"}
    assert {(row["down_bid"], row["down_trades"], row["sum_asks"]) for row in rows} == {(None, None, None)}
    assert rows[100]["up_state"] == "observed"


def test_a_market_that_is_not_over_has_no_rows_yet(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write_market_lake(lake, 1)
    running = Shape(start_s=START_S + 900)
    opens = running.start_s
    own = {
        "slug": running.slug(0), "condition": "0x1", "outcomes": '{"Up":"1","Down":"2"}', "opens_at": at(opens),
        "ends_at": at(opens + 900), "rule": "spot", "resolution_source": "https://data.chain.link/streams/btc-usd",
    }  # fmt: skip
    row = make_row("", running, running.slug(0), None, opens - 1000, **own)
    write_kind(lake, "prediction_market", [row], "running")
    build(lake, ["canonical", "truth"])
    assert read(lake, running.slug(0)) == []
    (truth,) = Lake(lake).sql("select * from truth where market_id = $m", {"m": running.slug(0)}).arrow().to_pylist()
    assert (truth["computed_outcome"], truth["label"]) == ("indeterminate", "unknown")
    assert truth["reason"] == "not ended; not resolved: nobody said so"


def test_a_market_closed_early_says_so(tmp_path: Path) -> None:
    lake, shape = tmp_path / "lake", Shape()
    write_market_lake(lake, 1)
    own = {"slug": shape.slug(0), "condition": shape.condition(0), "closed_at": at(START_S + 600)}
    own |= {"outcomes": '{"Up":"1","Down":"2"}', "is_closed": True}
    write_kind(lake, "prediction_market", [make_row("", shape, shape.slug(0), None, START_S + 2000, **own)], "closed")
    build(lake, ["canonical"], variables={"large_order_min": 51})
    rows = read(lake, shape.slug(0))
    assert list_seconds(rows, "up_state", "after_end") == list(range(600, 900))
    assert rows[700]["up_bid"] is None
    assert rows[500]["up_large_orders"] > 2


def test_quotes_alone_make_a_book(tmp_path: Path) -> None:
    """A newer quote is the book's top even where there are no levels; trades told afterwards by wallet do not count."""
    lake, shape = tmp_path / "lake", Shape()
    write_market_lake(lake, 1, flaws={0: ("silent_down",)})
    symbol = f"{shape.slug(0)}:Down"
    quote = make_row("", shape, symbol, START_S + 9.5, START_S + 9.7, bid_price=0.4, ask_price=None)
    write_kind(lake, "quote", [quote], "quotes")
    common = {"side": "buy", "price": 0.5, "amount": 3.0}
    trades = [
        make_row("", shape, symbol, START_S + 20, START_S + 20.5, trade_id="0xabc:BUY:0.5:3", **common),
        make_row("", shape, symbol, START_S + 20, START_S + 20.6, trade_id="0xabc:0xwallet:BUY:0.5:3", **common),
    ]
    write_kind(lake, "trade", trades, "trades")
    build(lake, ["canonical"])
    rows = read(lake, shape.slug(0))
    assert [row["down_state"] for row in rows[9:12]] == ["missing", "observed", "carried"]
    assert (rows[10]["down_bid"], rows[10]["down_ask"], rows[10]["down_mid"], rows[10]["down_age_ms"]) == (
        0.4,
        None,
        None,
        300.0,
    )
    assert (rows[21]["down_buy_amount"], rows[21]["down_trades"], rows[22]["down_trades"]) == (3.0, 1, 0)
    assert rows[0]["t"].tzinfo is not None
    assert rows[0]["t"].utcoffset() == datetime.timedelta(0)


def test_a_source_of_another_time_does_not_cover_a_hole(tmp_path: Path) -> None:
    """Somebody who told the price hours before was not there; somebody who tells it in the hole fills it."""
    lake, page = tmp_path / "lake", Shape(venue="chainlink")
    write_market_lake(lake, 2, flaws={0: ("oracle_gap",), 1: ("oracle_gap",)})
    own = {"source": "chainlink_page", "feed_id": "0x", "price": 7.0}
    early = make_row("", page, "BTC-USD", START_S - 9000, START_S - 8999, **own)
    inside = [make_row("", page, "BTC-USD", START_S + 1310 + i, START_S + 1312.0 + i, **own) for i in range(5)]
    write_kind(lake, "oracle_price", [early, *inside], "page")
    build(lake, ["canonical"])
    shape = Shape()
    assert list_seconds(read(lake, shape.slug(0)), "oracle_state", "gap") == list(range(401, 422))
    rows = read(lake, shape.slug(1))
    assert list_seconds(rows, "oracle_state", "gap") == []
    assert [(row["oracle_mid"], row["oracle_source"]) for row in rows[412:414]] == [(7.0, "chainlink_page")] * 2
