"""Import of a large Tardis CSV: seconds and memory from the file to the lake, the process of `truetape import` and then `deliver`.

Run: .venv/bin/python bench/import_csv.py [rows] [dataset: trades, incremental_book_L2, quotes, book_snapshot_25]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

ROWS_DEFAULT = 5_000_000
PART = 250_000
START_US = 1_704_067_200_000_000


def write_dataset(path: Path, rows: int, name: str) -> None:
    """Write a day of one instrument, spread evenly."""
    random = np.random.default_rng(1)
    with path.open("wb") as file:
        for begin in range(0, rows, PART):
            number = np.arange(begin, min(begin + PART, rows))
            local = START_US + number * (86_400_000_000 // rows)
            price = np.round(42_000 + np.cumsum(random.normal(0, 0.05, len(number))), 2)
            amount = np.round(random.exponential(0.05, len(number)) + 0.001, 3)
            table = make_part(name, number, local, price, amount)
            if begin == 0:
                file.write(",".join(table.column_names).encode() + b"\n")
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False, quoting_style="none"))


def make_part(name: str, number: np.ndarray, local: np.ndarray, price: np.ndarray, amount: np.ndarray) -> pa.Table:
    """Make rows of a dataset."""
    count = len(number)
    columns: dict[str, object] = {
        "exchange": ["binance"] * count, "symbol": ["BTCUSDT"] * count,
        "timestamp": local - 5_000, "local_timestamp": local,
    }  # fmt: skip
    if name == "trades":
        columns |= {
            "id": number + 1,
            "side": np.where(number % 3 == 0, "sell", "buy"),
            "price": price,
            "amount": amount,
        }
    elif name == "incremental_book_L2":
        columns["local_timestamp"] = columns["timestamp"] = (local - local % 100_000) + 5_000
        columns |= {"is_snapshot": pa.array(number < 2000), "side": np.where(number % 2 == 0, "bid", "ask")}
        columns |= {"price": np.where(number % 2 == 0, 41_000.0, 43_000.0) + price % 100, "amount": amount}
    elif name == "quotes":
        columns |= {"ask_amount": amount, "ask_price": price + 0.01, "bid_price": price, "bid_amount": amount}
    else:
        for i in range(25):
            columns |= {f"asks[{i}].price": price + i, f"asks[{i}].amount": amount}
            columns |= {f"bids[{i}].price": price - i - 1, f"bids[{i}].amount": amount}
    return pa.table(columns)


def run(*arguments: str) -> tuple[float, float]:
    """Run a command; return its seconds and the largest memory of any so far, in MB."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "truetape.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Print what importing and delivering cost."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS_DEFAULT
    name = sys.argv[2] if len(sys.argv) > 2 else "trades"
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        path, tape, lake = (Path(folder, part) for part in (f"binance_{name}.csv", "tape", "lake"))
        write_dataset(path, rows, name)
        size = path.stat().st_size / 1e6
        import_s, import_mb = run("import", "tardis", str(path), "--tape", str(tape))
        deliver_s, deliver_mb = run("deliver", "--tape", str(tape), "--sink", f"lake:{lake}")
        stored = count(lake)
        print(f"{name}: {rows:,} rows, {size:.0f} MB: import {import_s:.1f} s, deliver {deliver_s:.1f} s, "
              f"sum {import_s + deliver_s:.1f} s; memory {import_mb:.0f} and at most {deliver_mb:.0f} MB; stored {stored}")  # fmt: skip


def count(lake: Path) -> dict[str, int]:
    """Count the rows of each table."""
    import duckdb

    tables = [folder.name for folder in lake.iterdir() if (folder / "_delta_log").is_dir()]
    return {
        name: duckdb.sql(f"select count(*) from read_parquet('{lake}/{name}/**/*.parquet')").fetchall()[0][0]
        for name in tables
    }


if __name__ == "__main__":
    main()
