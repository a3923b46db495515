"""Sizes: bytes a row in the lake, of recorded trades, books and quotes, as `deliver` writes them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from deltalake import DeltaTable
from frames import RECORDINGS
from results import Options, Row, judge, make_table, run_main

from truetape.flow import deliver, import_files

SETS = {
    "spot and USD-M": (
        "hftbacktest_usdm_btcusdt_20240808.gz",
        "hftbacktest_usdm_ethusdt_20240808.gz",
        "hftbacktest_spot_btcusdt_20240808.gz",
    ),
    "COIN-M": (
        "hftbacktest_coinm_btcusd_perp_20240808.gz",
        "hftbacktest_coinm_ethusd_perp_20240808.gz",
    ),
}
"""Recordings of Binance, of one evening. COIN-M counts contracts: its base amounts are quotients, which compress badly."""
GOALS = {"trade": 8.0, "book_change": 5.0, "quote": None}


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per table of the lake."""
    if not RECORDINGS.is_dir():
        yield {"kind": "", "missing": "the recordings are not here"}
        return
    folder = options.folder / "sizes"
    for title, names in SETS.items():
        shutil.rmtree(folder, ignore_errors=True)
        paths = [RECORDINGS / "binance" / name for name in names]
        import_files("hftbacktest", paths, "binance", str(folder / "tape"))
        deliver(str(folder / "tape"), (f"lake:{folder / 'lake'}",))
        for path in sorted((folder / "lake").iterdir()):
            if path.name in GOALS:
                yield {"set": title, **_weigh(path)}
    shutil.rmtree(folder)


def _weigh(path: Path) -> Row:
    actions = DeltaTable(str(path)).get_add_actions(flatten=True)
    size, rows = (sum(actions.column(name).to_pylist()) for name in ("size_bytes", "num_records"))
    return {
        "kind": path.name,
        "rows": rows,
        "bytes": size,
        "files": actions.num_rows,
        "bytes_a_row": round(size / rows, 2),
    }


def render(rows: list[Row]) -> str:
    """Return the page's section."""
    if "missing" in rows[0]:
        return f"Not measured: {rows[0]['missing']}.\n"
    lines = []
    for row in rows:
        goal = GOALS[row["kind"]]
        told = judge(row["bytes_a_row"], goal, at_most=True) if goal else ""
        limit = f"≤ {goal:g}" if goal else ""
        figures = [f"{row['rows']:,}", str(row["files"]), f"{row['bytes_a_row']:.1f}", limit, told]
        lines.append([row["set"], f"`{row['kind']}`", *figures])
    heads = ["recorded", "table", "rows", "files", "bytes a row", "goal", "verdict"]
    return "Binance, 2024-08-08, imported and delivered with default settings, not compacted.\n\n" + make_table(
        heads, lines
    )


if __name__ == "__main__":
    run_main("sizes", measure)
