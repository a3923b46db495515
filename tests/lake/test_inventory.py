"""What a lake holds."""

from pathlib import Path

import pytest

from truetape.errors import ConfigError
from truetape.lake import compact, list_tables


def test_tables_are_listed_with_what_they_hold(build) -> None:
    lake = build("lake", 10, ("trade", "gap"))
    trade, gap = list_tables(lake)
    assert (trade.kind, trade.version, trade.rows, gap.kind, gap.rows) == ("trade", 2, 60, "gap", 30)
    assert trade.bytes == sum(path.stat().st_size for path in lake.glob("trade/**/*.parquet"))
    assert trade.files == len(list(lake.glob("trade/**/*.parquet")))
    compact(lake)
    after = list_tables(lake)[0]
    assert (after.version, after.rows) == (3, 60) and after.files < trade.files


def test_an_empty_folder_has_no_tables_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert list_tables(tmp_path) == []
    with pytest.raises(ConfigError, match="no lake at"):
        list_tables(tmp_path / "none")
