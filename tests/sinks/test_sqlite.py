"""The SQLite sink beyond the contract."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from kill_sweep import build_tables

from truetape.errors import SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.sinks import open_sink
from truetape.sinks.sqlite import SqliteSink


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_killed_anywhere_the_content_is_the_same(sweep) -> None:
    dumps = [dump(store) for store in sweep("sqlite:FILE").stores]
    assert all(found == dumps[0] for found in dumps)


def test_values_read_back(tmp_path: Path) -> None:
    sink = open_sink(f"sqlite:{tmp_path / 'd' / 'x.db'}", "t")
    sink.write(build_tables(0, 6), Checkpoint("t", 6, {}, b""))
    sink.close()
    want = build_tables(0, 6)["book_snapshot"].to_pylist()
    with closing(sqlite3.connect(tmp_path / "d" / "x.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        rows = database.execute("SELECT venue, received_at, sequence, bid_prices FROM book_snapshot").fetchall()
    assert [row[0] for row in rows] == [row["venue"] for row in want]
    assert rows[0][1] == want[0]["received_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert [row[2] for row in rows] == [row["sequence"] for row in want]
    assert {row[3] for row in rows} == {"[]", "[1.5,2.25]", "[0.1]", "[1e-9]"}


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    sink = open_sink(f"sqlite:{path}", "t")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
        release.join()
    assert sink.stored()["trade"] == 12
    sink.close()


def test_a_database_locked_for_too_long_is_an_error_and_the_step_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    sink = SqliteSink(path, "t", wait_seconds=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SinkError, match="locked; nothing of this step is stored"):
            sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
        other.execute("COMMIT")
    assert sink.resume() is None
    sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
    assert sink.stored()["trade"] == 12
    sink.close()


def test_a_file_takes_one_tape(tmp_path: Path) -> None:
    open_sink(f"sqlite:{tmp_path / 'x.db'}", "t").close()
    with pytest.raises(SinkError, match="holds tape 't', not 'other'"):
        open_sink(f"sqlite:{tmp_path / 'x.db'}", "other")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("something else, long enough to be looked at" * 20)
    with pytest.raises(SinkError, match="not a database"):
        open_sink(f"sqlite:{tmp_path / 'x.db'}", "t")


def test_a_table_of_an_older_version_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_sink(f"sqlite:{path}", "t").close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE trade DROP COLUMN flag")
    sink = open_sink(f"sqlite:{path}", "t")
    sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
    assert sink.stored()["trade"] == 12
    sink.close()
