"""Where an instrument's price is: all instruments of one coin follow one path, each a little beside it.

The path is the oracle's. Every venue pays a little more or less than the others for a coin, always; a perpetual has a
basis on the index, which wanders slowly and is what its funding rate is. All of it follows from seed and second alone.
"""

from zlib import crc32

from truetape.sim.oracle import COINS, E18, Oracle, find_coin
from truetape.sim.spec import Spec

BILLION = 10**9
OFFSET_PPB_MAX = 100_000
"""What a venue pays differs from the index by no more than this, in 1e-9."""
NOISE_PPB_MAX = 10_000
"""… and by so much more or less in each second."""
BASIS_PPB = (-100_000, 300_000)
"""The basis of a perpetual is never lower nor higher."""
BASIS_S = 1800
"""The basis goes from one value to another in this time."""
TICKS_MAX = 3
"""The best levels are at most so many ticks beside the price."""


class Course:
    """One instrument's price, index, mark and basis by the second since 1970."""

    def __init__(self, oracle: Oracle, spec: Spec) -> None:
        self._oracle, self._spec = oracle, spec
        self._key = f"{oracle.seed}/{spec.key}"
        self._offset_ppb = _draw(f"{oracle.seed}/{spec.venue}/{spec.base}", -OFFSET_PPB_MAX, OFFSET_PPB_MAX)
        self._unit: int = E18 // 10**spec.price_digits
        self.half_spread = spec.tick * _draw(self._key, 1, TICKS_MAX)
        """From the price to the best levels, in the spec's units."""
        self.dollars = find_coin(spec.base).price / E18
        """What the coin usually costs."""

    def find_price(self, second: int) -> int:
        """Return where the book is, in the spec's units."""
        noise_ppb = _draw(f"{self._key}/{second}", -NOISE_PPB_MAX, NOISE_PPB_MAX)
        return self._find_worth(second, self._offset_ppb + noise_ppb + self.find_basis(second)) // self._unit

    def find_index(self, second: int) -> int:
        """Return what all venues pay on average, in hundredths of the spec's units."""
        return self._find_worth(second, 0) * 100 // self._unit

    def find_mark(self, second: int) -> int:
        """Return the index with the basis, in hundredths of the spec's units."""
        return self._find_worth(second, self.find_basis(second)) * 100 // self._unit

    def find_basis(self, second: int) -> int:
        """Return how far a perpetual is above the index, in 1e-9, which is its funding rate, too; 0 for spot."""
        if self._spec.kind == "spot":
            return 0
        node, rest = divmod(second, BASIS_S)
        left, right = (_draw(f"{self._key}/basis/{n}", *BASIS_PPB) for n in (node, node + 1))
        return left + (right - left) * rest // BASIS_S

    def _find_worth(self, second: int, beside_ppb: int) -> int:
        spec, oracle = self._spec, self._oracle
        worth = oracle.exchange_price(spec.base, second)
        if spec.quote in COINS:
            worth = worth * E18 // oracle.exchange_price(spec.quote, second)
        return worth + worth * beside_ppb // BILLION


def _draw(name: str, lowest: int, highest: int) -> int:
    return lowest + crc32(name.encode()) % (highest - lowest + 1)
