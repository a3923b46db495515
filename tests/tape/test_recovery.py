import json
import random
from pathlib import Path

import pytest
from tapes import payload_of, read_all, write_tape

from truetape.errors import TapeError
from truetape.tape import list_segments, open_reader, open_writer, verify_tape
from truetape.tape.folder import segment_path

BATCHES = [1, 30, 500, 7]


def open_segment(folder: Path) -> Path:
    write_tape(folder, BATCHES, close=False)
    return segment_path(folder, 0)


def batch_edges(path: Path, folder: Path) -> list[tuple[int, int]]:
    """Return for each whole batch where it ends in the file and how many frames there are up to it."""
    from truetape.tape.segment import Window, scan_segment

    window = Window(path)
    edges, frames = [], 0
    for place in scan_segment(window, 0):
        frames += place.frames
        edges.append((place.byte + place.size, frames))
    window.close()
    return edges


def cuts(path: Path, folder: Path) -> list[int]:
    """Every kind of place to cut: in the schema, at edges, in prefix, head and body of messages."""
    edges = [end for end, _ in batch_edges(path, folder)]
    chance = random.Random(3)
    near = [end + by for end in edges for by in (-9, -1, 0, 1, 4, 8, 9, 100)]
    return [0, 1, 8, 200, *near, *(chance.randrange(path.stat().st_size) for _ in range(10))]


def test_a_cut_tail_keeps_every_whole_batch_and_is_declared(tmp_path: Path) -> None:
    whole = open_segment(tmp_path / "whole").read_bytes()
    places = cuts(segment_path(tmp_path / "whole", 0), tmp_path / "whole")
    edges = batch_edges(segment_path(tmp_path / "whole", 0), tmp_path / "whole")
    for number, cut in enumerate(place for place in places if place < len(whole)):
        folder = tmp_path / str(number)
        path = open_segment(folder)
        path.write_bytes(whole[:cut])
        kept = max((frames for end, frames in edges if end <= cut), default=0)
        open_writer(folder).close()
        rows = read_all(folder)
        data = [row for row in rows if not row[2]]
        assert [row[:2] for row in data] == [(n, payload_of(n)) for n in range(kept)]
        at_edge = cut in [end for end, _ in edges]
        if not at_edge:
            (event,) = [json.loads(row[2]) for row in rows if row[2]]
            assert event["event"] == "torn_tail"
            assert event["offset"] == kept
            torn = list((folder / "segments").glob("*.torn"))
            assert sum(t.stat().st_size for t in torn) == event["bytes_cut"]
        assert verify_tape(folder).ok


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    write_tape(tmp_path, [3, 200])
    path = segment_path(tmp_path, 0)
    whole = path.read_bytes()
    chance = random.Random(5)
    for _ in range(150):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        assert not verify_tape(tmp_path).ok
    path.write_bytes(whole)
    assert verify_tape(tmp_path).ok


def test_damage_in_the_middle_of_an_open_segment_costs_one_batch(tmp_path: Path) -> None:
    path = open_segment(tmp_path)
    edges = batch_edges(path, tmp_path)
    data = bytearray(path.read_bytes())
    data[edges[1][0] - 20] ^= 8
    path.write_bytes(data)
    open_writer(tmp_path).close()
    rows = read_all(tmp_path)
    assert [row[0] for row in rows if not row[2]] == [0, *range(31, 538)]
    (event,) = [json.loads(row[2]) for row in rows if row[2]]
    assert (event["offset"], event["reason"]) == (1, "checksum does not match")
    assert verify_tape(tmp_path).ok


def test_a_whole_open_segment_is_sealed_without_a_word(tmp_path: Path) -> None:
    open_segment(tmp_path)
    open_writer(tmp_path).close()
    assert [row[2] for row in read_all(tmp_path)] == [""] * sum(BATCHES)
    (info,) = list_segments(tmp_path)
    assert (info.reason, info.count, info.venues) == ("recovered", sum(BATCHES), ("binance",))


def test_readers_stop_before_a_torn_tail_and_go_on_after_its_repair(tmp_path: Path) -> None:
    path = open_segment(tmp_path)
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x10\x03\0\0 half a message")
    reader = open_reader(tmp_path)
    before = [batch.data.num_rows for batch in reader.read(0)]
    assert (sum(before), reader.end) == (538, 538)
    write_tape(tmp_path, [2])
    assert [(batch.offset, batch.data.num_rows) for batch in reader.read(538)] == [(538, 1), (539, 2)]
    assert reader.end == 541


def test_a_torn_line_of_the_manifest_is_written_again(tmp_path: Path) -> None:
    write_tape(tmp_path, [5])
    write_tape(tmp_path, [5])
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-30])
    open_writer(tmp_path).close()
    assert [info.count for info in list_segments(tmp_path)] == [5, 5]
    assert verify_tape(tmp_path).ok


def test_a_foreign_file_named_as_a_segment_is_refused(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    path = segment_path(tmp_path, 0)
    path.write_text("ARROW1 or something else that we never wrote")
    with pytest.raises(TapeError, match=f"{path} is not a tape segment"):
        open_writer(tmp_path)
    assert path.exists()
    path.unlink()
    open_writer(tmp_path).close()
