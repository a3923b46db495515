"""export of datasets: a file with its manifest, the researchers' folder, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run
from gold import write_gold
from market_lake import write_market_lake

from truetape.lake import Lake
from truetape.transform import read_variables

SLUG = "btc-updown-2m-1777420800"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two markets with gold tables by hand; tests only read it."""
    path = tmp_path_factory.mktemp("export") / "lake"
    write_market_lake(path, 2, duration_s=120)
    write_gold(path, 2)
    return path


def test_a_dataset_and_its_manifest(truetape: Run, lake: Path, tmp_path: Path) -> None:
    done = truetape("export", "canonical", "--market", SLUG, "--lake", lake, "--to", "out.parquet")
    assert (done.code, done.out.splitlines()[0]) == (0, "out.parquet: 120 rows of 1 markets")
    assert (tmp_path / "out.parquet.manifest.json").is_file()
    done = truetape("export", "canonical", "--from", "2026-04-29T00:02:00Z", "--lake", lake, "--to", "later.csv")
    assert done.out.splitlines()[0] == "later.csv: 120 rows of 1 markets"
    done = truetape(
        "export", "truth", "--until", "2026-04-29 00:02", "--asset", "BTC", "--lake", lake, "--to", "t.jsonl"
    )
    assert done.out.splitlines()[0] == "t.jsonl: 1 rows of 1 markets"


def test_a_dataset_that_does_not_build_again_is_a_finding(truetape: Run, lake: Path) -> None:
    truetape("export", "truth", "--lake", lake, "--to", "truth.parquet")  # of a table made by hand
    done = truetape("verify", "--dataset", "truth.parquet", "--lake", lake)
    assert done.code == 1
    assert "truth.parquet: NOT proven" in done.out and "problem: " in done.out
    told = truetape("verify", "--dataset", "truth.parquet", "--lake", lake, "--json")
    assert (told.code, told.json["is_equal"]) == (1, False)


def test_the_researchers_folder(truetape: Run, lake: Path, tmp_path: Path) -> None:
    done = truetape("export", "research", "--lake", lake, "--to", "research")
    assert done.code == 0
    assert "research/raw/polymarket_BTC.csv: 240 rows" in done.out
    assert (tmp_path / "research" / "research" / "VALIDATION_REPORT.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("canonical", "--venue", "polymarket", "--to", "x.csv"), "--venue: not for canonical (allowed: --market"),
        (("trade", "--market", "m", "--to", "x.csv"), "--market: not for trade (allowed: --venue"),
        (("canonical", "--from", "noon", "--to", "x.csv"), "--start: 'noon' is no ISO time"),
        (("canonical", "--to", "x.xlsx"), "allowed: .parquet"),
        (("canonical", "--market", "nothing", "--to", "x.csv"), "no rows"),
        (("canonical", "--to", "."), "canonical is written to a file"),
        (("research", "--to", "{lake}/truth/_delta_log/00000000000000000000.json"), "research is written to a folder"),
        (("research", "--market", "nothing", "--to", "x"), "no markets to export"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(refused: Callable[..., str], lake: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in refused("export", *(a.format(lake=lake) for a in arguments), "--lake", lake)
    assert not Path("x.csv").exists()


def test_what_is_not_there_cannot_be_proven(refused: Callable[..., str], lake: Path) -> None:
    assert "there is no none.parquet.manifest.json" in refused("verify", "--dataset", "none.parquet", "--lake", lake)


def test_the_threshold_of_large_orders_is_a_setting(truetape: Run, lake: Path, tmp_path: Path) -> None:
    own = shutil.copytree(lake, tmp_path / "own")
    (tmp_path / "truetape.yaml").write_text(f"sinks: ['lake:{own}']\nbuild: {{large_order_min: 1000000}}\n")
    assert truetape("build", "canonical").code == 0
    assert read_variables(own, "canonical") == {"large_order_min": 1_000_000}
    told = Lake(own).sql("select count(*) as n, sum(up_large_orders) as large from canonical").arrow().to_pylist()
    assert told == [{"n": 240, "large": 0}]  # 480 of 1,000 shares
    (tmp_path / "truetape.yaml").write_text("build: {large_order_min: 0}\n")
    refused = truetape("build", "--lake", own)
    assert refused.code == 2
    assert "build.large_order_min" in refused.err
