"""Sizes: bytes a row in the lake, of recorded trades, books and quotes, as `deliver` writes them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from deltalake import DeltaTable
from frames import RECORDINGS
from results import Options, Row, judge, make_table, run_main

from truetape.flow import deliver, import_files

RECORDED = {
    "binance": (
        "hftbacktest",
        (
            "hftbacktest_usdm_btcusdt_20240808.gz", "hftbacktest_usdm_ethusdt_20240808.gz",
            "hftbacktest_spot_btcusdt_20240808.gz", "hftbacktest_spot_btcusdt_20240809.gz",
            "hftbacktest_coinm_btcusd_perp_20240808.gz", "hftbacktest_coinm_btcusd_perp_20240809.gz",
            "hftbacktest_coinm_ethusd_perp_20240808.gz", "hftbacktest_coinm_ethusd_perp_20240809.gz",
        ),
    ),
}  # fmt: skip
"""One continuous quarter of an hour, as far as the recordings go."""
GOALS = {"trade": 8.0, "book_change": 5.0}


def measure(options: Options) -> Iterator[Row]:
    """Yield one row per table of the lake."""
    if not RECORDINGS.is_dir():
        yield {"kind": "", "missing": "the recordings are not here"}
        return
    folder = options.folder / "sizes"
    shutil.rmtree(folder, ignore_errors=True)
    for venue, (format_name, names) in RECORDED.items():
        import_files(format_name, [RECORDINGS / venue / name for name in names], venue, str(folder / "tape"))
    deliver(str(folder / "tape"), (f"lake:{folder / 'lake'}",))
    for path in sorted((folder / "lake").iterdir()):
        if (path / "_delta_log").is_dir():
            yield _weigh(path)
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
    for row in sorted(rows, key=lambda row: -row["rows"]):
        goal = GOALS.get(row["kind"])
        told = judge(row["bytes_a_row"], goal, at_most=True) if goal else ""
        limit = f"≤ {goal:g}" if goal else ""
        lines.append(
            [f"`{row['kind']}`", f"{row['rows']:,}", str(row["files"]), f"{row['bytes_a_row']:.1f}", limit, told]
        )
    heads = ["table", "rows", "files", "bytes a row", "goal", "verdict"]
    return "Binance spot, USD-M and COIN-M of 2024-08-08, imported and delivered in one run.\n\n" + make_table(
        heads, lines
    )


if __name__ == "__main__":
    run_main("sizes", measure)
