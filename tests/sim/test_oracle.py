"""The oracle's path: a function of seed and second, plausible, and still at ties."""

import itertools
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.sim.oracle import ASSETS, E18, TIE_S, Oracle, find_coin

START = 1_795_255_200
ASSET = st.sampled_from(sorted(ASSETS))
SECOND = st.integers(START, START + 400 * 86_400)


@given(ASSET, SECOND)
def test_a_second_asked_alone_is_the_one_of_the_walk(asset: str, second: int) -> None:
    walked, asked = Oracle(1), Oracle(1)
    walk = [walked.price(asset, second + step) for step in range(-3, 4)]
    assert asked.price(asset, second) == walk[3]
    assert asked.average(asset, second, 60) == walked.average(asset, second, 60)


@given(ASSET, SECOND)
def test_prices_stay_near_where_they_lie(asset: str, second: int) -> None:
    oracle, home = Oracle(2), ASSETS[asset].price
    price = oracle.price(asset, second)
    assert 0.7 * home < price < 1.3 * home
    bid, ask = oracle.quote(asset, second)
    assert bid < price < ask
    assert float(f"{price / E18}") == price / E18  # as many digits as a double holds
    assert abs(oracle.average(asset, second, 60) - price) < price / 50
    assert abs(oracle.exchange_price(asset, second) - price) < price / 1000


@given(st.sampled_from(["BNB", "DOGE", "PEPE"]), SECOND)
def test_coins_of_exchanges_alone_have_paths_too(coin: str, second: int) -> None:
    oracle, home = Oracle(2), find_coin(coin).price
    assert 0.7 * home < oracle.exchange_price(coin, second) < 1.3 * home


@pytest.mark.parametrize("asset", ASSETS)
def test_seconds_move_as_much_as_the_asset_does(asset: str) -> None:
    oracle = Oracle(3)
    prices = [oracle.price(asset, START + second) for second in range(5000)]
    moves = [b / a - 1 for a, b in itertools.pairwise(prices) if (a, b)]
    quiet = sorted(moves, key=abs)[:-10]  # a boundary that ties jumps
    assert 0.8 < pstdev(quiet) / ASSETS[asset].volatility < 1.2


def test_some_boundaries_have_the_price_of_the_one_before() -> None:
    oracle = Oracle(1)
    ties = [
        second
        for second in range(START, START + 8 * 86_400, TIE_S)
        if oracle.price("BTC", second) == oracle.price("BTC", second - TIE_S)
    ]
    assert 3 < len(ties) < 30
    for second in ties[:5]:
        assert oracle.average("BTC", second, 60) == oracle.average("BTC", second - TIE_S, 60)


def test_an_average_is_nearly_that_of_its_seconds_and_never_quite() -> None:
    oracle = Oracle(1)
    told = [oracle.average("ETH", START + s, 60) for s in range(1, 200)]
    made = [sum(oracle.price("ETH", START + s - back) for back in range(60)) // 60 for s in range(1, 200)]
    assert all(abs(a - b) < b / 10_000_000 for a, b in zip(told, made, strict=True))
    assert sum(a == b for a, b in zip(told, made, strict=True)) < 10
