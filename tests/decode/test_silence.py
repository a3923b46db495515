"""Connections that answer pings and tell nothing are silent; those of quiet markets are not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from framed import RECORDER, Tape, decode

from truetape.events.wish import Reconnect
from truetape.tape.frame import Source


def answer_pings(tape: Tape, spacing_s: float, seconds: int) -> tuple[int, Any]:
    """An OKX connection that told a trade now and then, and then answers pings alone; return when it told the last."""
    line = Source("okx", "public", "okx/public/1#1")
    last = 0
    tape.note(line, "opened")
    tape.subscribe(line, "trade", "SPOT", "BTC-USDT")
    for number in range(1, 41):
        tape.wait(spacing_s)
        told = {
            "instId": "BTC-USDT",
            "tradeId": str(number),
            "px": "1",
            "sz": "1",
            "side": "buy",
            "ts": "1700000000000",
        }
        tape.say(line, {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [told]})
        last = tape.now_ns
        tape.note(RECORDER, "tick")
    for _ in range(seconds // 20):
        for _ in range(4):
            tape.wait(5)
            tape.note(RECORDER, "tick")
        tape.say(line, "pong")
    return last, decode(tape)


def test_a_connection_that_only_answers_pings_is_silent_once() -> None:
    last, outcome = answer_pings(Tape(), 5, 600)
    (gap,) = outcome.gaps(reason="silence")
    assert (gap["from_at"], gap["state"]) == (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=last // 1000),
        "open",
    )
    evidence = json.loads(gap["evidence"])
    assert evidence["why"] == "only pings are answered"
    assert 60 < evidence["silent_s"] < 80  # it told something before every tick: soon it is missed
    assert [type(wish) for wish in outcome.wishes] == [Reconnect]


def test_a_quiet_market_whose_connection_answers_pings_is_not_silent() -> None:
    _, outcome = answer_pings(Tape(), 30, 400)
    assert outcome.gaps(reason="silence") == []
