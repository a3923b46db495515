"""Observations of oracles are stored once, however often and on however many connections they are told."""

from typing import Any

import pytest
from framed import Outcome, Tape, check_balance, decode
from hypothesis import given
from hypothesis import strategies as st

from truetape.decode.observation import OBSERVED_MAX, Observation, follows_on, take_observation
from truetape.tape.frame import Source

FIRST, SECOND = (Source("polymarket", "rtds", f"polymarket/rtds/{number}#1") for number in (0, 1))
AT_S = 1_767_225_600


def update(second: int, price: str = "60000.5", *, symbol: str = "btc/usd") -> dict[str, Any]:
    payload = {"symbol": symbol, "timestamp": (AT_S + second) * 1000, "value": float(price)}
    exact = price.replace(".", "") + "0" * (18 - len(price.partition(".")[2]))
    return {
        "topic": "crypto_prices_chainlink", "type": "update", "timestamp": (AT_S + second) * 1000 + 900,
        "payload": payload | {"full_accuracy_value": exact},
    }  # fmt: skip


def snapshot(first: int, last: int, price: float = 60000.5) -> dict[str, Any]:
    data = [{"timestamp": (AT_S + second) * 1000, "value": price} for second in range(first, last + 1)]
    return {
        "topic": "crypto_prices", "type": "subscribe", "timestamp": AT_S * 1000,
        "payload": {"symbol": "btc/usd", "data": data},
    }  # fmt: skip


def play(tape: Tape, **more: Any) -> Outcome:
    outcome = decode(tape, **more)
    check_balance(outcome)
    return outcome


def seconds(outcome: Outcome) -> list[int]:
    return [int(row["exchange_at"].timestamp()) - AT_S for row in outcome.rows("oracle_price")]


def test_two_connections_tell_one_observation() -> None:
    tape = Tape()
    for source in (FIRST, SECOND):
        tape.note(source, "opened")
    for second in range(5):
        tape.say(FIRST, update(second))
        tape.say(SECOND, update(second))
    outcome = play(tape)
    assert seconds(outcome) == [0, 1, 2, 3, 4]
    assert outcome.counts["duplicates.oracle_price"] == 5


def test_a_snapshot_tells_again_what_was_told_and_heals_what_was_not() -> None:
    tape = Tape()
    wanted = [{"channel": "oracle_price", "market": "rtds", "venue_symbol": "rtds_chainlink:btc/usd", "topic": "t"}]
    tape.note(FIRST, "opened")
    tape.note(FIRST, "subscribed", streams=wanted)
    for second in range(5):
        tape.say(FIRST, update(second))
    tape.note(FIRST, "closed", code=1006)
    tape.wait(5)
    tape.note(SECOND, "opened")
    tape.note(SECOND, "subscribed", streams=wanted)
    tape.say(SECOND, snapshot(-50, 9))
    tape.say(SECOND, update(10))
    outcome = play(tape)
    # five of the snapshot's sixty were told; those of before the recording are new, and so is what the gap hid
    assert outcome.counts["duplicates.oracle_price"] == 5
    assert sorted(seconds(outcome)) == list(range(-50, 11))
    (gap,) = outcome.gaps(channel="oracle_price", reason="disconnect")
    assert gap["state"] == "repaired"


def test_a_snapshot_that_begins_where_the_stream_ended_repairs_the_gap() -> None:
    tape = Tape()
    wanted = [{"channel": "oracle_price", "market": "rtds", "venue_symbol": "rtds_chainlink:btc/usd", "topic": "t"}]
    tape.note(FIRST, "opened")
    tape.note(FIRST, "subscribed", streams=wanted)
    tape.say(FIRST, snapshot(-60, 0))
    for second in range(1, 5):
        tape.say(FIRST, update(second))
    tape.note(FIRST, "closed", code=1006)
    again = tape.frames[:]
    tape.note(SECOND, "opened")
    tape.note(SECOND, "subscribed", streams=wanted)
    tape.say(SECOND, snapshot(-50, 9))
    (gap,) = play(tape).gaps(channel="oracle_price", reason="disconnect")
    assert (gap["state"], gap["missing"]) == ("repaired", 0)
    tape.frames = again
    tape.note(SECOND, "opened")
    tape.note(SECOND, "subscribed", streams=wanted)
    tape.say(SECOND, snapshot(7, 20))
    (gap,) = play(tape).gaps(channel="oracle_price", reason="disconnect")
    assert (gap["state"], gap["missing"]) == ("closed", None)


def test_another_value_for_the_same_time_is_kept_and_so_are_exact_digits() -> None:
    tape = Tape()
    tape.note(FIRST, "opened")
    tape.say(FIRST, snapshot(0, 0, 60000.123456789))
    tape.say(FIRST, update(0, "60000.123456789"))  # the first to tell all digits
    tape.say(FIRST, update(0, "60000.123456789"))
    tape.say(FIRST, update(0, "60000.2"))
    tape.say(FIRST, update(0, "60000.123456789", symbol="eth/usd"))  # another stream
    outcome = play(tape)
    assert [row["price"] for row in outcome.rows("oracle_price", symbol="BTC-USD:rtds_chainlink")] == [
        60000.123456789,
        60000.123456789,
        60000.2,
    ]
    assert outcome.counts["duplicates.oracle_price"] == 1


@pytest.mark.parametrize("cut", [2, 3, 5])
def test_restarts_forget_no_observation(cut: int) -> None:
    tape = Tape()
    tape.note(FIRST, "opened")
    for second in range(4):
        tape.say(FIRST, update(second))
        tape.say(FIRST, update(second))
    assert seconds(play(tape, restores=[cut])) == [0, 1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=40))
def test_each_time_and_value_is_stored_once(told: list[tuple[int, int]]) -> None:
    observed: dict[int, list[Observation]] = {}
    stored = [
        (at, price)
        for at, price in told
        if take_observation(observed, (0, at, 0, 0, "s", "f", None, float(price), None, None, "x", None, False))
    ]
    assert stored == list(dict.fromkeys(told))


def test_memory_has_a_bound() -> None:
    observed: dict[int, list[Observation]] = {}
    for second in range(3 * OBSERVED_MAX):
        take_observation(observed, (0, second * 10**6, 0, 0, "s", "f", None, 1.0, None, None, None, None, False))
    assert len(observed) == OBSERVED_MAX
    assert follows_on(observed, 3 * OBSERVED_MAX * 10**6)
    assert not follows_on(observed, None)
    assert not follows_on(observed, 1)


def test_an_observation_without_a_time_is_never_a_repeat() -> None:
    row = (0, None, 0, 0, "s", "f", None, 1.0, None, None, None, None, False)
    assert [take_observation({}, row), take_observation({}, row)] == [True, True]
