"""Books of prediction markets: sound, following the oracle, of finer steps near 0 and 1."""

from truetape.sim.crowd import Crowd
from truetape.sim.ladder import COARSE, FINE, mirror
from truetape.sim.prediction import Prediction

START = 1_795_255_200
WORLD = Prediction(1)
CROWD = Crowd(WORLD)


def test_books_are_sound_at_every_second() -> None:
    for asset in ("BTC", "XRP"):
        market = WORLD.find(asset, "15m", START)
        ladder = CROWD.ladder(market)
        for second in range(market.opens_s - 300, market.ends_s + 30, 3):
            picture = ladder.read(ladder.find_second(second))
            bids, asks = [p for p, _ in picture.bids], [p for p, _ in picture.asks]
            assert bids == sorted(set(bids), reverse=True)
            assert asks == sorted(set(asks))
            assert all(0 < p < 1000 for p in bids + asks)
            assert not bids or not asks or bids[0] < asks[0]
            assert all(p % picture.tick == 0 for p in bids + asks)
            assert all(size >= 500 for _, size in picture.bids + picture.asks)
            assert mirror(mirror(picture.bids)) == picture.bids


def test_a_book_drawn_later_is_the_same() -> None:
    market = WORLD.find("SOL", "15m", START)
    second = market.ends_s - 200
    walked = CROWD.ladder(market)
    for early in range(market.opens_s, second, 7):
        walked.read(early)
    assert Crowd(Prediction(1)).ladder(market).read(second) == walked.read(second)


def test_the_end_is_known_in_the_price_and_the_step_is_fine_by_then() -> None:
    for market in WORLD.list_markets(START, START + 7200, series=("15m",)):
        ladder = CROWD.ladder(market)
        bid, ask, tick = ladder.find_top(market.ends_s)
        assert tick == FINE
        assert (bid + ask > 1900) == (market.computed == "Up")
        assert ladder.find_top(market.opens_s - 200)[2] == COARSE
        assert 400 < sum(ladder.find_top(market.opens_s - 200)[:2]) / 2 < 600


def test_prices_are_fair() -> None:
    """Of markets at some price in mid-window, about as many go up as the price says."""
    expected = happened = 0.0
    markets = list(WORLD.list_markets(START, START + 86_400, series=("15m",)))
    for market in markets:
        expected += CROWD.ladder(market).find_fair(market.opens_s + 450)
        happened += market.computed == "Up"
    assert abs(expected - happened) / len(markets) < 0.05


def test_a_book_stands_still_after_the_end_and_moves_slowly_before() -> None:
    market = WORLD.find("ETH", "15m", START)
    ladder = CROWD.ladder(market)
    assert ladder.find_second(market.ends_s + 500) == ladder.find_second(market.ends_s + 50)
    assert ladder.find_second(market.opens_s - 1001) == ladder.find_second(market.opens_s - 1009)
    assert ladder.find_second(market.opens_s + 5.7) == market.opens_s + 5
