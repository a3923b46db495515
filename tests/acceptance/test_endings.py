"""How `record` begins badly and how it ends: refused, stopped, starved of disk, killed piece by piece."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from truetape.errors import TapeError
from truetape.flow import Verdict, deliver, verify
from truetape.lake import Lake
from truetape.quality.ledger import list_gaps
from truetape.tape import find_writer, list_segments, open_reader, verify_tape

VENUES = """\
  binance: {instruments: [BTC-USDT, ETH-USDT], markets: [spot]}
  coinbase: {instruments: [BTC-USD]}
"""


@pytest.fixture(scope="module")
def sim_url(open_stage: Callable[[], Any]) -> str:
    """Fake venues for all tests of this file."""
    url: str = open_stage().sim("--venue", "binance", "--venue", "coinbase", "--rate", "300").url
    return url


@pytest.fixture
def start(stage: Any, sim_url: str) -> Callable[..., Any]:
    """Start a recorder of the fake venues."""

    def begin(**more: str) -> Any:
        return record(stage, sim_url, stage.configure(VENUES, **more))

    return begin


def record(stage: Any, url: str, config: Path, name: str = "record") -> Any:
    environ = {"TRUETAPE_URL_BINANCE": url, "TRUETAPE_URL_COINBASE": url}
    return stage.start("record", "--config", str(config), name=name, **environ)


def count_frames(tape: Path) -> int:
    try:
        reader = open_reader(tape)
    except TapeError:  # not there yet
        return 0
    try:
        return reader.end
    finally:
        reader.close()


def check_whole(folder: Path, tape: Path | None = None) -> Verdict:
    """Nobody writes the tape, it is whole, and the lake holds what it says."""
    tape = tape or folder / "tape"
    assert find_writer(tape) is None
    assert verify_tape(tape).ok
    verdict = verify(str(tape), f"lake:{folder}/lake")
    assert verdict.problems == []
    assert verdict.quarantined == 0
    return verdict


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_a_signal_seals_everything_and_prints_a_summary(
    stage: Any, start: Callable[..., Any], wait_until: Any, how: str
) -> None:
    play = start(log="{format: json}") if how == "SIGINT" else start()
    wait_until(lambda: count_frames(stage.folder / "tape") > 300, play)
    children = list(play.children().values())
    if how == "SIGINT":  # a terminal sends it to all processes at once
        os.killpg(play.pid, signal.SIGINT)
        code = play.wait()
    else:
        code = play.end()
    said = play.out.read_text()
    assert (code, play.err.read_text()) == (0, "")
    assert f"sealed {stage.folder}/tape: " in said
    assert " 0 quarantined" in said
    assert not [pid for pid in children if is_alive(pid)]
    if how == "SIGINT":
        lines = [line for line in said.splitlines() if line.startswith("{")]
        assert lines
        assert all(json.loads(line)["event"] for line in lines)
    assert all(segment.sha256 for segment in list_segments(stage.folder / "tape"))
    check_whole(stage.folder)


def test_a_second_recorder_is_refused_and_the_first_goes_on(
    stage: Any, start: Callable[..., Any], wait_until: Any
) -> None:
    play, tape = start(), stage.folder / "tape"
    wait_until(lambda: count_frames(tape) > 50, play)
    second = stage.start("record", "--config", str(stage.folder / "truetape.yaml"), name="second")
    assert second.wait() == 2
    (line,) = second.err.read_text().splitlines()
    assert str(tape) in line
    assert str(play.children()["recorder_process"]) in line
    seen = count_frames(tape)
    wait_until(lambda: count_frames(tape) > seen + 50, play)
    assert play.end() == 0
    check_whole(stage.folder)


def test_a_parent_killed_takes_its_children_along_and_nothing_is_lost(
    stage: Any, start: Callable[..., Any], wait_until: Any
) -> None:
    play, tape = start(), stage.folder / "tape"
    wait_until(lambda: count_frames(tape) > 300, play)
    children = list(play.children().values())
    assert len(children) == 2
    os.kill(play.pid, signal.SIGKILL)
    play.wait()
    wait_until(lambda: not any(map(is_alive, children)), seconds=15)
    deliver(str(tape), (f"lake:{stage.folder}/lake",))
    check_whole(stage.folder)


def test_a_view_killed_is_started_again_and_nothing_is_stored_twice(
    stage: Any, start: Callable[..., Any], wait_until: Any
) -> None:
    play = start(deliver="{commit_seconds: 0.5}")
    for _ in range(2):
        seen = count_frames(stage.folder / "tape")
        wait_until(lambda seen=seen: count_frames(stage.folder / "tape") > seen + 800, play)
        victim = wait_until(lambda: play.children().get("view_process"), play)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda victim=victim: play.children().get("view_process", victim) != victim, play)
    assert play.end() == 0
    assert "the view process died and was started again" in play.out.read_text()
    verdict = check_whole(stage.folder)
    assert verdict.stored["trade"] > 0


@pytest.fixture
def small_disk(stage: Any) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system; skips where that is not permitted."""
    place = stage.folder / "disk"

    def mount(options: str) -> Path:
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            place.rmdir()
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        return place

    yield mount
    if place.is_dir():
        stage.close()
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_recording_with_one_line_a_whole_tape_and_a_gap(
    stage: Any, sim_url: str, small_disk: Callable[[str], Path], wait_until: Any
) -> None:
    disk = small_disk("size=250k")
    config = stage.configure(VENUES, tape=f"{disk}/tape")
    play = record(stage, sim_url, config)
    assert play.wait() not in (0, None)
    (line,) = play.err.read_text().splitlines()
    assert "No space left on device" in line
    assert f"{disk}/tape" in line
    assert "internal" not in line
    frames = count_frames(disk / "tape")
    check = verify_tape(disk / "tape")
    assert check.ok
    assert check.frames == frames > 100
    # Room again: the next session says from when to when nothing was recorded.
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    again = record(stage, sim_url, config, "again")
    wait_until(lambda: count_frames(disk / "tape") > frames + 300, again)
    assert again.end() == 0, again.err.read_text()
    lake = Lake(stage.folder / "lake")
    query = "select min(received_at) as at from connection where event = 'started' and tape_offset >= $frames"
    (began,) = lake.sql(query, {"frames": frames}).arrow()["at"].to_pylist()
    moment, gaps = began - timedelta(milliseconds=50), list_gaps(lake)
    for channel in ("trade", "book_change", "quote"):
        assert any(gap.covers("binance", "BTC-USDT", channel, moment, moment) for gap in gaps), channel
    check_whole(stage.folder, disk / "tape")


def test_a_read_only_folder_is_one_line(
    stage: Any, start: Callable[..., Any], small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("ro,size=600k")
    play = start(tape=f"{disk}/tape")
    assert play.wait() == 2
    (line,) = play.err.read_text().splitlines()
    assert line.endswith(f"cannot create a tape in {disk}/tape: Read-only file system")


def test_an_unreachable_venue_is_tried_until_it_comes_and_the_wait_is_a_gap(stage: Any, wait_until: Any) -> None:
    port = find_free_port()
    config = stage.configure("  binance: {instruments: [BTC-USDT], markets: [spot]}\n")
    play = record(stage, f"http://127.0.0.1:{port}", config)
    said = wait_until(lambda: [line for line in play.out.read_text().splitlines() if "trouble" in line], play)
    assert "binance" in said[0]
    stage.start("sim", "--port", str(port), "--venue", "binance", "--rate", "200", name="late")
    wait_until(lambda: count_frames(stage.folder / "tape") > 300, play)
    assert play.end() == 0, play.err.read_text()
    check_whole(stage.folder)
    rows = Lake(stage.folder / "lake").sql("select * from gap where reason = 'not_started'").arrow().to_pylist()
    began = Lake(stage.folder / "lake").sql("select received_at from connection where event = 'started'").arrow()
    spans: dict[str, set[Any]] = {}
    for row in rows:
        spans.setdefault(row["channel"], set()).add((row["from_at"], row["state"]))
    assert set(spans) == {"trade", "book_change", "quote"}
    for channel, seen in spans.items():
        assert {at for at, _ in seen} == {began["received_at"][0].as_py()}, channel
        assert {state for _, state in seen} == {"open", "closed"}, channel


def find_free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


WRONG = {
    "binnance": ("  binnance: {instruments: [BTC-USDT]}\n", {}, "did you mean binance?"),
    "channel": ("  binance: {instruments: [BTC-USDT], channels: [trades]}\n", {}, "trade"),
    "sink": (VENUES, {"sinks": '["lak:there"]'}, "'lake'"),
    "key": (VENUES, {"recrod": "{}"}, "did you mean record?"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_starts_nothing(stage: Any, what: str) -> None:
    venues, more, hint = WRONG[what]
    play = stage.start("record", "--config", str(stage.configure(venues, **more)))
    assert play.wait() == 2
    (line,) = play.err.read_text().splitlines()
    assert hint in line
    assert not (stage.folder / "tape").exists()
