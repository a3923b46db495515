"""Compaction and vacuum."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from deltalake import DeltaTable
from kill_sweep import TAPE_ID, build_tables

from truetape.errors import ConfigError
from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.lake import Lake, compact, lake_hash, vacuum
from truetape.lake.table import LakeTable
from truetape.sinks import open_sink


def count_files(lake: Path) -> int:
    return len(DeltaTable(lake / "trade").file_uris())


def test_compaction_leaves_one_sorted_file_per_partition_and_the_same_content(build) -> None:
    lake = build("lake", 2)
    before = lake_hash(lake)
    removed = compact(lake)
    assert removed["trade"] > count_files(lake) == 6
    assert lake_hash(lake) == before
    assert compact(lake) == dict.fromkeys(KINDS, 0), "nothing is left to do"
    for name, table in build_tables(0, 20, tuple(KINDS)).items():
        assert Lake(lake).rows(name).arrow().num_rows == table.num_rows


def test_compaction_keeps_files_below_the_maximum(build) -> None:
    lake = build("lake", 1, ("trade",))
    before, files = lake_hash(lake), count_files(lake)
    compact(lake, rows_max=7)
    assert 6 < count_files(lake) < files
    assert lake_hash(lake) == before


def test_delivery_goes_on_after_compaction(build) -> None:
    lake = build("lake", 4, ("trade",))
    compact(lake)
    sink = open_sink(f"lake:{lake}", TAPE_ID)
    sink.write(build_tables(10, 22, ("trade",)), Checkpoint(TAPE_ID, 22, {}, b""))
    assert sink.stored()["trade"] == 66


def test_a_writer_open_during_compaction_goes_on(build) -> None:
    lake = build("lake", 4, ("trade",))
    sink = open_sink(f"lake:{lake}", TAPE_ID)
    sink.write(build_tables(20, 22, ("trade",)), Checkpoint(TAPE_ID, 22, {}, b""))
    compact(lake)
    sink.write(build_tables(20, 24, ("trade",)), Checkpoint(TAPE_ID, 24, {}, b""))
    assert sink.stored()["trade"] == 72 == Lake(lake).trades().arrow().num_rows


def test_compaction_beside_a_writer_loses_nothing(build) -> None:
    lake = build("lake", 4, ("trade",))
    sink = open_sink(f"lake:{lake}", TAPE_ID)
    ends = iter(range(21, 400))

    def write(over: threading.Event) -> None:
        while not over.is_set():
            end = next(ends)
            sink.write(build_tables(end - 1, end, ("trade",)), Checkpoint(TAPE_ID, end, {}, b""))

    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, over)
        removed = [compact(lake)["trade"] for _ in range(5)]
        over.set()
        writing.result()
    assert all(removed[:1])
    assert sink.stored()["trade"] == 3 * (next(ends) - 1) == Lake(lake).trades().arrow().num_rows


def test_compaction_merges_files_from_before_a_kind_grew(tmp_path: Path) -> None:
    old = msgspec.structs.replace(KINDS["trade"], own=KINDS["trade"].own[:-2])
    rows = build_tables(0, 4)["trade"].select(old.arrow.names).cast(old.arrow)
    LakeTable(tmp_path, old, lambda name: None).append(rows, "tape", 4)
    LakeTable(tmp_path, KINDS["trade"], lambda name: None).append(build_tables(4, 8)["trade"], "tape", 8)
    before = Lake(tmp_path).trades().arrow()
    compact(tmp_path)
    assert Lake(tmp_path).trades().arrow().equals(before)


def test_vacuum_keeps_history_unless_forced(build) -> None:
    lake = build("lake", 2, ("trade",))
    before = lake_hash(lake)
    last = Lake(lake).versions()["trade"]
    removed = compact(lake)["trade"]
    assert vacuum(lake) == 0
    assert Lake(lake).trades(version=last).arrow().num_rows == 60
    for hours in (0, -1):
        with pytest.raises(ConfigError, match=f"retain_hours={hours}"):
            vacuum(lake, hours)
    assert vacuum(lake, 0, force=True) == removed
    assert lake_hash(lake) == before


def test_a_missing_lake_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lake at"):
        compact(tmp_path / "none")
    assert compact(tmp_path) == {}
