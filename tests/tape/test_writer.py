import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tapes import SOURCE, crash, payload_of, read_all, write_tape

from truetape.errors import TapeError, TapeLocked
from truetape.tape import (
    FRAME_SCHEMA,
    FrameKind,
    Source,
    TapeSettings,
    list_segments,
    open_reader,
    open_writer,
    verify_tape,
)

texts = st.text(max_size=20)
frames = st.tuples(
    st.builds(Source, texts, texts, texts),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(FrameKind),
    st.binary(max_size=200),
    texts,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(frames, st.sampled_from(["", "flush", "seal"])), max_size=60))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, written: list) -> None:
    folder = tmp_path_factory.mktemp("tape")
    writer = open_writer(folder, TapeSettings(batch_frames_max=7))
    for (source, received, monotonic, kind, payload, meta), then in written:
        writer.append(writer.register(source), received, monotonic, kind, payload, meta)
        if then:
            writer.flush()
        if then == "seal":
            writer.close()
            writer = open_writer(folder, TapeSettings(batch_frames_max=7))
    writer.close()
    reader = open_reader(folder)
    got = [row for batch in reader.read(0) for row in batch.data.to_pylist()]
    expected = [
        dict(zip(FRAME_SCHEMA.names, (received, monotonic, kind, *source, payload, meta), strict=True))
        for (source, received, monotonic, kind, payload, meta), _ in written
    ]
    assert got == expected
    assert all(batch.data.schema == FRAME_SCHEMA for batch in reader.read(0))
    assert (reader.first, reader.end) == (0, len(written))
    reader.close()
    assert verify_tape(folder).ok


def test_a_segment_is_an_arrow_stream(tmp_path: Path) -> None:
    write_tape(tmp_path, [3, 2000])
    (info,) = list_segments(tmp_path)
    with pa.ipc.open_stream(tmp_path / "segments" / f"{info.first:020d}.arrows") as stream:
        table = stream.read_all()
    assert table.num_rows == 2003
    assert table.column("venue").cast(pa.utf8()).unique().to_pylist() == ["binance"]
    assert set(FRAME_SCHEMA.names) - set(table.schema.names) == {"monotonic_ns"}


def test_segments_are_sealed_by_size_and_described(tmp_path: Path) -> None:
    write_tape(tmp_path, [100] * 5, settings=TapeSettings(segment_bytes_max=5000))
    infos = list_segments(tmp_path)
    assert len(infos) > 1
    assert [info.first for info in infos[1:]] == [info.end for info in infos[:-1]]
    assert infos[0].reason == "size"
    assert infos[0].venues == ("binance",)
    assert infos[0].first_received_ns == 1000
    assert infos[-1].last_received_ns == 1499
    assert verify_tape(tmp_path).frames == 500


def test_segments_are_sealed_by_time(tmp_path: Path) -> None:
    write_tape(tmp_path, [1, 1, 1], settings=TapeSettings(segment_seconds=0))
    assert [info.reason for info in list_segments(tmp_path)] == ["time"] * 3


def test_append_flushes_by_itself_and_pending_is_bounded(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, TapeSettings(batch_frames_max=10, batch_bytes_max=1000))
    source = writer.register(SOURCE)
    for size in [1] * 25 + [600] * 5:
        writer.append(source, 1, 1, 0, bytes(size))
        assert writer.pending <= 10
    assert writer.next_offset == 30
    writer.close()
    assert len(read_all(tmp_path)) == 30


def test_frames_of_16_megabytes(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    source = writer.register(SOURCE)
    payloads = [os.urandom(16 * 1024 * 1024), b"", os.urandom(17_000_001), b"x"]
    for payload in payloads:
        writer.append(source, 1, 1, FrameKind.BINARY, payload)
    writer.close()
    assert [row[1] for row in read_all(tmp_path)] == payloads


def test_the_clock_may_step_back(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    source = writer.register(SOURCE)
    for received in (5, 3, -1):
        writer.append(source, received, 1, 0, b"")
    writer.close()
    (info,) = list_segments(tmp_path)
    assert (info.first_received_ns, info.last_received_ns) == (5, -1)


def test_a_second_writer_is_refused_and_named(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    with pytest.raises(TapeLocked, match=f"{tmp_path} is being written by process {os.getpid()}: one writer"):
        open_writer(tmp_path)
    writer.close()
    open_writer(tmp_path).close()


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(TapeError, match="closed"):
        writer.flush()


def test_sync_runs_beside_appending(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, TapeSettings(segment_bytes_max=20_000))
    source = writer.register(SOURCE)
    stop, synced = threading.Event(), []

    def sync_on() -> None:
        while not stop.is_set():
            synced.append(writer.sync())

    thread = threading.Thread(target=sync_on)
    thread.start()
    for offset in range(20_000):
        writer.append(source, 1, 1, 0, payload_of(offset))
        if offset % 50 == 0:
            writer.flush()
    stop.set()
    thread.join()
    writer.close()
    assert synced == sorted(synced)
    assert verify_tape(tmp_path).ok
    assert [row[1] for row in read_all(tmp_path)] == [payload_of(n) for n in range(20_000)]


def test_a_full_disk_leaves_a_whole_tape_and_goes_on_after(small_disk: Callable[..., Path]) -> None:
    disk = small_disk("-t", "tmpfs", "-o", "size=512k", "tmpfs")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    writer = open_writer(disk / "tape", TapeSettings(batch_bytes_max=20_000))
    source = writer.register(SOURCE)
    taken = []
    with pytest.raises(TapeError, match=r"cannot (write|create) .*tape.*No space left on device"):
        while True:
            payload = os.urandom(1000)
            writer.append(source, 1, 1, FrameKind.BINARY, payload)
            taken.append(payload)
    check = verify_tape(disk / "tape")
    assert check.ok
    assert check.frames == len(taken) - writer.pending
    ballast.unlink()
    writer.flush()
    writer.close()
    assert [row[1] for row in read_all(disk / "tape")] == taken


def test_a_read_only_folder_is_one_clear_line(small_disk: Callable[..., Path]) -> None:
    disk = small_disk("-t", "tmpfs", "-o", "ro,size=512k", "tmpfs")
    with pytest.raises(TapeError, match=f"cannot create a tape in {disk}/tape: Read-only file system"):
        open_writer(disk / "tape")


def kill_while_writing(folder: Path, rounds: int, seed: int = 1) -> None:
    """Kill a writing process at random moments and hold the tape against what it said was durable."""
    chance = random.Random(seed)
    command = [sys.executable, str(Path(__file__).with_name("write_forever.py")), str(folder), "200", "0", "60000"]
    for _ in range(rounds):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            killer = threading.Timer(chance.uniform(0, 0.15), process.send_signal, (signal.SIGKILL,))
            killer.start()
            lines = process.stdout.read().split(b"\n")
        # The last piece may be a line cut short by the kill.
        durable = max((int(line) for line in lines[:-1]), default=0)
        reader = open_reader(folder)
        assert reader.end >= durable
        reader.close()
        open_writer(folder).close()
        check = verify_tape(folder)
        assert check.ok, check.problems
        rows = read_all(folder)
        assert [row[0] for row in rows] == list(range(len(rows)))
        assert len(rows) >= durable
        for offset, payload, meta in rows:
            assert meta or payload == b"%d" % offset * (1 + offset % 50)


def test_what_was_synced_survives_kill_9(tmp_path: Path) -> None:
    kill_while_writing(tmp_path / "tape", rounds=6)


@pytest.mark.soak
def test_what_was_synced_survives_kill_9_many_times(tmp_path: Path) -> None:
    kill_while_writing(tmp_path / "tape", rounds=50, seed=2)


def test_after_a_reboot_offsets_are_left_out_and_declared(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.append(writer.register(SOURCE), 1, 1, 0, b"a")
    writer.flush()
    crash(writer)
    (tmp_path / "lock").write_text("4242\nanother-boot\n")
    open_writer(tmp_path).close()
    (first, event) = read_all(tmp_path)
    assert first == (0, b"a", "")
    assert event[0] == 1_000_001
    assert '"event":"torn_tail"' in event[2]
    assert verify_tape(tmp_path).ok
