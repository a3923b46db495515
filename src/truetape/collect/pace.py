"""How fast a venue may be asked: spacing of connects and messages, weight of requests, waits it imposed."""

from collections import deque

WINDOW_S = 60.0


class Pace:
    """Hands out moments so that no window of `per_s` seconds sees more than `count_max` of them."""

    def __init__(self, count_max: float, per_s: float, burst: int = 1) -> None:
        self._burst = burst
        # A full burst can fall into the same window as a window's worth of refill.
        self._spacing_s = per_s / max(count_max - burst + 1, 1.0) if count_max >= 1 else per_s / count_max
        self._free_at = float("-inf")

    def reserve(self, now_s: float) -> float:
        """Take the next free moment and return how many seconds away it is."""
        earliest = now_s - (self._burst - 1) * self._spacing_s
        self._free_at = max(self._free_at, earliest)
        moment = max(self._free_at, now_s)
        self._free_at += self._spacing_s
        return moment - now_s


class Budget:
    """Weight spent within the last minute (or another window), by our own count or the venue's, whichever is more."""

    def __init__(self, weight_max: int, window_s: float = WINDOW_S) -> None:
        self._weight_max = weight_max
        self._window_s = window_s
        self._spent: deque[tuple[float, int]] = deque()
        self._banned_until_s = float("-inf")

    def delay(self, now_s: float, weight: int) -> float:
        """Return how many seconds to wait before `weight` may be spent; 0: now."""
        self._expire(now_s)
        if now_s < self._banned_until_s:
            return self._banned_until_s - now_s
        excess = self._used() + weight - self._weight_max
        free_at_s = now_s
        for at_s, amount in self._spent:
            if excess <= 0:
                break
            excess -= amount
            free_at_s = at_s + self._window_s
        return free_at_s - now_s

    def spend(self, now_s: float, weight: int) -> None:
        """Count a request."""
        self._spent.append((now_s, weight))

    def observe(self, now_s: float, used: int) -> None:
        """Take the venue's own count: others may be asking from this address too."""
        self._expire(now_s)
        excess = used - self._used()
        if excess > 0:
            self._spent.append((now_s, excess))

    def ban(self, now_s: float, seconds: float) -> None:
        """Spend nothing for so long."""
        self._banned_until_s = max(self._banned_until_s, now_s + seconds)

    def banned_s(self, now_s: float) -> float:
        """Return for how long nothing may be asked."""
        return max(self._banned_until_s - now_s, 0.0)

    def _used(self) -> int:
        return sum(weight for _, weight in self._spent)

    def _expire(self, now_s: float) -> None:
        while self._spent and self._spent[0][0] <= now_s - self._window_s:
            self._spent.popleft()
