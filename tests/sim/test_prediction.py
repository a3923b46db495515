"""The world of the fake prediction venues: windows, rules, outcomes and quirks."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.sim.oracle import ASSETS
from truetape.sim.prediction import NEW_YORK, SERIES, Prediction, Quirk, find_opening, name_slug
from truetape.venues.polymarket.series import DISCOVERY
from truetape.venues.polymarket.window import name_window, read_window

START = 1_795_255_200
DAY = 86_400


@given(st.sampled_from(sorted(SERIES)), st.integers(1_700_000_000, 1_900_000_000))
def test_windows_follow_one_another_without_hole(series: str, at_s: int) -> None:
    opens_s = find_opening(series, at_s)
    next_s = find_opening(series, opens_s + SERIES[series] * 1.5)
    assert opens_s <= at_s < next_s
    assert find_opening(series, opens_s) == opens_s
    assert find_opening(series, next_s - 1) == opens_s
    if series in ("4h", "daily"):
        local = datetime.fromtimestamp(opens_s, UTC).astimezone(NEW_YORK)
        assert (local.hour % 4, local.minute) == (0, 0)


def test_a_restarted_world_is_the_same() -> None:
    first, second = Prediction(7), Prediction(7)
    market = first.find("BTC", "15m", START)
    assert second.find_slug(market.slug) == market
    assert Prediction(7).find_token(market.tokens[1], START) == (market, 1)
    assert Prediction(7).find_condition(market.condition, START) == market
    assert Prediction(7).find_number(market.number) == market
    assert Prediction(8).find_slug(market.slug) != market


def test_names_are_those_the_recorder_counts_on() -> None:
    world = Prediction(1)
    for series in ("5m", "15m"):
        assert world.find("SOL", series, START + 61, 1).slug == name_window("SOL", series, START + 61, 1)
    for market in world.list_markets(START, START + DAY):
        window = read_window(market.slug)
        if market.series in ("5m", "15m", "4h"):
            assert window == (market.asset, market.series, market.opens_s, market.ends_s)
        else:
            assert window is None
            assert world.find_slug(market.slug, START) == market
    assert name_slug("BTC", "1h", START) == "bitcoin-up-or-down-november-21-2026-5am-et"
    assert world.find_slug("btc-updown-15m-1795255201") is None
    assert world.find_slug("bitcoin-up-or-down-never", START) is None
    assert set(SERIES) == set(DISCOVERY.series)


def test_a_day_has_both_outcomes_ties_and_both_protocols() -> None:
    markets = list(Prediction(1).list_markets(START, START + DAY))
    assert len(markets) == len(ASSETS) * (288 + 96 + 24 + 6 + 1)
    assert len({m.number for m in markets}) == len({m.tokens[0] for m in markets}) == len(markets)
    assert {m.official for m in markets} == {"Up", "Down"}
    assert {m.version for m in markets} == {"v1", "v2"}
    assert {m.rule for m in markets} == {"twap", "spot", "exchange"}
    ties = [m for m in markets if m.strike == m.settlement]
    assert ties
    assert all(m.official == "Up" for m in ties)


def test_the_settlement_of_a_window_is_the_strike_of_the_next() -> None:
    world = Prediction(1)
    for series in ("5m", "15m", "4h"):
        markets = list(world.list_markets(START, START + DAY, ("XRP",), (series,)))
        assert all(a.settlement == b.strike for a, b in itertools.pairwise(markets))


@pytest.mark.parametrize(
    ("series", "day", "expected"),
    [
        ("15m", datetime(2026, 8, 6, tzinfo=UTC), ("spot", 0)),
        ("15m", datetime(2026, 8, 7, tzinfo=UTC), ("twap", 60)),
        ("5m", datetime(2026, 8, 7, tzinfo=UTC), ("twap", 30)),
        ("5m", datetime(2026, 8, 14, tzinfo=UTC), ("twap", 60)),
        ("1h", datetime(2026, 8, 14, tzinfo=UTC), ("exchange", 0)),
    ],
)
def test_the_rule_is_that_of_the_day(series: str, day: datetime, expected: tuple[str, int]) -> None:
    market = Prediction(1).find("ETH", series, day.timestamp())
    assert (market.rule, market.window_s) == expected
    assert ("twap-60s" in market.source) == (expected == ("twap", 60))


def test_states_come_one_after_another() -> None:
    market = Prediction(1, (Quirk("dispute", "btc-*", 7200),)).find("BTC", "15m", START)
    assert market.disputed_s is not None
    assert market.resolved_s > market.ends_s + 7200
    times = (market.created_s, market.opens_s, market.ends_s, market.proposed_s, market.disputed_s, market.resolved_s)
    states = ["listed", "open", "ended", "proposed", "disputed", "resolved"]
    assert [market.find_state(at_s) for at_s in times] == states


def test_quirks_hold_for_what_matches_and_every_so_many_windows() -> None:
    quirks = (Quirk("split", "sol-*"), Quirk("version", "xrp-updown-15m-*", every=3), Quirk("late", "btc-*", 600))
    odd, plain = Prediction(1, quirks, v2_every=0), Prediction(1, v2_every=0)
    for asset, series in (("SOL", "15m"), ("XRP", "15m"), ("BTC", "5m")):
        for ahead in range(6):
            market = odd.find(asset, series, START, ahead)
            usual = plain.find_slug(market.slug)
            assert usual is not None
            assert (market.official == "split") == (asset == "SOL")
            is_third = market.opens_s // 900 % 3 == 0
            assert (market.version == "v3") == (asset == "XRP" and is_third)
            assert market.resolved_s - usual.resolved_s == (600 if asset == "BTC" else 0)


def test_a_missing_boundary_is_missing_around_it_only() -> None:
    world = Prediction(1, (Quirk("miss", "btc-updown-15m-*", 2, every=2),))
    missing = [s for s in range(START - 900, START + 1800) if world.is_missing("BTC", s)]
    boundary = next(b for b in range(START - 900, START + 1800, 900) if b // 900 % 2 == 0)
    assert set(range(boundary - 2, boundary + 3)) <= set(missing)
    assert all(min(s % 1800, 1800 - s % 1800) <= 2 for s in missing)
    assert not any(world.is_missing("ETH", s) for s in missing)
