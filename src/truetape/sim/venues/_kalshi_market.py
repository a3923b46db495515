"""Kalshi's windows of a quarter of an hour, from the world's oracle: strikes, books, trades, results.

A window's strike is the value on which the one before it settled: the average of the last minute, to the cent. A book
is bids alone, for Yes and for No; prices are thousandths of a dollar, sizes hundredths of a contract.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from uuid import UUID
from zlib import crc32

import msgspec

from truetape.sim.crowd import Crowd
from truetape.sim.crowd import Trade as Fill
from truetape.sim.oracle import ASSETS
from truetape.sim.prediction import NEW_YORK, Prediction
from truetape.sim.prediction import Market as Window
from truetape.sim.spec import write_fixed

WINDOW_S = 900
AHEAD_S = 86_400
"""A window is listed so long before it opens."""
AVERAGE_S = 60
STRIKE_LAG_S = 2
"""The strike is known so soon after the window opened."""
DIGITS = {"BTC": 2, "ETH": 2, "SOL": 4, "XRP": 4}
FINE_BELOW, FINE_ABOVE = 100, 900
"""Steps are tenths of a cent outside of these prices, cents between."""

Status = Literal["initialized", "active", "closed", "determined", "disputed", "finalized"]
Side = dict[int, int]

_TICKER = re.compile(r"KX([A-Z]+)15M-(\d{2})([A-Z]{3})(\d{2})(\d{2})(\d{2})-(\d{2})")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Trade(NamedTuple):
    """One execution."""

    at_ms: int
    id: str
    is_yes: bool
    """Whether the taker is positioned for Yes."""
    price: int
    """Of Yes, thousandths."""
    size: int
    """Hundredths of a contract."""


class Market(msgspec.Struct, frozen=True):
    """One window, its future included."""

    ticker: str
    event: str
    series: str
    asset: str
    opens_s: int
    closes_s: int
    strike: int
    value: int
    """What it settles on; this and the strike in units of the asset's last digit."""
    digits: int
    determined_s: int
    disputed_s: int | None
    finalized_s: int
    window: Window
    """The same window as books and trades are made for."""

    @property
    def result(self) -> Literal["yes", "no"]:
        """The outcome: Yes when the value is the strike or above."""
        return "yes" if self.value >= self.strike else "no"

    @property
    def id(self) -> str:
        """The id that frames of the book give beside the ticker."""
        return str(UUID(bytes=sha256(self.ticker.encode()).digest()[:16]))

    def find_status(self, at_s: float) -> Status:
        """Tell how far it is."""
        if at_s < self.opens_s:
            return "initialized"
        if at_s < self.closes_s:
            return "active"
        if at_s < self.determined_s or at_s >= self.finalized_s:
            return "closed" if at_s < self.determined_s else "finalized"
        return "disputed" if self.disputed_s is not None and at_s >= self.disputed_s else "determined"


class Exchange:
    """All windows of one world."""

    def __init__(self, world: Prediction, crowd: Crowd) -> None:
        self._world, self._crowd = world, crowd
        self.find = lru_cache(20_000)(self._make)
        self.list_trades = lru_cache(256)(self._list_trades)

    def read_ticker(self, ticker: str) -> Market | None:
        """Return the market of a ticker; null when no window is called so."""
        found = _TICKER.fullmatch(ticker)
        if found is None or found[1] not in ASSETS or found[3] not in _MONTHS:
            return None
        try:
            closes = datetime(
                2000 + int(found[2]), _MONTHS.index(found[3]) + 1, int(found[4]), int(found[5]), int(found[6]),
                tzinfo=NEW_YORK,
            )  # fmt: skip
        except ValueError:
            return None
        market = self.find(found[1], int(closes.timestamp()) - WINDOW_S)
        return market if market.ticker == ticker else None

    def list_markets(self, from_s: float, to_s: float, assets: tuple[str, ...] = tuple(ASSETS)) -> Iterator[Market]:
        """List windows that open from one instant to before another, by time."""
        first_s = -int(-from_s // WINDOW_S) * WINDOW_S
        for opens_s in range(first_s, int(to_s), WINDOW_S):
            yield from (self.find(asset, opens_s) for asset in assets)

    def _make(self, asset: str, opens_s: int) -> Market:
        closes_s, digits = opens_s + WINDOW_S, DIGITS[asset]
        series = f"KX{asset}15M"
        local = datetime.fromtimestamp(closes_s, UTC).astimezone(NEW_YORK)
        event = f"{series}-{local:%y}{_MONTHS[local.month - 1]}{local:%d%H%M}"
        ticker = f"{event}-{local:%M}"
        chance = crc32(f"{self._world.seed}/{ticker}".encode())
        number = opens_s // WINDOW_S
        quirks = [q for q in self._world.quirks if number % q.every == 0 and fnmatchcase(ticker, q.pattern)]
        held_s = sum(int(q.seconds) for q in quirks if q.action in ("late", "dispute"))
        determined_s = closes_s + 12 + chance % 20
        return Market(
            ticker, event, series, asset, opens_s, closes_s, self._settle(asset, opens_s), self._settle(asset, closes_s),
            digits, determined_s, determined_s + 20 if any(q.action == "dispute" for q in quirks) else None,
            determined_s + 45 + chance % 60 + held_s, self._make_window(asset, opens_s, ticker),
        )  # fmt: skip

    def _settle(self, asset: str, second: int) -> int:
        """Return what a window that ends then settles on, rounded half up."""
        unit: int = 10 ** (18 - DIGITS[asset])
        average: int = self._world.oracle.average(asset, second, AVERAGE_S)
        return (average + unit // 2) // unit

    def _make_window(self, asset: str, opens_s: int, ticker: str) -> Window:
        """Return the world's window with the rule of this exchange, and ids of its own: other books, other trades."""
        window = self._world.find(asset, "15m", opens_s)
        tokens = str(crc32(f"{ticker}/yes".encode())), str(crc32(f"{ticker}/no".encode()))
        return msgspec.structs.replace(window, slug=ticker, tokens=tokens, rule="twap", window_s=AVERAGE_S)

    # books and trades

    def read_book(self, market: Market, second: int) -> tuple[Side, Side]:
        """Return the bids for Yes and for No as they stand from a second on: price → size."""
        if not market.opens_s <= second < market.closes_s:
            return {}, {}
        ladder = self._crowd.ladder(market.window)
        picture = ladder.read(ladder.find_second(second))
        return _gather(picture.bids), _gather([(1000 - price, size) for price, size in picture.asks])

    def _list_trades(self, market: Market) -> tuple[Trade, ...]:
        fills = self._crowd.list_trades(market.window, market.opens_s * 1000, market.closes_s * 1000)
        return tuple(_make_trade(market, fill, index) for index, fill in enumerate(fills))


def find_step(price: int) -> int:
    """Return the price step at a price."""
    return 1 if price < FINE_BELOW or price > FINE_ABOVE else 10


def _gather(levels: list[tuple[int, int]]) -> Side:
    """Lay levels onto the steps that hold at their prices."""
    side: Side = {}
    for price, size in levels:
        fitting = price // find_step(price) * find_step(price)
        if 0 < fitting < 1000:
            side[fitting] = side.get(fitting, 0) + size
    return side


def _make_trade(market: Market, fill: Fill, index: int) -> Trade:
    price = fill.price if fill.outcome == 0 else 1000 - fill.price
    step = find_step(price)
    digest = sha256(f"{market.ticker}/{index}/{fill.transaction}".encode()).digest()
    is_yes = (fill.outcome == 0) != fill.is_sell
    return Trade(fill.at_ms, str(UUID(bytes=digest[:16])), is_yes, price // step * step, fill.units // 10_000)


# how it writes


def write_price(price: int) -> str:
    """Write thousandths as the venue does: 40 is 0.0400."""
    return write_fixed(price * 10, 4)


def write_size(size: int) -> str:
    """Write hundredths of a contract."""
    return write_fixed(size, 2)


def write_second(at_s: float) -> str:
    """Write an instant to the second."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_micros(at_us: int) -> str:
    """Write an instant to the microsecond."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_us % 1_000_000:06d}Z"


def describe_market(exchange: Exchange, market: Market, at_s: float) -> dict[str, Any]:
    """Describe a market as it is listed at an instant."""
    status = market.find_status(at_s)
    yes, no = exchange.read_book(market, int(at_s))
    trades = [t for t in exchange.list_trades(market) if t.at_ms <= at_s * 1000] if at_s >= market.opens_s else []
    volume = sum(t.size for t in trades)
    has_result = status in ("determined", "disputed", "finalized")
    bid, no_bid = max(yes, default=0), max(no, default=0)
    found = {
        "ticker": market.ticker, "event_ticker": market.event, "market_type": "binary",
        "title": f"{market.asset} price up in next 15 mins?", "subtitle": "", "yes_sub_title": "Price to beat",
        "no_sub_title": "Price to beat", "open_time": write_second(market.opens_s),
        "close_time": write_second(market.closes_s), "expected_expiration_time": write_second(market.closes_s + 300),
        "latest_expiration_time": write_second(market.closes_s + 604_800), "settlement_timer_seconds": 60,
        "status": status, "response_price_units": "usd_cent", "notional_value_dollars": "1.0000",
        "yes_bid_dollars": write_price(bid), "yes_ask_dollars": write_price(1000 - no_bid),
        "no_bid_dollars": write_price(no_bid), "no_ask_dollars": write_price(1000 - bid),
        "last_price_dollars": write_price(trades[-1].price if trades else 0), "previous_price_dollars": "0.0000",
        "volume_fp": write_size(volume), "volume_24h_fp": write_size(volume), "liquidity_dollars": "0.0000",
        "open_interest_fp": write_size(volume // 2), "result": market.result if has_result else "",
        "can_close_early": False, "expiration_value": "", "rules_primary": _RULES.format(asset=market.asset),
        "price_level_structure": "tapered_deci_cent", "price_ranges": PRICE_RANGES,
        "strike_type": "greater_or_equal",
    }  # fmt: skip
    if at_s >= market.opens_s + STRIKE_LAG_S:
        found["floor_strike"] = market.strike / 10**market.digits
    if status == "finalized":
        found["expiration_value"] = write_fixed(market.value, market.digits)
        found["settlement_ts"] = write_micros(market.finalized_s * 1_000_000 + 123_000)
        found["settlement_value_dollars"] = "1.0000" if market.result == "yes" else "0.0000"
    return found


PRICE_RANGES = [
    {"start": "0.0000", "end": "0.1000", "step": "0.0010"},
    {"start": "0.1000", "end": "0.9000", "step": "0.0100"},
    {"start": "0.9000", "end": "1.0000", "step": "0.0010"},
]
_RULES = (
    "If the average of the {asset} index over the minute before the close is at least that of the minute before the open, "
    "the market resolves to Yes."
)
