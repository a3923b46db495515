"""The lake as readers see it."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas
import polars
import pyarrow as pa
import pytest
from kill_sweep import VENUES, build_tables

from truetape.errors import ConfigError, MissingExtra
from truetape.events.schema import KINDS
from truetape.lake import Lake


@pytest.mark.parametrize("batch", [20, 7])
def test_every_kind_comes_back_as_it_went_in(build, batch: int) -> None:
    lake = Lake(build("lake [a]*", batch))
    tables = build_tables(0, 20, tuple(KINDS))
    for name, table in tables.items():
        read = lake.rows(name).arrow()
        assert read.schema.equals(KINDS[name].arrow)
        assert by_place(read) == by_place(table), name


def by_place(table: pa.Table) -> list[dict[str, object]]:
    return sorted(table.to_pylist(), key=lambda row: (row["tape_offset"], row["tape_row"]))


def test_one_method_per_kind(build) -> None:
    lake = Lake(build("lake", 20))
    assert {f"{name}s" for name in KINDS} <= set(dir(lake))
    assert lake.trades("binance").arrow().equals(lake.rows("trade", venue="binance").arrow())
    assert lake.books().arrow().equals(lake.book_changes().arrow())
    with pytest.raises(AttributeError, match="a lake has no 'trade_s'"):
        lake.trade_s  # noqa: B018


def test_venue_symbol_and_half_open_times_choose_rows(build) -> None:
    lake = Lake(build("lake", 4))
    rows = build_tables(0, 20, ("trade",))["trade"].to_pylist()
    times = sorted({row["received_at"] for row in rows})
    start, end = times[3], times[11]
    for venue in (None, *VENUES, "nobody"):
        for symbol in (None, "S1", "s1"):
            want = [
                row
                for row in rows
                if venue in (None, row["venue"])
                and symbol in (None, row["symbol"])
                and start <= row["received_at"] < end
            ]
            assert (
                by_place(lake.trades(venue, symbol, start, end).arrow()) == by_place(pa.Table.from_pylist(want))
                or want == []
            )
            assert lake.trades(venue, symbol, start, end).arrow().num_rows == len(want)


def test_times_may_be_text_with_or_without_a_zone(build) -> None:
    lake = Lake(build("lake", 20))
    noon = datetime(2024, 8, 9, 12, tzinfo=UTC)
    counts = {
        lake.trades(start=start).arrow().num_rows
        for start in (
            noon, noon.replace(tzinfo=None), "2024-08-09T12:00", "2024-08-09T12:00:00Z", "2024-08-09T14:00:00+02:00",
            noon.astimezone(timezone(timedelta(hours=-5))),
        )
    }  # fmt: skip
    assert counts == {30}
    with pytest.raises(ConfigError, match="start: 'noon' is no ISO time"):
        lake.trades(start="noon")


def test_rows_are_sorted_as_the_kind_says(build) -> None:
    rows = Lake(build("lake", 3)).trades().arrow()
    keys = [tuple(row[name] for name in KINDS["trade"].sort) for row in rows.to_pylist()]
    assert keys == sorted(keys)


def test_faces_of_rows_agree(build) -> None:
    rows = Lake(build("lake", 20)).trades("binance")
    table = rows.arrow()
    assert isinstance(rows.pl(), polars.DataFrame) and rows.pl().height == table.num_rows
    assert isinstance(rows.df(), pandas.DataFrame) and len(rows.df()) == table.num_rows
    assert str(rows.df()["received_at"].dt.tz) == "UTC"
    assert pa.Table.from_batches(rows.batches(rows_max=7)).equals(table.combine_chunks())
    assert rows.duckdb().aggregate("count(*)").fetchall() == [(table.num_rows,)]
    asked = rows.sql("SELECT count(*) AS n FROM rows WHERE tape_row = ?", [1])
    assert asked.arrow().to_pylist() == [{"n": table.num_rows // 3}]
    assert asked.sql("SELECT n + 1 AS m FROM rows").arrow().to_pylist() == [{"m": table.num_rows // 3 + 1}]


def test_rows_are_fixed_when_asked_for_and_sql_is_new_each_time(build, tmp_path: Path) -> None:
    lake = Lake(build("lake", 20, ("trade",)))
    rows, query = lake.trades(), lake.sql("SELECT count(*) AS n FROM trade")
    assert rows.arrow().num_rows == query.arrow()["n"][0].as_py() == 60
    from truetape.events.checkpoint import Checkpoint
    from truetape.sinks import open_sink

    open_sink(f"lake:{lake.path}", "later").write(build_tables(0, 2), Checkpoint("later", 2, {}, b""))
    assert rows.arrow().num_rows == 60
    assert query.arrow()["n"][0].as_py() == 66


def test_time_travel(build) -> None:
    lake = Lake(build("lake", 10, ("trade",)))
    assert lake.versions() == {"trade": 2}
    assert [lake.trades(version=version).arrow().num_rows for version in (0, 1, 2)] == [0, 30, 60]
    with pytest.raises(ConfigError, match="trade at version 9 does not open"):
        lake.trades(version=9)
    with pytest.raises(ConfigError, match="no quote rows, so no version 1"):
        lake.quotes(version=1)


def test_sql_sees_every_kind_as_a_table_in_utc(build) -> None:
    lake = Lake(build("lake", 20, ("trade", "gap")))
    shown = lake.sql("SHOW TABLES").arrow()["name"].to_pylist()
    assert sorted(shown) == sorted(KINDS)
    assert lake.sql("SELECT * FROM quote").arrow().column_names == [*KINDS["quote"].arrow.names, "date"]
    joined = "SELECT count(*) AS n FROM trade JOIN gap USING (tape_offset, tape_row) WHERE trade.venue = $venue"
    assert lake.sql(joined, {"venue": "binance"}).arrow().to_pylist() == [{"n": 30}]
    days = lake.sql("SELECT date, count(*) AS n FROM TRADE GROUP BY ALL ORDER BY 1").arrow()
    assert days.num_rows == 3 and sum(days["n"].to_pylist()) == 60
    zone = lake.sql("SELECT current_setting('TimeZone') AS zone, max(received_at) AS last FROM trade").arrow()
    assert zone["zone"].to_pylist() == ["UTC"] and zone.schema.field("last").type == pa.timestamp("us", tz="UTC")


def test_duckdb_downloads_nothing(build) -> None:
    settings = Lake(build("lake", 20, ("trade",))).sql(
        "SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%extensions' ORDER BY 1"
    )
    assert {row["value"] for row in settings.arrow().to_pylist()} == {"false"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nothing FROM trade", "nothing"),
        ("SELECT * FROM trades", 'Did you mean "trade"?'),
        ("SELECT prize FROM trade", 'Candidate bindings: "price"'),
        ("SELEC 1", "syntax error"),
        ("", "the statement gives no rows"),
    ],
)
def test_a_wrong_query_is_one_clear_line(build, query: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Lake(build("lake", 20, ("trade",))).sql(query).arrow()
    assert words in str(caught.value) and str(caught.value).startswith("sql: ") and "\n" not in str(caught.value)


def test_unknown_kinds_and_missing_lakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown event kind 'trades'; nearest is 'trade'"):
        Lake(tmp_path).rows("trades")
    with pytest.raises(ConfigError, match="no lake at"):
        Lake(tmp_path / "none")
    assert Lake(tmp_path).trades().arrow().equals(KINDS["trade"].arrow.empty_table())


def test_a_folder_of_other_things_is_no_lake_without_rows(build, tmp_path: Path) -> None:
    lake = Path(build("data/lake", 20, ("trade",)))
    with pytest.raises(ConfigError, match=r"holds other things; did you mean .*/lake\?"):
        Lake(lake.parent)
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"holds other things$"):
        Lake(tmp_path / "elsewhere")
    assert not Lake(tmp_path / "elsewhere" / "folder").gaps().arrow().num_rows  # it may become one


def test_without_polars_or_pandas_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom truetape.errors import MissingExtra\nfrom truetape.lake import Lake\n"
        "sys.modules['polars'] = sys.modules['pandas'] = None\n"
        f"rows = Lake({str(tmp_path)!r}).trades()\n"
        "for face in (rows.pl, rows.df):\n"
        "    try: face()\n    except MissingExtra as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.count("truetape[frames]") == 2
    assert issubclass(MissingExtra, Exception)
