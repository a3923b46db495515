"""Trades and holdings: what is bought is held, nobody holds less than nothing, winners redeem."""

from collections import Counter

from truetape.sim.crowd import Crowd, find_block, find_block_time
from truetape.sim.prediction import Prediction

START = 1_795_255_200
WORLD = Prediction(1)
CROWD = Crowd(WORLD)
MARKET = WORLD.find("BTC", "15m", START)


def test_trades_are_in_order_and_at_the_book() -> None:
    trades = CROWD.list_trades(MARKET)
    assert len(trades) > 150
    times = [trade.at_ms for trade in trades]
    assert times == sorted(times)
    ladder = CROWD.ladder(MARKET)
    for trade in trades:
        bid, ask, _ = ladder.find_top(ladder.find_second(trade.at_ms // 1000))
        best = (1000 - bid, 1000 - ask) if trade.outcome else (ask, bid)
        assert trade.price == best[trade.is_sell]
        assert trade.taker != trade.maker


def test_some_transactions_hold_equal_fills() -> None:
    seen = Counter(CROWD.list_trades(MARKET))
    assert 1 < max(seen.values()) <= 2
    assert len({trade.transaction for trade in seen}) == len(seen)


def test_the_same_trades_are_told_by_any_part() -> None:
    trades = CROWD.list_trades(MARKET)
    middle = trades[100].at_ms
    assert CROWD.list_trades(MARKET, 0, middle) + CROWD.list_trades(MARKET, middle) == trades
    assert Crowd(Prediction(1)).list_trades(MARKET) == trades
    last = CROWD.find_last(MARKET, 0, middle)
    assert last == [t for t in trades if t.outcome == 0 and t.at_ms <= middle][-1]
    assert CROWD.find_last(MARKET, 0, trades[0].at_ms - 1) is None


def test_holdings_are_whole_pairs_and_end_with_redemption() -> None:
    for second in range(MARKET.opens_s, MARKET.resolved_s, 60):
        up, down = CROWD.hold(MARKET, 0, second), CROWD.hold(MARKET, 1, second)
        assert all(units > 0 for _, units in up + down)
        assert [units for _, units in up] == sorted((units for _, units in up), reverse=True)
        assert sum(units for _, units in up) == sum(units for _, units in down)
    assert not CROWD.hold(MARKET, 0, MARKET.resolved_s + 3600)
    assert not CROWD.hold(MARKET, 0, MARKET.opens_s - 3600)


def test_nobody_ever_gives_what_he_has_not() -> None:
    held: Counter[tuple[str, int]] = Counter()
    for move in CROWD.list_moves(MARKET):
        held[move.wallet, move.outcome] += move.units
        assert held[move.wallet, move.outcome] >= 0


def test_blocks_follow_the_clock() -> None:
    block = find_block(START)
    assert find_block_time(block) <= START < find_block_time(block + 1)
