"""Gold tables by hand: what the models make of a market lake, with single cells spoiled."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from market_lake import Shape, at, expect, find_odds

LATE_S = 2
"""What is known of the oracle in a second is this old: received 1.25 s after it was observed."""
Spoil = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Changes a row, or drops it."""

_TIMES = ("opens_at", "ends_at", "strike_observed_at", "settlement_observed_at", "official_at", "t")
_TRUTHS = {
    "next_strike": pa.float64(), "settlement": pa.float64(), "strike": pa.float64(), "venue_strike": pa.float64(),
    "venue_final": pa.float64(), "is_match": pa.bool_(), "reason": pa.string(), "rule_window_s": pa.int64(),
    "strike_age_ms": pa.float64(), "settlement_age_ms": pa.float64(),
}  # fmt: skip


def list_truths(shape: Shape, count: int) -> list[dict[str, Any]]:
    """Give a truth row per market."""
    rows = []
    for number in range(count):
        told = expect(shape, number)
        is_known = told.computed != "indeterminate" and told.official in ("Up", "Down")
        missing = [name for name in ("strike", "settlement") if getattr(told, name) is None]
        rows.append({
            "venue": shape.venue, "symbol": told.slug, "market_id": told.slug, "asset": shape.asset,
            "series": f"{shape.asset.lower()}-up-or-down-{shape.duration_s // 60}m",
            "opens_at": at(told.opens_s), "ends_at": at(told.ends_s), "duration_s": shape.duration_s, "rule": "spot",
            "rule_window_s": shape.window_s, "resolution_source": f"https://data.chain.link/streams/{shape.stream}",
            "strike": told.strike, "strike_source": shape.source, "strike_observed_at": at(told.opens_s),
            "strike_age_ms": 0.0, "settlement": told.settlement, "settlement_source": shape.source,
            "settlement_observed_at": at(told.ends_s), "settlement_age_ms": 0.0, "computed_outcome": told.computed,
            "official_outcome": told.official, "official_source": "gamma", "official_at": at(told.ends_s + 70),
            "is_match": told.computed == told.official if is_known else None,
            "venue_strike": shape.find_price(number, 0), "venue_final": shape.find_price(number, shape.duration_s),
            "next_strike": told.settlement if number + 1 < count else None, "label": told.label,
            "label_source": told.label_source, "is_disputed": "disputed" in told.flaws,
            "reason": f"no observation within 2 s of the {missing[0]}" if missing else None, "inputs": "[]",
        })  # fmt: skip
    return rows


def list_seconds(shape: Shape, number: int) -> list[dict[str, Any]]:
    """Give a canonical row per second of a market."""
    told = expect(shape, number)
    rows = []
    for second in range(shape.duration_s):
        odds = find_odds(shape, number, second) / 100
        price = shape.find_price(number - (second < LATE_S), (second - LATE_S) % shape.duration_s)
        delta = None if told.strike is None else price - told.strike
        sides = {}
        for side, mid in (("up", odds), ("down", 1 - odds)):
            sides |= {
                f"{side}_bid": mid - 0.01, f"{side}_ask": mid + 0.01, f"{side}_mid": mid, f"{side}_state": "observed",
                f"{side}_spread": 0.02, f"{side}_age_ms": 300.0, f"{side}_bid_depth": 300.0, f"{side}_ask_depth": 300.0,
                f"{side}_imbalance": 0.0, f"{side}_large_orders": 0, f"{side}_buy_amount": 10.0,
                f"{side}_sell_amount": 0.0, f"{side}_trades": 1,
            }  # fmt: skip
        rows.append({
            "t": at(told.opens_s + second), "tau": shape.duration_s - second, "venue": shape.venue,
            "market_id": told.slug, "asset": shape.asset, "symbol": told.slug, "oracle_mid": price,
            "oracle_bid": price - 0.5, "oracle_ask": price + 0.5, "oracle_ffill": False, "oracle_age_ms": 1000.0 * LATE_S,
            "oracle_state": "observed", "book_ffill": False, "k": told.strike, "settlement": told.settlement,
            "y": {"Up": 1, "Down": 0}.get(told.label), "delta": delta,
            "delta_bps": None if delta is None else delta / told.strike * 1e4,
            "sum_bids": sides["up_bid"] + sides["down_bid"], "sum_asks": sides["up_ask"] + sides["down_ask"],
            "spot_price": round(price + 2.5, 2), "spot_age_ms": 400.0, "spot_state": "observed", **sides,
        })  # fmt: skip
    return rows


def write_gold(
    lake: Path, count: int = 3, truth: Spoil = lambda row: row, second: Spoil = lambda row: row, **shape: Any
) -> Shape:
    """Write `truth` and `canonical` of markets that follow each other; `truth` and `second` may spoil rows."""
    made = Shape(**{"duration_s": 120, **shape})
    write_model(lake, "truth", [r for row in list_truths(made, count) if (r := truth(row)) is not None])
    seconds = [row for number in range(count) for row in list_seconds(made, number)]
    write_model(lake, "canonical", [r for row in seconds if (r := second(row)) is not None])
    return made


def write_model(lake: Path, name: str, rows: list[Mapping[str, Any]]) -> None:
    """Append rows to a gold table."""
    columns: dict[str, pa.Array] = {}
    for column in rows[0]:
        values = [row.get(column) for row in rows]
        if column in _TIMES:
            columns[column] = pa.array(values, pa.timestamp("us", "UTC"))
        else:
            columns[column] = pa.array(values, _TRUTHS.get(column))
    table = pa.table(columns)
    table = table.append_column("date", columns["t" if "t" in columns else "opens_at"].cast(pa.date32()))
    write_deltalake(lake / name, table, partition_by=["date", "venue"], mode="append")
