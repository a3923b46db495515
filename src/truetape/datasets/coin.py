"""Coins as the last snapshot has them, and how their ranks changed."""

from datetime import datetime
from typing import Literal

import msgspec

from truetape.errors import ConfigError
from truetape.lake import Lake

By = Literal["market_cap", "volume_24h", "price", "change_24h", "rank"]
ORDERS: tuple[By, ...] = ("market_cap", "volume_24h", "price", "change_24h", "rank")

_NEWEST = """
WITH snapshot AS (
    SELECT *, max(received_at) OVER () AS newest_at FROM coin WHERE source = 'snapshot' AND currency = $currency
), last AS (
    SELECT * FROM snapshot WHERE received_at > newest_at - INTERVAL 1 HOUR
    QUALIFY row_number() OVER (PARTITION BY venue, symbol ORDER BY received_at DESC, tape_offset DESC) = 1
)
"""
"""One row a coin: of those that the last hour of snapshots had; who has fallen off the list is not there."""

_BEFORE = """, earlier AS (
    SELECT venue, symbol, rank, received_at FROM snapshot
    WHERE received_at <= newest_at - to_minutes(CAST($hours * 60 AS BIGINT))
    QUALIFY row_number() OVER (PARTITION BY venue, symbol ORDER BY received_at DESC, tape_offset DESC) = 1
)
"""

_STEPS = """
WITH step AS (
    SELECT received_at AS "at", lag(rank) OVER (ORDER BY received_at, tape_offset, tape_row) AS rank_before, rank, price,
        market_cap, row_number() OVER (ORDER BY received_at, tape_offset, tape_row) AS number
    FROM coin WHERE source = 'snapshot' AND currency = $currency AND venue_symbol = $coin
)
SELECT "at", rank_before, rank, price, market_cap FROM step
WHERE number = 1 OR rank IS DISTINCT FROM rank_before ORDER BY number
"""


class Coin(msgspec.Struct, frozen=True):
    """A coin as the last snapshot has it."""

    rank: int | None
    coin: str
    ticker: str | None
    name: str | None
    price: float | None
    market_cap: float | None
    volume_24h: float | None
    change_24h: float | None
    at: datetime


class RankChange(msgspec.Struct, frozen=True):
    """A coin whose rank is not what it was."""

    coin: str
    ticker: str | None
    rank_before: int | None
    """Null: it was not on the list."""
    rank: int | None
    change: int | None
    """Places gained; below 0: lost."""
    market_cap: float | None
    before_at: datetime | None
    at: datetime


class RankStep(msgspec.Struct, frozen=True):
    """A snapshot whose rank of a coin is another than that of the snapshot before."""

    at: datetime
    rank_before: int | None
    rank: int | None
    price: float | None
    market_cap: float | None


def list_top(lake: Lake, by: str = "market_cap", limit: int = 20, currency: str = "usd") -> list[Coin]:
    """List the coins that come first by one of `ORDERS`; ConfigError for another."""
    if by not in ORDERS:
        raise ConfigError(f"--by: {by!r} is not there (allowed: {', '.join(ORDERS)})")
    order = "rank ASC" if by == "rank" else f"{by} DESC"
    query = f"""{_NEWEST} SELECT rank, venue_symbol AS coin, ticker, name, price, market_cap, volume_24h, change_24h,
        received_at AS at FROM last ORDER BY {order} NULLS LAST, rank, coin LIMIT $limit"""  # noqa: S608 - `order` is one of ours
    rows = lake.sql(query, {"currency": currency.upper(), "limit": limit}).arrow().to_pylist()
    return msgspec.convert(rows, list[Coin])


def list_rank_changes(lake: Lake, hours: float = 24, limit: int = 20, currency: str = "usd") -> list[RankChange]:
    """List the coins whose rank differs from that so many hours before the last snapshot, the largest changes first."""
    query = f"""{_NEWEST} {_BEFORE}
        SELECT last.venue_symbol AS coin, last.ticker, earlier.rank AS rank_before, last.rank,
            earlier.rank - last.rank AS change, last.market_cap, earlier.received_at AS before_at, last.received_at AS at
        FROM last LEFT JOIN earlier USING (venue, symbol)
        WHERE earlier.rank IS DISTINCT FROM last.rank AND EXISTS (SELECT 1 FROM earlier)
        ORDER BY abs(change) DESC NULLS LAST, last.rank, coin LIMIT $limit"""  # noqa: S608 - constants only
    values = {"currency": currency.upper(), "hours": hours, "limit": limit}
    return msgspec.convert(lake.sql(query, values).arrow().to_pylist(), list[RankChange])


def list_rank_steps(lake: Lake, coin: str, currency: str = "usd") -> list[RankStep]:
    """List the snapshots at which a coin's rank changed, the first one included."""
    rows = lake.sql(_STEPS, {"currency": currency.upper(), "coin": coin}).arrow().to_pylist()
    return msgspec.convert(rows, list[RankStep])
