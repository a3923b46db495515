"""Canonical dataset: a busy day of one asset (96 markets) from the lake to `truth` and `canonical`.

The day is made up: 130 changes a second in the two books of each market, an oracle's price a second, five trades of the
underlying a second, ten quotes and two trades a second of the outcomes. The build runs in a process of its own, whose peak
resident memory is what the system says.
"""

import datetime
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from results import Options, Row, judge, make_table, run_main

from truetape.events.schema import KINDS
from truetape.lake.table import LakeTable

START_S = 1_777_420_800
MARKETS = 96
CHANGES_PER_SECOND = 130
"""Of both books of a market together."""
EARLY_S = 90
GOAL_S, GOAL_MB = 60, 1000
BUILD = """
import json, resource, sys
from truetape.transform import build
result = build(sys.argv[1], ["truth", "canonical"])
usage = resource.getrusage(resource.RUSAGE_SELF)
peak, cpu = usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime
print(json.dumps({"seconds": result.seconds, "cpu_s": cpu, "peak_mb": peak, "models": {m.name: [m.units, m.rows] for m in result.models}}))
"""


def measure(options: Options) -> Iterator[Row]:
    """Yield one row for the first build of the day, and one for the build after one late resolution."""
    lake = options.folder / "canonical-lake"
    shutil.rmtree(lake, ignore_errors=True)
    markets = 8 if options.quick else MARKETS
    began = time.perf_counter()
    changes = write_day(lake, markets)
    made_s = time.perf_counter() - began
    yield {"build": "first", "markets": markets, "changes": changes, "made_s": round(made_s, 1), **run_build(lake)}
    write_facts(lake, [markets // 2], 86_400.0)
    yield {"build": "after one late resolution", "markets": markets, "changes": changes, **run_build(lake)}
    shutil.rmtree(lake, ignore_errors=True)


def run_build(lake: Path) -> Row:
    """Build in a process of its own, and give what it says of itself."""
    ran = subprocess.run([sys.executable, "-c", BUILD, str(lake)], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    said: Row = json.loads(ran.stdout.splitlines()[-1])
    return said


def write_day(lake: Path, markets: int) -> int:
    """Write the day, four markets to a commit; give the number of book changes."""
    lake.mkdir(parents=True)
    random = np.random.default_rng(7)
    prices = 60_000 + np.cumsum(random.normal(0, 2, markets * 900 + 200))
    changes = 0
    for first in range(0, markets, 4):
        some = range(first, min(first + 4, markets))
        changes += _write_books(lake, some, random)
        _write_outcomes(lake, some, random)
        _write_prices(lake, some, prices, random)
    write_facts(lake, list(range(markets)), 75.0)
    return changes


def _slug(number: int) -> str:
    return f"btc-updown-15m-{START_S + number * 900}"


def _append(lake: Path, kind: str, part: str, venue: str, symbols: Any, times_us: Any, own: dict[str, Any]) -> None:
    """Append rows; each one's time is also its place on the tape."""
    count = len(times_us)
    stamps = pa.array(times_us, pa.timestamp("us", tz="UTC"))
    texts = symbols if isinstance(symbols, pa.Array) else pa.array([symbols] * count, pa.utf8())
    columns = {
        "venue": pa.array([venue], pa.utf8()).take(pa.array(np.zeros(count, np.int64))), "symbol": texts,
        "venue_symbol": texts, "exchange_at": stamps, "received_at": stamps, "available_at": stamps,
        "tape_offset": pa.array(times_us), "tape_row": pa.array(np.zeros(count, np.int64)),
    } | own  # fmt: skip
    schema = KINDS[kind].arrow
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns
        else pa.array(np.zeros(count, np.bool_)) if field.type == pa.bool_() and not field.nullable
        else pa.nulls(count, field.type) for field in schema
    ]  # fmt: skip
    LakeTable(lake, KINDS[kind], lambda step: None).append(pa.table(arrays, schema=schema), part, 1 << 60)


def _write_books(lake: Path, markets: range, random: np.random.Generator) -> int:
    names, times, own = [], [], {"is_snapshot": [], "side": [], "price": [], "amount": []}
    for number in markets:
        opens_us = (START_S + number * 900) * 1_000_000
        for outcome in ("Up", "Down"):
            count = CHANGES_PER_SECOND * (900 + EARLY_S) // 2
            begin = opens_us - EARLY_S * 1_000_000
            changed = np.sort(random.integers(begin + 1, opens_us + 900_000_000, count))
            pictured = np.full(98, begin)
            times.append(np.concatenate([pictured, changed]))
            names.append(np.repeat(f"{_slug(number)}:{outcome}", len(times[-1])))
            is_bid = random.integers(0, 2, count).astype(bool)
            level = np.where(is_bid, random.integers(1, 50, count), random.integers(51, 100, count))
            own["is_snapshot"].append(np.arange(98 + count) < 98)
            own["side"].append(np.where(np.concatenate([np.arange(98) < 49, is_bid]), "bid", "ask"))
            own["price"].append(np.concatenate([np.r_[1:50, 51:100], level]) / 100)
            amounts = np.where(random.random(count) < 0.3, 0.0, random.integers(5, 3000, count))
            own["amount"].append(np.concatenate([np.full(98, 100.0), amounts]))
    flat = {name: np.concatenate(parts) for name, parts in own.items()}
    stamps = np.concatenate(times)
    _append(lake, "book_change", f"books-{markets.start}", "polymarket", pa.array(np.concatenate(names)), stamps, flat)
    return len(stamps)


def _write_outcomes(lake: Path, markets: range, random: np.random.Generator) -> None:
    for number in markets:
        opens_us = (START_S + number * 900) * 1_000_000
        for outcome in ("Up", "Down"):
            symbol, part = f"{_slug(number)}:{outcome}", f"outcome-{number}-{outcome}"
            times = opens_us + np.arange(0, 900_000_000, 100_000)
            own = {"bid_price": np.full(len(times), 0.49), "ask_price": np.full(len(times), 0.51)}
            _append(lake, "quote", part, "polymarket", symbol, times, own)
            times = opens_us + np.arange(0, 900_000_000, 500_000)
            sides = np.where(random.random(len(times)) < 0.5, "buy", "sell")
            own = {"side": sides, "price": np.full(len(times), 0.5), "amount": np.full(len(times), 7.0)}
            own |= {"trade_id": np.char.add("0x", times.astype(str))}
            _append(lake, "trade", part, "polymarket", symbol, times, own)


def _write_prices(lake: Path, markets: range, prices: Any, random: np.random.Generator) -> None:
    begin, end = markets.start * 900, (markets.stop) * 900 + (30 if markets.stop % 4 else 0) + 5
    seconds = np.arange(begin, end)
    observed = (START_S + seconds) * 1_000_000
    values = prices[seconds]
    own: dict[str, Any] = {
        "exchange_at": pa.array(observed, pa.timestamp("us", tz="UTC")), "source": ["rtds_chainlink"] * len(seconds),
        "feed_id": ["btc/usd"] * len(seconds), "price": values, "exact_price": values.astype(str),
    }  # fmt: skip
    symbol = "BTC-USD:rtds_chainlink"
    _append(lake, "oracle_price", f"oracle-{begin}", "polymarket", symbol, observed + 1_300_000, own)
    times = np.sort(START_S * 1_000_000 + random.integers(begin * 1_000_000, end * 1_000_000, len(seconds) * 5))
    own = {"price": prices[(times // 1_000_000 - START_S).astype(int)], "amount": np.full(len(times), 0.01)}
    own |= {"side": np.full(len(times), "buy"), "trade_id": times.astype(str)}
    _append(lake, "trade", f"spot-{begin}", "coinbase", "BTC-USD", times, own)


def write_facts(lake: Path, markets: list[int], after_s: float) -> None:
    """Write what the venue says of markets: metadata, and a resolution so long after their ends."""
    count = len(markets)
    opens = np.array([(START_S + number * 900) * 1_000_000 for number in markets])
    slugs = [_slug(number) for number in markets]
    names = {"slug": slugs, "condition": [f"0x{number:064x}" for number in markets]}
    stamp = pa.timestamp("us", tz="UTC")
    if after_s < 1000:
        own = names | {
            "outcomes": ['{"Up":"1","Down":"2"}'] * count, "opens_at": pa.array(opens, stamp),
            "ends_at": pa.array(opens + 900_000_000, stamp), "rule": ["spot"] * count,
            "resolution_source": ["https://data.chain.link/streams/btc-usd"] * count,
        }  # fmt: skip
        _append(lake, "prediction_market", "facts", "polymarket", pa.array(slugs), opens - 86_000_000_000, own)
    told = opens + 900_000_000 + int(after_s * 1e6)
    own = names | {"source": ["gamma"] * count, "status": ["resolved"] * count, "winner": ["Up"] * count}
    own |= {"is_resolved": [True] * count, "payouts": ['{"Up":1.0,"Down":0.0}'] * count}
    own |= {"resolved_at": pa.array(told, stamp)}
    _append(lake, "resolution", f"resolved-{after_s}", "polymarket", pa.array(slugs), told, own)


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    first = rows[0]
    day = datetime.timedelta(seconds=first["markets"] * 900)
    lines = []
    for row in rows:
        goal = f"< {GOAL_S} s, < {GOAL_MB} MB" if row is first else ""
        met = [judge(row["seconds"], GOAL_S, at_most=True), judge(row["peak_mb"], GOAL_MB, at_most=True)]
        lines.append(
            [row["build"], goal, f"{row['seconds']:.1f} s, {row['peak_mb']:.0f} MB", ", ".join(met) if goal else ""]
        )
    return (
        f"{first['markets']} markets of one asset ({day}), {first['changes']:,} book changes, to the tables `truth` and `canonical`. "
        "The peak is the resident memory of the whole process.\n\n"
        + make_table(["build", "goal", "measured", "verdict"], lines)
    )


if __name__ == "__main__":
    run_main("build_canonical", measure)
