"""An exported dataset is proven by building it again, and every way it can be wrong is told."""

import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
from market_lake import Shape, make_row, write_kind, write_market_lake

from truetape.errors import ConfigError
from truetape.flow.dataset import Selection, export_dataset, name_manifest, read_manifest, verify_dataset
from truetape.lake import Lake, compact, vacuum
from truetape.transform import build, list_models

SECONDS = 120
SLUGS = [f"btc-updown-2m-{1_777_420_800 + i * SECONDS}" for i in range(3)]
DATASET = "canonical" if "canonical" in list_models() else "truth"
PER_MARKET = SECONDS if DATASET == "canonical" else 1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with gold tables; tests copy it."""
    path = tmp_path_factory.mktemp("built") / "lake"
    path.mkdir()
    write_market_lake(path, 3, duration_s=SECONDS)
    build(path, sorted({DATASET, "truth"}))
    return path


@pytest.fixture
def lake(built: Path, tmp_path: Path) -> Lake:
    return Lake(shutil.copytree(built, tmp_path / "lake"))


def export_one(lake: Lake) -> Path:
    target = lake.path.parent / "out" / "one.parquet"
    export_dataset(lake, DATASET, Selection((SLUGS[1],)), target)
    return target


def bring_late_row(lake: Lake) -> None:
    """A price of the past, received when everything was over."""
    shape = Shape(duration_s=SECONDS)
    row = make_row(
        "oracle_price", shape, "BTC-USD:rtds_chainlink", shape.opens(1), shape.opens(1) + 60.0, price=1.0,
        source="rtds_chainlink", feed_id="btc/usd", is_snapshot=True, venue_symbol="rtds_chainlink:btc/usd",
    )  # fmt: skip
    row.pop("kind")
    write_kind(lake.path, "oracle_price", [row], "late")


def test_a_dataset_is_proven(lake: Lake) -> None:
    target = export_one(lake)
    manifest = read_manifest(target)
    assert (manifest.rows, manifest.markets, manifest.file) == (PER_MARKET, (SLUGS[1],), "one.parquet")
    assert {table.kind for table in manifest.inputs} >= {"oracle_price", "prediction_market", "resolution"}
    assert pyarrow.parquet.read_table(target).column_names == list(manifest.columns)
    proof = verify_dataset(lake, target)
    assert (proof.is_equal, proof.problems, proof.rows_sha256) == (True, (), manifest.rows_sha256)


def test_it_is_proven_after_more_was_recorded_and_files_were_joined(lake: Lake) -> None:
    target = export_one(lake)
    bring_late_row(lake)
    compact(lake.path)
    assert verify_dataset(lake, target).is_equal


def test_two_exports_are_equal(lake: Lake) -> None:
    first = export_one(lake).read_bytes(), name_manifest(export_one(lake)).read_bytes()
    again = export_one(lake)
    assert (again.read_bytes(), name_manifest(again).read_bytes()) == first


def test_a_changed_file_is_found(lake: Lake) -> None:
    target = export_one(lake)
    target.write_bytes(target.read_bytes() + b"\0")
    proof = verify_dataset(lake, target)
    assert not proof.is_equal
    assert "its sha256 differs" in proof.problems[0]


def test_rows_that_the_lake_does_not_give_are_found(lake: Lake) -> None:
    target = export_one(lake)
    path = name_manifest(target)
    manifest = read_manifest(target)
    path.write_text(path.read_text().replace(manifest.rows_sha256, "0" * 64))
    assert "the lake gives as many rows, with other values" in verify_dataset(lake, target).problems[0]


def test_inputs_that_differ_are_named(lake: Lake) -> None:
    target = export_one(lake)
    path = name_manifest(target)
    (oracle,) = [table for table in read_manifest(target).inputs if table.kind == "oracle_price"]
    path.write_text(path.read_text().replace(oracle.rows_sha256, "0" * 64))
    assert verify_dataset(lake, target).problems == (
        "rows of oracle_price around the markets are not those the manifest names",
    )


def test_versions_that_are_gone_are_told(lake: Lake) -> None:
    target = export_one(lake)
    bring_late_row(lake)
    compact(lake.path)
    vacuum(lake.path, 0, force=True)
    (problem,) = verify_dataset(lake, target).problems
    assert "oracle_price cannot be read at version 1 any more" in problem


def test_a_table_that_is_gone_is_told(lake: Lake) -> None:
    target = export_one(lake)
    shutil.rmtree(lake.path / "resolution")
    assert verify_dataset(lake, target).problems == ("there is no table resolution any more",)


def test_selections(lake: Lake) -> None:
    target = lake.path.parent / "all.parquet"
    shape = Shape(duration_s=SECONDS)
    start = make_row("trade", shape, "x", None, shape.opens(1))["received_at"]
    assert export_dataset(lake, DATASET, Selection(asset="btc"), target).rows == 3 * PER_MARKET
    assert export_dataset(lake, DATASET, Selection(start=start), target).markets == tuple(SLUGS[1:])
    assert export_dataset(lake, DATASET, Selection(end=start), target).markets == (SLUGS[0],)


def test_what_cannot_be_exported_or_proven_is_refused(lake: Lake, tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    with pytest.raises(ConfigError, match="there are no rows"):
        export_dataset(lake, DATASET, Selection(("nothing",)), target)
    with pytest.raises(ConfigError, match=r"dataset 'bars': unknown \(allowed: canonical, truth\)"):
        export_dataset(lake, "bars", Selection(), target)
    with pytest.raises(ConfigError, match=r"there is no x.parquet.manifest.json beside it"):
        verify_dataset(lake, target)
    name_manifest(target).write_text("{}")
    with pytest.raises(ConfigError, match="missing required field"):
        verify_dataset(lake, target)
    shutil.rmtree(lake.path / "truth")
    with pytest.raises(ConfigError, match="no table truth yet; truetape build makes it"):
        export_dataset(lake, DATASET, Selection(), target)


def test_other_variables_are_part_of_the_proof(lake: Lake) -> None:
    build(lake.path, sorted({DATASET, "truth"}), variables={"large_order_min": 60})
    target = lake.path.parent / "large.parquet"
    chosen = Selection((SLUGS[1],))
    manifest = export_dataset(lake, DATASET, chosen, target)
    assert manifest.variables == {"large_order_min": 60}
    assert verify_dataset(lake, target).is_equal
    export_dataset(lake, DATASET, chosen, target, variables={})
    assert "with other values" in verify_dataset(lake, target).problems[0]
