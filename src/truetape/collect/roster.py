"""All prediction markets that are followed: what is due when, what to ask, what to subscribe. Pure; time is given."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from truetape.collect.market import (
    ASK_SHARE,
    SECOND_US,
    Market,
    Transition,
    begin_market,
    dump_market,
    find_wake,
    finish_ask,
    follow_clock,
    hear,
    move,
    schedule,
    watch,
)
from truetape.events.instrument import Instrument
from truetape.venues._contract import Followed, MarketVersion

SEEK_AHEAD_US = 180 * SECOND_US
"""From so long before its window on, a market that nobody lists yet is looked for every few seconds."""
SEEK_US = 5 * SECOND_US
SEEK_SLOW_US = 60 * SECOND_US
"""Before, and longer after its window began."""


class Step(msgspec.Struct, frozen=True):
    """What is due now."""

    transitions: tuple[Transition, ...] = ()
    asks: tuple[str, ...] = ()
    """Handles to ask the venue for."""
    subscribe: tuple[Instrument, ...] = ()
    unsubscribe: tuple[Instrument, ...] = ()


class Sought(msgspec.Struct):
    """A window whose market has not been seen yet."""

    slug: str
    opens_us: int
    ends_us: int
    ask_us: int


class Roster:
    """Follows markets from listing to label."""

    def __init__(self, lead_us: int, grace_us: int, markets_max: int = 2000) -> None:
        self._lead_us, self._grace_us = lead_us, grace_us
        self._markets_max = markets_max
        self._markets: dict[str, Market] = {}
        self._by_handle: dict[str, list[str]] = {}
        self._sought: dict[str, Sought] = {}
        self._transitions: list[Transition] = []
        self._touched: dict[str, None] = {}
        """Markets that changed since the last step: their next moment must be found anew."""
        self._due: list[tuple[int, str]] = []
        """When to look at which market; entries that are not its latest moment are passed over."""
        self._wakes: dict[str, int] = {}
        self.left_out = 0
        """Markets that did not fit."""

    def __len__(self) -> int:
        return len(self._markets)

    def __contains__(self, slug: str) -> bool:
        return slug in self._markets

    @property
    def wake_us(self) -> int | None:
        """When `step` has something to do next; null: never by itself."""
        if self._touched or self._transitions:
            return 0
        own = min((sought.ask_us for sought in self._sought.values()), default=None)
        while self._due and self._wakes.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        first = self._due[0][0] if self._due else None
        return min((due for due in (own, first) if due is not None), default=None)

    def seek(self, windows: Iterable[tuple[str, int, int]], now_us: int) -> None:
        """Look for the markets of windows (slug, first second, end) until they are seen or over."""
        for slug, begin_s, end_s in windows:
            if slug not in self._markets and slug not in self._sought and end_s * SECOND_US > now_us:
                self._sought[slug] = Sought(slug, begin_s * SECOND_US, end_s * SECOND_US, now_us)

    def tell(self, version: MarketVersion, now_us: int) -> bool:
        """Take what an answer says of a market; False when there is no room to follow it."""
        market = self._markets.get(version.slug)
        if market is None:
            if len(self._markets) >= self._markets_max:
                self.left_out += 1
                return False
            market, steps = begin_market(version, now_us)
            self._add(market)
            self._sought.pop(version.slug, None)
            self._transitions += steps
        else:
            self._transitions += hear(market, version, now_us)
        self._touched[market.slug] = None
        return True

    def finish(self, handles: Sequence[str], now_us: int, problem: str = "") -> None:
        """Conclude questions: all their answers were told, or none came (`problem`)."""
        for handle in handles:
            for slug in self._by_handle.get(handle, ()):
                market = self._markets[slug]
                self._transitions += finish_ask(market, now_us, problem)
                self._touched[slug] = None
            sought = self._sought.get(handle)
            if sought is not None:
                sought.ask_us = now_us + _find_seek_wait(sought, now_us)

    def step(self, now_us: int) -> Step:
        """Return what is due by now, and take it as done."""
        due = self._take_due(now_us)
        asks: dict[str, None] = {}
        subscribe: list[Instrument] = []
        unsubscribe: list[Instrument] = []
        for slug in due:
            market = self._markets[slug]
            self._transitions += follow_clock(market, now_us)
            if 0 < market.ask_us <= now_us:
                asks[market.handle] = None
                market.asked_us = now_us
                schedule(market, now_us)
                market.ask_us = max(market.ask_us, now_us + SEEK_SLOW_US)  # unless the answer says otherwise
            added, removed = watch(market, now_us, self._lead_us, self._grace_us)
            subscribe += added
            unsubscribe += removed
            self._settle(market, now_us)
        asks.update(dict.fromkeys(self._seek_due(now_us)))
        transitions, self._transitions = tuple(self._transitions), []
        return Step(transitions, tuple(asks), tuple(subscribe), tuple(unsubscribe))

    def list_followed(self) -> tuple[Followed, ...]:
        """List markets for whoever asks about them."""
        return tuple(
            Followed(m.slug, m.condition, tuple(m.tokens.values()), m.opens_us or 0, m.ends_us or 0, m.state)
            for m in self._markets.values()
        )

    def dump(self) -> list[dict[str, Any]]:
        """Return all that a later run needs to go on; condition and tokens of those subscribed only: they are long."""
        return [_describe(market) for market in self._markets.values()]

    def restore(self, markets: Iterable[Market], now_us: int) -> None:
        """Go on with the markets of an earlier run: all are asked for at once, unless a day's wait is not over."""
        for market in markets:
            if market.slug in self._markets or len(self._markets) >= self._markets_max:
                continue
            is_waiting = market.judged_us is not None and now_us < market.check_us and market.state == "settled"
            market.ask_us = market.check_us if is_waiting else now_us
            self._add(market)
            self._touched[market.slug] = None

    # -- small parts --------------------------------------------------------------------------------------

    def _add(self, market: Market) -> None:
        self._markets[market.slug] = market
        self._by_handle.setdefault(market.handle, []).append(market.slug)

    def _take_due(self, now_us: int) -> list[str]:
        due, self._touched = self._touched, {}
        while self._due and self._due[0][0] <= now_us:
            when_us, slug = heapq.heappop(self._due)
            if self._wakes.get(slug) == when_us:
                del self._wakes[slug]
                due[slug] = None
        return [slug for slug in due if slug in self._markets]

    def _settle(self, market: Market, now_us: int) -> None:
        """Note when to look at it next; forget it when nothing is left to learn."""
        wake_us = find_wake(market, self._lead_us, self._grace_us)
        if market.is_over and not market.is_subscribed:
            del self._markets[market.slug]
            self._wakes.pop(market.slug, None)
            slugs = self._by_handle[market.handle]
            slugs.remove(market.slug)
            if not slugs:
                del self._by_handle[market.handle]
        elif wake_us and self._wakes.get(market.slug) != wake_us:
            wake_us = max(wake_us, now_us + SECOND_US)  # what is due now was done, or cannot be
            self._wakes[market.slug] = wake_us
            heapq.heappush(self._due, (wake_us, market.slug))

    def _seek_due(self, now_us: int) -> list[str]:
        for sought in [sought for sought in self._sought.values() if sought.ends_us <= now_us]:
            del self._sought[sought.slug]
            lost = Market(sought.slug, sought.slug, opens_us=sought.opens_us, ends_us=sought.ends_us)
            self._transitions.append(move(lost, "unknown", "no answer told of it until its window ended"))
        due = [sought for sought in self._sought.values() if sought.ask_us <= now_us]
        for sought in due:
            sought.ask_us = now_us + SEEK_SLOW_US
        return [sought.slug for sought in due]


def _find_seek_wait(sought: Sought, now_us: int) -> int:
    if now_us < sought.opens_us - SEEK_AHEAD_US:
        return min(SEEK_SLOW_US, sought.opens_us - SEEK_AHEAD_US - now_us)
    return min(max((now_us - sought.opens_us) // ASK_SHARE, SEEK_US), SEEK_SLOW_US)


def _describe(market: Market) -> dict[str, Any]:
    told: dict[str, Any] = {"slug": market.slug, "state": market.state, **dump_market(market)}
    names: dict[str, Any] = {"opens_us": market.opens_us, "ends_us": market.ends_us}
    if market.is_subscribed:
        names |= {"condition": market.condition, "tokens": market.tokens}
    return told | {name: value for name, value in names.items() if value}
