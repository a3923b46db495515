"""What each wallet has paid for what it holds in one market."""

from dataclasses import dataclass

from truetape.sim.crowd import Crowd
from truetape.sim.prediction import Market


@dataclass(slots=True)
class Purse:
    """One wallet's account of one outcome; shares have 6 decimals, money 9."""

    wallet: str
    outcome: int
    units: int = 0
    bought: int = 0
    cost: int = 0
    """Of everything bought."""
    realized: int = 0
    first_s: int = 0
    last_s: int = 0

    @property
    def average(self) -> float:
        """What a share has cost."""
        return self.cost / self.bought / 1000 if self.bought else 0.0

    def buy(self, units: int, price: int, at_s: int) -> None:
        """Take shares at a price in thousandths."""
        self.units, self.bought, self.cost = self.units + units, self.bought + units, self.cost + units * price
        self.first_s, self.last_s = self.first_s or at_s, at_s

    def give(self, units: int, price: int, at_s: int) -> None:
        """Part with shares at a price in thousandths, sold or redeemed."""
        paid = units * self.cost // self.bought if self.bought else 0
        self.units, self.realized, self.last_s = self.units - units, self.realized + units * price - paid, at_s


def list_purses(crowd: Crowd, market: Market, at_s: int) -> dict[tuple[str, int], Purse]:
    """Return the accounts of all wallets that ever traded in a market, as of an instant: (wallet, outcome) → account."""
    found: dict[tuple[str, int], Purse] = {}

    def find(wallet: str, outcome: int) -> Purse:
        return found.setdefault((wallet, outcome), Purse(wallet, outcome))

    for trade in crowd.list_trades(market, to_ms=(at_s + 1) * 1000):
        second = trade.at_ms // 1000
        if trade.is_sell:
            find(trade.taker, trade.outcome).give(trade.units, trade.price, second)
            find(trade.maker, trade.outcome).buy(trade.units, trade.price, second)
        else:
            find(trade.taker, trade.outcome).buy(trade.units, trade.price, second)
            find(trade.maker, 1 - trade.outcome).buy(trade.units, 1000 - trade.price, second)
    for move in crowd.list_moves(market):
        if market.resolved_s < move.at_s <= at_s:
            find(move.wallet, move.outcome).give(
                -move.units, int(float(market.payouts[move.outcome]) * 1000), move.at_s
            )
    return found
