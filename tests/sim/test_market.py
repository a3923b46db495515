"""The synthetic market: repeatable, and consistent in itself."""

from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.sim.market import FUNDING_US, LEVELS_MAX, Market
from truetape.sim.oracle import Oracle
from truetape.sim.spec import Spec, write_fixed, write_padded, write_short

SPOT = Spec("binance", "spot", "BTCUSDT", "BTC", "USDT", "spot", 2, 5)
PERP = Spec("deribit", "main", "BTC-PERPETUAL", "BTC", "USD", "inverse", 1, 0, tick=5, lot=10, contract=10)
START_US = 1_795_000_000_000_000


def run(spec: Spec, seed: int, steps: int, rate: float = 10.0) -> Market:
    market = Market(spec, Oracle(seed), rate, START_US)
    for _ in range(steps):
        market.step()
    return market


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 400), rate=st.sampled_from([1.0, 77.0]))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_symbol_and_beginning_make_the_same_market(seed: int, steps: int, rate: float) -> None:
    one, other = run(SPOT, seed, steps, rate), run(SPOT, seed, steps, rate)

    assert one.book() == other.book()
    assert one.update_id == other.update_id
    assert one.trades() == other.trades()
    assert one.trades() != run(SPOT, seed + 1, steps, rate).trades() or not one.trades()


@given(seed=st.integers(0, 10_000), spec=st.sampled_from([SPOT, PERP]))
@settings(max_examples=20, deadline=None)
def test_changes_rebuild_the_book_and_ids_step_by_one(seed: int, spec: Spec) -> None:
    market = Market(spec, Oracle(seed), 10.0, START_US)
    books = tuple(dict(side) for side in market.book())
    number, next_id = market.update_id, market.first_trade_id
    for _ in range(1500):
        step = market.step()
        for side, price, size in step.changes:
            before = (dict(books[0]), dict(books[1]))  # in the end: as the taker found it, who comes last
            number += 1
            if size:
                books[side][price] = size
            else:
                books[side].pop(price, None)
        for fill in step.fills:
            assert fill.id == next_id
            next_id += 1
            hit = before[0] if fill.is_sell else before[1]
            assert fill.price == (max(hit) if fill.is_sell else min(hit))  # a taker takes the best level
        if step.fills:
            side, price = (0 if step.fills[0].is_sell else 1), step.fills[0].price
            taken = sum(f.size for f in step.fills)
            assert before[side][price] - taken == books[side].get(price, 0)
        assert max(books[0]) == market.bid < market.ask == min(books[1])
        assert all(size > 0 and size % spec.lot == 0 for book in books for size in book.values())
        assert all(price % spec.tick == 0 for book in books for price in book)
    assert number == market.update_id
    assert tuple(dict(side) for side in market.book()) == books
    assert max(map(len, books)) <= LEVELS_MAX


def test_candles_are_made_of_the_very_trades() -> None:
    market = run(SPOT, 5, 3000, rate=10.0)
    trades = market.trades()

    for span in (60_000_000, 300_000_000):
        for bar in market.bars(span):
            inside = [t for t in trades if bar.start_us <= t.at_us < bar.start_us + span]
            assert (bar.first_id, bar.last_id, bar.trades) == (inside[0].id, inside[-1].id, len(inside))
            prices = [t.price for t in inside]
            assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
            assert bar.volume == sum(t.size for t in inside)
            assert bar.turnover == sum(t.size * t.price for t in inside)
            assert bar.buy_volume == sum(t.size for t in inside if not t.is_sell)
    assert sum(b.trades for b in market.bars(60_000_000)) == len(trades)
    assert market.today().trades == len([t for t in trades if t.at_us >= market.today().start_us])


def test_bars_of_a_range_are_whole() -> None:
    market = run(SPOT, 5, 6000, rate=10.0)
    every = list(market.bars(60_000_000))

    assert len(every) > 5
    assert list(market.bars(60_000_000, every[2].start_us, every[4].start_us)) == every[2:4]
    assert list(market.bars(60_000_000, every[2].start_us + 1)) == every[3:]


def test_history_is_found_by_id_order_and_time() -> None:
    market = run(SPOT, 2, 1000)
    trades = market.trades()
    tenth = trades[10]

    assert market.trades(tenth.id, 3) == trades[10:13]
    assert market.recent(4) == trades[-4:]
    assert market.trades_between(tenth.at_us, trades[20].at_us) == [
        t for t in trades if tenth.at_us <= t.at_us < trades[20].at_us
    ]
    assert market.find_order(tenth.order) == next(t.id for t in trades if t.order == tenth.order)


def test_the_oldest_trades_go_and_are_counted() -> None:
    market = Market(SPOT, Oracle(1), 10.0, START_US, trades_max=100)
    for _ in range(2000):
        market.step()

    kept = market.trades()
    assert len(kept) <= 100
    assert kept[0].id == market.first_trade_id + market.trades_dropped
    assert kept[-1].id == market.next_trade_id - 1
    assert [t.id for t in kept] == list(range(kept[0].id, kept[-1].id + 1))


def test_numbers_are_written_as_venues_write_them() -> None:
    assert write_fixed(6183763, 2) == "61837.63"
    assert write_fixed(-5, 2) == "-0.05"
    assert write_fixed(7, 0) == "7"
    assert write_short(30316000, 3) == "30316"
    assert write_short(120, 0) == "120"
    assert write_padded(6183763, 2, 8) == "61837.63000000"
    assert write_padded(3, 0, 8) == "3.00000000"


@given(seed=st.integers(0, 10_000), spec=st.sampled_from([SPOT, PERP]), rate=st.sampled_from([0.2, 3.0]))
@settings(max_examples=10, deadline=None)
def test_a_market_is_where_its_course_is(seed: int, spec: Spec, rate: float) -> None:
    market = Market(spec, Oracle(seed), rate, START_US)
    books = tuple(dict(side) for side in market.book())
    for _ in range(400):
        step = market.step()
        for side, price, size in step.changes:
            books[side].update({price: size}) if size else books[side].pop(price, None)
        second = step.at_us // 1_000_000
        there = market.course.find_price(second)
        assert abs((market.bid + market.ask) / 2 - there) < there / 1000
        assert max(books[0]) == market.bid < market.ask == min(books[1])
        assert max(map(len, books)) <= LEVELS_MAX
        assert all(abs(fill.price - there) < there / 1000 for fill in step.fills)
        assert (market.mark, market.index_price) == (market.course.find_mark(second), market.course.find_index(second))
    assert tuple(dict(side) for side in market.book()) == books
    assert market.find_rate(START_US // FUNDING_US) == market.course.find_basis(START_US // FUNDING_US * 8 * 3600)
