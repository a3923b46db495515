"""Snapshot services on their schedule: which markets are tracked, and a snapshot of each in every turn.

Turns are on the clock (:00, :15, :30, :45 for a quarter of an hour), so that a run that begins anew finds the schedule
of the one before: what was answered in the turn under way is not asked again, and who was tracked is followed on.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec

from truetape import clock
from truetape.collect.gate import Gate
from truetape.collect.http import Http, HttpOptions, Reply
from truetape.collect.key import Key
from truetape.collect.poll import Fault, Schedule
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Decide, GiveUp, Retry, decide
from truetape.collect.tracked import ROSTER, Past, Tracked, choose_markets, describe_market
from truetape.collect.turn import Cycle, Tally
from truetape.config import SnapshotSettings
from truetape.errors import DecodeError, Fatal, RateLimited, Refused, Transient
from truetape.tape.frame import Source
from truetape.venues import Venue
from truetape.venues._contract import Ask, Poll, Told
from truetape.venues._snapshot.answer import Market, read_history, read_listing, read_market, read_prices
from truetape.venues._snapshot.form import Form, make_form, name_form, write_meaning, write_url
from truetape.venues.snapshot import CHANNEL, NAME

PAGES_MAX = 20
GONE_TURNS = 3
"""A market that is answered 404 so many turns in a row is gone."""
OVER_MAX = 200
"""Markets remembered that were let go of."""
GONE_STATUSES = (404, 410)
MARGIN_S_MAX = 0.5
"""A turn ends so long before the next one is due, or this share of the interval."""
MARGIN_SHARE = 0.05
START_SHARE = 0.05
"""A run begins with the turn under way unless less than this share of it is left."""
WAIT_MAX_S = 3600.0
"""Longest sleep at a time: the clock may be set."""


_MEANING = re.compile(r"#what=\S+?(?=[:\s]|$)")


class Service:
    """One service: its markets, its turns."""

    def __init__(
        self,
        name: str,
        settings: SnapshotSettings,
        venue: Venue,
        key: Key | None,
        recorder: Recorder,
        *,
        past: Past | None = None,
        draw: Decide = decide,
    ) -> None:
        self.name = name
        self.settings = settings
        self.form: Form = make_form(f"snapshots.{name}", settings.preset, settings.url, settings.paths, settings.fields)
        self._form_name = name_form(self.form, settings.preset)
        self._connection = f"{NAME}/{name}"
        self._recorder = recorder
        self._source = recorder.register(Source(NAME, name, self._connection))
        self._decide = draw
        options = HttpOptions(
            decide=self._count, attempts_max=settings.attempts, total_timeout_s=settings.timeout_seconds
        )
        self._gate = Gate(venue, key, (settings.requests_per_minute_max, 60.0))
        self.http = Http(venue, "", recorder, self._gate, options, name=name)
        self._schedule = Schedule(self, name)
        past = past or Past()
        self.tracked: dict[str, Tracked] = {market.id: market for market in past.markets}
        self._over = dict.fromkeys(past.over)
        """Markets that were let go of, oldest first: they are not taken again."""
        self._answered = past.answered
        """(due_us, ids) of the turn that an earlier run had begun."""
        self.total = Tally()
        self.cycles = self.snapshots = self.missed = 0
        self.last: Cycle | None = None
        self.refusal = ""
        """Why it is not asked any more."""
        self._tally = Tally()
        self._due_us = 0
        self._end_ns = 0
        self._reason = ""
        self._snapshots = self._missed = 0
        self._faults: Counter[str] = Counter()
        self._had: set[str] = set()
        """Markets that were answered in this turn."""
        self._is_asking = False
        self._is_listed = False
        self._listed: dict[str, Market] = {}

    # -- its turns ----------------------------------------------------------------------------------------

    async def run(self, cycles_max: int, on_cycle: Callable[[Cycle], None]) -> None:
        """Take turns until cancelled, or so many (0: no limit). Raises Refused."""
        interval_us = round(self.settings.interval_seconds * 1e6)
        now_us = clock.wall_ns() // 1000
        slot = -(-(now_us - int((1 - START_SHARE) * interval_us)) // interval_us)  # the next one if this is nearly over
        self.note("opened", self.name, interval_s=self.settings.interval_seconds, form=self._form_name)
        while not cycles_max or self.cycles < cycles_max:
            await self._wait_until(slot * interval_us)
            now = clock.wall_ns() // 1000 // interval_us
            if now > slot:  # what was between was not taken
                self.missed += (now - slot) * len(self._schedule.streams)
                self._schedule.miss_turns(Fault("silence", "the turn before, or a pause, took too long"), now - slot)
                slot = now
            on_cycle(await self._take_cycle(slot * interval_us, (slot + 1) * interval_us))
            slot += 1
        self.note("closed", self.name, code=None, reason="", cause="shutdown")

    async def _wait_until(self, due_us: int) -> None:
        while (left_ns := due_us * 1000 - clock.wall_ns()) > 0:  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(min(left_ns / 1e9, WAIT_MAX_S))

    async def _take_cycle(self, due_us: int, next_us: int) -> Cycle:
        began_ns = clock.monotonic_ns()
        margin_s = min(MARGIN_S_MAX, MARGIN_SHARE * self.settings.interval_seconds)
        self._due_us, self._end_ns = due_us, next_us * 1000 - int(margin_s * 1e9)
        self._tally, self._reason = Tally(), ""
        self._snapshots = self._missed = 0
        self._faults.clear()
        self._had.clear()
        try:
            await self._update_markets()
            await self._schedule.take_turn()
        except asyncio.CancelledError:
            self._schedule.miss_turns(Fault("not_started", "stopped in the middle of a turn"), 1, self._had)
            raise
        wanted = self._snapshots + self._missed
        self._let_go()
        self.cycles += 1
        self.total.add(self._tally)
        self.snapshots += self._snapshots
        self.missed += self._missed
        seconds = (clock.monotonic_ns() - began_ns) / 1e9
        self.last = Cycle(self.name, self.cycles, due_us, wanted, self._snapshots, self._missed, self._tally,
                          round(seconds, 3), self._reason, dict(self._faults))  # fmt: skip
        return self.last

    # -- which markets ------------------------------------------------------------------------------------

    async def _update_markets(self) -> None:
        """Read the listing, take markets that are wanted, and look after those that are listed no more."""
        filters = self.settings.filters
        for named in self.settings.ids:
            if named not in self._over:
                self.tracked.setdefault(named, Tracked(named))
        self._listed, self._is_listed = {}, not filters.markets_max
        if filters.markets_max:
            fault = await self._guard(self._read_listing)
            self._is_listed = fault is None
            if fault is not None:
                self._faults[f"listing {fault.gap}"] += 1
                self.judge(f"listing: {fault.text}")
                self.note("listing_failed", self.name, gap=fault.gap, reason=fault.text)
        for market in choose_markets(self.settings, list(self._listed.values()), self.tracked, clock.wall_ns() // 1000):
            if market.id not in self._over:
                self.tracked[market.id] = Tracked(market.id, market.status)
        self._note_roster()

    async def _read_listing(self) -> Fault | None:
        cursor = ""
        for _ in range(PAGES_MAX):
            url = write_url(self.form, "markets", cursor=cursor)
            reply = await self._fetch(url, "listing", "")
            if reply.status != 200:
                self._tally.success -= 1
                self._tally.failures += 1
                return Fault("venue_status", f"the listing answered {reply.status}")
            markets, cursor = read_listing(self.form, reply.body)
            self._listed.update({market.id: market for market in markets})
            if not cursor or not self.form.get("cursor_argument"):
                break
        for market in self._listed.values():
            if market.id in self.tracked:
                self.tracked[market.id].learn(market)
        return None

    def _let_go(self) -> None:
        """Stop asking for markets whose last snapshot was taken, and for those that are gone."""
        over = [market for market in self.tracked.values() if market.is_over or market.gone_turns >= GONE_TURNS]
        for market in over:
            del self.tracked[market.id]
            self._over[market.id] = None
            state = "settled" if market.is_over else "unknown"
            reason = "the service's word" if market.is_over else f"answered 404 in {GONE_TURNS} turns"
            tokens = {"market": market.id}
            self.note("market_state", self.name, slug=f"{self.name}/{market.id}", condition=market.id, state=state,
                      previous="open", reason=reason, tokens=tokens)  # fmt: skip
        self._note_roster()  # in every turn, so that the tape's end holds one

    def _note_roster(self) -> None:
        while len(self._over) > OVER_MAX:
            del self._over[next(iter(self._over))]
        markets = [describe_market(market) for market in self.tracked.values()]
        self.note(ROSTER, self.name, markets=markets, over=list(self._over))

    # -- what a schedule asks of it -----------------------------------------------------------------------

    @property
    def poll(self) -> Poll:
        """Return what is asked for, as polls say it."""
        return Poll(self.name, self.name, self.name, (CHANNEL,), self.settings.interval_seconds, lambda turn: [])

    def make_asks(self, subject: str, since_us: int) -> list[Ask]:
        """Return a snapshot of each tracked market, but for those that were answered in this turn before."""
        due_us, done = self._answered
        asked = [market for market in self.tracked if due_us != self._due_us or market not in done]
        return [
            Ask(self.name, self._write(write_url(self.form, "prices", market), "prices", market), reason="poll",
                streams=(_tell(self.name, market),))
            for market in asked
        ]  # fmt: skip

    def note(self, event: str, subject: str, **facts: object) -> None:
        """Say on the tape what became of a turn."""
        self._recorder.note(self._source, event, poll=self.name, subject=subject, **facts)

    def judge(self, reason: str) -> None:
        """Take how the last turn went."""
        self._reason = self._reason or reason

    async def take_snapshot(self, ask: Ask) -> Fault | None:
        """Take a snapshot of one market; return what went wrong. Raises Refused."""
        market = self.tracked[ask.streams[0].venue_symbol]
        fault = await self._guard(lambda: self._take(ask, market))
        if fault is not None:
            self._missed += 1
            self._faults[fault.gap] += 1
            return fault
        self._snapshots += 1
        self._had.add(market.id)
        if not market.has_history and self.form.paths.get("history"):
            await self._guard(lambda: self._take_history(market))  # if it fails, the next turn asks again
        return None

    async def _take(self, ask: Ask, market: Tracked) -> Fault | None:
        if self._is_apart and self._is_listed and market.id not in self._listed and self.form.paths.get("market"):
            fault = await self._look_up(market)
            if fault is not None:
                return fault
        reply = await self._fetch_ask(ask)
        if reply.status != 200:
            return self._refuse(market, reply)
        market.gone_turns = 0
        market.learn(read_prices(self.form, reply.body, market.id))
        market.is_over = market.status == "resolved"
        return None

    async def _take_history(self, market: Tracked) -> Fault | None:
        """Ask once what was before the first snapshot."""
        reply = await self._fetch(write_url(self.form, "history", market.id), "history", market.id)
        if reply.status == 200:
            read_history(self.form, reply.body)
        market.has_history = True  # where there is none now, there will be none
        return None

    @property
    def _is_apart(self) -> bool:
        """Whether prices come apart from what else is said of a market."""
        return self.form.paths.get("prices") != self.form.paths.get("market")

    async def _look_up(self, market: Tracked) -> Fault | None:
        """Ask about a market that the listing does not hold: closed, or never listed."""
        reply = await self._fetch(write_url(self.form, "market", market.id), "market", market.id)
        if reply.status != 200:
            return self._refuse(market, reply)
        market.learn(read_market(self.form, reply.body, market.id))
        return None

    def _refuse(self, market: Tracked, reply: Reply) -> Fault:
        self._tally.success -= 1
        self._tally.failures += 1
        if reply.status in GONE_STATUSES:
            market.gone_turns += 1
        return Fault("venue_status", f"answered {reply.status}")

    # -- requests -----------------------------------------------------------------------------------------

    def _write(self, url: str, what: str, market: str) -> str:
        return write_meaning(url, what, self._form_name, market, (self._due_us, self.settings.interval_seconds))

    async def _fetch(self, url: str, what: str, market: str) -> Reply:
        return await self._fetch_ask(Ask(self.name, self._write(url, what, market), reason="poll"))

    async def _fetch_ask(self, ask: Ask) -> Reply:
        self._is_asking = True
        reply = await self.http.fetch(ask)
        self._is_asking = False
        self._tally.requests += 1
        self._tally.success += 1
        return reply

    def _count(self, error: Exception, attempt: int) -> Retry | GiveUp:
        """Count a try that failed; decide as usual."""
        self._tally.requests += 1
        self._tally.failures += 1
        self._tally.rate_limited += isinstance(error, RateLimited)
        return self._decide(error, attempt)

    async def _guard(self, work: Callable[[], Awaitable[Fault | None]]) -> Fault | None:
        """Do something before the turn ends; return what went wrong. Raises Refused."""
        left_s = (self._end_ns - clock.wall_ns()) / 1e9
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                return await work()
        except TimeoutError:
            self._tally.requests += self._is_asking
            self._tally.failures += self._is_asking
            self._is_asking = False
            gap = "rate_limit" if self._gate.banned_s > 0 else "disconnect"
            return Fault(gap, "the turn ended before it was answered")
        except RateLimited as error:
            return Fault("rate_limit", _drop_meaning(str(error)))
        except Transient as error:
            return Fault("disconnect", _drop_meaning(str(error)))
        except (msgspec.DecodeError, DecodeError) as error:
            self._tally.success -= 1
            self._tally.failures += 1
            return Fault("decode", str(error))
        except Refused as error:
            raise Refused(self._explain(error)) from error
        except Fatal as error:
            return Fault("venue_status", str(error))

    def _explain(self, error: Refused) -> str:
        told = _drop_meaning(str(error)).partition(": ")[2].partition(": refused")[0]
        return (
            f"snapshots.{self.name}: {told}: refused, trying again does not help; its key is "
            f"TRUETAPE_KEY_SNAPSHOT_{self.name.upper()} (get it at {self.form.key_origin})"
        )


def _drop_meaning(text: str) -> str:
    """Return a text without what an address in it says of its answer."""
    return _MEANING.sub("", text)


def _tell(service: str, market: str) -> Told:
    return Told(CHANNEL, service, market)
