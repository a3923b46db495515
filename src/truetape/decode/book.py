"""One order book: levels by price, best first on demand, cheap to keep."""

from bisect import bisect_left, insort
from itertools import chain
from typing import Any

import msgspec

from truetape.events.rows import Levels


class Side(msgspec.Struct):
    """One side of a book; prices ascending, `sizes` as given (numbers, or the venue's text)."""

    prices: list[float] = []
    sizes: dict[float, tuple[Any, Any]] = {}

    def apply(self, levels: Levels) -> None:
        """Set levels to their new absolute sizes; zero removes, and removing an unknown level is normal."""
        # hot: bench/decode.py
        if levels and isinstance(levels[0][0], str):
            self._apply_text(levels)
            return
        prices, sizes = self.prices, self.sizes
        price: Any
        for level in levels:
            price, size = level
            if size:
                if price not in sizes:
                    insort(prices, price)
                sizes[price] = level
            elif sizes.pop(price, None) is not None:
                del prices[bisect_left(prices, price)]

    def _apply_text(self, levels: Levels) -> None:
        prices, sizes = self.prices, self.sizes
        for level in levels:
            price = float(level[0])
            if float(level[1]) == 0.0:
                if sizes.pop(price, None) is not None:
                    del prices[bisect_left(prices, price)]
            else:
                if price not in sizes:
                    insort(prices, price)
                sizes[price] = level

    def list_levels(self) -> list[tuple[Any, Any]]:
        """Return the levels as given, prices ascending."""
        return list(map(self.sizes.__getitem__, self.prices))

    def replace(self, levels: Levels) -> None:
        """Forget everything and take these levels."""
        prices, sizes = zip(*levels, strict=True) if levels else ((), ())
        if all(map(float, sizes)):
            self.sizes = dict(zip(map(float, prices), levels, strict=True))
        else:
            self.sizes = {float(level[0]): level for level in levels if float(level[1]) != 0.0}
        self.prices = sorted(self.sizes)


class Book(msgspec.Struct):
    """Bids and asks of one stream."""

    bids: Side = msgspec.field(default_factory=Side)
    asks: Side = msgspec.field(default_factory=Side)
    depth_max: int = 0
    """Levels a side may have; the worst beyond it are forgotten, as the venue does; 0: no bound."""

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Apply changes."""
        self.bids.apply(bids)
        self.asks.apply(asks)
        if self.depth_max:
            self._cut()

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Start anew from a full picture."""
        self.bids.replace(bids)
        self.asks.replace(asks)

    def _cut(self) -> None:
        bids, asks, depth = self.bids, self.asks, self.depth_max
        while len(bids.prices) > depth:
            del bids.sizes[bids.prices.pop(0)]
        while len(asks.prices) > depth:
            del asks.sizes[asks.prices.pop()]

    def sort(self) -> None:
        """Bring what is remembered into an order that does not tell how the levels came."""
        for side in (self.bids, self.asks):
            side.sizes = {price: side.sizes[price] for price in side.prices}

    @property
    def has_levels(self) -> bool:
        """Whether there is any."""
        return bool(self.bids.prices or self.asks.prices)

    @property
    def is_text(self) -> bool:
        """Whether its levels are in the venue's own digits."""
        level = next(chain(self.bids.sizes.values(), self.asks.sizes.values()), None)
        return level is not None and isinstance(level[0], str)

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bids, asks = self.bids.prices, self.asks.prices
        return bool(bids and asks and bids[-1] >= asks[0])

    def list_bids(self, count: int) -> list[tuple[Any, Any]]:
        """Return the best bids, highest first."""
        return list(map(self.bids.sizes.__getitem__, self.bids.prices[: -count - 1 : -1]))

    def list_asks(self, count: int) -> list[tuple[Any, Any]]:
        """Return the best asks, lowest first."""
        return list(map(self.asks.sizes.__getitem__, self.asks.prices[:count]))
