"""Spacing and weights."""

from hypothesis import given
from hypothesis import strategies as st

from truetape.collect.pace import WINDOW_S, Budget, Pace


@given(
    count_max=st.integers(1, 30),
    burst=st.integers(1, 30),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=100),
)
def test_no_window_sees_more_than_allowed(count_max: int, burst: int, gaps: list[float]) -> None:
    burst = min(burst, count_max)
    pace, now, moments = Pace(count_max, 1.0, burst), 0.0, []
    for gap in gaps:
        now += gap
        moments.append(now + pace.reserve(now))
    assert moments == sorted(moments)
    for first in moments:
        assert sum(first <= moment < first + 1.0 - 1e-6 for moment in moments) <= count_max


def test_burst_is_free_then_spaced() -> None:
    pace = Pace(10, 1.0, 3)
    assert [round(pace.reserve(5.0), 3) for _ in range(5)] == [0, 0, 0, 0.125, 0.25]


def test_less_than_one_a_second() -> None:
    pace = Pace(0.5, 1.0)
    assert [pace.reserve(0.0) for _ in range(3)] == [0.0, 2.0, 4.0]


@given(steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 50)), min_size=1, max_size=60))
def test_budget_is_never_overspent(steps: list[tuple[float, int]]) -> None:
    budget, now, spent = Budget(100), 0.0, []
    for gap, weight in steps:
        now += gap
        while (wait := budget.delay(now, weight)) > 0:
            now += wait
        budget.spend(now, weight)
        spent.append((now, weight))
        assert sum(w for at, w in spent if at > now - WINDOW_S + 1e-6) <= 100


def test_budget_believes_the_venue() -> None:
    budget = Budget(100)
    budget.spend(0.0, 10)
    budget.observe(1.0, 95)
    assert budget.delay(1.0, 5) == 0
    assert budget.delay(1.0, 6) == 59.0  # our own ten are free again at 60 s
    budget.observe(2.0, 20)  # less than we know of: nothing learned
    assert budget.delay(2.0, 6) == 58.0


def test_request_heavier_than_the_budget_waits_for_an_empty_minute() -> None:
    budget = Budget(10)
    assert budget.delay(0.0, 50) == 0
    budget.spend(0.0, 50)
    assert budget.delay(1.0, 50) == 59.0


def test_a_budget_may_have_another_window() -> None:
    budget = Budget(50, 10.0)
    budget.spend(0.0, 50)
    assert budget.delay(4.0, 1) == 6.0
    assert budget.delay(10.0, 50) == 0


def test_ban_holds_everything() -> None:
    budget = Budget(10)
    budget.ban(0.0, 5.0)
    budget.ban(1.0, 1.0)
    assert budget.delay(1.0, 1) == 4.0
    assert budget.banned_s(6.0) == 0
