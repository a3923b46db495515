"""Outcomes of markets that are over: let go of without a gap; what gap they are in ends with their label."""

from typing import Any

import sealed_market
from framed import RECORDER, Tape, batch, decode
from sealed_market import SealedMarket

from truetape.decode.ending import OVER_MAX, Endings
from truetape.decode.engine import Engine
from truetape.decode.gaps import Ledger
from truetape.events.rows import Rows
from truetape.tape.frame import Source

MARKETS = Source("polymarket", "clob", "polymarket/markets")
LINE = Source("polymarket", "clob", "polymarket/clob/1#1")
WANTED = {"channel": "trade", "market": "clob", "venue_symbol": "11", "topic": "11"}


def step(tape: Tape, state: str) -> None:
    tape.note(MARKETS, "market_state", slug="m", condition="0xc", state=state, tokens={"Up": "11"})


def begin() -> Tape:
    tape = Tape()
    tape.note(RECORDER, "started")
    step(tape, "listed")
    tape.note(LINE, "opened")
    tape.note(LINE, "subscribed", streams=[WANTED])
    trade = {"event_type": "last_trade_price", "asset_id": "11", "market": "0xc", "price": "0.5", "size": "1",
             "side": "BUY", "timestamp": "1767225600000"}  # fmt: skip
    tape.say(LINE, trade)
    return tape


def list_gaps(tape: Tape) -> list[tuple[Any, ...]]:
    return [(gap["reason"], gap["state"]) for gap in decode(tape).gaps(channel="trade")]


def test_what_is_let_go_of_before_its_market_ended_is_not_observed_any_more() -> None:
    tape = begin()
    tape.note(LINE, "unsubscribed", streams=[WANTED])
    assert list_gaps(tape) == [("not_started", "closed"), ("venue_status", "open")]
    step(tape, "resolved")
    assert list_gaps(tape) == [("not_started", "closed"), ("venue_status", "closed")]


def test_what_is_let_go_of_after_its_market_ended_is_over() -> None:
    tape = begin()
    step(tape, "ended")
    tape.note(LINE, "unsubscribed", streams=[WANTED])
    assert list_gaps(tape) == [("not_started", "closed")]


def test_a_market_that_opens_again_is_not_over() -> None:
    tape = begin()
    step(tape, "ended")
    step(tape, "open")
    tape.note(LINE, "unsubscribed", streams=[WANTED])
    assert list_gaps(tape)[-1] == ("venue_status", "open")


def test_a_gap_of_before_a_restart_ends_with_the_label() -> None:
    tape = begin()
    step(tape, "ended")
    tape.wait(300)
    tape.note(RECORDER, "started")
    assert list_gaps(tape)[-1] == ("not_started", "open")
    step(tape, "resolved")
    assert list_gaps(tape)[-1] == ("not_started", "closed")


def test_a_stream_that_is_carried_keeps_its_gap() -> None:
    tape = begin()
    tape.note(RECORDER, "started")
    tape.note(LINE, "opened")
    tape.note(LINE, "subscribed", streams=[WANTED])
    step(tape, "resolved")
    assert list_gaps(tape)[-1] == ("not_started", "open")


def test_there_is_a_bound() -> None:
    rows = Rows()
    endings = Endings(rows, Ledger(rows), lambda index, at: None)  # type: ignore[arg-type,return-value]
    for first in range(0, OVER_MAX + 1000, 1000):
        tokens = {str(number): str(number) for number in range(first, first + 1000)}
        endings.hear({"state": "ended", "tokens": tokens}, MARKETS, (1, 1))
    assert len(rows.memory["outcomes over"]) == OVER_MAX


def test_the_engine_tells_which_streams_are_over() -> None:
    tape = begin()
    running = feed(tape)
    assert [running.is_over(stream) for stream, _ in running.states] == [False]
    step(tape, "ended")
    over = feed(tape)
    assert [over.is_over(stream) for stream, _ in over.states] == [True]


def feed(tape: Tape) -> Engine:
    engine = Engine("tape")
    engine.feed(batch(tape.frames))
    return engine


def test_a_market_with_its_label_is_not_called_frozen_nor_asked_for() -> None:
    market = SealedMarket()
    tape = sealed_market.begin(market)
    tape.say(sealed_market.LINE, market.change(("BUY", "0.41", "5")))
    tokens = {"Up": sealed_market.UP, "Down": sealed_market.DOWN}
    tape.note(MARKETS, "market_state", slug="m", condition="0xc", state="resolved", tokens=tokens)
    labelled = len(tape.frames)
    for _ in range(10):
        tape.say(sealed_market.LINE, market.change(("BUY", "0.41", str(tape.now_ns % 99)), tokens=(sealed_market.UP,)))
        sealed_market.tick(tape)
    sealed_market.tick(tape, 60, pong=sealed_market.LINE)
    done = decode(tape)
    assert done.wishes == decode(tape.frames[:labelled]).wishes
    assert [gap["reason"] for gap in done.gaps()] == ["not_started", "not_started"]
