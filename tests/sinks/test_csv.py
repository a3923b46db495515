"""The CSV sink beyond the contract."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from kill_sweep import build_tables

from truetape.errors import SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.sinks import open_sink


def read_files(folder: Path) -> dict[str, list[list[str]]]:
    found = {}
    for path in sorted(folder.glob("*/*/*.csv*")):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found[path.relative_to(folder).as_posix()] = list(csv.reader(io.StringIO(content.decode(), newline="")))
    return found


@pytest.mark.parametrize("spec", ["csv:DIR", "csv:DIR?gzip=true"])
def test_killed_anywhere_the_files_read_the_same(sweep, spec: str) -> None:
    stores = [read_files(store) for store in sweep(spec).stores]
    assert all(store == stores[0] for store in stores)


def test_one_file_per_kind_venue_and_day_with_harmless_names(tmp_path: Path) -> None:
    open_sink(f"csv:{tmp_path}", "t").write(build_tables(0, 20), Checkpoint("t", 20, {}, b""))
    files = list(read_files(tmp_path))
    assert files[0] == "book_snapshot/binance/book_snapshot_binance_2024-08-08.csv"
    assert all(path.isascii() and ".." not in path and " " not in path for path in files)
    assert len(files) == 9 and len({path.split("/")[1] for path in files}) == 2


def test_values_read_back(tmp_path: Path) -> None:
    open_sink(f"csv:{tmp_path}", "t").write(build_tables(0, 12, tuple(KINDS)), Checkpoint("t", 12, {}, b""))
    rows = [
        dict(zip(lines[0], line, strict=True))
        for path, lines in read_files(tmp_path).items()
        if path.startswith("book_snapshot/")
        for line in lines[1:]
    ]
    wanted = build_tables(0, 12, tuple(KINDS))["book_snapshot"].to_pylist()
    assert len(rows) == len(wanted)
    rows.sort(key=lambda row: (int(row["tape_offset"]), int(row["tape_row"])))
    for row, want in zip(rows, wanted, strict=True):
        assert row["venue"] == want["venue"] and row["venue_symbol"] == want["venue_symbol"]
        assert row["received_at"] == want["received_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert row["sequence"] == ("" if want["sequence"] is None else str(want["sequence"]))
        assert json.loads(row["bid_prices"]) == want["bid_prices"]


def test_a_folder_takes_one_tape_and_no_strangers_files(tmp_path: Path) -> None:
    sink = open_sink(f"csv:{tmp_path / 'a'}", "t")
    sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
    with pytest.raises(SinkError, match="holds tape 't', not 'other'"):
        open_sink(f"csv:{tmp_path / 'a'}", "other")
    (tmp_path / "a" / "_view.json").unlink()
    with pytest.raises(SinkError, match="give an empty folder"):
        open_sink(f"csv:{tmp_path / 'a'}", "t")


def test_a_file_that_lost_bytes_is_refused(tmp_path: Path) -> None:
    sink = open_sink(f"csv:{tmp_path}", "t")
    sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
    path = next(tmp_path.glob("trade/*/*.csv"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SinkError, match="changed from outside"):
        sink.write(build_tables(4, 5), Checkpoint("t", 5, {}, b""))


def test_a_file_begun_before_a_kind_grew_is_left_as_it_is(tmp_path: Path) -> None:
    sink = open_sink(f"csv:{tmp_path}", "t")
    sink.write(build_tables(0, 1), Checkpoint("t", 1, {}, b""))
    old = next(tmp_path.glob("trade/binance/*.csv"))
    grown = old.read_bytes()
    shorter = b"\n".join(line.rpartition(b",")[0] for line in grown.split(b"\n"))
    # As long as noted, with a column less.
    old.write_bytes(shorter.ljust(len(grown), b"\n"))
    sink.write(build_tables(1, 4), Checkpoint("t", 4, {}, b""))
    assert old.with_suffix(".2.csv").exists()
