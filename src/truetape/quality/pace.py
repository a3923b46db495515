"""How often a snapshot service was asked, and since when: its turns, also where the settings changed in between."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Pace:
    """The turns of one service: multiples of the interval that was in force."""

    def __init__(self, told: Iterable[tuple[int, int]]) -> None:
        """Take (moment, interval in force then) in any order, microseconds both, at least one."""
        self._spans: list[tuple[int, int]] = []
        for at_us, interval_us in sorted(told):
            if not self._spans or self._spans[-1][1] != interval_us:
                self._spans.append((at_us, interval_us))

    @property
    def interval_us(self) -> int:
        """The newest interval."""
        return self._spans[-1][1]

    def find_interval(self, at_us: int) -> int:
        """Return the interval in force; before anything was told, the first one."""
        place = bisect_right(self._spans, at_us, key=lambda span: span[0])
        return self._spans[max(place - 1, 0)][1]

    def floor(self, at_us: int) -> int:
        """Return the turn that a moment lies in."""
        return at_us - at_us % self.find_interval(at_us)

    def list_turns(self, first_us: int, last_us: int) -> "list[Turn]":
        """Return the turns from one to another, both included."""
        turns = []
        due_us = first_us
        while due_us <= last_us:
            place = bisect_right(self._spans, due_us, key=lambda span: span[0])
            interval_us = self._spans[max(place - 1, 0)][1]
            following = due_us + interval_us
            if place < len(self._spans) and following > self._spans[place][0]:
                following = self._spans[place][0]  # a new interval begins with a turn
            turns.append(Turn(due_us, following))
            due_us = following
        return turns


class Turn(NamedTuple):
    """One turn, until the next one."""

    due_us: int
    end_us: int
