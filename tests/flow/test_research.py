"""The files that researchers exchange have the columns they have there, and tell what was observed."""

import csv
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from gold import write_gold
from market_lake import write_market_lake

from truetape.errors import ConfigError
from truetape.flow.dataset import Selection
from truetape.flow.research import export_research
from truetape.lake import Lake

FLAWS = {0: ("oracle_gap", "disputed"), 1: ("no_settlement",)}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    path = tmp_path_factory.mktemp("research") / "lake"
    path.mkdir()
    for asset in ("BTC", "ETH"):
        write_market_lake(path, 2, asset=asset, flaws=FLAWS)
        write_gold(path, 2, duration_s=900, asset=asset, flaws=FLAWS)
    return Lake(path)


@pytest.fixture(scope="module")
def folder(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    written = export_research(lake, Selection(), out)
    assert list(written) == [
        "raw/chainlink_continuous.csv", "raw/polymarket_BTC.csv", "raw/polymarket_ETH.csv",
        "research/canonical_dataset.parquet", "research/market_master.json", "research/VALIDATION_REPORT.md",
    ]  # fmt: skip
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == sorted(written)
    return out


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_oracle_is_continuous(folder: Path) -> None:
    rows = read_csv(folder / "raw" / "chainlink_continuous.csv")
    assert list(rows[0]) == ["timestamp", "asset", "mid", "bid", "ask", "is_observed"]
    btc = [row for row in rows if row["asset"] == "BTC"]
    assert len(btc) == 30 + 2 * 900 + 30
    times = [row["timestamp"] for row in btc]
    assert (times[0], times == sorted(set(times))) == ("2026-04-28 23:59:32.000000+00:00", True)
    hidden = [row for row in btc if row["is_observed"] == "false"]
    in_gap = [row for row in hidden if not row["mid"]]
    assert {row["timestamp"][11:19] for row in in_gap} == {f"00:06:{s:02d}" for s in range(42, 60)} | {
        "00:07:00", "00:07:01",
    }  # fmt: skip
    carried = [row for row in hidden if row["mid"]]
    assert len(carried) == 7 * 1  # what nobody declared around the end of the second market is carried
    assert {row["mid"] for row in carried} == {carried[0]["mid"]}


def test_books_by_asset(folder: Path) -> None:
    rows = read_csv(folder / "raw" / "polymarket_ETH.csv")
    assert list(rows[0]) == [
        "timestamp", "asset", "market_id", "up_mid", "up_bid", "up_ask", "down_mid", "down_bid", "down_ask",
        "is_observed",
    ]  # fmt: skip
    assert len(rows) == 1800
    assert {row["asset"] for row in rows} == {"ETH"}
    assert rows[0]["timestamp"] == "2026-04-29 00:00:00.000000+00:00"


def test_the_canonical_table_has_their_names_first(folder: Path) -> None:
    table = pyarrow.parquet.read_table(folder / "research" / "canonical_dataset.parquet")
    assert table.column_names[:25] == [
        "t", "tau", "market_id", "asset", "cl_mid", "cl_bid", "cl_ask", "cl_ffill", "pm_up_mid", "pm_up_bid",
        "pm_up_ask", "pm_down_mid", "pm_down_bid", "pm_down_ask", "pm_ffill", "K", "settlement", "Y", "delta",
        "delta_bps", "sum_bids", "sum_asks", "pm_up_spread", "pm_down_spread", "symbol",
    ]  # fmt: skip
    assert {"venue", "oracle_state", "up_imbalance", "spot_price"} <= set(table.column_names)
    assert table.num_rows == 3600


def test_the_market_master(folder: Path) -> None:
    (first, *rest) = json.loads((folder / "research" / "market_master.json").read_text())
    assert list(first)[:9] == [
        "market_id", "asset", "start_timestamp", "end_timestamp", "strike_K", "settlement_price", "resolved_outcome",
        "computed_outcome", "outcome_match",
    ]  # fmt: skip
    assert (first["start_timestamp"], first["end_timestamp"]) == ("2026-04-29T00:00:00Z", "2026-04-29T00:15:00Z")
    assert (first["resolved_outcome"] == first["computed_outcome"], first["outcome_match"]) == (True, True)
    assert (first["verdict"], first["is_disputed"]) == ("degraded", True)
    last = rest[-1]
    assert (last["settlement_price"], last["computed_outcome"], last["outcome_match"]) == (None, "indeterminate", None)


def test_the_report_is_there(folder: Path) -> None:
    assert (folder / "research" / "VALIDATION_REPORT.md").read_text().startswith("# Validation report\n")


def test_one_asset_only(lake: Lake, tmp_path: Path) -> None:
    written = export_research(lake, Selection(asset="ETH"), tmp_path)
    assert "raw/polymarket_BTC.csv" not in written
    assert {row["asset"] for row in read_csv(tmp_path / "raw" / "chainlink_continuous.csv")} == {"ETH"}
    assert written["research/market_master.json"] == 2


def test_nothing_to_write_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no markets to export"):
        export_research(lake, Selection(("nothing",)), tmp_path)
    assert not list(tmp_path.iterdir())
