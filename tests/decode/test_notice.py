"""Events that become a row: steps of a prediction market, requests without an answer."""

from datetime import UTC, datetime
from typing import Any

from framed import RECORDER, START_NS, Tape, decode

from truetape.tape.frame import Source

MARKETS = Source("polymarket", "clob", "polymarket/markets")
OPENS_US = START_NS // 1000 // 900_000_000 * 900_000_000
SLUG = "btc-updown-15m-1777470300"


def step(tape: Tape, state: str, previous: str = "", **more: Any) -> None:
    facts = {"slug": SLUG, "condition": "0xc", "opens_us": OPENS_US, "ends_us": OPENS_US + 900_000_000}
    tape.note(MARKETS, "market_state", **{**facts, "state": state, "previous": previous, "reason": "the clock", **more})


def test_every_step_of_a_market_is_a_row_and_no_connection() -> None:
    tape = Tape()
    tape.note(RECORDER, "started")
    step(tape, "listed", tokens={"Up": "1", "Down": "2"})
    step(tape, "open", "listed")
    tape.note(MARKETS, "market_roster", markets=[])
    decoded = decode(tape)
    first, second = decoded.rows("market_state")
    assert (first["slug"], first["state"], first["previous"], first["symbol"]) == (SLUG, "listed", None, SLUG)
    assert (second["state"], second["previous"], second["reason"]) == ("open", "listed", "the clock")
    assert second["opens_at"] == datetime.fromtimestamp(OPENS_US / 1e6, UTC)
    assert (second["ends_at"] - second["opens_at"]).total_seconds() == 900
    assert [row["event"] for row in decoded.rows("connection")] == ["started"]


def test_a_market_that_was_never_listed_has_no_condition() -> None:
    tape = Tape()
    step(tape, "unknown", condition="", opens_us=None, ends_us=None, reason="never listed")
    (row,) = decode(tape).rows("market_state")
    assert (row["condition"], row["opens_at"], row["reason"]) == (None, None, "never listed")


def test_a_request_without_an_answer_is_an_error() -> None:
    tape = Tape()
    tape.note(Source("polymarket", "clob", "polymarket/http"), "request_failed", url="https://x.test/", error="timeout")
    (row,) = decode(tape).rows("error")
    assert (row["message"], row["url"], row["venue"]) == ("timeout", "https://x.test/", "polymarket")
