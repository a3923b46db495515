"""All fake exchanges pay about the same for a coin, and what they tell of perpetuals agrees."""

from collections import Counter
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.sim.course import BASIS_PPB, BASIS_S, NOISE_PPB_MAX, OFFSET_PPB_MAX, Course
from truetape.sim.market import FUNDING_US, Market
from truetape.sim.oracle import COINS, E18, Oracle
from truetape.sim.server import SimServer, Synthetic
from truetape.sim.spec import Spec
from truetape.sim.venues import list_fakes, load_fake
from truetape.sim.venues.coingecko import DEMO_KEY
from truetape.sim.venues.tardis import RELAY_KEY

SPECS = sorted((spec for name in list_fakes() for spec in load_fake(name).specs), key=lambda spec: spec.key)
SECOND = st.integers(1_795_255_200, 1_830_000_000)
BILLION = 10**9


@given(st.integers(0, 1000), st.sampled_from(SPECS), SECOND)
def test_price_and_mark_are_near_the_index_and_the_index_is_the_coin(seed: int, spec: Spec, second: int) -> None:
    oracle = Oracle(seed)
    course, unit = Course(oracle, spec), 100 * 10**spec.price_digits
    index, mark, price = course.find_index(second), course.find_mark(second), course.find_price(second) * 100

    worth = oracle.exchange_price(spec.base, second) / E18
    if spec.quote in COINS:
        worth /= oracle.exchange_price(spec.quote, second) / E18
    assert index / unit == pytest.approx(worth, abs=2 / unit)
    assert mark / index == pytest.approx(1 + course.find_basis(second) / BILLION, abs=2 / index)
    assert abs(price - mark) <= mark * (OFFSET_PPB_MAX + NOISE_PPB_MAX) * 1.001 / BILLION + 100
    assert spec.tick <= course.half_spread <= 3 * spec.tick
    assert Course(Oracle(seed), spec).find_price(second) == course.find_price(second)


@given(st.integers(0, 1000), st.sampled_from(SPECS), SECOND)
def test_the_basis_of_a_perpetual_is_small_and_moves_slowly_and_spot_has_none(
    seed: int, spec: Spec, second: int
) -> None:
    course = Course(Oracle(seed), spec)
    seen = [course.find_basis(second + step) for step in range(60)]

    assert all(BASIS_PPB[0] <= basis <= BASIS_PPB[1] for basis in seen)
    assert all(abs(b - a) <= (BASIS_PPB[1] - BASIS_PPB[0]) // BASIS_S + 1 for a, b in pairwise(seen))
    assert spec.kind != "spot" or not any(seen)


async def test_every_fake_exchange_trades_a_coin_at_about_the_same_price() -> None:
    async with SimServer(feed=Synthetic(seed=5, rate=50)) as server:
        counts: Counter[str] = Counter()
        for spec in SPECS:
            if spec.quote in COINS:
                continue
            market = server.market(spec.venue, spec.feed, spec.symbol)
            there = server.world.prediction.oracle.price(spec.base, market.now_us // 1_000_000) / E18
            away = 0.002 * there + 8 * spec.tick / 10**spec.price_digits
            assert market.last / 10**spec.price_digits == pytest.approx(there, abs=away), spec.key
            counts[spec.base] += 1
    assert {"BTC", "ETH", "SOL", "XRP", "DOGE", "BNB"} <= set(counts)
    assert counts["BTC"] > 10


async def test_books_trades_candles_mark_and_funding_of_coin_m_agree() -> None:
    async with SimServer(venues=["binance"], feed=Synthetic(seed=7, rate=50)) as server, aiohttp.ClientSession() as web:
        host = f"{server.url}/dapi.binance.com/dapi/v1"
        market = server.market("binance", "coinm", "BTCUSD_PERP")
        where = {"symbol": "BTCUSD_PERP"}

        async def ask(path: str, **args: str) -> object:
            async with web.get(f"{host}/{path}", params={**where, **args}) as answer:
                return await answer.json()

        book, bars = await ask("depth", limit="5"), await ask("klines", interval="1m")
        fills, charges = await ask("trades"), await ask("fundingRate", limit="3")
        (premium,) = await ask("premiumIndex")
    mark, index = float(premium["markPrice"]), float(premium["indexPrice"])
    told = [float(book["bids"][0][0]), float(book["asks"][0][0]), float(bars[-1][4]), float(fills[-1]["price"])]
    assert all(price == pytest.approx(mark, rel=1e-3) for price in told)
    assert mark / index - 1 == pytest.approx(float(premium["lastFundingRate"]), abs=1e-7)
    assert len(charges) == 3
    for one in charges:
        assert float(one["fundingRate"]) == pytest.approx(_find_basis(market, one["fundingTime"]), abs=1e-7)


def _find_basis(market: Market, at_ms: int) -> float:
    assert at_ms * 1000 % FUNDING_US == 0
    return market.course.find_basis(at_ms // 1000) / BILLION


async def test_coingecko_and_tardis_tell_of_the_same_prices() -> None:
    headers = {"x-cg-demo-api-key": DEMO_KEY, "Authorization": f"Bearer {RELAY_KEY}"}
    async with SimServer(feed=Synthetic(seed=9)) as server, aiohttp.ClientSession(headers=headers) as web:
        oracle, now_s = server.world.prediction.oracle, server.world.now_ms // 1000
        ranks = f"{server.url}/api.coingecko.com/api/v3/coins/markets?vs_currency=usd"
        async with web.get(ranks) as answer:
            coins = {coin["id"]: coin["current_price"] for coin in await answer.json()}
        span = {"start_time": str((now_s - 60) * 10**6), "end_time": str(now_s * 10**6)}
        async with web.get(f"{server.url}/relay.test/tardis/bybit/ETHUSDT/quotes", params=span) as answer:
            quotes = (await answer.json())["data"]
    for name, coin in (("bitcoin", "BTC"), ("ethereum", "ETH"), ("dogecoin", "DOGE")):
        assert coins[name] == pytest.approx(oracle.exchange_price(coin, now_s) / E18, rel=0.01)
    assert coins["tether"] == pytest.approx(1, abs=0.01)
    assert quotes
    assert all(
        quote["bid_price"] < quote["ask_price"] == pytest.approx(oracle.price("ETH", now_s) / E18, rel=0.01)
        for quote in quotes
    )
