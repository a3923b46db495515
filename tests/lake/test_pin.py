"""Pins: what had a name stays readable, whatever happens to the lake."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hourly_trades import write_trades

from truetape.errors import ConfigError
from truetape.flow import deliver
from truetape.lake import (
    Lake,
    compact,
    compare_pins,
    describe_lake,
    drop_days,
    drop_pin,
    lake_hash,
    list_pins,
    pin_lake,
    read_pin,
    vacuum,
)

COUNT = "select count(*) as n from trade"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for begin in (0, 100):
        write_trades(tmp_path / "tape", begin, 100)
        deliver(str(tmp_path / "tape"), (f"lake:{tmp_path / 'lake'}",))
    return tmp_path / "lake"


def count(lake: Lake) -> int:
    return lake.sql(COUNT).arrow()["n"][0].as_py()


def test_a_pin_outlives_dropping_compaction_and_vacuum(lake: Path) -> None:
    pin = pin_lake(lake, "paper-1", "figures of the paper")
    assert drop_days(lake, "trade", date(2026, 1, 9)) == 96
    compact(lake)
    vacuum(lake, 0, force=True)
    assert count(Lake(lake)) == 104
    assert count(Lake(lake, "paper-1")) == 200
    assert len(Lake(lake, "paper-1").trades().arrow()) == 200
    versions = {name: table.version for name, table in pin.tables.items()}
    assert lake_hash(lake, versions=versions) == pin.sha256 != lake_hash(lake)
    drop_pin(lake, "paper-1")
    vacuum(lake, 0, force=True)
    with pytest.raises(ConfigError, match="there is no such pin"):
        Lake(lake, "paper-1")


def test_differences_are_by_table(lake: Path, tmp_path: Path) -> None:
    before = pin_lake(lake, "before")
    write_trades(tmp_path / "tape", 200, 50)
    deliver(str(tmp_path / "tape"), (f"lake:{lake}",))
    assert compare_pins(before, before) == []
    (found,) = compare_pins(before, describe_lake(lake))
    assert (found.table, found.rows_before, found.rows_after) == ("trade", 200, 250)
    assert [pin.name for pin in list_pins(lake)] == ["before"]


def test_a_pinned_lake_knows_only_tables_of_its_time(lake: Path, tmp_path: Path) -> None:
    pin_lake(lake, "early")
    assert len(Lake(lake, "early").quotes().arrow()) == 0
    assert set(Lake(lake, "early").versions()) == {"trade"}


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 81])
def test_what_is_no_name_is_refused(lake: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="a name has letters"):
        pin_lake(lake, name)
    with pytest.raises(ConfigError, match="no such pin"):
        read_pin(lake, name)


def test_a_pin_does_not_change(lake: Path) -> None:
    made = pin_lake(lake, "once")
    with pytest.raises(ConfigError, match="is there already"):
        pin_lake(lake, "once")
    assert read_pin(lake, "once") == made
    assert made.made_at > datetime(2026, 1, 1, tzinfo=UTC)
