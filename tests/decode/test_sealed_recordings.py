"""Every recorded book of the sessions, through the engine: pictures, batches of changes and answers of /book."""

import json
from collections import Counter
from pathlib import Path

import pytest
from framed import Outcome, check_balance, decode

from truetape.tape.frame import Frame, FrameKind

BOOK_URL = "https://clob.polymarket.com/book?token_id=1"


def read_session(path: Path) -> list[Frame]:
    """Return a session's frames; its recorder opened a connection for each cycle, which begins with an array of pictures."""
    frames: list[Frame] = []
    name, cycle = path.parent.name, 0

    def note(event: str, at: int) -> None:
        frames.append(
            Frame(
                at, 0, int(FrameKind.EVENT), "polymarket", "clob", f"{name} {cycle}", b"", json.dumps({"event": event})
            )
        )

    for line in path.read_text().splitlines():
        row = json.loads(line)
        if row["source"] != "polymarket_clob":
            continue
        payload, at = row["payload"].encode(), int(row["recv_wall_ts"]) * 10**6
        if payload.startswith(b"["):
            if cycle:
                note("closed", at)
            cycle += 1
            note("opened", at)
        if payload.startswith(b"{") and b'"event_type"' not in payload:
            meta = json.dumps({"url": BOOK_URL, "status": 200})
            frames.append(Frame(at, 0, int(FrameKind.RESPONSE), "polymarket", "clob", "http", payload, meta))
        else:
            frames.append(Frame(at, 0, int(FrameKind.TEXT), "polymarket", "clob", f"{name} {cycle}", payload, ""))
    note("closed", frames[-1].received_ns)
    return frames


@pytest.fixture(scope="module")
def decoded(recordings: Path) -> dict[str, Outcome]:
    found = sorted((recordings / "prediction").glob("raw_sessions/*/*/raw_messages.jsonl"))
    assert len(found) == 8
    return {path.parent.name: decode(read_session(path)) for path in found}


def test_every_recorded_book_is_proven(decoded: dict[str, Outcome]) -> None:
    """492 answers, 288 pictures, and 144 batches: 146 changes of a token, of which two are in the middle of theirs."""
    total: Counter[str] = Counter()
    for outcome in decoded.values():
        check_balance(outcome)
        assert outcome.counts["quarantined"] == 0
        assert outcome.rows("error") == []
        for row in outcome.rows("book_proof"):
            total.update({name: value for name, value in row.items() if isinstance(value, int)})
    assert (total["fetched"], total["pictures"], total["batches"]) == (492, 288, 288 + 144)
    assert (total["proven"], total["broken"], total["unjudged"]) == (288 + 144, 0, 0)
    assert total["mirrored"] > 150
    assert total["mirror_broken"] == 0


def test_no_recorded_book_is_declared_broken(decoded: dict[str, Outcome]) -> None:
    reasons = Counter(gap["reason"] for outcome in decoded.values() for gap in outcome.gaps(channel="book_change"))
    assert set(reasons) <= {"not_started", "disconnect"}


def test_books_that_stood_still_between_two_connections_are_repaired(decoded: dict[str, Outcome]) -> None:
    """The same hash, time of the newest change included, before and after: nothing was missed."""
    gaps = [gap for outcome in decoded.values() for gap in outcome.gaps(channel="book_change", reason="disconnect")]
    states = Counter(gap["state"] for gap in gaps)
    assert states["repaired"] > 100
    assert states["closed"] > 0
    assert {gap["missing"] for gap in gaps if gap["state"] == "repaired"} == {0}
