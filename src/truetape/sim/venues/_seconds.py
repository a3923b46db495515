"""What fake venues that speak once a second need: which seconds have become due."""

CATCH_UP_MAX = 180
"""Seconds told at once when time has jumped; older ones were never told."""


class Seconds:
    """Hands out each second once, when it is `lag_us` old."""

    def __init__(self, now_us: int, lag_us: int) -> None:
        self._lag_us = lag_us
        self.last_s = (now_us - lag_us) // 1_000_000
        """The newest second that was handed out."""

    @property
    def due_us(self) -> int:
        """Market time at which the next second is handed out."""
        return (self.last_s + 1) * 1_000_000 + self._lag_us

    def take(self, now_us: int) -> range:
        """Return the seconds that have become due since the last call."""
        newest_s = (now_us - self._lag_us) // 1_000_000
        if newest_s <= self.last_s:
            return range(0)
        first_s = max(self.last_s + 1, newest_s - CATCH_UP_MAX + 1)
        self.last_s = newest_s
        return range(first_s, newest_s + 1)
