"""Everything that happens in the fake world: which markets live, who publishes them, how far time is."""

import asyncio
from collections.abc import Callable

from truetape.sim.crowd import Crowd
from truetape.sim.faults import Fault
from truetape.sim.hub import Hub, Judge, SimClock
from truetape.sim.market import TRADES_MAX, Market
from truetape.sim.prediction import Prediction, Quirk
from truetape.sim.protocol import Desk, Query, Reply, Stage
from truetape.sim.spec import Spec

MakeDesk = Callable[[Market, Hub], Desk]

HISTORY_STEPS = 3000
"""Steps that a market has at least behind it when somebody first asks for it, so that history can be fetched."""


class World:
    """Markets, created when first asked for, and their publication."""

    def __init__(self, seed: int, rate: float, time: SimClock, judge: Judge, trades_max: int = TRADES_MAX) -> None:
        self.seed, self.rate, self.time, self.judge = seed, rate, time, judge
        self.trades_max = trades_max
        self.prediction = Prediction(seed, tuple(_read_quirk(fault) for fault in judge.quirks))
        """What the venues of prediction markets and oracles agree on."""
        self.crowd = Crowd(self.prediction)
        """Who trades there, and the books."""
        self.awoken = asyncio.Event()
        """Set when a market begins to move."""
        self.hubs: dict[tuple[str, str], Hub] = {}
        self.markets: dict[str, Market] = {}
        self._desks: dict[str, Desk] = {}
        self._makers: dict[str, MakeDesk] = {}
        self._specs: dict[tuple[str, str, str], Spec] = {}
        self.files: dict[str, bytes] = {}
        """What venues published as files: path → the file."""
        self.stages: dict[str, Stage] = {}
        """Parts of venues that move by the time."""
        self.is_synthetic = True
        """False: frames come from a recording and no market moves."""
        self.recorded_reply: Callable[[str, str, Query], Reply | None] = lambda venue, feed, query: None
        """(venue, feed, request) → the answer that a recording has for it."""
        self.on_subscribe: Callable[[], None] = lambda: None

    def add_desks(self, venue: str, make_desk: MakeDesk) -> None:
        """Say who publishes a venue's markets."""
        self._makers[venue] = make_desk

    def add_spec(self, spec: Spec) -> None:
        """List one more instrument."""
        self._specs[spec.venue, spec.feed, spec.symbol] = spec

    def list_specs(self, venue: str, feed: str) -> list[Spec]:
        """List a product line's instruments."""
        return [s for (v, f, _), s in self._specs.items() if v == venue and f == feed]

    def find_spec(self, venue: str, feed: str, symbol: str) -> Spec | None:
        """Return a listed instrument."""
        return self._specs.get((venue, feed, symbol))

    def hub(self, venue: str, feed: str) -> Hub:
        """Return the hub of a product line."""
        found = self.hubs.get((venue, feed))
        if found is None:
            found = self.hubs[venue, feed] = Hub(venue, feed, self.judge)
        return found

    def market(self, venue: str, feed: str, symbol: str) -> Market | None:
        """Return an instrument's market, waking it at its first use; null when it is not listed."""
        spec = self.find_spec(venue, feed, symbol)
        if spec is None:
            return None
        market = self.markets.get(spec.key)
        if market is None:
            now_us = self.time.now_us()
            # From a whole second on: whoever asks within one second gets the same market.
            start_us = now_us - now_us % 1_000_000 - int(HISTORY_STEPS * 1_000_000 / self.rate)
            market = Market(spec, self.prediction.oracle, self.rate, start_us, self.trades_max)
            for _ in range(market.count_due(now_us)):
                market.step()
            self.markets[spec.key] = market
            self.awoken.set()
            self._desks[spec.key] = self._makers[venue](market, self.hub(venue, feed))
        return market

    def desk(self, venue: str, feed: str, symbol: str) -> Desk | None:
        """Return who publishes an instrument; null when it is not listed."""
        market = self.market(venue, feed, symbol)
        return None if market is None else self._desks[market.spec.key]

    def advance(self) -> int:
        """Let every market do the steps that are due, bounded per call; returns how many were done."""
        if not self.is_synthetic:
            return 0
        now_us, done = self.time.now_us(), 0
        steps_max = max(1, int(self.rate * self.time.speed * 0.1))
        for key, market in list(self.markets.items()):
            due = min(market.count_due(now_us), steps_max)
            advance, step = self._desks[key].advance, market.step
            for _ in range(due):
                advance(step())
            done += max(0, due)
        for stage in self.stages.values():
            done += stage.advance(now_us)
        return done

    @property
    def now_ms(self) -> int:
        """Market time in milliseconds."""
        return self.time.now_us() // 1000


def _read_quirk(fault: Fault) -> Quirk:
    every = max(1, int(fault.value)) if fault.when == "every" else 1
    return Quirk(fault.action, fault.pattern, fault.seconds, every)  # type: ignore[arg-type]
