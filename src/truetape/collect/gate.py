"""One venue's door: when we may connect and ask, and who we say we are; shared by everything that goes there."""

import asyncio
from urllib.parse import urlsplit

from truetape import clock
from truetape.collect.key import Key
from truetape.collect.pace import WINDOW_S, Budget, Pace
from truetape.venues._contract import Feed, Venue

CONNECT_BURST_SHARE = 6
"""A sixth of the connects of a minute may happen at once."""


class Gate:
    """Paces connects per host and requests by weight; a ban holds everything."""

    def __init__(self, venue: Venue, key: Key | None = None, allowance: tuple[int, float] | None = None) -> None:
        self.key = key
        self._budget = Budget(*(allowance or (venue.rest.weight_per_minute_max, WINDOW_S)))
        self._connects: dict[str, Pace] = {}

    async def enter(self, feed: Feed) -> None:
        """Wait until a connect to the feed's host is allowed."""
        host = urlsplit(feed.url).hostname or ""
        count_max = feed.limits.connects_per_minute_max
        pace = self._connects.setdefault(host, Pace(count_max, 60.0, max(count_max // CONNECT_BURST_SHARE, 1)))
        await asyncio.sleep(pace.reserve(_now_s()))
        while (wait_s := self._budget.banned_s(_now_s())) > 0:  # noqa: ASYNC110 - waits for a time, not an event
            await asyncio.sleep(wait_s)

    async def pay(self, weight: int) -> None:
        """Wait until a request of this weight is allowed, and count it."""
        while (wait_s := self._budget.delay(_now_s(), weight)) > 0:  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(wait_s)
        self._budget.spend(_now_s(), weight)

    def observe(self, used: int) -> None:
        """Take the venue's own count of this minute."""
        self._budget.observe(_now_s(), used)

    def ban(self, seconds: float) -> None:
        """Hold everything to this venue for so long."""
        self._budget.ban(_now_s(), seconds)

    @property
    def wait_s(self) -> float:
        """How long a request would wait now."""
        return self._budget.delay(_now_s(), 1)

    @property
    def banned_s(self) -> float:
        """For how long everything is held."""
        return self._budget.banned_s(_now_s())


def _now_s() -> float:
    return clock.monotonic_ns() / 1e9
