import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tapes import SOURCE, payload_of, read_all, read_rows, write_tape

from truetape.errors import TapeError
from truetape.tape import TapeSettings, archive_segment, list_segments, open_reader, open_writer

SMALL = TapeSettings(segment_bytes_max=3000)


@pytest.mark.parametrize("offset", [0, 1, 9, 10, 11, 99, 100, 399])
def test_reads_from_any_offset(tmp_path: Path, offset: int) -> None:
    write_tape(tmp_path, [10] * 40, settings=SMALL)
    assert [row[:2] for row in read_all(tmp_path, offset)] == [(n, payload_of(n)) for n in range(offset, 400)]


def test_stops_after_as_many_frames_as_asked_and_goes_on_there(tmp_path: Path) -> None:
    write_tape(tmp_path, [10] * 10, settings=SMALL)
    reader = open_reader(tmp_path)
    seen, offset = [], 0
    while batches := list(reader.read(offset, 7)):
        assert sum(batch.data.num_rows for batch in batches) <= 7
        seen += [value for batch in batches for value in batch.data.column("payload").to_pylist()]
        offset = batches[-1].offset + batches[-1].data.num_rows
    assert seen == [payload_of(n) for n in range(100)]
    reader.close()


def test_goes_on_within_a_batch_without_walking_the_segment_again(tmp_path: Path) -> None:
    write_tape(tmp_path, [10] * 10)
    reader = open_reader(tmp_path)
    assert sum(batch.data.num_rows for batch in reader.read(0, 57)) == 57
    with (tmp_path / "segments" / f"{0:020d}.arrows").open("r+b") as segment:
        segment.write(bytes(1000))  # whoever begins there finds nothing
    assert [row[:2] for row in read_rows(reader, 57)] == [(n, payload_of(n)) for n in range(57, 100)]
    reader.close()


def test_an_empty_tape_is_read(tmp_path: Path) -> None:
    open_writer(tmp_path).close()
    reader = open_reader(tmp_path)
    assert (reader.first, reader.end, list(reader.read(0)), reader.wait(0, 0.01)) == (0, 0, [], False)


def test_sees_what_is_flushed_and_nothing_before(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, SMALL)
    source = writer.register(SOURCE)
    reader = open_reader(tmp_path)
    for offset in range(200):
        writer.append(source, 1, 1, 0, payload_of(offset))
        assert reader.end == offset
        writer.flush()
        assert reader.end == offset + 1
        assert [row[:2] for row in read_rows(reader, offset)] == [(offset, payload_of(offset))]
    assert len(list_segments(tmp_path)) > 5
    writer.close()
    assert read_rows(reader, 200) == []
    reader.close()


def test_a_reader_can_be_left_in_the_middle(tmp_path: Path) -> None:
    write_tape(tmp_path, [10] * 10)
    reader = open_reader(tmp_path)
    assert next(reader.read(0)).offset == 0
    assert next(reader.read(15)).offset == 15
    assert len(read_rows(reader, 0)) == 100
    reader.close()


def test_wait_is_woken_inside_one_process(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    source = writer.register(SOURCE)
    reader = open_reader(tmp_path)
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(reader.wait(0, 30)))
    thread.start()
    writer.append(source, 1, 1, 0, b"")
    writer.flush()
    thread.join()
    assert woken == [True]
    assert reader.wait(1, 0.02) is False
    writer.close()


def test_reads_while_another_process_writes(tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    command = [sys.executable, str(Path(__file__).with_name("write_forever.py")), str(folder), "20", "0.002", "20000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        reader = open_reader(folder)
        offset, deadline = 0, time.monotonic() + 30
        while offset < 5000 and time.monotonic() < deadline:
            assert reader.wait(offset, 10)
            for row_offset, payload, _ in read_rows(reader, offset):
                assert row_offset == offset
                assert payload == b"%d" % offset * (1 + offset % 50)
                offset += 1
        assert offset >= 5000
        assert len(list_segments(folder)) > 1
        reader.close()
    finally:
        process.kill()
        process.communicate()


def test_damage_in_a_sealed_segment_names_the_place(tmp_path: Path) -> None:
    write_tape(tmp_path, [10, 10, 10])
    path = tmp_path / "segments" / f"{0:020d}.arrows"
    data = bytearray(path.read_bytes())
    at = data.index(payload_of(15)) + 2
    data[at] ^= 1
    path.write_bytes(data)
    # Another segment follows, so this is not a tail that may still be written.
    write_tape(tmp_path, [1])
    reader = open_reader(tmp_path)
    with pytest.raises(TapeError, match=rf"{path} is damaged at byte \d+, offset 10: checksum does not match"):
        read_rows(reader, 0)
    assert [row[0] for row in read_rows(reader, 30)] == [30]


def test_readers_in_an_archived_segment_go_on(tmp_path: Path) -> None:
    write_tape(tmp_path, [10] * 20)
    reader = open_reader(tmp_path)
    batches = reader.read(0)
    got = [next(batches)]
    archive_segment(tmp_path, 0)
    got += list(batches)
    assert sum(batch.data.num_rows for batch in got) == 200
    assert len(read_rows(reader, 5)) == 195
    reader.close()


def test_a_reader_begins_at_what_is_left(tmp_path: Path) -> None:
    write_tape(tmp_path, [10] * 40, settings=SMALL)
    infos = list_segments(tmp_path)
    (tmp_path / "segments" / f"{infos[0].first:020d}.arrows").unlink()
    reader = open_reader(tmp_path)
    assert reader.first == infos[1].first
    assert next(reader.read(0)).offset == infos[1].first
    reader.close()
