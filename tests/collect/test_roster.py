"""Many markets at once: what is due when, what is asked, what is subscribed."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.collect.market import CHECK_AFTER_US, SECOND_US, Market
from truetape.collect.roster import Roster
from truetape.events.instrument import Instrument
from truetape.venues._contract import MarketVersion

LEAD_US = GRACE_US = 120 * SECOND_US
START_S = 1_777_470_300
START_US = START_S * SECOND_US


def version(slug: str, opens_s: int, phase: str = "trading", **more: Any) -> MarketVersion:
    tokens = {name: Instrument("v", "clob", f"{slug}{name}", f"{slug}:{name}", "outcome") for name in ("Up", "Down")}
    facts = {"opens_us": opens_s * SECOND_US, "ends_us": (opens_s + 900) * SECOND_US, **more}
    return MarketVersion(slug, f"0x{slug}", tokens, phase, **facts)  # type: ignore[arg-type]


def make_roster(**more: Any) -> Roster:
    return Roster(LEAD_US, GRACE_US, **more)


def settle(slug: str, opens_s: int, now_s: int, latency_s: int = 40) -> MarketVersion:
    """Say what a venue says at a time."""
    if now_s < opens_s + 900 + latency_s:
        return version(slug, opens_s)
    payouts = {"Up": 1.0, "Down": 0.0}
    return version(slug, opens_s, "resolved", payouts=payouts, is_priced=now_s >= opens_s + 2700)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.7))
def test_hand_over_is_in_time_however_many_answers_fail(seed: int, failing: float) -> None:
    """Six windows: each is subscribed a minute and more before it opens, and not let go of until it is over."""
    draw = random.Random(seed).random
    roster, subscribed, states = make_roster(), {}, {}
    now_us = START_US
    while now_us < START_US + 5400 * SECOND_US:
        now_s = now_us // SECOND_US
        this_s = now_s // 900 * 900
        roster.seek([(f"w{begin}", begin, begin + 900) for begin in (this_s, this_s + 900)], now_us)
        step = roster.step(now_us)
        for one in step.subscribe:
            assert one.venue_symbol not in subscribed
            subscribed[one.venue_symbol] = [now_s, None]
        for one in step.unsubscribe:
            subscribed[one.venue_symbol][1] = now_s
        for transition in step.transitions:
            assert transition.previous == states.get(transition.slug, "")
            states[transition.slug] = transition.state
        for slug in step.asks:
            if draw() >= failing:
                roster.tell(settle(slug, int(slug[1:]), now_s), now_us)
            roster.finish([slug], now_us, "timeout")
        wake_us = roster.wake_us
        assert wake_us is not None
        now_us = min(max(wake_us, now_us + SECOND_US // 2), now_us + 10 * SECOND_US)
    for number in range(1, 5):
        begin_s = START_S + 900 * number
        since_s, until_s = subscribed[f"w{begin_s}Up"]
        assert since_s <= begin_s - 60
        assert until_s is None or until_s >= begin_s + 900 + 115
    assert states[f"w{START_S}"] in ("resolved", "settled")


def test_a_market_is_forgotten_when_nothing_is_left_to_learn() -> None:
    roster = make_roster()
    roster.tell(version("a", START_S), START_US)
    assert len(roster) == 1
    for seconds in (0, 900, 1020, 3600, 900 + CHECK_AFTER_US // SECOND_US):
        now_us = START_US + seconds * SECOND_US
        for handle in roster.step(now_us).asks:
            roster.tell(settle("a", START_S, START_S + seconds), now_us)
            roster.finish([handle], now_us)
    roster.step(now_us)
    assert len(roster) == 0
    assert roster.wake_us is None


def test_a_handle_serves_all_its_markets() -> None:
    roster = make_roster()
    for slug in ("a", "b"):
        roster.tell(version(slug, START_S, handle="event"), START_US)
    roster.step(START_US)
    assert roster.step(START_US + 1000 * SECOND_US).asks == ("event",)


def test_an_answer_is_awaited_before_the_next_question() -> None:
    roster = make_roster()
    roster.tell(version("a", START_S), START_US)
    assert roster.step(START_US + 910 * SECOND_US).asks == ("a",)
    assert roster.step(START_US + 916 * SECOND_US).asks == ()
    roster.finish(["a"], START_US + 917 * SECOND_US, "timeout")
    assert roster.step(START_US + 922 * SECOND_US).asks == ("a",)


def test_a_window_that_is_not_there_is_looked_for_until_it_is_over() -> None:
    roster = make_roster()
    roster.seek([("w", START_S + 900, START_S + 1800)], START_US)
    asked = []
    now_us = START_US
    while now_us < START_US + 1900 * SECOND_US:
        step = roster.step(now_us)
        if step.transitions:
            break
        for slug in step.asks:
            asked.append((now_us - START_US) // SECOND_US)
            roster.finish([slug], now_us, "answered 404")
        now_us += SECOND_US
    (lost,) = step.transitions
    assert (lost.slug, lost.state, lost.previous) == ("w", "unknown", "")
    around = [second for second in asked if 720 <= second <= 960]
    assert len(around) >= 45
    assert asked[0] == 0
    assert max(b - a for a, b in pairwise(asked)) <= 61


def test_there_is_a_bound() -> None:
    roster = make_roster(markets_max=1)
    assert roster.tell(version("a", START_S), START_US)
    assert not roster.tell(version("b", START_S), START_US)
    assert roster.left_out == 1
    assert "b" not in roster


def test_a_later_run_goes_on_from_what_is_kept() -> None:
    roster = make_roster()
    roster.tell(version("a", START_S), START_US)
    roster.step(START_US)
    (said,) = roster.dump()
    assert said["tokens"] == {"Up": "aUp", "Down": "aDown"}
    later = make_roster()
    market = Market("a", "a", condition="0xa", opens_us=START_US, ends_us=START_US + 900 * SECOND_US, state="open")
    market.instruments = version("a", START_S).instruments
    later.restore([market, market], START_US + 60 * SECOND_US)
    step = later.step(START_US + 60 * SECOND_US)
    assert step.asks == ("a",)
    assert [one.venue_symbol for one in step.subscribe] == ["aUp", "aDown"]
    assert later.list_followed()[0].tokens == ("aUp", "aDown")


@pytest.mark.parametrize("count", [2000])
def test_thousands_of_markets_make_small_steps(count: int) -> None:
    roster = make_roster(markets_max=count)
    for number in range(count):
        roster.tell(version(f"m{number}", START_S + number), START_US)
    roster.step(START_US)
    for second in range(1, 30):  # one market opens each second: nobody else is looked at
        step = roster.step(START_US + second * SECOND_US + 1)
        assert len(step.transitions) == 1
