"""The lake sink beyond the contract."""

import threading
from pathlib import Path

import pytest
from kill_sweep import TAPE_ID, build_tables

from truetape.errors import ConfigError, SinkError
from truetape.events.checkpoint import Checkpoint
from truetape.lake import Lake, lake_hash
from truetape.sinks import open_sink


def test_killed_anywhere_the_lake_is_the_same_by_hash(sweep) -> None:
    hashes = {lake_hash(store) for store in sweep("lake:DIR").stores}
    assert len(hashes) == 1


def test_steps_between_which_it_was_killed_cover_the_whole_way(sweep) -> None:
    names = {step["name"] for step in sweep("lake:DIR").steps}
    assert names >= {"begin", "open trade", "file trade", "commit trade", "commit book_snapshot", "draft", "checkpoint"}


def test_two_tapes_share_a_lake(tmp_path: Path) -> None:
    for tape in ("one", "two"):
        sink = open_sink(f"lake:{tmp_path}", tape)
        assert sink.resume() is None
        sink.write(build_tables(0, 4), Checkpoint(tape, 4, {}, b""))
    assert sink.stored()["trade"] == 24
    assert open_sink(f"lake:{tmp_path}", "one").resume() == Checkpoint("one", 4, {}, b"")


def test_two_writers_of_one_tape_at_once_store_it_once(tmp_path: Path) -> None:
    def deliver() -> None:
        sink = open_sink(f"lake:{tmp_path}", TAPE_ID)
        barrier.wait()
        for end in range(2, 22, 2):
            sink.write(build_tables(end - 2, end), Checkpoint(TAPE_ID, end, {}, b""))

    barrier = threading.Barrier(2)
    writers = [threading.Thread(target=deliver) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = Lake(tmp_path).sql("SELECT count(*) AS n, count(DISTINCT (tape_offset, tape_row)) AS d FROM trade")
    assert found.arrow().to_pylist() == [{"n": 60, "d": 60}]


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    sink = open_sink(f"lake:{tmp_path}", "t")
    sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
    note = tmp_path / "_views" / "t.json"
    note.write_bytes(note.read_bytes()[:-5])
    with pytest.raises(SinkError, match="does not read"):
        sink.resume()


def test_a_folder_that_cannot_be_written_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="file is a file; name a folder"):
        open_sink(f"lake:{tmp_path / 'file'}", "t")
    sink = open_sink(f"lake:{tmp_path / 'file' / 'lake'}", "t")
    with pytest.raises(SinkError, match=r"lake .*file"):
        sink.write(build_tables(0, 4), Checkpoint("t", 4, {}, b""))
