"""The oracle's price of each asset as a function of the second: the same seed gives the same path, at any second.

Prices are integers of 18 decimals, as Chainlink's are. Nothing is remembered but what was computed already, so a
fake venue that starts in the middle of a day tells the same prices as one that ran all along.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from random import Random
from struct import unpack
from zlib import crc32

import msgspec

E18 = 10**18
BLOCK_S = 1024
"""The path is walked in blocks of this length, whose ends are known without walking."""
OCTAVES = 10
"""The block ends follow this many waves, each twice as long as the one before; the longest takes six days."""
PARTS = 10**12
TIE_EVERY = 64
"""About one boundary of a quarter of an hour in so many has the very price of the one before: a tie."""
TIE_S = 900
DIGITS = 16
"""Significant digits of a spot price, as many as a double holds."""


class Asset(msgspec.Struct, frozen=True):
    """One underlying."""

    name: str
    """Upper case: BTC."""
    word: str
    """As slugs in words have it: bitcoin."""
    title: str
    price: int
    """Where its path lies, in whole dollars of 18 decimals."""
    volatility: float
    """Standard deviation of one second's return."""


ASSETS: dict[str, Asset] = {
    a.name: a
    for a in (
        Asset("BTC", "bitcoin", "Bitcoin", 84_000 * E18, 7.0e-5),
        Asset("ETH", "ethereum", "Ethereum", 2_900 * E18, 9.5e-5),
        Asset("SOL", "solana", "Solana", 131 * E18, 1.2e-4),
        Asset("XRP", "xrp", "XRP", 195 * 10**16, 1.1e-4),
    )
}
"""What oracles and prediction markets are about."""
COINS: dict[str, Asset] = ASSETS | {
    a.name: a
    for a in (
        Asset("BNB", "bnb", "BNB", 860 * E18, 8.0e-5),
        Asset("DOGE", "dogecoin", "Dogecoin", 14 * 10**16, 1.3e-4),
    )
}
"""What exchanges list, too."""


def find_coin(name: str) -> Asset:
    """Return a coin; one that nobody knows costs a dollar."""
    return COINS.get(name) or Asset(name, name.lower(), name, E18, 1.0e-4)


class Oracle:
    """Spot, averages, bid and ask of all assets, from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._block: Callable[[str, int], tuple[int, ...]] = lru_cache(512)(self._walk_block)
        self._average: Callable[[str, int, int], int] = lru_cache(4096)(self._compute_average)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Oracle) and other.seed == self.seed

    def __hash__(self) -> int:
        return hash(self.seed)

    def price(self, asset: str, second: int) -> int:
        """Return the spot price, in E18."""
        second = self._find_origin(asset, second)
        return self._block(asset, second // BLOCK_S)[second % BLOCK_S]

    def average(self, asset: str, second: int, window_s: int) -> int:
        """Return the average of the last `window_s` seconds, in E18; not to be rebuilt exactly from whole seconds."""
        return self._average(asset, self._find_origin(asset, second), window_s)

    def quote(self, asset: str, second: int) -> tuple[int, int]:
        """Return bid and ask around the spot price, in E18."""
        price = self.price(asset, second)
        half = price * (8 + crc32(b"%d" % second) % 9) // 1_000_000
        return price - half, price + half

    def exchange_price(self, asset: str, second: int) -> int:
        """Return what exchanges pay at that second, to a cent or less: near the oracle, not the same."""
        price = self.price(asset, second)
        noise = crc32(f"{self.seed}/{asset}/exchange/{second}".encode()) % 401 - 200
        step = 10**16 if price > 100 * E18 else 10**14 if price > E18 else 10**12
        return (price + price * noise // 10_000_000) // step * step

    def trend(self, asset: str, second: float) -> float:
        """Return about the spot price, in dollars: straight between the ends of blocks, quick over years."""
        coin, block = find_coin(asset), int(second // BLOCK_S)
        left, right = self._find_end(coin, block), self._find_end(coin, block + 1)
        return coin.price / E18 * (1 + (left + (right - left) * (second / BLOCK_S - block)) / PARTS)

    def _find_origin(self, asset: str, second: int) -> int:
        """Return the second whose price holds at this one: itself, unless it is a boundary that ties."""
        while second % TIE_S == 0 and crc32(f"{self.seed}/{asset}/tie/{second}".encode()) % TIE_EVERY == 0:
            second -= TIE_S
        return second

    def _compute_average(self, asset: str, second: int, window_s: int) -> int:
        first_s, total = second - window_s + 1, 0
        for block in range(first_s // BLOCK_S, second // BLOCK_S + 1):
            start_s = block * BLOCK_S
            total += sum(self._block(asset, block)[max(0, first_s - start_s) : second + 1 - start_s])
        mean = total // window_s
        return mean + mean * ((second * 7919 + window_s) % 41 - 20) // 1_000_000_000

    def _walk_block(self, asset: str, block: int) -> tuple[int, ...]:
        """Walk from one block's end to the next, in parts of 10 ** -12 of the asset's price."""
        # hot: whole days are walked when a listing is asked for
        one = find_coin(asset)
        reach = int(one.volatility * PARTS * 3**0.5)
        chance = Random(f"{self.seed}/{asset}/{block}")  # noqa: S311 - a market, not a secret
        steps = unpack(f"<{BLOCK_S}H", chance.getrandbits(16 * BLOCK_S).to_bytes(2 * BLOCK_S, "little"))
        walk = [0, *accumulate((step - 32_768) * reach // 32_768 for step in steps)]
        start = self._find_end(one, block)
        drift = self._find_end(one, block + 1) - start - walk.pop()
        home, unit = one.price, 10 ** max(0, len(str(one.price)) - DIGITS)
        return tuple(
            [home * (PARTS + start + at + drift * i // BLOCK_S) // PARTS // unit * unit for i, at in enumerate(walk)]
        )

    def _find_end(self, asset: Asset, block: int) -> int:
        total, reach = 0, int(asset.volatility * PARTS * float(BLOCK_S) ** 0.5)
        for octave in range(OCTAVES):
            index, rest = divmod(block, 1 << octave)
            left, right = self._find_node(asset, octave, index), self._find_node(asset, octave, index + 1)
            total += (
                (left * ((1 << octave) - rest) + right * rest) * int(reach * 2.0 ** (octave / 2.0)) // (1000 << octave)
            )
        return total

    def _find_node(self, asset: Asset, octave: int, index: int) -> int:
        return crc32(f"{self.seed}/{asset.name}/{octave}/{index}".encode()) % 2001 - 1000
