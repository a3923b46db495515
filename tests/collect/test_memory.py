"""Who was followed, read back from a real tape."""

import json
from pathlib import Path
from typing import Any

from truetape.collect.memory import make_markets, read_followed, read_rosters
from truetape.config import Settings, VenueSettings
from truetape.tape import TapeSettings, open_reader, open_writer
from truetape.tape.folder import list_firsts
from truetape.tape.frame import FrameKind, Source
from truetape.venues import load_venue

MARKETS = Source("polymarket", "clob", "polymarket/markets")
OTHER = Source("kalshi", "binary", "kalshi/markets")
SETTINGS = VenueSettings(instruments=(), series=("15m",))


class Writer:
    """A tape written event by event; every `seal` ends a segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tape = open_writer(folder, TapeSettings(segment_seconds=3600))
        self._now_ns = 1_777_470_300 * 10**9

    def note(self, event: str, source: Source = MARKETS, **facts: Any) -> None:
        self._now_ns += 10**9
        meta = json.dumps({"event": event, **facts}, separators=(",", ":"))
        self._tape.append(self._tape.register(source), self._now_ns, 0, int(FrameKind.EVENT), b"", meta)
        self._tape.append(self._tape.register(source), self._now_ns, 0, int(FrameKind.TEXT), b"{}", "")

    def step(self, slug: str, state: str, **more: Any) -> None:
        facts = {"condition": "0xc", "previous": "open", "reason": "", "opens_us": 5, "ends_us": 6, **more}
        self.note("market_state", slug=slug, state=state, **facts)

    def seal(self) -> None:
        self._tape.close()
        self._tape = open_writer(self.folder, TapeSettings(segment_seconds=3600))

    def close(self) -> None:
        self._tape.close()


def read(folder: Path, *venues: str) -> dict[str, Any]:
    reader = open_reader(folder)
    try:
        return read_rosters(reader, list_firsts(folder), list(venues or ("polymarket",)))
    finally:
        reader.close()


def test_the_last_roster_counts_and_the_steps_after_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "tape")
    writer.note("market_roster", markets=[{"slug": "old", "state": "open"}])
    writer.seal()
    writer.note("market_roster", markets=[{"slug": "a", "state": "open"}, {"slug": "b", "state": "ended"}])
    writer.step("a", "ending", tokens={"Up": "1"}, kept={"payouts": {"Up": 1.0}})
    writer.seal()
    writer.step("b", "unknown")
    writer.step("c", "listed", tokens={"Up": "2", "Down": "3"})
    writer.close()
    found = {market["slug"]: market for market in read(tmp_path / "tape")["polymarket"]}
    assert sorted(found) == ["a", "c"]
    assert (found["a"]["state"], found["a"]["payouts"]) == ("ending", {"Up": 1.0})
    assert found["c"]["tokens"] == {"Up": "2", "Down": "3"}


def test_each_venue_has_its_own_roster(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "tape")
    writer.note("market_roster", OTHER, markets=[{"slug": "k", "state": "open"}])
    writer.seal()
    writer.note("market_roster", markets=[])
    writer.close()
    assert read(tmp_path / "tape", "polymarket", "kalshi") == {
        "polymarket": [],
        "kalshi": [{"slug": "k", "state": "open"}],
    }


def test_a_tape_without_rosters_and_no_tape_tell_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    assert read_followed(Settings(tape=str(folder), venues={"polymarket": SETTINGS})) == {}
    writer = Writer(folder)
    assert read(folder) == {}
    writer.note("opened")
    writer.close()
    assert read(folder) == {}
    assert read_followed(Settings(tape=str(folder), venues={"coinbase": VenueSettings(instruments=("BTC-USD",))})) == {}


def test_markets_are_made_of_what_was_kept(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "tape")
    said = {"slug": "a", "state": "resolved", "condition": "0xc", "ended_us": 6, "judged_us": 6, "payouts": {"Up": 1.0}}
    writer.note("market_roster", markets=[said, {"slug": "b", "state": "open", "tokens": {"Up": "1", "Down": "2"}}])
    writer.close()
    followed = read_followed(Settings(tape=str(tmp_path / "tape"), venues={"polymarket": SETTINGS}))
    first, second = make_markets(load_venue("polymarket"), followed)
    assert (first.state, first.handle, first.judged_us, first.payouts) == ("resolved", "a", 6, {"Up": 1.0})
    assert {name: one.venue_symbol for name, one in second.instruments.items()} == {"Up": "1", "Down": "2"}
    assert second.instruments["Up"].market == "clob"
    assert make_markets(load_venue("coinbase"), followed) == []
