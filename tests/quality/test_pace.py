"""Turns of a service: multiples of the interval in force, and a new interval begins with a turn."""

from hypothesis import given
from hypothesis import strategies as st

from truetape.quality.pace import Pace


def test_turns_are_multiples_of_the_interval_in_force() -> None:
    pace = Pace([(3600, 300), (0, 900), (900, 900), (3900, 300)])
    assert [turn.due_us for turn in pace.list_turns(1800, 4200)] == [1800, 2700, 3600, 3900, 4200]
    assert (pace.floor(1000), pace.floor(3700), pace.floor(-1), pace.interval_us) == (900, 3600, -900, 300)


def test_a_new_interval_begins_with_a_turn() -> None:
    turns = Pace([(0, 900), (600, 300)]).list_turns(0, 900)
    assert turns == [(0, 600), (600, 900), (900, 1200)]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 500)), min_size=1), st.integers(0, 10_000))
def test_each_turn_ends_where_the_next_begins(told: list[tuple[int, int]], last_us: int) -> None:
    pace = Pace(told)
    first_us = pace.floor(min(at for at, _ in told))
    turns = pace.list_turns(first_us, max(first_us, last_us))
    assert [turn.due_us for turn in turns[1:]] == [turn.end_us for turn in turns[:-1]]
    assert turns[0].due_us == first_us and turns[-1].due_us <= max(first_us, last_us) < turns[-1].end_us
