"""The order book of a prediction market as a function of the second: a fair price from the oracle, levels around it.

Prices are thousandths, sizes hundredths. What is told is Up's book; Down's is its mirror.
"""

from functools import lru_cache
from math import erf, sqrt
from typing import NamedTuple

from truetape.sim.oracle import ASSETS
from truetape.sim.prediction import Market, Prediction

Level = tuple[int, int]

COARSE, FINE = 10, 1
"""Price steps, in thousandths."""
EDGE = 0.04
"""Where a price comes so near to 0 or 1 that the step becomes fine, for the rest of the market's life."""
LEVELS = 12
DEEP = (30, 20, 10)
"""Prices at which somebody always waits, and their mirrors."""
PERIOD_S = 24
"""A level keeps its size about this long."""
AWAKE_S = 120
"""A book begins to move each second this long before its window."""
IDLE_S = 10
"""Before that it moves so often."""
STALE_S = 10
"""It stands still from this long after the window's end."""


class Picture(NamedTuple):
    """Up's book as it stands from a second on; levels best first."""

    second: int
    """When it last may have changed."""
    at_ms: int
    """The time that frames give it."""
    tick: int
    bids: list[Level]
    asks: list[Level]


def mirror(levels: list[Level]) -> list[Level]:
    """Return the other outcome's levels: its bids from asks, its asks from bids."""
    return [(1000 - price, size) for price, size in levels]


class Ladder:
    """The book of one market."""

    def __init__(self, world: Prediction, market: Market) -> None:
        self.market = market
        self._world = world
        self._seed = int(market.tokens[0]) & 0xFFFFFFFF
        self._scanned_s = market.opens_s
        self._scan_step_s = max(1, market.duration_s // 900)
        self._fine_since_s: int | None = None
        self.read = lru_cache(16)(self._draw)

    def find_second(self, at_s: float) -> int:
        """Return the last second at which the book may have changed."""
        market, second = self.market, int(at_s)
        if second < market.opens_s - AWAKE_S:
            return second // IDLE_S * IDLE_S
        return min(second, market.ends_s + STALE_S)

    def find_fair(self, second: int) -> float:
        """Return what Up is worth at a second: the chance that the settlement is not below the strike."""
        market, oracle = self.market, self._world.oracle
        if second >= market.ends_s:
            return 0.999 if market.computed == "Up" else 0.001
        if second < market.opens_s:
            return 0.5 + (hash((self._seed, second // 30)) % 5 - 2) / 100
        left_s, window_s = market.ends_s - second, market.window_s
        spot = float(oracle.price(market.asset, second))
        free_s = left_s - 0.67 * window_s
        if left_s < window_s:
            share = left_s / window_s
            spot = float(oracle.average(market.asset, second, window_s)) * (1 - share) + spot * share
            free_s = left_s * share * share / 3
        deviation = ASSETS[market.asset].volatility * spot * sqrt(max(free_s, left_s / 4, 1.0))
        chance = 0.5 + erf((spot - market.strike) / deviation / sqrt(2.0)) / 2
        return min(0.999, max(0.001, chance))

    def find_tick(self, second: int) -> int:
        """Return the price step at a second."""
        while self._fine_since_s is None and self._scanned_s <= min(second, self.market.ends_s):
            fair = self.find_fair(self._scanned_s)
            if fair < EDGE or fair > 1 - EDGE:
                self._fine_since_s = self._scanned_s
            self._scanned_s += self._scan_step_s
        return FINE if self._fine_since_s is not None and second >= self._fine_since_s else COARSE

    def find_top(self, second: int) -> tuple[int, int, int]:
        """Return (best bid, best ask, step); a bid of 0 and an ask of 1000 or more are none."""
        tick = self.find_tick(second)
        width = 1 + (hash((self._seed, second // 7)) % 4 == 0)
        bid = max(0, int((self.find_fair(second) * 1000 - tick * width / 2) / tick) * tick)
        return bid, bid + tick * width, tick

    def _draw(self, second: int) -> Picture:
        """Draw the book of a second that `find_second` returned."""
        bid, ask, tick = self.find_top(second)
        bids = list(range(bid, max(0, bid - LEVELS * tick), -tick))
        asks = list(range(ask, min(1000, ask + LEVELS * tick), tick))
        bids += [price for price in DEEP if price < bid - (LEVELS - 1) * tick]
        asks += [1000 - price for price in DEEP if 1000 - price > ask + (LEVELS - 1) * tick]
        at_ms = second * 1000 + 20 + hash((self._seed, second)) % 200
        return Picture(second, at_ms, tick, self._fill(bids, second, 0), self._fill(asks, second, 1))

    def _fill(self, prices: list[int], second: int, side: int) -> list[Level]:
        """Give each price its size; hashes of integers are the same in every process."""
        # hot: one call per market and second
        seed, found = self._seed + side, []
        for price in prices:
            base = hash((seed, price)) & 0xFFFF
            size = hash((seed, price, (second + base) // PERIOD_S)) & 0xFFFFFF
            whole = 5 + size % 400 + (1000 if price in (10, 990) else 0)
            found.append((price, whole * 100 + (size >> 10) % 100 if size & 3 == 0 else whole * 100))
        return found
