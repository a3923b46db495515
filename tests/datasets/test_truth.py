"""The model `truth`: what markets settled to, and what nobody can know."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from market_lake import START_S, Expected, Shape, at, make_row, write_kind, write_market_lake, write_resolution

from truetape.lake import Lake
from truetape.transform import build, hash_gold

Flawed = tuple[Path, list[Expected]]


def read(lake: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Lake(lake).sql("select * from truth order by opens_at, asset").arrow().to_pylist()
    return rows


def find(flawed: Flawed, flaw: str) -> dict[str, Any]:
    number = next(n for n, market in enumerate(flawed[1]) if flaw in market.flaws)
    return read(flawed[0])[number]


def test_every_market_settles_as_expected(flawed: Flawed) -> None:
    rows = read(flawed[0])
    assert [row["market_id"] for row in rows] == [market.slug for market in flawed[1]]
    for row, market in zip(rows, flawed[1], strict=True):
        told = (
            row["strike"],
            row["settlement"],
            row["computed_outcome"],
            row["official_outcome"],
            row["label"],
            row["label_source"],
        )
        assert told == (
            market.strike, market.settlement, market.computed, market.official, market.label, market.label_source,
        ), market  # fmt: skip
        assert (row["opens_at"], row["ends_at"]) == (at(market.opens_s), at(market.ends_s))
        assert (row["asset"], row["series"], row["duration_s"], row["rule"]) == ("BTC", "15m", 900, "spot")


def test_a_match_is_told_only_of_what_is_known(flawed: Flawed) -> None:
    matches = {market.flaws: row["is_match"] for row, market in zip(read(flawed[0]), flawed[1], strict=True)}
    assert matches["wrong",] is False
    assert matches["tie",] is True
    for flaw in ("no_strike", "no_settlement", "pending", "split", "late", "contradicted"):
        assert matches[flaw,] is None


def test_an_unknown_says_why(flawed: Flawed) -> None:
    assert find(flawed, "no_strike")["reason"] == "no observation at the start"
    assert find(flawed, "no_settlement")["reason"] == "no observation at the end"
    assert find(flawed, "pending")["reason"] == "not resolved: gamma disputed"
    assert find(flawed, "late")["reason"] == "not resolved: nobody said so"
    assert find(flawed, "contradicted")["reason"].startswith("sources disagree: clob ")
    assert find(flawed, "disputed")["reason"] is None
    assert (find(flawed, "disputed")["is_disputed"], find(flawed, "tie")["is_disputed"]) == (True, False)


def test_inputs_lead_to_the_tape(flawed: Flawed) -> None:
    row = find(flawed, "late_strike")
    assert row["strike_age_ms"] == 1000
    inputs = json.loads(row["inputs"])
    assert [one["role"] for one in inputs].count(
        "strike"
    ) == 4  # two before and two after: the second itself is missing
    used = next(one for one in inputs if one["role"] == "strike" and one["is_used"])
    assert used["observed_at"] == f"{row['strike_observed_at']:%Y-%m-%dT%H:%M:%S.%fZ}"
    found = Lake(flawed[0]).sql(
        "select price from oracle_price where tape_offset = $o and tape_row = $r",
        {"o": used["tape_offset"], "r": used["tape_row"]},
    )
    assert found.arrow()["price"].to_pylist() == [row["strike"]] == [float(used["value"])]


def test_what_the_venue_published_stands_beside(flawed: Flawed) -> None:
    rows = read(flawed[0])
    for row, following in pairwise(rows):
        assert row["next_strike"] == following["strike"]
        if row["venue_final"] is not None and following["venue_strike"] is not None:
            assert row["venue_final"] == row["next_venue_strike"] == following["venue_strike"]


def test_neighbours_that_tell_different_outcomes_leave_it_open(tmp_path: Path) -> None:
    """The end second is missing, the price was above the strike a second before and below a second after."""
    shape = Shape()
    strike = shape.find_price(0, 0)
    write_market_lake(tmp_path / "lake", 1, flaws={0: ("no_settlement",)})
    for second, price in ((899, strike + 1), (901, strike - 1)):
        observed = START_S + second
        row = make_row(
            "oracle_price", shape, "BTC-USD:rtds_chainlink", observed, observed + 1, source="rtds_chainlink",
            feed_id="btc/usd", price=price, is_snapshot=False,
        )  # fmt: skip
        row.pop("kind")
        write_kind(tmp_path / "lake", "oracle_price", [row], f"more-{second}")
    build(tmp_path / "lake", ["truth"])
    (row,) = read(tmp_path / "lake")
    assert (row["computed_outcome"], row["settlement"]) == ("indeterminate", strike + 1)
    assert row["reason"] == "observations around a boundary tell different outcomes"


def test_better_sources_come_first_and_other_prices_never(tmp_path: Path) -> None:
    lake, shape = tmp_path / "lake", Shape()
    write_market_lake(lake, 1)
    chainlink = Shape(venue="chainlink")
    others = [
        (chainlink, "BTC-USD", "chainlink_streams", 61_000.0),
        (chainlink, "BTC-USD", "chainlink_page", 62_000.0),
        (shape, "BTC-USD:polybolt_pyth", "polybolt_pyth", 63_000.0),
        (shape, "BTC-USDT:rtds_binance", "rtds_binance", 64_000.0),
    ]
    for of, symbol, source, price in others:
        row = make_row(
            "oracle_price",
            of,
            symbol,
            START_S + 900,
            START_S + 905,
            source=source,
            feed_id="x",
            price=price,
            exact_price=str(price),
        )
        row.pop("kind")
        write_kind(lake, "oracle_price", [row], source)
    build(lake, ["truth"])
    (row,) = read(lake)
    assert (row["settlement_source"], row["settlement"]) == ("chainlink_streams", 61_000.0)
    told = [
        one["source"]
        for one in json.loads(row["inputs"])
        if one["role"] == "settlement" and one["observed_at"].endswith("00:15:00.000000Z")
    ]
    assert sorted(told) == ["chainlink_page", "chainlink_streams", "rtds_chainlink"]


def test_a_market_settles_on_the_average_its_metadata_name(tmp_path: Path) -> None:
    """Spot prices of the same seconds are there and say something else."""
    lake = tmp_path / "lake"
    write_market_lake(lake, 2, window_s=60)
    spot = Shape()
    rows = [
        make_row("oracle_price", spot, "BTC-USD:rtds_chainlink", START_S + second, START_S + second + 1.0, source="rtds_chainlink",
                 feed_id="btc/usd", price=1000.0 + second)
        for second in (0, 900, 1800)
    ]  # fmt: skip
    for row in rows:
        row.pop("kind")
    write_kind(lake, "oracle_price", rows, "spot")
    build(lake, ["truth"])
    first = read(lake)[0]
    assert (first["rule"], first["rule_window_s"]) == ("twap", 60)
    assert first["strike"] == Shape(window_s=60).find_price(0, 0)
    assert first["is_match"] is True


@pytest.mark.parametrize("after_s", [3600.0, 3 * 86_400.0])
def test_a_late_resolution_reaches_its_market_only(tmp_path: Path, after_s: float) -> None:
    lake = tmp_path / "lake"
    write_market_lake(lake, 3, flaws={1: ("late",)})
    assert build(lake, ["truth"]).models[0].units == 3
    before = read(lake)
    write_resolution(lake, Shape(flaws={1: ("late",)}), 1, after_s)
    assert build(lake, ["truth"]).models[0].units == 2  # and the market before it, which tells the strike that follows
    after = read(lake)
    assert {name for name in before[0] if before[0][name] != after[0][name]} == {"next_venue_strike"}
    assert before[2] == after[2]
    assert (before[1]["label_source"], after[1]["label_source"]) == ("computed", "official")
    assert build(lake, ["truth"]).models[0].units == 0


def test_builds_in_any_steps_are_equal(tmp_path: Path) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    flaws = {1: ("late",), 2: ("book_gap",)}
    for part, (asset, start) in enumerate((("BTC", START_S), ("ETH", START_S), ("BTC", START_S + 86_400))):
        for lake in (once, often):
            write_market_lake(lake, 3 - part, asset=asset, start_s=start, flaws=flaws)
        build(often, ["truth", "canonical"])
    for lake in (once, often):
        write_resolution(lake, Shape(flaws=flaws), 1)
    build(often, ["truth", "canonical"])
    build(once, ["truth", "canonical"])
    for model in ("truth", "canonical"):
        assert hash_gold(once, model) == hash_gold(often, model)
