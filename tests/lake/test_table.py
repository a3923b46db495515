"""Appending to one kind's table."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from kill_sweep import build_tables

from truetape.events.schema import KINDS, Column, ColumnType
from truetape.lake.rows import Rows, connect_duckdb
from truetape.lake.snapshot import take_snapshot
from truetape.lake.table import LakeTable, count_rows

TRADE = KINDS["trade"]


def ignore(name: str) -> None:
    pass


def test_rows_at_or_after_the_table_s_version_are_new(tmp_path: Path) -> None:
    table = LakeTable(tmp_path, TRADE, ignore)
    assert table.append(build_tables(0, 6)["trade"], "tape", 6) == 18
    assert table.append(build_tables(0, 6)["trade"], "tape", 6) == 0
    assert table.append(build_tables(3, 9)["trade"], "tape", 9) == 9
    assert LakeTable(tmp_path, TRADE, ignore).append(build_tables(0, 10)["trade"], "tape", 10) == 3
    assert table.append(build_tables(0, 10)["trade"], "tape", 10) == 0, "another handle's commit is seen"
    assert count_rows(tmp_path / "trade") == 30
    assert DeltaTable(tmp_path / "trade").transaction_version("tape") == 10


def test_many_commits_go_through_fresh_handles(tmp_path: Path) -> None:
    opened: list[str] = []
    table = LakeTable(tmp_path, TRADE, lambda name: opened.append(name) if name.startswith("open") else None)
    rows = build_tables(0, 1)["trade"].slice(0, 1)
    for offset in range(103):
        placed = rows.set_column(6, rows.schema.field(6), pa.array([offset]))
        table.append(placed, "tape", offset + 1)
    assert opened == ["open trade"] * 2
    assert count_rows(tmp_path / "trade") == 103


def test_a_kind_that_grew_is_merged_and_old_rows_are_null(tmp_path: Path) -> None:
    old = msgspec.structs.replace(TRADE, own=TRADE.own[:-2])
    rows = build_tables(0, 4)["trade"]
    LakeTable(tmp_path, old, ignore).append(rows.select(old.arrow.names).cast(old.arrow), "tape", 4)
    # The reader knows the new columns before the table has them.
    before = read(tmp_path)
    assert before.num_rows == 12 and before["flag"].null_count == before["inexact"].null_count == 12
    LakeTable(tmp_path, TRADE, ignore).append(build_tables(4, 8)["trade"], "tape", 8)
    after = read(tmp_path).sort_by([("tape_offset", "ascending"), ("tape_row", "ascending")])
    assert after.column_names == TRADE.arrow.names
    assert after["inexact"].null_count == 12
    fresh = after.filter(pc.greater_equal(after["tape_offset"], 4))
    assert fresh.to_pylist() == build_tables(4, 8)["trade"].to_pylist()


def test_a_table_ahead_of_this_version_keeps_its_extra_column(tmp_path: Path) -> None:
    grown = msgspec.structs.replace(TRADE, own=(*TRADE.own, Column("extra", ColumnType.INTEGER, "of tomorrow")))
    rows = build_tables(0, 4)["trade"]
    wider = rows.append_column(grown.arrow.field("extra"), pa.array(range(12), pa.int64()))
    LakeTable(tmp_path, grown, ignore).append(wider, "tape", 4)
    LakeTable(tmp_path, TRADE, ignore).append(build_tables(4, 8)["trade"], "tape", 8)
    assert read(tmp_path).column_names == TRADE.arrow.names
    assert "extra" in {field.name for field in DeltaTable(tmp_path / "trade").schema().fields}


def test_delta_readers_see_every_row(tmp_path: Path) -> None:
    LakeTable(tmp_path, TRADE, ignore).append(build_tables(0, 6)["trade"], "tape", 6)
    seen = pa.table(DeltaTable(tmp_path / "trade").scan()).select(TRADE.arrow.names).cast(TRADE.arrow)
    ordered = seen.sort_by([("tape_offset", "ascending"), ("tape_row", "ascending")])
    assert ordered.to_pylist() == build_tables(0, 6)["trade"].to_pylist()


@pytest.mark.parametrize("name", KINDS)
def test_keys_that_differ_only_in_case_never_become_columns(name: str) -> None:
    names = [*KINDS[name].arrow.names, "date"]
    assert len({column.lower() for column in names}) == len(names)


def read(root: Path) -> pa.Table:
    return Rows(connect_duckdb, take_snapshot(root, TRADE).build_query()).arrow()
