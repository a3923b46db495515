"""Snapshots against their schedule: counts by hand, holes explained or not, prices that make no sense, page and picture."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from truetape.events.checkpoint import Checkpoint
from truetape.events.schema import KINDS
from truetape.lake import Lake
from truetape.quality.snapshots import STALE_TURNS, SnapshotSurvey, survey_snapshots
from truetape.quality.snapshots_report import make_tables, write_snapshot_report
from truetape.sinks import open_sink

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(minutes=15)
"""One turn."""


class Story:
    """A lake told turn by turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.offset = 0

    def add(self, kind: str, at: datetime, symbol: str, **own: Any) -> None:
        self.offset += 1
        common = {
            "venue": "snapshot", "symbol": symbol, "venue_symbol": symbol.split("/")[-1], "received_at": at,
            "available_at": at, "tape_offset": self.offset, "tape_row": 0,
        }  # fmt: skip
        self.rows.setdefault(kind, []).append({**common, **own})

    def snapshot(self, turn: int, symbol: str = "s/a", yes: float = 0.5, no: float | None = 0.52, **own: Any) -> None:
        due = BEGIN + turn * STEP
        outcomes = f'{{"Yes":{yes}' + (f',"No":{no}}}' if no is not None else "}")
        told = {
            "service": "s", "market_id": symbol[2:], "due_at": due, "interval_s": 900.0, "category": "x",
            "is_final": False, "outcomes": outcomes, "yes_price": yes, "no_price": no,
            "price_sum": None if no is None else yes + no,
        }  # fmt: skip
        self.add("market_snapshot", due + timedelta(seconds=3), symbol, **{**told, **own})

    def gap(
        self, begin: float, end: float | None, reason: str, symbol: str = "s/a", noted: float | None = None
    ) -> None:
        """Turns as numbers; `noted`: when it was written."""
        at = BEGIN + (begin if noted is None else noted) * STEP
        told = {
            "gap_id": f"g{self.offset}", "channel": "market_snapshot", "from_at": BEGIN + begin * STEP,
            "to_at": None if end is None else BEGIN + end * STEP, "reason": reason,
            "state": "open" if end is None else "closed", "evidence": "{}", "missing": None,
        }  # fmt: skip
        self.add("gap", at, symbol, **told)

    def survey(self) -> SnapshotSurvey:
        sink = open_sink(f"lake:{self.folder}", "0" * 32)
        tables = {
            kind: pa.Table.from_pylist(
                [{c.name: row.get(c.name) for c in KINDS[kind].columns} for row in rows], KINDS[kind].arrow
            )
            for kind, rows in self.rows.items()
        }
        sink.write(tables, Checkpoint("0" * 32, self.offset + 1, {}, b""))
        sink.close()
        return survey_snapshots(Lake(self.folder))


def test_what_is_missing_is_explained_by_the_ledger_or_not(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for turn in (0, 1, 4, 6, 7):
        story.snapshot(turn)
    story.gap(-0.1, 0.01, "not_started", noted=0.0)
    story.gap(1.01, 4.01, "disconnect")  # turns 2 and 3; nothing tells of 5
    survey = story.survey()
    assert (survey.expected, survey.observed, survey.explained, survey.unexplained) == (8, 5, 2, 1)
    assert [(hole.turns, hole.reason) for hole in survey.holes] == [(2, "disconnect"), (1, "unexplained")]
    (market,) = survey.markets
    assert (market.missing, market.completeness) == (3, 5 / 8)


def test_turns_before_the_first_answer_and_after_the_last_count(tmp_path: Path) -> None:
    """A market that was asked for in vain at first, and one that never answered while another did."""
    story = Story(tmp_path)
    for turn in range(6):
        story.snapshot(turn, "s/a")
    for symbol, first, end in (("s/late", 1, 3.01), ("s/never", 2, None)):
        story.gap(first - 0.5, end, "not_started", symbol, noted=first + 0.001)
    story.snapshot(3, "s/late")
    story.gap(3.01, None, "rate_limit", "s/late")
    survey = story.survey()
    counts = {market.symbol: (market.expected, market.observed, market.explained) for market in survey.markets}
    assert counts == {"s/a": (6, 6, 0), "s/late": (5, 1, 4), "s/never": (4, 0, 4)}
    assert survey.unexplained == 0


def test_a_market_is_expected_until_its_end(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for turn in range(8):
        story.snapshot(turn, "s/a")
    for turn in range(3):
        story.snapshot(turn, "s/over", is_final=turn == 2)
    story.snapshot(0, "s/gone")
    story.gap(0.01, None, "venue_status", "s/gone")
    told = {"slug": "s/gone", "condition": "gone", "state": "unknown"}
    story.add("market_state", BEGIN + 3.01 * STEP, "s/gone", **told)
    survey = story.survey()
    counts = {market.symbol: (market.expected, market.observed) for market in survey.markets}
    assert counts == {"s/a": (8, 8), "s/over": (3, 3), "s/gone": (4, 1)}
    assert survey.unexplained == 0


def test_prices_that_make_no_sense_and_those_that_stand_still(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for turn in range(STALE_TURNS + 2):
        story.snapshot(turn, "s/still", yes=0.4 if turn else 0.6, no=0.62)
        story.snapshot(turn, "s/moves", yes=0.4 + turn % 3 / 10, no=None, category="y")
    story.snapshot(STALE_TURNS + 2, "s/moves", yes=1.2, no=None, category="y")
    story.snapshot(STALE_TURNS + 2, "s/still", yes=0.4, no=0.9)
    survey = story.survey()
    assert [market.symbol for market in survey.stale] == ["s/still"]
    assert survey.stale[0].stale_turns == STALE_TURNS + 2
    assert [oddity.what for oddity in survey.oddities if oddity.symbol == "s/moves"] == ["price out of 0 to 1: Yes 1.2"]
    told = [oddity.what for oddity in survey.oddities if oddity.symbol == "s/still"]
    assert told == ["Yes 0.6 and No 0.62 make 1.22", "Yes 0.4 and No 0.9 make 1.3"]
    assert [market.symbol for market in survey.volatile] == ["s/moves", "s/still"]
    assert dict(survey.categories) == {"x": 1, "y": 1}
    assert survey.services[0].overround_max is not None
    assert survey.repeats == 0


def test_a_repeat_is_told(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for turn in (0, 1, 1):
        story.snapshot(turn)
    assert story.survey().repeats == 1


def test_page_and_picture(tmp_path: Path) -> None:
    story = Story(tmp_path / "lake")
    for turn in range(9):
        for i in range(7):
            if (turn, i) != (4, 2):
                story.snapshot(turn, f"s/m{i}", yes=0.3 + 0.01 * turn * i, question=f"<b>Q{i}</b>" * 8)
    story.gap(3.01, 5.01, "disconnect", "s/m2")
    story.survey()
    survey, page = write_snapshot_report(Lake(tmp_path / "lake"), tmp_path / "out", "T", facts={"requests": 5})
    text = page.read_text()
    assert "62 of 63 snapshots (98.41 %), 1 missing, 0 of them unexplained" in text
    assert "&lt;b&gt;Q6" in text
    assert "<b>Q6" not in text
    assert "http://" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    titles = [title for title, _, _ in make_tables(survey)]
    assert titles[:3] == ["Completeness", "Longest gaps", "Snapshots per market"]


def test_a_service_whose_turns_came_to_be_others_is_judged_by_those_of_the_time(tmp_path: Path) -> None:
    """Four turns of 900 s, then 300 s: the fifth is due with the new ones, of which one is missing."""
    story = Story(tmp_path)
    for turn in (0, 1, 3):
        story.snapshot(turn)
    for turn in (4, 4 + 1 / 3, 5, 5 + 1 / 3):
        story.snapshot(turn, interval_s=300.0)
    story.gap(1.01, 3.01, "disconnect")
    story.gap(4.34, 5.0, "rate_limit")
    survey = story.survey()
    assert (survey.expected, survey.observed, survey.explained, survey.unexplained) == (9, 7, 2, 0)
    assert [(hole.turns, hole.reason) for hole in survey.holes] == [(1, "disconnect"), (1, "rate_limit")]
    assert [(h.to_us - h.from_us) // 10**6 for h in survey.holes] == [900, 300]
    (service,) = survey.services
    assert (service.turns, service.interval_s) == (9, 300)
    write_snapshot_report(Lake(tmp_path), tmp_path / "out", "T")


def test_a_service_that_never_told_its_markets_is_named(tmp_path: Path) -> None:
    story = Story(tmp_path / "lake")
    story.snapshot(0)
    story.snapshot(1)
    detail = '{"event":"opened","interval_s":60.0}'
    story.add("connection", BEGIN, "", feed="mute", connection="snapshot/mute", event="opened", detail=detail)
    for turn in range(3):
        at = BEGIN + turn * timedelta(minutes=1)
        story.add("connection", at, "", feed="mute", connection="snapshot/mute", event="listing_failed", detail="{}")
    survey = story.survey()
    assert [(s.service, s.interval_s, s.markets, s.expected, s.completeness, s.listings_failed) for s in survey.services] == [
        ("mute", 60, 0, 0, None, 3), ("s", 900, 1, 2, 1, 0),
    ]  # fmt: skip
    assert make_tables(survey)[0][2][0]["complete"] == "n/a"
    _, page = write_snapshot_report(Lake(tmp_path / "lake"), tmp_path / "out", "T")
    assert (
        "2 of 2 snapshots (100 %), 0 missing, 0 of them unexplained; 1 markets; 3 listings failed" in page.read_text()
    )


def test_a_lake_without_snapshots_says_so(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/snapshots.png").write_bytes(b"that of an earlier run")
    survey, page = write_snapshot_report(Lake(tmp_path / "lake"), tmp_path / "out", "T")
    assert survey.expected == 0
    assert "0 of 0 snapshots" in page.read_text()
    assert not page.with_suffix(".png").exists()
