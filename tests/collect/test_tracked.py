"""Which markets are tracked; what the tape's end says of the run before."""

from pathlib import Path

import msgspec
import pytest

from truetape.collect.tracked import Past, Tracked, choose_markets, describe_market, read_past
from truetape.config import SnapshotFilters, SnapshotSettings
from truetape.tape import open_writer
from truetape.tape.frame import FrameKind, Source
from truetape.venues._snapshot.answer import Market
from truetape.venues._snapshot.form import write_meaning

NOW_US = 1_000
LISTED = [
    Market("a", category="x", status="open", volume=10),
    Market("b", category="y", status="open", volume=30),
    Market("c", category="x", status="closed", volume=20),
    Market("d", category="x", status="open"),
    Market("e", category="z", status="open", volume=99, closes_us=NOW_US),  # still called open
]


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        (SnapshotFilters(), ["b", "a", "d"]),
        (SnapshotFilters(markets_max=2), ["b", "a"]),
        (SnapshotFilters(categories=("x",)), ["a", "d"]),
        (SnapshotFilters(volume_min=15), ["b"]),
        (SnapshotFilters(status="closed"), ["e", "c"]),
        (SnapshotFilters(status="all", volume_min=1), ["e", "b", "c", "a"]),
        (SnapshotFilters(markets_max=0), []),
    ],
)
def test_filters_hold_together_and_the_largest_come_first(filters: SnapshotFilters, chosen: list[str]) -> None:
    settings = SnapshotSettings(filters=filters)
    assert [market.id for market in choose_markets(settings, LISTED, {}, NOW_US)] == chosen


def test_tracked_markets_take_places_but_for_those_named() -> None:
    settings = SnapshotSettings(ids=("z",), filters=SnapshotFilters(markets_max=2))
    tracked = {"z": Tracked("z"), "b": Tracked("b")}
    assert [market.id for market in choose_markets(settings, LISTED, tracked, NOW_US)] == ["a"]


def write_tape(folder: Path, *frames: tuple[FrameKind, str]) -> None:
    writer = open_writer(str(folder))
    source = writer.register(Source("snapshot", "svc", "snapshot/svc"))
    for i, (kind, meta) in enumerate(frames):
        writer.append(source, 10**18 + i, i, int(kind), b"", meta)
    writer.close()


def note_roster(*markets: Tracked, over: tuple[str, ...] = ()) -> tuple[FrameKind, str]:
    said = {"event": "snapshot_roster", "markets": [describe_market(m) for m in markets], "over": over}
    return FrameKind.EVENT, msgspec.json.encode(said).decode()


def answered(market: str, due_us: int, what: str = "prices", status: int = 200) -> tuple[FrameKind, str]:
    url = write_meaning("https://x/y", what, "common", market, (due_us, 900))
    return FrameKind.RESPONSE, msgspec.json.encode({"method": "GET", "url": url, "status": status}).decode()


def test_the_newest_roster_and_turn_are_found(tmp_path: Path) -> None:
    assert read_past(str(tmp_path / "none"), ["svc"]) == {}
    strange = FrameKind.RESPONSE, msgspec.json.encode({"url": "https://x/y", "status": 200}).decode()
    write_tape(
        tmp_path / "tape", note_roster(Tracked("a")), answered("a", 900), note_roster(Tracked("a"), Tracked("b"), over=("q",)),
        answered("a", 1800), answered("a", 1800, "history"), answered("b", 1800, status=503), strange,
    )  # fmt: skip
    write_tape(tmp_path / "tape", (FrameKind.EVENT, '{"event":"tick"}'))
    past = read_past(str(tmp_path / "tape"), ["svc", "other"])
    assert past == {
        "svc": Past((Tracked("a", has_history=True), Tracked("b")), (1800, frozenset({"a"})), ("q",)),
    }
