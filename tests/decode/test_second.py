"""Seconds that an oracle skips while it is heard are gaps of their own, and repaired when they come late."""

import csv
import gzip
import random
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from framed import START_NS, Outcome, Tape, check_balance, decode
from test_observation import AT_S, FIRST, SECOND, snapshot, update

from truetape.decode.second import SKIP_US, STEADY_MIN

WANTED = [{"channel": "oracle_price", "market": "rtds", "venue_symbol": "rtds_chainlink:btc/usd", "topic": "t"}]


def begin(seconds: range = range(10)) -> Tape:
    tape = Tape()
    tape.note(FIRST, "opened")
    tape.note(FIRST, "subscribed", streams=WANTED)
    for second in seconds:
        say(tape, second)
    return tape


def say(tape: Tape, second: int) -> None:
    tape.wait(0.99)
    tape.say(FIRST, update(second))


def list_skipped(tape: Tape) -> list[dict[str, Any]]:
    outcome = decode(tape)
    check_balance(outcome)
    return outcome.gaps(channel="oracle_price", reason="skipped")


def test_seconds_that_never_come_are_a_gap_with_its_span_and_evidence() -> None:
    tape = begin()
    tape.wait(3)
    say(tape, 13)
    (gap,) = list_skipped(tape)
    assert (gap["state"], gap["missing"]) == ("closed", 3)
    assert str((AT_S + 9) * 10**6) in gap["evidence"]
    assert gap["to_at"] - gap["from_at"] == timedelta(seconds=4)


def test_one_second_that_does_not_come_is_carried() -> None:
    tape = begin()
    tape.wait(1)
    say(tape, 11)
    assert list_skipped(tape) == []
    assert SKIP_US == 2_000_000


def test_what_comes_late_repairs_the_gap_when_it_is_whole() -> None:
    tape = begin()
    for second in (13, 14):
        say(tape, second)
    tape.say(SECOND, update(11))
    tape.say(SECOND, update(10))
    assert [gap["state"] for gap in list_skipped(tape)] == ["closed"]
    tape.say(SECOND, snapshot(5, 14))
    assert [gap["state"] for gap in list_skipped(tape)] == ["repaired"]


def test_what_a_gap_of_the_connection_declares_is_not_declared_again() -> None:
    tape = begin()
    tape.note(FIRST, "closed", code=1006)
    tape.wait(120)
    tape.note(FIRST, "opened")
    tape.note(FIRST, "subscribed", streams=WANTED)
    tape.say(FIRST, snapshot(100, 130))
    assert list_skipped(tape) == []


def test_a_hole_within_a_snapshot_is_told_by_the_oracles_clock() -> None:
    tape = begin(range(0))
    told = snapshot(0, 60)
    told["payload"]["data"] = [one for one in told["payload"]["data"] if not 20 <= one["timestamp"] / 1000 - AT_S < 25]
    told["payload"]["data"].reverse()
    tape.say(FIRST, told)
    (gap,) = list_skipped(tape)
    assert [gap[name].timestamp() - AT_S for name in ("from_at", "to_at")] == [19, 25]
    assert gap["missing"] == 5


def test_what_speaks_rarely_skips_nothing() -> None:
    tape = begin(range(0, 100, 5))
    assert list_skipped(tape) == []


def test_the_first_seconds_are_judged_when_enough_is_known() -> None:
    tape = begin(range(1))
    for second in range(4, 3 + STEADY_MIN):
        assert list_skipped(tape) == []
        say(tape, second)
    assert [gap["missing"] for gap in list_skipped(tape)] == [3]


@pytest.mark.parametrize("seed", range(3))
def test_cuts_change_nothing_and_every_long_skip_is_declared(seed: int) -> None:
    chance, tape = random.Random(seed), begin(range(5))
    for second in range(5, 400):
        if chance.random() < 0.6:
            say(tape, second)
    whole = decode(tape)
    heard = sorted(int(row["exchange_at"].timestamp()) for row in whole.rows("oracle_price"))
    holes = [after - before - 1 for before, after in pairwise(heard) if after - before > 2]
    assert [gap["missing"] for gap in whole.gaps(reason="skipped")] == holes
    frames = range(1, len(tape.frames))
    cuts = chance.sample(frames, 40)
    assert_same(whole, decode(tape, cuts, cuts[:20], cuts[:10]))


def assert_same(one: Outcome, other: Outcome) -> None:
    for kind, table in one.tables.items():
        assert table.equals(other.tables[kind]), kind
    assert (one.counts, one.state) == (other.counts, other.state)


def test_every_skip_of_a_recorded_day_is_declared(recordings: Path) -> None:
    """A tenth of it; 2.1 % of all its seconds never came."""
    path = recordings / "prediction/oracle_and_outcomes/ligengxin_btc5m/BTCUSD-prices-2026-06-08.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        told = [(int(row["recv_ms"]), int(row["feed_ts_ms"]), row["value"]) for row in csv.DictReader(file)][:20_000]
    tape = Tape()
    tape.note(FIRST, "opened")
    tape.note(FIRST, "subscribed", streams=WANTED)
    for received_ms, at_ms, price in told:
        tape.now_ns = max(tape.now_ns, START_NS + (received_ms - told[0][0]) * 10**6)
        tape.say(FIRST, update(at_ms // 1000 - AT_S, price))
    outcome = decode(tape)
    seconds = sorted({at_ms // 1000 for _, at_ms, _ in told})
    holes = [after - before - 1 for before, after in pairwise(seconds) if after - before > 2]
    gaps = [gap for gap in outcome.gaps(reason="skipped") if gap["state"] == "closed"]
    assert sum(gap["missing"] for gap in gaps) >= sum(holes) > 100
    assert len(gaps) == len(holes)
