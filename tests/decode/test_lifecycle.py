"""Connections and the recorder: when they come and go, the ledger says from when to when what was not observed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from framed import RECORDER, START_NS, Tape, check_balance, decode

from truetape.decode.silence import EVIDENCE_ROWS
from truetape.events.wish import Reconnect
from truetape.tape.frame import Source

A, B = Source("binance", "spot", "binance/spot/0#1"), Source("binance", "spot", "binance/spot/0#2")
LANE = Source("binance", "spot", "binance/spot/0")


def trade(number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    data = {
        "e": "trade",
        "E": 1,
        "s": symbol,
        "t": number,
        "p": "100",
        "q": "1",
        "T": START_NS // 10**6,
        "m": True,
        "M": True,
    }
    return {"stream": f"{symbol.lower()}@trade", "data": data}


def quote(update: int) -> dict[str, Any]:
    data = {"u": update, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}
    return {"stream": "btcusdt@bookTicker", "data": data}


def to_time(ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


def open_line(tape: Tape, line: Source = A, *channels: str) -> None:
    tape.note(line, "opened")
    tape.ask(line)
    for channel in channels or ("trade",):
        tape.subscribe(line, channel, "spot", "BTCUSDT")


def test_a_stream_has_not_started_until_its_first_row() -> None:
    tape = Tape()
    tape.note(RECORDER, "started")
    began = tape.now_ns
    open_line(tape)
    tape.wait(3)
    tape.say(A, trade(1))
    (gap,) = decode(tape).gaps()
    assert (gap["reason"], gap["state"]) == ("not_started", "closed")
    assert (gap["from_at"], gap["to_at"]) == (to_time(began), to_time(tape.now_ns))


def test_what_was_planned_and_never_connected_is_a_gap() -> None:
    tape = Tape()
    tape.note(RECORDER, "started")
    wanted = {"channel": "trade", "market": "spot", "venue_symbol": "BTCUSDT", "topic": "btcusdt@trade"}
    tape.note(LANE, "planned", streams=[wanted])
    tape.note(LANE, "connect_failed", error="refused")
    (gap,) = decode(tape).gaps()
    assert (gap["reason"], gap["state"], gap["channel"]) == ("not_started", "open", "trade")


def test_a_confirmed_quiet_stream_is_observed() -> None:
    tape = Tape()
    open_line(tape)
    tape.say(A, {"result": None, "id": 1})
    (gap,) = decode(tape).gaps()
    assert (gap["state"], gap["evidence"]) == ("closed", '{"by":"subscription confirmed"}')


@pytest.mark.parametrize("confirmed", [1, 2, 3])
def test_okx_confirms_each_topic(confirmed: int) -> None:
    tape, line = Tape(), Source("okx", "public", "a")
    tape.note(line, "opened")
    tape.ask(line)
    names = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    streams = [{"channel": "trade", "market": "okx", "venue_symbol": n, "topic": f"trades:{n}"} for n in names]
    tape.note(line, "subscribed", streams=streams)
    for name in names[:confirmed]:
        tape.say(line, {"event": "subscribe", "arg": {"channel": "trades", "instId": name}, "connId": "1"})
    states = {gap["state"] for gap in decode(tape).gaps()}
    assert states == ({"closed"} if confirmed == 3 else {"open"})


@pytest.mark.parametrize(("following", "state", "missing"), [(3, "repaired", 0), (6, "closed", 3)])
def test_a_disconnect_is_a_gap_from_the_last_frame_to_the_first_row(following: int, state: str, missing: int) -> None:
    tape = Tape()
    open_line(tape)
    tape.say(A, trade(1))
    tape.say(A, trade(2))
    last = tape.now_ns
    tape.wait(4)
    tape.note(A, "closed", cause="remote", code=1006, reason="")
    open_line(tape, B)
    tape.say(B, trade(2))
    tape.say(B, trade(following))
    outcome = decode(tape)
    (gap,) = outcome.gaps(reason="disconnect")
    assert (gap["from_at"], gap["to_at"]) == (to_time(last), to_time(tape.now_ns))
    assert (gap["state"], gap["missing"]) == (state, missing)
    assert outcome.ids() == [1, 2, following]
    check_balance(outcome)


def test_a_hand_over_is_no_gap_and_no_repeat() -> None:
    tape = Tape()
    open_line(tape, A, "trade", "quote")
    for number in range(1, 5):
        tape.say(A, trade(number))
        tape.say(A, quote(number))
    open_line(tape, B, "trade", "quote")
    for number in range(5, 10):
        for line in (A, B) if number % 2 else (B, A):
            tape.say(line, trade(number))
            tape.say(line, quote(number))
    tape.note(A, "closed", cause="lifetime")
    tape.say(B, trade(10))
    outcome = decode(tape)
    assert outcome.ids() == list(range(1, 11))
    assert {gap["reason"] for gap in outcome.gaps()} == {"not_started"}
    assert [row["sequence"] for row in outcome.rows("quote")] == list(range(1, 10))


@pytest.mark.parametrize("ending", ["killed", "stopped", "torn"])
def test_the_time_between_two_sessions_is_a_gap(ending: str) -> None:
    tape = Tape()
    tape.note(RECORDER, "started")
    open_line(tape)
    tape.say(A, trade(1))
    tape.wait(1)
    tape.note(RECORDER, "tick")
    tape.say(A, trade(2))
    alive = tape.now_ns
    if ending == "stopped":
        tape.note(A, "closed", cause="shutdown")
        alive = tape.now_ns + 10_000_000
        tape.note(RECORDER, "stopped", reason="SIGTERM")
    tape.wait(100)
    if ending == "torn":
        tape.note(RECORDER, "torn_tail", bytes_cut=10)
    tape.note(RECORDER, "started")
    open_line(tape, B)
    tape.say(B, trade(5))
    gap = decode(tape).gaps(channel="trade")[-1]
    assert gap["reason"] == ("torn_tail" if ending == "torn" else "not_started")
    assert gap["from_at"] == to_time(alive)
    assert (gap["state"], gap["missing"]) == ("closed", 2)
    opened = [row for row in decode(tape).rows("gap", gap_id=gap["gap_id"]) if row["state"] == "open"]
    said = {"killed": "killed", "stopped": "SIGTERM", "torn": "killed"}[ending]
    assert msgspec.json.decode(opened[0]["evidence"]) == {"recorder": said}


def test_a_venue_that_was_given_up_is_a_gap_though_the_recorder_lives() -> None:
    tape = Tape()
    open_line(tape)
    tape.say(A, trade(1))
    tape.note(A, "closed", cause="shutdown")
    tape.note(Source("binance", "", "binance"), "gave_up", reason="403")
    (gap,) = decode(tape).gaps(reason="disconnect")
    assert (gap["state"], gap["evidence"]) == ("open", '{"gave_up":"403"}')


def test_damage_that_was_cut_out_of_the_tape_is_a_gap_where_no_id_tells() -> None:
    tape = Tape()
    open_line(tape, A, "trade", "quote")
    for number in range(1, 4):
        tape.say(A, trade(number))
        tape.say(A, quote(number))
    lost_ns = tape.now_ns
    tape.wait(5)
    tape.note(RECORDER, "damaged", segment="0.arrows", offset=7, frames=12, from_ns=lost_ns, to_ns=tape.now_ns)
    found_ns = tape.now_ns
    tape.say(A, trade(9))
    tape.say(A, quote(9))
    gaps = {(gap["venue"], gap["channel"], gap["reason"]): gap for gap in decode(tape).gaps() if gap["missing"] != 0}
    gaps = {key: gap for key, gap in gaps.items() if key[2] in {"disk", "sequence"}}
    assert set(gaps) == {("binance", "quote", "disk"), ("recorder", "*", "disk"), ("binance", "trade", "sequence")}
    assert gaps["binance", "trade", "sequence"]["missing"] == 5
    for venue, channel in (("binance", "quote"), ("recorder", "*")):
        gap = gaps[venue, channel, "disk"]
        assert (gap["from_at"], gap["to_at"], gap["state"]) == (to_time(lost_ns), to_time(found_ns), "closed")
        assert '"frames":12' in gap["evidence"]


def test_frames_dropped_by_the_recorder_are_gaps_where_no_id_tells() -> None:
    tape = Tape()
    open_line(tape, A, "trade", "quote")
    tape.say(A, trade(1))
    tape.say(A, quote(1))
    tape.note(A, "dropped", frames=3, bytes=9, from_ns=tape.now_ns, to_ns=tape.now_ns + 1)
    tape.say(A, trade(3))
    tape.note(Source("binance", "spot", "binance/http"), "dropped", frames=1, bytes=1, from_ns=START_NS, to_ns=START_NS)
    outcome = decode(tape)
    assert [gap["channel"] for gap in outcome.gaps(reason="disk")] == ["quote", "*"]
    assert [gap["missing"] for gap in outcome.gaps(reason="sequence")] == [1]


# -- silence --------------------------------------------------------------------------------------------------


def tick_for(tape: Tape, seconds: int) -> None:
    for _ in range(seconds // 5):
        tape.wait(5)
        tape.note(RECORDER, "tick")


def test_a_connection_that_says_nothing_for_long_is_silent_once() -> None:
    tape = Tape()
    open_line(tape)
    for number in range(1, 20):
        tape.wait(0.1)
        tape.say(A, trade(number))
    last = tape.now_ns
    tick_for(tape, 120)
    outcome = decode(tape)
    (gap,) = outcome.gaps(reason="silence")
    assert (gap["from_at"], gap["state"]) == (to_time(last), "open")
    assert [type(wish) for wish in outcome.wishes] == [Reconnect]
    tape.say(A, trade(20))
    (gap,) = decode(tape).gaps(reason="silence")
    assert (gap["state"], gap["missing"]) == ("repaired", 0)


def test_a_quiet_market_is_not_silent() -> None:
    tape = Tape()
    open_line(tape)
    for number in range(1, 10):
        tick_for(tape, 60)
        tape.say(A, trade(number))
    outcome = decode(tape)
    assert outcome.gaps(reason="silence") == []
    assert outcome.wishes == []


def test_a_quote_that_stands_still_while_its_market_trades_is_frozen() -> None:
    tape = Tape()
    open_line(tape, A, "trade", "quote")
    for number in range(1, 50):
        tape.say(A, trade(number))
        tape.say(A, quote(number))
    stood = tape.now_ns
    number = 50
    for _ in range(20):
        tape.wait(5)
        for _ in range(EVIDENCE_ROWS):
            tape.say(A, trade(number))
            number += 1
        tape.note(RECORDER, "tick")
    outcome = decode(tape)
    (gap,) = outcome.gaps(reason="silence")
    assert (gap["channel"], gap["from_at"], gap["state"]) == ("quote", to_time(stood), "open")
    assert len([wish for wish in outcome.wishes if isinstance(wish, Reconnect)]) == 1


def test_a_quote_that_stands_still_while_nobody_trades_is_quiet() -> None:
    tape = Tape()
    open_line(tape, A, "trade", "quote")
    tape.subscribe(A, "trade", "spot", "ETHUSDT")
    for number in range(1, 50):
        tape.say(A, trade(number))
        tape.say(A, quote(number))
    for number in range(1, 60):
        tape.wait(2)
        tape.say(A, trade(number, "ETHUSDT"))
        tape.note(RECORDER, "tick")
    assert decode(tape).gaps(reason="silence") == []


# -- rules of the day -----------------------------------------------------------------------------------------


def test_another_generation_of_a_venues_feed_brings_its_own_rules() -> None:
    tape = Tape(start_ns=1_640_995_200_000_000_000)  # 2022-01-01: trade ids of OKX step by one
    row = {"instId": "BTC-USDT", "px": "1", "sz": "1", "side": "buy", "ts": "1640995200000"}

    def say(line: Source, number: int) -> None:
        data = [{**row, "tradeId": str(number)}]
        tape.say(line, {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": data})

    old, new = Source("okx", "public", "a"), Source("okx", "public", "b")
    for number in (1, 2, 5):
        say(old, number)
    tape.note(old, "closed")
    tape.wait(2 * 365 * 86_400)  # since 2023-06 one row may stand for several ids
    tape.note(new, "opened")
    for number in (100, 103, 105):
        say(new, number)
    outcome = decode(tape)
    assert [gap["missing"] for gap in outcome.gaps(reason="sequence")] == [2]


# -- bounds ---------------------------------------------------------------------------------------------------


def test_closed_connections_leave_nothing_behind() -> None:
    tape, number = Tape(), 0
    for turn in range(30):
        line = Source("coinbase", "advanced", f"coinbase/advanced/0#{turn:06}")
        tape.note(line, "opened")
        tape.subscribe(line, "trade", "spot-advanced", "BTC-USD")
        for sequence in range(3):
            number += 1
            row = {"product_id": "BTC-USD", "trade_id": str(number), "price": "1", "size": "1", "side": "BUY"}
            events = [{"type": "update", "trades": [{**row, "time": "2026-01-01T00:00:00Z"}]}]
            head = {"channel": "market_trades", "client_id": "", "timestamp": "2026-01-01T00:00:00Z"}
            tape.say(line, {**head, "sequence_num": sequence, "events": events})
        tape.note(line, "closed", cause="remote")
    outcome = decode(tape)
    assert outcome.ids() == list(range(1, number + 1))
    assert b"coinbase/advanced/0#" not in outcome.state


def test_connections_that_never_close_end_with_the_session() -> None:
    tape = Tape()
    for turn in range(50):
        tape.note(RECORDER, "started")
        open_line(tape, Source("binance", "spot", f"a#{turn:03}"))
        tape.say(Source("binance", "spot", f"a#{turn:03}"), trade(turn))
    state = msgspec.msgpack.decode(decode(tape).state, strict=False)
    assert list(state["connections"]) == ["a#049"]


def hand_over_quotes(*losing: Source) -> list[dict[str, Any]]:
    """Lose frames on connections that carry the same quotes, in the same second."""
    tape = Tape()
    for line in (A, B):
        open_line(tape, line, "quote")
        tape.say(line, quote(1))
    tape.wait(1)
    begin = tape.now_ns
    tape.wait(1)
    for line in losing:
        tape.note(line, "dropped", frames=1, bytes=10, from_ns=begin, to_ns=tape.now_ns)
    tape.say(A, quote(5))
    return decode(tape).gaps(channel="quote", reason="disk")


def test_during_a_hand_over_what_only_one_connection_lost_is_no_gap() -> None:
    assert hand_over_quotes(A) == []
    assert hand_over_quotes(B) == []


def test_during_a_hand_over_what_both_connections_lost_is_a_gap() -> None:
    assert len(hand_over_quotes(A, B)) == 1
    assert len(hand_over_quotes(B, A)) == 1


def test_a_connection_that_opened_after_a_loss_began_is_no_witness() -> None:
    tape = Tape()
    open_line(tape, A, "quote")
    tape.say(A, quote(1))
    begin = tape.now_ns + 1
    open_line(tape, B, "quote")
    tape.note(A, "dropped", frames=1, bytes=10, from_ns=begin, to_ns=tape.now_ns)
    (gap,) = decode(tape).gaps(channel="quote", reason="disk")
    assert gap["from_at"] == to_time(begin)
