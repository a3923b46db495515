"""A seeded synthetic market: trades hit a book, and everything a venue tells follows from that.

The n-th step depends on the seed, the symbol and when the market began; time says how many steps there are. Once a
second the book goes to where the instrument's course is, so that all venues pay about the same for a coin.
Prices and sizes are integers in the units of the instrument's Spec, so nothing is ever rounded.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import takewhile
from random import Random
from typing import NamedTuple
from zlib import crc32

from truetape.sim.course import Course
from truetape.sim.oracle import Oracle
from truetape.sim.spec import Spec

LEVELS_MAX = 300
"""Levels per side; the farthest is cancelled when one more appears."""
TRADES_MAX = 1_000_000
"""Trades remembered per market; the oldest fifth is forgotten, and counted, when there are more."""
FUNDING_US = 8 * 3600 * 1_000_000
"""Funding is charged this often."""
MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US


class Trade(NamedTuple):
    """One fill; several fills of one taker order share `order`."""

    id: int
    price: int
    size: int
    at_us: int
    is_sell: bool
    """Whether the taker sold."""
    is_liquidation: bool
    order: int
    """Number of the taker order: one Binance aggregate trade, one OKX trade."""


class Step(NamedTuple):
    """What one step did."""

    at_us: int
    fills: tuple[Trade, ...]
    changes: list[tuple[int, int, int]]
    """(0 bid or 1 ask, price, size now); size 0 removes."""
    is_top: bool
    """Whether best bid, best ask or their sizes changed."""
    is_second: bool
    """First step of a new second: what venues send each second is due."""


class Candle(NamedTuple):
    """Trades of one interval; volumes in size units, turnover in price times size units."""

    start_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    trades: int
    buy_volume: int
    buy_turnover: int
    first_id: int
    last_id: int


class Market:
    """One instrument's book, trades, candles, funding and open interest."""

    def __init__(self, spec: Spec, oracle: Oracle, rate: float, start_us: int, trades_max: int = TRADES_MAX) -> None:
        self.spec = spec
        self.course = Course(oracle, spec)
        self.rate = rate
        self.start_us = start_us
        self.index = 0
        """Steps done."""
        self.trades_max = trades_max
        self.trades_dropped = 0
        mix = crc32(f"{oracle.seed}/{spec.key}".encode())
        self._random = Random(mix)  # noqa: S311 - a repeatable market, not a secret
        self._slow = Random(mix + 1)  # noqa: S311 - what moves once a second has its own dice
        self.first_trade_id = 5_000_000_000 + mix % 1_000_000_000
        self.update_id = 60_000_000_000 + mix * 10
        """Counts every change of a level."""
        self.orders = 400_000_000 + mix % 100_000_000
        """Number of the newest taker order."""
        self._prices, self._sizes, self._times = array("q"), array("q"), array("q")
        self._flags, self._orders = array("b"), array("q")
        self.candles: dict[int, Candle] = {}
        """Minute bars by their start in µs, oldest first; minutes without trades are absent."""
        self.day: Candle | None = None
        """The present UTC day so far; null before the first trade."""
        self._second = start_us // 1_000_000
        self._interval_us = 1_000_000 / rate
        self._build_book()
        self.open_interest = self._unit * (20_000 + mix % 10_000)
        self._mark_second()
        self.low = self.high = self.open = self.last = self.bid

    # book

    def _build_book(self) -> None:
        spec, rnd = self.spec, self._random.random
        self._tick = spec.tick
        middle = self._find_middle()
        self._window = max(200, int(middle * 0.002 / spec.tick))
        notional = 4000.0 / (spec.contract if spec.kind == "inverse" else self.course.dollars * spec.contract)
        self._unit = max(spec.lot, int(notional * 10**spec.size_digits) // spec.lot * spec.lot)
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.bid, self.ask = middle - self.course.half_spread, middle + self.course.half_spread
        self.bids[self.bid], self.asks[self.ask] = self._draw_size(), self._draw_size()
        for _ in range(LEVELS_MAX - 60):
            self.bids[self.bid - int(rnd() ** 3 * self._window) * self._tick] = self._draw_size()
            self.asks[self.ask + int(rnd() ** 3 * self._window) * self._tick] = self._draw_size()
        self.top = (self.bid, self.bids[self.bid], self.ask, self.asks[self.ask])

    def _draw_size(self) -> int:
        lot = self.spec.lot
        dice: float = self._random.random()
        return max(lot, int(self._unit * dice * dice * dice * 5) // lot * lot)

    def step(self) -> Step:
        """Do one step and say what it did."""
        self.index += 1
        at_us = self.start_us + int(self.index * self._interval_us)
        changes: list[tuple[int, int, int]] = []
        fills: tuple[Trade, ...] = ()
        second = at_us // 1_000_000
        is_second = second != self._second
        if is_second:
            self._second = second
            self._follow(changes)
            self._mark_second()
        dice = self._random.random()
        if dice < 0.35:
            fills = self._take(at_us, changes)
        elif dice > 0.992:
            self._retreat(changes)
        else:
            self._quote(changes)
        self.update_id += len(changes)
        top = (self.bid, self.bids[self.bid], self.ask, self.asks[self.ask])
        is_top = top != self.top
        self.top = top
        return Step(at_us, fills, changes, is_top, is_second)

    def _quote(self, changes: list[tuple[int, int, int]]) -> None:
        """Place, resize or cancel at one level."""
        rnd, tick = self._random.random, self._tick
        book = self.asks if (is_ask := rnd() < 0.5) else self.bids
        room = (self.ask - self.bid) // tick - 1
        if room > 0 and rnd() < (0.7 if room > 5 else 0.25):
            price = self._improve(is_ask, room)
            book[price] = size = self._draw_size()
        else:
            away = int(rnd() ** 4 * self._window) * tick
            price = self.ask + away if is_ask else self.bid - away
            if away and price in book and rnd() < 0.6 and len(book) > 20:
                del book[price]
                size = 0
            else:
                book[price] = size = self._draw_size()
        changes.append((int(is_ask), price, size))
        _trim(book, int(is_ask), changes)

    def _improve(self, is_ask: bool, room: int) -> int:
        inside = 1 + int(self._random.random() * min(room, max(8, room // 2)))
        if is_ask:
            self.ask -= inside * self._tick
        else:
            self.bid += inside * self._tick
        return self.ask if is_ask else self.bid

    def _retreat(self, changes: list[tuple[int, int, int]]) -> None:
        """Cancel the best levels of one side at once: news, which is what makes the price move."""
        rnd = self._random.random
        is_ask = rnd() < 0.5
        book, best = (self.asks, self.ask) if is_ask else (self.bids, self.bid)
        reach = max(2 * self._tick, int(best * 0.0002 * rnd() ** 2))
        for price in sorted(book, reverse=not is_ask)[: len(book) - 20]:
            if abs(price - best) >= reach:
                break
            del book[price]
            changes.append((int(is_ask), price, 0))
        self._restock(book, not is_ask, changes)

    def _find_middle(self) -> int:
        """Return the price that this second's book is around."""
        tick = self._tick
        return max(self.course.half_spread + tick, round(self.course.find_price(self._second) / tick) * tick)

    def _follow(self, changes: list[tuple[int, int, int]]) -> None:
        """Go to this second's price: cancel what is in the way, place the best levels beside it, and some behind."""
        tick, middle = self._tick, self._find_middle()
        bid, ask = self.bid, self.ask = middle - self.course.half_spread, middle + self.course.half_spread
        for side, book in enumerate((self.bids, self.asks)):
            for level in [level for level in book if (level < ask if side else level > bid)]:
                del book[level]
                changes.append((side, level, 0))
            for away in (0, self._window // 64, self._window // 16, self._window // 4):
                level = ask + away * tick if side else bid - away * tick
                if level not in book:
                    book[level] = self._draw_size()
                    changes.append((side, level, book[level]))
            _trim(book, side, changes)

    # trades

    def _take(self, at_us: int, changes: list[tuple[int, int, int]]) -> tuple[Trade, ...]:
        """Let a taker order hit the best level: one to three fills at one price."""
        rnd = self._random.random
        is_sell = rnd() < 0.5
        book, price = (self.bids, self.bid) if is_sell else (self.asks, self.ask)
        there, lot = book[price], self.spec.lot
        size = min(there, self._draw_size())
        is_liquidation = self.spec.kind != "spot" and rnd() < 0.004
        self.orders += 1
        fills = tuple(
            self._fill(price, part, at_us, is_sell, is_liquidation)
            for part in _split(size, lot, 1 + int(rnd() ** 3 * 3))
        )
        if there > size:
            book[price] = there - size
        else:
            del book[price]
            self._restock(book, is_sell, changes)
        changes.append((0 if is_sell else 1, price, there - size))
        return fills

    def _restock(self, book: dict[int, int], is_bid: bool, changes: list[tuple[int, int, int]]) -> None:
        """Find the next best level; a side never runs dry."""
        if not book:
            far = (self.bid - self._tick) if is_bid else (self.ask + self._tick)
            book[far] = self._draw_size()
            changes.append((0 if is_bid else 1, far, book[far]))
        if is_bid:
            self.bid = max(book)
        else:
            self.ask = min(book)

    def _fill(self, price: int, size: int, at_us: int, is_sell: bool, is_liquidation: bool) -> Trade:
        number = self.next_trade_id
        self._prices.append(price)
        self._sizes.append(size)
        self._times.append(at_us)
        self._flags.append(is_sell + 2 * is_liquidation)
        self._orders.append(self.orders)
        self.last = price
        self.high, self.low = max(self.high, price), min(self.low, price)
        self._chart(number, price, size, at_us, is_sell)
        if len(self._prices) > self.trades_max:
            self._forget()
        return Trade(number, price, size, at_us, is_sell, is_liquidation, self.orders)

    def _forget(self) -> None:
        count = max(1, self.trades_max // 5)
        for column in (self._prices, self._sizes, self._times, self._flags, self._orders):
            del column[:count]
        self.trades_dropped += count

    def _chart(self, number: int, price: int, size: int, at_us: int, is_sell: bool) -> None:
        start = at_us - at_us % MINUTE_US
        bought, paid = (0, 0) if is_sell else (size, size * price)
        fill = Candle(start, price, price, price, price, size, size * price, 1, bought, paid, number, number)
        bar = self.candles.get(start)
        self.candles[start] = fill if bar is None else _join(bar, fill)
        midnight = at_us - at_us % DAY_US
        is_new = self.day is None or self.day.start_us != midnight
        self.day = fill._replace(start_us=midnight) if self.day is None or is_new else _join(self.day, fill)

    def _mark_second(self) -> None:
        """Tell what is told once a second: index and mark in hundredths of a price unit, open interest, funding."""
        course, second = self.course, self._second
        self.index_price, self.mark = course.find_index(second), course.find_mark(second)
        self.funding_ppb = course.find_basis(second)
        self.open_interest += self._slow.randint(-50, 50) * self.spec.lot

    # what others read

    @property
    def now_us(self) -> int:
        """Market time of the newest step."""
        return self.start_us + int(self.index * self._interval_us)

    def today(self) -> Candle:
        """Return the present UTC day's candle."""
        if self.day is None:
            return Candle(self.now_us, *(self.last,) * 4, 0, 0, 0, 0, 0, self.next_trade_id, self.next_trade_id)
        return self.day

    @property
    def next_funding_us(self) -> int:
        """When funding is charged next."""
        return (self.now_us // FUNDING_US + 1) * FUNDING_US

    def find_rate(self, settlement: int) -> int:
        """Return the funding rate of the so manieth settlement since 1970, in 1e-9."""
        return self.course.find_basis(settlement * FUNDING_US // 1_000_000)

    @property
    def next_trade_id(self) -> int:
        """The id that the next fill gets."""
        return self.first_trade_id + self.trades_dropped + len(self._prices)

    def count_due(self, now_us: int) -> int:
        """Count the steps that should have happened by `now_us` and have not."""
        return int((now_us - self.start_us) / self._interval_us) - self.index

    def book(self, depth: int = LEVELS_MAX) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return (bids, asks) now, best first."""
        bids = sorted(self.bids.items(), reverse=True)
        return bids[:depth], sorted(self.asks.items())[:depth]

    def trades(self, first_id: int | None = None, limit: int | None = None) -> list[Trade]:
        """Return remembered trades from an id on, oldest first."""
        oldest = self.first_trade_id + self.trades_dropped
        start = 0 if first_id is None else max(0, first_id - oldest)
        end = len(self._prices) if limit is None else min(len(self._prices), start + limit)
        return [self._read(i) for i in range(start, end)]

    def trades_between(self, start_us: int, end_us: int, limit: int | None = None) -> list[Trade]:
        """Return trades with start <= time < end, oldest first."""
        first, end = bisect_left(self._times, start_us), bisect_left(self._times, end_us)
        return [self._read(i) for i in range(first, end if limit is None else min(end, first + limit))]

    def find_order(self, order: int) -> int:
        """Return the id of the first remembered trade of a taker order, or of the next one after it."""
        return self.first_trade_id + self.trades_dropped + bisect_left(self._orders, order)

    def recent(self, limit: int) -> list[Trade]:
        """Return the newest trades, oldest of them first."""
        count = len(self._prices)
        return [self._read(i) for i in range(max(0, count - limit), count)]

    def _read(self, row: int) -> Trade:
        number = self.first_trade_id + self.trades_dropped + row
        flag = self._flags[row]
        return Trade(
            number, self._prices[row], self._sizes[row], self._times[row], bool(flag & 1), flag > 1, self._orders[row]
        )

    def bars(self, interval_us: int, start_us: int = 0, end_us: int = 1 << 62) -> Iterator[Candle]:
        """Yield candles of an interval (whole minutes) whose start lies in [start, end), oldest first."""
        building: Candle | None = None
        first = -(-start_us // interval_us) * interval_us
        minutes = takewhile(lambda bar: bar.start_us >= first, reversed(self.candles.values()))
        for minute in reversed(list(minutes)):
            start = minute.start_us - minute.start_us % interval_us
            if start >= end_us:
                break
            if building is not None and building.start_us == start:
                building = _join(building, minute)
                continue
            if building is not None:
                yield building
            building = minute._replace(start_us=start)
        if building is not None:
            yield building


def _trim(book: dict[int, int], side: int, changes: list[tuple[int, int, int]]) -> None:
    while len(book) > LEVELS_MAX:
        far = max(book) if side else min(book)
        del book[far]
        changes.append((side, far, 0))


def _join(left: Candle, right: Candle) -> Candle:
    return Candle(
        left.start_us,
        left.open,
        max(left.high, right.high),
        min(left.low, right.low),
        right.close,
        left.volume + right.volume,
        left.turnover + right.turnover,
        left.trades + right.trades,
        left.buy_volume + right.buy_volume,
        left.buy_turnover + right.buy_turnover,
        left.first_id,
        right.last_id,
    )


def _split(size: int, lot: int, parts: int) -> Iterator[int]:
    """Split a size into at most `parts` pieces of whole lots."""
    while parts > 1 and size >= 2 * lot:
        piece = max(lot, size // parts // lot * lot)
        yield piece
        size, parts = size - piece, parts - 1
    yield size
