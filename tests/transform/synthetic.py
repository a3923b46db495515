"""Small lakes written by hand: rows of any kind as Delta tables, one commit at a time."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from truetape.events.schema import KINDS

DAY = datetime.datetime(2024, 8, 8, tzinfo=datetime.UTC)
"""When the synthetic market opens."""

_BLANKS: dict[str, Any] = {"string": "", "bool": False, "double": 0.0, "int64": 0}


def at(seconds: float) -> datetime.datetime:
    """The moment so many seconds after the market opened."""
    return DAY + datetime.timedelta(seconds=seconds)


def trade(
    seconds: float, number: int, price: float, amount: float | None = 1.0, *, lag: float = 0.02, **other: Any
) -> dict[str, Any]:
    """A trade `seconds` after the opening, received `lag` later; its number is also its place on the tape."""
    received = at(seconds + lag)
    row = {
        "venue": "binance",
        "symbol": "BTC-USDT",
        "venue_symbol": "BTCUSDT",
        "exchange_at": at(seconds),
        "received_at": received,
        "available_at": received,
        "tape_offset": number,
        "trade_id": str(number),
        "side": "buy" if number % 2 else "sell",
        "price": price,
        "amount": amount,
    }
    return row | other


def gap(gap_id: str, start: float, end: float | None, offset: int, state: str, **other: Any) -> dict[str, Any]:
    """A gap row of the trade stream."""
    seen = at(start if end is None else end)
    row = {
        "venue": "binance",
        "symbol": "BTC-USDT",
        "venue_symbol": "BTCUSDT",
        "received_at": seen,
        "available_at": seen,
        "tape_offset": offset,
        "gap_id": gap_id,
        "channel": "trade",
        "from_at": at(start),
        "to_at": None if end is None else at(end),
        "reason": "disconnect",
        "state": state,
        "evidence": "{}",
    }
    return row | other


def started(**other: Any) -> dict[str, Any]:
    """The gap row that says: trades are observed from five seconds before the opening on."""
    return gap("start", -10, -5, 0, "closed", reason="not_started", **other)


def write_rows(lake: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    """Append rows to a kind's table in one commit; required columns that a row leaves out are blank."""
    schema = KINDS[kind].arrow
    columns = {}
    for field in schema:
        blank = None if field.nullable else _BLANKS.get(str(field.type), [] if pa.types.is_list(field.type) else None)
        columns[field.name] = pa.array([row.get(field.name, blank) for row in rows], field.type)
    schema = pa.schema([field.with_nullable(True) for field in schema])
    table = pa.table(columns, schema=schema)
    table = table.append_column("date", table["received_at"].cast(pa.date32()))
    write_deltalake(lake / kind, table, partition_by=["date", "venue"], mode="append")
