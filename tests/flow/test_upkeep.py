"""Upkeep beside views: sealed and committed segments are recompressed, lakes compacted, and failures are told."""

from pathlib import Path

import msgspec
import pytest

from truetape import clock
from truetape.config import DeliverSettings, Settings
from truetape.flow.message import Failed, read_from_child
from truetape.flow.upkeep import LOOK_EVERY_NS, Upkeep
from truetape.flow.view import View
from truetape.lake import Lake
from truetape.lake.disk import open_delta
from truetape.sinks import open_sink
from truetape.tape import FrameKind, Source, TapeSettings, list_segments, open_reader, open_writer, verify_tape


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Four sealed segments of 100 frames, and the name of a lake."""
    writer = open_writer(tmp_path / "tape", TapeSettings(segment_bytes_max=1))
    source = writer.register(Source("binance", "spot", "binance/spot/1#1"))
    for number in range(400):
        at_ns = clock.wall_ns()
        trade = {
            "e": "trade",
            "E": at_ns // 10**6,
            "s": "BTCUSDT",
            "t": number,
            "p": "1.5",
            "q": "2",
            "T": at_ns // 10**6,
        }
        writer.append(
            source, at_ns, clock.monotonic_ns(), FrameKind.TEXT, msgspec.json.encode(trade | {"m": True, "M": True})
        )
        if number % 100 == 99:
            writer.flush()
    writer.close()
    return Settings(tape=str(tmp_path / "tape"), sinks=(f"lake:{tmp_path / 'lake'}",))


def count_files(lake: str) -> int:
    return sum(len(open_delta(folder).file_uris()) for folder in Path(lake).iterdir() if folder.name[0] != "_")


def list_reasons(settings: Settings) -> list[str]:
    return [one.reason for one in list_segments(Path(settings.tape))]


def test_only_what_every_sink_has_is_archived(settings: Settings) -> None:
    assert "archived" not in list_reasons(settings)
    upkeep = Upkeep(settings)
    upkeep.go_on(250)
    upkeep.wait()
    assert [reason == "archived" for reason in list_reasons(settings)] == [True, True, False, False]
    assert not verify_tape(Path(settings.tape)).problems


def test_it_looks_now_and_then_and_goes_on_where_it_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    upkeep = Upkeep(settings)
    upkeep.go_on(100)
    upkeep.wait()
    upkeep.go_on(400)  # too soon
    upkeep.wait()
    assert list_reasons(settings).count("archived") == 1
    now_ns = clock.monotonic_ns()
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_ns + LOOK_EVERY_NS)
    upkeep.go_on(400)
    upkeep.wait()
    assert list_reasons(settings).count("archived") == 4


def test_it_can_be_switched_off(settings: Settings) -> None:
    upkeep = Upkeep(msgspec.structs.replace(settings, deliver=DeliverSettings(archive=False, compact_hours=0)))
    upkeep.go_on(400)
    upkeep.wait()
    assert "archived" not in list_reasons(settings)


def test_lakes_are_compacted_when_it_is_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = settings.sinks[0].removeprefix("lake:")
    reader = open_reader(settings.tape)
    view = View(reader, open_sink(settings.sinks[0], reader.tape_id), settings.deliver)
    while view.advance(100):
        view.commit()
    files = count_files(lake)
    upkeep = Upkeep(settings)
    now_ns = clock.monotonic_ns()
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_ns + 25 * 3600 * 10**9)
    upkeep.go_on(0)
    upkeep.wait()
    assert count_files(lake) < files
    assert Lake(lake).trades().arrow().num_rows == 400


def test_what_fails_is_told_and_stays_as_it_was(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    segment = Path(settings.tape) / "segments" / f"{100:020d}.arrows"
    segment.write_bytes(bytes([*segment.read_bytes()[:-200], *bytes(200)]))
    upkeep = Upkeep(settings)
    upkeep.go_on(400)
    upkeep.wait()
    told = read_from_child(capfd.readouterr().out)
    assert isinstance(told, Failed)
    assert not told.is_fatal
    assert str(segment) in told.error
    assert "left as it was" in told.error
    assert list_reasons(settings).count("archived") == 3
