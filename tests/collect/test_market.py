"""One market's life: what the clock does, what answers do, when it is asked for."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from truetape.collect.market import (
    ASK_FOR_US,
    BEFORE_END,
    CHECK_AFTER_US,
    CHECKS_MAX,
    ENDING_US,
    SECOND_US,
    Market,
    Transition,
    begin_market,
    dump_market,
    find_wake,
    finish_ask,
    follow_clock,
    hear,
    restore_market,
    watch,
)
from truetape.events.instrument import Instrument
from truetape.venues._contract import MarketVersion

OPENS_US = 1_777_470_300 * SECOND_US
ENDS_US = OPENS_US + 900 * SECOND_US
DAY_US = CHECK_AFTER_US
TOKENS = {name: Instrument("v", "clob", token, f"m:{name}", "outcome") for name, token in (("Up", "1"), ("Down", "2"))}
UP = {"Up": 1.0, "Down": 0.0}
LEGAL = {
    "": {"listed"},
    "listed": {"open", "proposed", "disputed", "resolved", "ended"},
    "open": {"ending", "ended", "proposed", "disputed", "resolved"},
    "ending": {"ended", "open", "proposed", "disputed", "resolved"},
    "ended": {"proposed", "disputed", "resolved", "unknown", "open"},
    "proposed": {"disputed", "resolved", "unknown"},
    "disputed": {"proposed", "resolved", "unknown"},
    "resolved": {"settled", "unknown"},
    "settled": {"unknown"},
    "unknown": set(),
}


def tell(phase: str = "trading", **more: Any) -> MarketVersion:
    facts = {"instruments": TOKENS, "opens_us": OPENS_US, "ends_us": ENDS_US, **more}
    if phase == "resolved":
        facts.setdefault("payouts", UP)
    return MarketVersion("m", "0xc", phase=phase, **facts)  # type: ignore[arg-type]


def begin(now_us: int = OPENS_US - DAY_US, **more: Any) -> tuple[Market, list[str]]:
    market, steps = begin_market(tell(**more), now_us)
    return market, [step.state for step in steps]


def ask(market: Market, version: MarketVersion | None, now_us: int, problem: str = "") -> list[str]:
    """Ask, and be answered or not."""
    market.asked_us = now_us
    steps = [*follow_clock(market, now_us), *(hear(market, version, now_us) if version else [])]
    return [step.state for step in [*steps, *finish_ask(market, now_us, problem)]]


def test_the_clock_opens_and_ends_a_market() -> None:
    market, states = begin()
    assert states == ["listed"]
    assert follow_clock(market, OPENS_US - 1) == []
    for now_us, state in ((OPENS_US, "open"), (ENDS_US - ENDING_US, "ending"), (ENDS_US, "ended")):
        (step,) = follow_clock(market, now_us)
        assert (step.state, step.tokens) == (state, {"Up": "1", "Down": "2"})


def test_what_was_missed_is_made_up_in_order() -> None:
    market, _ = begin()
    assert [step.state for step in follow_clock(market, ENDS_US + 1)] == ["open", "ending", "ended"]


def test_it_is_subscribed_from_before_the_window_until_after_its_end() -> None:
    market, _ = begin()
    lead_us = grace_us = 120 * SECOND_US
    assert watch(market, OPENS_US - lead_us - 1, lead_us, grace_us) == ([], [])
    assert find_wake(market, lead_us, grace_us) <= OPENS_US - lead_us
    assert watch(market, OPENS_US - lead_us, lead_us, grace_us) == (list(TOKENS.values()), [])
    follow_clock(market, ENDS_US)
    assert watch(market, ENDS_US + grace_us - 1, lead_us, grace_us) == ([], [])
    assert watch(market, ENDS_US + grace_us, lead_us, grace_us) == ([], list(TOKENS.values()))


def test_tokens_that_change_are_subscribed_anew() -> None:
    market, _ = begin(OPENS_US)
    watch(market, OPENS_US, 0, 0)
    other = Instrument("v", "clob", "3", "m:Down", "outcome")
    hear(market, tell(instruments={"Up": TOKENS["Up"], "Down": other}), OPENS_US + 1)
    assert watch(market, OPENS_US + 1, 0, 0) == ([other], [TOKENS["Down"]])


def test_it_is_asked_for_after_its_end_and_ever_more_rarely() -> None:
    market, _ = begin()
    follow_clock(market, ENDS_US)
    now_us, waits = ENDS_US, []
    while now_us - ENDS_US < ASK_FOR_US:
        ask(market, tell(), now_us)
        waits.append((market.ask_us - now_us) // SECOND_US)
        now_us = market.ask_us
    assert waits[0] == 5
    assert waits == sorted(waits)
    assert waits[:13] == [5] * 13
    assert any(58 <= wait <= 62 for wait in waits)
    assert max(waits[:-1]) == 300
    assert ask(market, tell(), now_us) == []
    assert market.ask_us == ENDS_US + DAY_US
    assert ask(market, tell(), ENDS_US + DAY_US) == ["unknown"]
    assert market.is_over


def test_it_settles_when_the_prices_are_published() -> None:
    market, _ = begin()
    assert ask(market, tell("proposed"), ENDS_US + 20 * SECOND_US) == ["open", "ending", "ended", "proposed"]
    assert ask(market, tell("resolved"), ENDS_US + 60 * SECOND_US) == ["resolved"]
    assert ask(market, tell("resolved", is_priced=True), ENDS_US + 900 * SECOND_US) == ["settled"]
    assert market.ask_us == ENDS_US + DAY_US
    assert ask(market, tell("resolved", is_priced=True), ENDS_US + DAY_US) == []
    assert market.is_over


def test_it_settles_when_a_day_later_the_label_is_the_same() -> None:
    market, _ = begin()
    ask(market, tell("resolved"), ENDS_US + 60 * SECOND_US)
    assert ask(market, tell("resolved"), ENDS_US + DAY_US) == ["settled"]


def test_another_label_makes_it_unknown() -> None:
    market, _ = begin()
    ask(market, tell("resolved"), ENDS_US + 60 * SECOND_US)
    assert ask(market, tell("resolved", payouts={"Up": 0.0, "Down": 1.0}), ENDS_US + DAY_US) == ["unknown"]


def test_an_old_answer_takes_nothing_back_until_the_last_look() -> None:
    market, _ = begin()
    ask(market, tell("resolved"), ENDS_US + 60 * SECOND_US)
    assert ask(market, tell(), ENDS_US + 65 * SECOND_US) == []
    assert market.state == "resolved"
    assert ask(market, tell(), ENDS_US + DAY_US) == ["unknown"]


def test_a_label_that_comes_with_the_last_look_waits_for_another_day() -> None:
    market, _ = begin()
    assert ask(market, tell("resolved"), ENDS_US + DAY_US)[-1] == "resolved"
    assert market.ask_us == ENDS_US + 2 * DAY_US
    assert ask(market, tell("resolved"), ENDS_US + 2 * DAY_US) == ["settled"]


def test_a_dispute_is_looked_at_for_days() -> None:
    market, _ = begin()
    ask(market, tell("proposed"), ENDS_US + 20 * SECOND_US)
    assert ask(market, tell("disputed"), ENDS_US + 30 * SECOND_US) == ["disputed"]
    assert ask(market, tell("proposed"), ENDS_US + 40 * SECOND_US) == ["proposed"]
    for day in range(1, CHECKS_MAX):
        assert ask(market, tell("disputed"), ENDS_US + day * DAY_US) == (["disputed"] if day == 1 else [])
    assert ask(market, tell("disputed"), ENDS_US + CHECKS_MAX * DAY_US) == ["unknown"]


def test_a_last_look_without_an_answer_is_tried_again_for_an_hour() -> None:
    market, _ = begin()
    follow_clock(market, ENDS_US)
    assert ask(market, None, ENDS_US + DAY_US, "timeout") == []
    assert not market.is_over
    assert ask(market, None, ENDS_US + DAY_US + 3600 * SECOND_US, "timeout") == ["unknown"]


def test_a_market_that_closes_early_ends_then() -> None:
    market, _ = begin(OPENS_US)
    assert ask(market, tell("closed"), OPENS_US + 100 * SECOND_US) == ["ended"]
    assert market.ask_us == OPENS_US + 105 * SECOND_US


def test_an_end_that_moves_opens_it_again() -> None:
    market, _ = begin(OPENS_US)
    follow_clock(market, ENDS_US)
    later_us = ENDS_US + 3600 * SECOND_US
    assert ask(market, tell(ends_us=later_us), ENDS_US + 5 * SECOND_US) == ["open"]
    assert [step.state for step in follow_clock(market, later_us)] == ["ending", "ended"]


def test_a_market_without_times_is_open_at_once_and_looked_at_every_few_minutes() -> None:
    market, states = begin(OPENS_US, opens_us=None, ends_us=None)
    assert states == ["listed", "open"]
    assert market.ask_us == OPENS_US + 300 * SECOND_US
    assert ask(market, tell("resolved", opens_us=None, ends_us=None), OPENS_US + 600 * SECOND_US) == ["resolved"]
    assert market.ask_us == OPENS_US + 600 * SECOND_US + DAY_US


def test_what_is_kept_leaves_out_what_is_not_so() -> None:
    market, _ = begin()
    assert dump_market(market) == {}
    ask(market, tell("resolved", handle="event"), ENDS_US + SECOND_US)
    assert dump_market(market)["payouts"] == UP


def test_what_is_kept_makes_the_same_market_again() -> None:
    market, _ = begin()
    for now_us, phase in ((ENDS_US + SECOND_US, "proposed"), (ENDS_US + 60 * SECOND_US, "resolved")):
        ask(market, tell(phase), now_us)
        names = {"slug": "m", "state": market.state, "condition": "0xc", "opens_us": OPENS_US, "ends_us": ENDS_US}
        again = restore_market({**names, **dump_market(market)}, TOKENS)
        for name in ("handle", "ended_us", "judged_us", "payouts", "resolved_us", "checks", "is_priced"):
            assert getattr(again, name) == getattr(market, name)
    assert watch(again, ENDS_US + 60 * SECOND_US, 0, 120 * SECOND_US)[0] == list(TOKENS.values())
    assert watch(again, ENDS_US + 120 * SECOND_US, 0, 120 * SECOND_US)[1] == list(TOKENS.values())
    early, _ = begin(OPENS_US)
    ask(early, tell("closed"), OPENS_US + SECOND_US)
    assert dump_market(early) == {"ended_us": OPENS_US + SECOND_US, "judged_us": OPENS_US + SECOND_US}


PHASES = st.sampled_from(["trading", "closed", "proposed", "disputed", "resolved", "none"])
TIMES = st.tuples(st.integers(-1000, 2000) | st.integers(80_000, 800_000), PHASES, st.booleans())


@given(st.lists(TIMES, max_size=40))
def test_whatever_comes_steps_are_legal_and_it_is_asked_for_until_all_is_known(
    said: list[tuple[int, str, bool]],
) -> None:
    said.sort(key=lambda one: one[0])
    now_us = OPENS_US - 1001 * SECOND_US
    market, steps = begin_market(tell(), now_us)
    for seconds, phase, is_priced in said:
        now_us = max(now_us, OPENS_US + seconds * SECOND_US)
        market.asked_us = now_us
        steps += follow_clock(market, now_us)
        if phase != "none":
            steps += hear(market, tell(phase, is_priced=is_priced), now_us)
        steps += finish_ask(market, now_us, "" if phase != "none" else "timeout")
        watch(market, now_us, 120 * SECOND_US, 120 * SECOND_US)
        assert market.is_over or market.ask_us > 0
        assert market.state in BEFORE_END or market.judged_us is not None
        wake_us = find_wake(market, 120 * SECOND_US, 120 * SECOND_US)
        assert market.is_over or wake_us > 0
    check_steps(steps)


def check_steps(steps: list[Transition]) -> None:
    state = ""
    for step in steps:
        assert step.previous == state
        assert step.state in LEGAL[state], (state, step.state)
        assert step.reason
        state = step.state
