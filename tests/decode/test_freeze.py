"""Silent freeze: found by evidence, in the ledger from when it began, and healed; quiet books are left alone."""

import json
from typing import Any

import pytest
from framed import Outcome, Tape, decode
from sealed_market import DOWN, LINE, OTHER_LINE, RECORDER, UP, URL, SealedMarket, begin, subscribe, tick

from truetape.events.wish import Fetch, Reconnect, Resubscribe


def silences(outcome: Outcome) -> list[dict[str, Any]]:
    return outcome.gaps(reason="silence", channel="book_change")


def kinds(outcome: Outcome) -> list[str]:
    return [type(wish).__name__ for wish in outcome.wishes]


def play(tape: Tape) -> Outcome:
    tape.note(RECORDER, "stopped", reason="signal")
    return decode(tape)


def test_pongs_without_data_and_a_newer_answer_are_a_freeze() -> None:
    """The socket answers pings for minutes while /book moves: found after one probe, from the last frame on."""
    market = SealedMarket()
    tape = begin(market)
    tape.say(LINE, market.change(("BUY", "0.44", "1")))
    last_ns = tape.now_ns
    tick(tape, 7, pong=LINE)
    before = decode(tape)
    assert silences(before) == []
    assert [wish.url for wish in before.wishes if isinstance(wish, Fetch)] == [URL + UP]  # one of the market's books
    market.change(("BUY", "0.44", "2"), after_ms=20_000)
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
    assert silences(decode(tape)) == []  # the answer may be ahead of the socket
    tick(tape, 2, pong=LINE)
    frozen = decode(tape)
    gaps = silences(frozen)
    assert [(gap["venue_symbol"], gap["state"]) for gap in gaps] == [(UP, "open"), (DOWN, "open")]
    for gap in gaps:
        assert gap["from_at"].timestamp() == pytest.approx(last_ns / 1e9, abs=1e-5)
        evidence = json.loads(gap["evidence"])
        assert evidence["answer_at_us"] - evidence["book_at_us"] == 20_000_000
        assert evidence["connection_flows"] is False
    reconnects = [wish for wish in frozen.wishes if isinstance(wish, Reconnect)]
    assert {wish.connection for wish in reconnects} == {LINE.connection}
    subscribe(tape, OTHER_LINE)
    tape.say(OTHER_LINE, market.pictures())
    healed = play(tape)
    assert {gap["state"] for gap in silences(healed)} == {"closed"}
    assert json.loads(silences(healed)[0]["evidence"])["proof"] == "hash"


def test_a_quiet_book_that_answers_agree_with_is_asked_for_ever_more_rarely() -> None:
    market = SealedMarket()
    tape = begin(market)
    answers = 0
    for _ in range(240):  # twenty minutes
        tick(tape, pong=LINE)
        wished = len([wish for wish in decode(tape).wishes if isinstance(wish, Fetch)]) if _ % 12 == 0 else answers
        if wished > answers:
            tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
            answers = wished
    outcome = play(tape)
    assert silences(outcome) == []
    assert set(kinds(outcome)) == {"Fetch"}
    assert 5 <= len(outcome.wishes) <= 8
    assert sum(row["confirmed"] for row in outcome.rows("book_proof")) == answers


def test_a_token_that_stalls_while_its_sibling_moves_is_subscribed_again_then_reconnected() -> None:
    market = SealedMarket()
    tape = begin(market)
    tape.say(LINE, market.change(("BUY", "0.44", "1")))
    stalled_ns = tape.now_ns
    for number in range(8):
        tape.wait(1)
        tape.say(LINE, market.change(("BUY", "0.44", str(2 + number)), tokens=(UP,)))
    tick(tape, 1, 0.1)
    outcome = decode(tape)
    (gap,) = silences(outcome)
    assert (gap["venue_symbol"], gap["state"]) == (DOWN, "open")
    assert gap["from_at"].timestamp() == pytest.approx(stalled_ns / 1e9, abs=1e-5)
    assert json.loads(gap["evidence"])["rows_meanwhile"] >= 8
    (wish,) = outcome.wishes
    assert isinstance(wish, Resubscribe) and wish.topics == (DOWN,)
    for number in range(8):
        tape.wait(1)
        tape.say(LINE, market.change(("BUY", "0.44", str(20 + number)), tokens=(UP,)))
        tick(tape, 1, 0.1)
    assert kinds(decode(tape)) == ["Resubscribe", "Reconnect"]
    tape.say(LINE, market.picture(DOWN))
    healed = play(tape)
    assert silences(healed)[0]["state"] == "closed"


def test_an_answer_does_not_end_a_freeze_that_goes_on() -> None:
    market = SealedMarket()
    tape = begin(market)
    for number in range(8):
        tape.wait(1)
        tape.say(LINE, market.change(("BUY", "0.44", str(2 + number)), tokens=(UP,)))
    tick(tape, 1, 0.1)
    tape.answer("polymarket", "clob", URL + DOWN, market.answer(DOWN))
    assert [gap["state"] for gap in silences(play(tape))] == ["open"]


def test_a_connection_that_stands_still_while_another_moves_is_found() -> None:
    market = SealedMarket()
    tape = begin(market, OTHER_LINE)
    subscribe(tape, LINE)
    tape.say(LINE, market.pictures())
    for number in range(8):
        tape.wait(1)
        tape.say(OTHER_LINE, market.change(("BUY", "0.44", str(2 + number))))
    tick(tape, 1, 0.1)
    gaps = silences(play(tape))
    assert {gap["venue_symbol"] for gap in gaps} == {UP, DOWN}
    assert "other_connection_at_us" in gaps[0]["evidence"]


def test_an_answer_that_the_socket_brings_a_moment_later_is_no_freeze() -> None:
    market = SealedMarket()
    tape = begin(market)
    change = market.change(("BUY", "0.44", "1"))
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
    tape.wait(0.3)
    tape.say(LINE, change)
    tick(tape, 3, pong=LINE)
    assert silences(play(tape)) == []


def test_a_market_that_is_quiet_before_it_opens_or_after_it_ended_is_no_freeze() -> None:
    """One-sided and empty books, 404s of ended markets: no evidence that anything moved."""
    market = SealedMarket()
    market.asks.clear()
    tape = begin(market)
    tick(tape, 8, pong=LINE)
    tape.answer("polymarket", "clob", URL + UP, {"error": "No orderbook exists"}, status=404)
    tick(tape, 50, pong=LINE)
    outcome = play(tape)
    assert silences(outcome) == []
    assert set(kinds(outcome)) == {"Fetch"}


def test_a_ghost_book_is_what_the_venue_says_until_it_says_otherwise() -> None:
    """0.01 / 0.99 while the market trades: proven by its hash, and replaced by the next picture."""
    market = SealedMarket()
    market.bids, market.asks = {"0.01": "100"}, {"0.99": "100"}
    tape = begin(market)
    market.bids, market.asks = {"0.45": "10"}, {"0.46": "10"}
    market.at_ms += 1000
    tape.say(LINE, market.pictures())
    outcome = play(tape)
    assert silences(outcome) == []
    assert sum(row["proven"] for row in outcome.rows("book_proof")) == 4


def test_a_frozen_stretch_before_a_disconnect_is_in_the_gap() -> None:
    """Nobody knew that it was frozen until a picture told of a change that was never seen, long before the end."""
    market = SealedMarket()
    tape = begin(market)
    last_ns = tape.now_ns
    market.change(("BUY", "0.44", "1"), after_ms=3_000)
    tick(tape, 4, pong=LINE)
    tape.note(LINE, "closed", code=1006)
    subscribe(tape, OTHER_LINE)
    tape.say(OTHER_LINE, market.pictures())
    gaps = play(tape).gaps(reason="disconnect")
    assert [gap["from_at"].timestamp() for gap in gaps] == [pytest.approx(last_ns / 1e9, abs=1e-5)] * 2
    assert {gap["state"] for gap in gaps} == {"closed"}


def test_books_that_nobody_carries_any_more_are_forgotten() -> None:
    market = SealedMarket()
    tape = begin(market)
    streams = [
        {"channel": "book_change", "market": "clob", "venue_symbol": token, "topic": token} for token in (UP, DOWN)
    ]
    tape.note(LINE, "unsubscribed", streams=streams)
    tick(tape, 1)
    kept = decode(tape)
    tick(tape, 200)
    assert len(decode(tape).state) < len(kept.state)
    tape.note(LINE, "subscribed", streams=streams)
    tape.say(LINE, market.pictures())
    tape.say(LINE, market.change(("BUY", "0.44", "1")))
    outcome = play(tape)
    assert sum(row["proven"] for row in outcome.rows("book_proof")) == 6
    assert sum(row["mirrored"] for row in outcome.rows("book_proof")) == 3


def test_quotes_without_sizes_may_stand_still_while_their_outcome_trades() -> None:
    market = SealedMarket()
    tape = begin(market, channels=("book_change", "trade", "quote"))
    quote = {"event_type": "best_bid_ask", "market": "0xabc", "asset_id": UP, "best_bid": "0.45", "best_ask": "0.5"}
    tape.say(LINE, quote | {"timestamp": str(market.at_ms)})
    for number in range(12):
        trade = {"event_type": "last_trade_price", "market": "0xabc", "asset_id": UP, "price": "0.5", "size": "5"}
        tape.say(LINE, trade | {"timestamp": str(market.at_ms), "transaction_hash": f"0x{number}"})
        tape.say(LINE, market.change(("SELL", "0.50", str(100 - number))))
        tick(tape)
    assert play(tape).gaps(reason="silence") == []


def test_one_reconnect_is_wished_for_all_books_of_a_silent_connection() -> None:
    market = SealedMarket()
    tape = begin(market)
    for size in "1234":
        tape.say(LINE, market.change(("BUY", "0.44", size)))
    tick(tape, 12)  # no pongs either
    outcome = play(tape)
    assert {gap["venue_symbol"] for gap in silences(outcome)} == {UP, DOWN}
    assert set(kinds(outcome)) <= {"Fetch", "Reconnect"}
    assert kinds(outcome).count("Reconnect") == 1
