"""Who trades in prediction markets, and what each wallet holds at which block: functions of the seed."""

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from random import Random

import msgspec

from truetape.sim.ladder import Ladder
from truetape.sim.prediction import Market, Prediction

WALLETS = 4000
TRADES_PER_S = 0.25
TRADES_MAX = 2000
"""Trades in one market at most."""
EARLY_S = 60
"""Trading begins this long before the window."""
SELL_SHARE = 0.6
"""So often a trader would sell, if he has enough."""
TWIN_SHARE = 0.05
"""So many transactions hold two equal fills."""
BLOCK_S = 2
_BLOCK_ZERO, _BLOCK_ZERO_S = 80_000_000, 1_790_000_000


class Trade(msgspec.Struct, frozen=True):
    """One fill."""

    at_ms: int
    outcome: int
    """0 is Up, 1 is Down."""
    is_sell: bool
    """Of the taker."""
    price: int
    """Thousandths."""
    units: int
    """Shares of 6 decimals."""
    taker: str
    maker: str
    transaction: str
    order: str
    """Hash of the taker's order."""


class Move(msgspec.Struct, frozen=True):
    """A change of a wallet's holding."""

    at_s: int
    wallet: str
    outcome: int
    units: int
    """Of 6 decimals; negative when given away."""


class Crowd:
    """Trades and holdings of all markets."""

    def __init__(self, world: Prediction) -> None:
        self._world = world
        self.ladder: Callable[[Market], Ladder] = lru_cache(2048)(lambda market: Ladder(world, market))
        """The book of a market."""
        self._story: Callable[[Market], tuple[list[Trade], list[Move]]] = lru_cache(1024)(self._tell)
        self._wallets = [self.name_wallet(number) for number in range(WALLETS)]

    def name_wallet(self, number: int) -> str:
        """Return the address of a wallet, in lower case."""
        return "0x" + sha256(f"{self._world.seed}/wallet/{number}".encode()).hexdigest()[:40]

    def list_trades(self, market: Market, from_ms: int = 0, to_ms: int = 1 << 62) -> list[Trade]:
        """List a market's trades from one instant to before another, oldest first."""
        trades = self._story(market)[0]
        first = bisect_right(trades, from_ms - 1, key=_time_of)
        return trades[first : bisect_right(trades, to_ms - 1, key=_time_of)]

    def find_last(self, market: Market, outcome: int, at_ms: int) -> Trade | None:
        """Return the last trade of an outcome until an instant, that one included."""
        trades = self._story(market)[0]
        for index in range(bisect_right(trades, at_ms, key=_time_of) - 1, -1, -1):
            if trades[index].outcome == outcome:
                return trades[index]
        return None

    def list_moves(self, market: Market) -> list[Move]:
        """List all changes of holdings, oldest first, redemptions included."""
        return self._story(market)[1]

    def hold(self, market: Market, outcome: int, at_s: float) -> list[tuple[str, int]]:
        """List (wallet, units) of all who hold an outcome at an instant, most first."""
        held: dict[str, int] = {}
        for move in self._story(market)[1]:
            if move.at_s > at_s:
                break
            if move.outcome == outcome:
                held[move.wallet] = held.get(move.wallet, 0) + move.units
        return sorted(((w, u) for w, u in held.items() if u > 0), key=lambda pair: (-pair[1], pair[0]))

    # making

    def _tell(self, market: Market) -> tuple[list[Trade], list[Move]]:
        chance = Random(f"{self._world.seed}/{market.slug}/crowd")  # noqa: S311 - a market, not a secret
        ladder, held = self.ladder(market), (_Holdings(), _Holdings())
        span_s = EARLY_S + market.duration_s
        count = min(TRADES_MAX, int(span_s * TRADES_PER_S))
        trades: list[Trade] = []
        for second in sorted(chance.randrange(span_s) for _ in range(count)):
            at_ms = (market.opens_s - EARLY_S + second) * 1000 + 400 + chance.randrange(550)
            if trades and at_ms <= trades[-1].at_ms:
                at_ms = trades[-1].at_ms + 1
            trade = self._trade(chance, ladder, held, at_ms)
            if trade is None:
                continue
            for _ in range(1 + (chance.random() < TWIN_SHARE and not trade.is_sell)):
                trades.append(trade)
                for move in _list_moves(trade):
                    held[move.outcome].add(move.wallet, move.units)
        moves = [move for trade in trades for move in _list_moves(trade)]
        for outcome, holdings in enumerate(held):
            moves += [
                Move(market.resolved_s + 30 + chance.randrange(1800), wallet, outcome, -units)
                for wallet, units in holdings.units.items()
                if units
            ]
        moves.sort(key=lambda move: move.at_s)
        return trades, moves

    def _trade(self, chance: Random, ladder: Ladder, held: "tuple[_Holdings, _Holdings]", at_ms: int) -> Trade | None:
        outcome = chance.randrange(2)
        bid, ask, _ = ladder.find_top(ladder.find_second(at_ms // 1000))
        if outcome:
            bid, ask = 1000 - ask, 1000 - bid
        units = (5 + int(chance.paretovariate(1.2) * 5)) % 20_000 * 1_000_000 + chance.randrange(100) * 10_000
        seller = held[outcome].pick(chance) if chance.random() < SELL_SHARE else ""
        is_sell = held[outcome].units.get(seller, 0) >= units
        price = bid if is_sell else ask
        if not 0 < price < 1000:
            return None
        taker = seller if is_sell else self._pick(chance)
        maker = self._pick(chance)
        if maker == taker:
            return None
        number = chance.getrandbits(256)
        return Trade(
            at_ms, outcome, is_sell, price, units, taker, maker, f"0x{number:064x}", f"0x{number ^ at_ms << 128:064x}"
        )

    def _pick(self, chance: Random) -> str:
        return self._wallets[int(WALLETS * chance.random() ** 2)]


class _Holdings:
    """Who has how much of one outcome while a market's story is made."""

    def __init__(self) -> None:
        self.units: dict[str, int] = {}
        self._wallets: list[str] = []

    def add(self, wallet: str, units: int) -> None:
        """Give to a wallet, or take from it."""
        if wallet not in self.units:
            self._wallets.append(wallet)
        self.units[wallet] = self.units.get(wallet, 0) + units

    def pick(self, chance: Random) -> str:
        """Return any wallet that ever had some; empty when there is none."""
        return chance.choice(self._wallets) if self._wallets else ""


def _time_of(trade: Trade) -> int:
    return trade.at_ms


def _list_moves(trade: Trade) -> list[Move]:
    """A buyer's counterpart buys the other outcome, so that both are minted; a seller's buys what is sold."""
    at_s, sign = trade.at_ms // 1000, -1 if trade.is_sell else 1
    got = trade.outcome if trade.is_sell else 1 - trade.outcome
    return [
        Move(at_s, trade.taker, trade.outcome, sign * trade.units),
        Move(at_s, trade.maker, got, trade.units),
    ]


def find_block(at_s: float) -> int:
    """Return the newest block at an instant."""
    return _BLOCK_ZERO + int(at_s - _BLOCK_ZERO_S) // BLOCK_S


def find_block_time(block: int) -> int:
    """Return when a block was made, in seconds."""
    return _BLOCK_ZERO_S + (block - _BLOCK_ZERO) * BLOCK_S
