"""Turns of a poll that were missed are gaps of what they would have told, with their reason."""

import json

from framed import SECOND_NS, START_NS, Tape, decode

from truetape.decode.poll import find_listed
from truetape.events.instrument import Instrument
from truetape.events.rows import Rows
from truetape.tape.frame import FrameKind, Source

WALLETS = Source("polymarket", "goldsky", "polymarket/balances")
PAGE = Source("chainlink", "page", "chainlink/page")
FEED_ID = "0x00039d9e45394f473ab1f050a1b963e6b05351e52d71e507509ada0c95ed75b8"
STREAM = {"channel": "position", "market": "goldsky", "venue_symbol": "77", "topic": "", "listed_in": "clob"}
PRICE = {"channel": "oracle_price", "market": "streams", "venue_symbol": FEED_ID, "topic": ""}


def test_missed_turns_open_a_gap_that_the_next_good_one_closes() -> None:
    tape = Tape()
    tape.note(Source("", "", "recorder"), "started")
    tape.note(WALLETS, "opened", poll="balances")
    tape.note(WALLETS, "subscribed", poll="balances", subject="", streams=[STREAM])
    tape.note(WALLETS, "poll_resumed", poll="balances", subject="", streams=[STREAM])
    good_ns = tape.now_ns
    tape.wait(10)
    for turns in (1, 2):
        tape.note(WALLETS, "poll_missed", poll="balances", subject="", gap="rate_limit", reason="told to wait",
                  turns=turns, from_ns=good_ns, streams=[STREAM])  # fmt: skip
        tape.wait(10)
    tape.note(WALLETS, "poll_resumed", poll="balances", subject="", streams=[STREAM])
    gaps = decode(tape.frames).rows("gap")
    assert [(g["reason"], g["state"]) for g in gaps] == [
        ("not_started", "open"),
        ("not_started", "closed"),
        ("rate_limit", "open"),
        ("rate_limit", "closed"),
    ]
    assert {(g["channel"], g["venue_symbol"]) for g in gaps} == {("position", "77")}
    assert json.loads(gaps[2]["evidence"]) == {"poll": "balances", "reason": "told to wait", "turns": 1}
    assert [g["from_at"] for g in gaps[2:]] == [gaps[2]["from_at"]] * 2
    assert gaps[3]["to_at"] is not None


def test_a_poll_of_an_earlier_session_is_not_observed_until_it_answers_again() -> None:
    tape = Tape()
    recorder = Source("", "", "recorder")
    for _ in range(2):
        tape.note(recorder, "started")
        tape.note(WALLETS, "opened", poll="balances")
        tape.note(WALLETS, "subscribed", poll="balances", streams=[STREAM])
        tape.note(WALLETS, "poll_resumed", poll="balances", streams=[STREAM])
        tape.wait(30)
    gaps = [(g["reason"], g["state"]) for g in decode(tape.frames).rows("gap")]
    assert gaps == [("not_started", "open"), ("not_started", "closed")] * 2


def test_what_a_socket_carries_has_no_gap_for_a_missed_poll() -> None:
    tape = Tape()
    socket, poll = (
        Source("chainlink", "streams", "chainlink/streams/1#1"),
        Source("chainlink", "streams", "chainlink/latest"),
    )
    for source in (socket, poll):
        tape.note(source, "opened")
        tape.note(source, "subscribed", streams=[PRICE])
    tape.note(poll, "poll_resumed", poll="latest", streams=[PRICE])
    tape.note(poll, "poll_missed", poll="latest", gap="disconnect", reason="gone", turns=1, streams=[PRICE])
    gaps = [(g["reason"], g["state"]) for g in decode(tape.frames).rows("gap", channel="oracle_price")]
    assert gaps == [("not_started", "open"), ("not_started", "closed")]


def test_a_poll_that_names_no_stream_has_a_gap_of_its_feed() -> None:
    tape = Tape()
    tape.note(PAGE, "opened")
    began = START_NS + SECOND_NS
    tape.put(PAGE, FrameKind.EVENT, b"", json.dumps(
        {"event": "poll_missed", "gap": "venue_status", "reason": "answered 404", "turns": 1, "from_ns": began, "streams": []}
    ))  # fmt: skip
    (gap,) = decode(tape.frames).rows("gap")
    assert (gap["channel"], gap["reason"], gap["state"]) == ("*", "venue_status", "closed")
    tape.note(PAGE, "poll_missed", gap="venue_status", reason="again", turns=1, streams=[], still=2)  # told before
    assert len(decode(tape.frames).rows("gap")) == 1


def test_a_stream_is_called_as_another_markets_listing_says() -> None:
    rows = Rows()
    rows.instruments["polymarket", "clob", "77"] = Instrument("polymarket", "clob", "77", "btc-updown:Up", "outcome")
    found = find_listed(rows, "polymarket", STREAM)
    assert found == Instrument("polymarket", "goldsky", "77", "btc-updown:Up", "outcome")
    assert find_listed(rows, "polymarket", {**STREAM, "listed_in": ""}) is None
    assert find_listed(rows, "polymarket", {**STREAM, "venue_symbol": "78"}) is None
