"""Rows of the fake Tardis: they follow from seed and second alone, so that every page agrees with every other.

Trades are those of the fake venue's market where it remembers the time, else made up like the rest.
"""

import math
from collections.abc import Callable, Iterator
from types import MappingProxyType

from truetape.sim.market import Market
from truetape.sim.oracle import COINS, E18, Oracle
from truetape.sim.spec import write_fixed
from truetape.sim.world import World

TICK_US = 5_000_000
"""Something happens this often."""
PICTURE_TICKS = 720
"""A book begins anew once an hour."""
LIQUIDATION_TICKS = 12
LEVELS = 5
MARKETS = MappingProxyType(
    {
        "binance": ("binance", "spot"),
        "binance-futures": ("binance", "usdm"),
        "binance-delivery": ("binance", "coinm"),
        "bybit": ("bybit", "linear"),
        "bybit-spot": ("bybit", "spot"),
        "okex": ("okx", "public"),
        "okex-swap": ("okx", "public"),
        "deribit": ("deribit", "main"),
    }
)
"""Exchanges that it has: which of our fake venues each is."""

Row = dict[str, object]


def find_market(world: World, exchange: str, symbol: str) -> Market | None:
    """Return the market of an instrument, where its fake venue runs."""
    venue, feed = MARKETS[exchange]
    return world.market(venue, feed, symbol) or (world.market(venue, "inverse", symbol) if venue == "bybit" else None)


def list_rows(world: World, place: tuple[str, str, str], start_us: int, end_us: int) -> Iterator[Row]:
    """Yield the rows of (exchange, symbol, data type) that it received in [start, end)."""
    exchange, symbol, data_type = place
    market = find_market(world, exchange, symbol) if data_type == "trades" else None
    if market is not None and market.trades():
        yield from _list_trades(market, place, start_us, end_us)
        return
    make = _MAKERS["book_snapshot" if data_type.startswith("book_snapshot_") else data_type]
    for tick in range(-(-start_us // TICK_US) - 1, end_us // TICK_US + 1):
        at_us = tick * TICK_US + tick * 7919 % 900_000
        head: Row = {"exchange": exchange, "symbol": symbol, "timestamp": at_us, "local_timestamp": at_us + 2_345}
        if start_us <= at_us + 2_345 < end_us:
            yield from (head | row for row in make(tick, *price_tick(world.prediction.oracle, symbol, tick)))


def _list_trades(market: Market, place: tuple[str, str, str], start_us: int, end_us: int) -> Iterator[Row]:
    spec = market.spec
    for trade in market.trades_between(start_us - 1_234, end_us - 1_234):
        yield {
            "exchange": place[0], "symbol": place[1], "timestamp": trade.at_us, "local_timestamp": trade.at_us + 1_234,
            "id": str(trade.id), "side": "sell" if trade.is_sell else "buy",
            "price": float(write_fixed(trade.price, spec.price_digits)),
            "amount": float(write_fixed(trade.size, spec.size_digits)),
        }  # fmt: skip


def price_tick(oracle: Oracle, symbol: str, tick: int) -> tuple[float, float]:
    """Return what the coin that a symbol begins with costs at a tick, and how far levels are apart."""
    coin = next((name for name in COINS if symbol.upper().startswith(name)), "BTC")
    price = oracle.exchange_price(coin, tick * TICK_US // 1_000_000) / E18
    return price, 10.0 ** (math.floor(math.log10(price)) - 4)


def _beside(price: float, away: float) -> float:
    return round(price + away, 8)


def _make_trades(tick: int, price: float, gap: float) -> Iterator[Row]:
    for part in range(1 + tick % 3):
        side = "buy" if (tick + part) % 2 else "sell"
        yield {"id": str(tick * 4 + part), "side": side, "price": price, "amount": (1 + tick % 7) / 100}


def _make_changes(tick: int, price: float, gap: float) -> Iterator[Row]:
    is_picture = tick % PICTURE_TICKS == 0
    for level in range(LEVELS if is_picture else 1):
        for side, sign in (("bid", -1), ("ask", 1)):
            amount = (1 + (tick + level) % 9) / 10
            yield {
                "is_snapshot": is_picture, "side": side, "price": _beside(price, sign * (0.5 + level) * gap),
                "amount": amount,
            }  # fmt: skip


def _make_quotes(tick: int, price: float, gap: float) -> Iterator[Row]:
    yield {
        "ask_amount": 1.5, "ask_price": _beside(price, gap / 2), "bid_price": _beside(price, -gap / 2),
        "bid_amount": (1 + tick % 5) / 2,
    }  # fmt: skip


def _make_snapshots(tick: int, price: float, gap: float) -> Iterator[Row]:
    row = Row()
    for level in range(LEVELS):
        away = (0.5 + level) * gap
        row |= {
            f"asks[{level}].price": _beside(price, away), f"asks[{level}].amount": 1.0 + level,
            f"bids[{level}].price": _beside(price, -away), f"bids[{level}].amount": 2.0 + level,
        }  # fmt: skip
    yield row


def _make_derivatives(tick: int, price: float, gap: float) -> Iterator[Row]:
    hours = tick * TICK_US // 28_800_000_000 + 1
    yield {
        "funding_timestamp": hours * 28_800_000_000, "funding_rate": 0.0001, "predicted_funding_rate": None,
        "open_interest": 10_000.0 + tick % 100, "last_price": price, "index_price": _beside(price, -gap),
        "mark_price": _beside(price, gap),
    }  # fmt: skip


def _make_liquidations(tick: int, price: float, gap: float) -> Iterator[Row]:
    if tick % LIQUIDATION_TICKS == 0:
        yield {"id": f"L{tick}", "side": "sell", "price": price, "amount": 0.25}


def _make_options(tick: int, price: float, gap: float) -> Iterator[Row]:
    yield {
        "type": "call", "strike_price": 80_000.0, "expiration": 1_790_323_200_000_000, "open_interest": 12.5,
        "last_price": 0.05, "bid_price": 0.049, "ask_price": 0.051, "mark_price": 0.0501, "mark_iv": 61.2,
        "underlying_price": price, "delta": 0.31, "gamma": 0.00002, "vega": 80.1, "theta": -40.2, "rho": 12.0,
    }  # fmt: skip


_MAKERS: dict[str, Callable[[int, float, float], Iterator[Row]]] = {
    "trades": _make_trades,
    "incremental_book_L2": _make_changes,
    "quotes": _make_quotes,
    "book_snapshot": _make_snapshots,
    "derivative_ticker": _make_derivatives,
    "liquidations": _make_liquidations,
    "options_chain": _make_options,
}


def has_type(data_type: str) -> bool:
    """Tell whether there is such a data type."""
    return data_type in _MAKERS or data_type in {"book_snapshot_5", "book_snapshot_25"}
