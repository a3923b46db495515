"""Finds a venue's prediction markets, has them subscribed in time, and asks for each until it has a label.

What is due when is the roster's to say; here are the clock, the requests and the notes on the tape.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from truetape import clock
from truetape.collect.gate import Gate
from truetape.collect.http import Http, Reply
from truetape.collect.market import SECOND_US, Market
from truetape.collect.memory import ROSTER, STATE
from truetape.collect.plan import make_wanted
from truetape.collect.recorder import Recorder
from truetape.collect.roster import Roster
from truetape.config import VenueSettings
from truetape.errors import DecodeError, RateLimited, TruetapeError
from truetape.events.instrument import Instrument
from truetape.tape.frame import Source
from truetape.venues._contract import Ask, Discovery, Followed, MarketVersion, Venue, Wanted

ASKERS = 8
"""Questions under way at once."""
ASKS_MAX = 1000
"""Requests waiting; more are asked later."""
ASK_PATIENCE_S = 15.0
"""A question without an answer for so long has failed; it is asked again when its time comes."""
PAUSE_MAX_S = 10.0
"""The clock may step: nothing is awaited for longer at a stretch."""
GATHER_S = 0.25
"""Answers that come together make one change of subscriptions."""
GENERIC_LIST_S = 600.0
"""Markets of the filters are listed at most this often, unless the settings want them sooner."""
YEAR_S = 365 * 86_400.0
PAGES_MAX = 200
THINK_BYTES = 100_000
"""Answers larger than this are read beside the event loop."""
ROSTER_S = 60.0
"""How soon after a step the tape is told who is followed;"""
ROSTER_QUIET_S = 600.0
"""how often while nothing happens: a later run reads steps after the last roster anyway."""
ROSTER_MARKETS = 200
"""More markets make it rarer, for each takes 100 bytes, and 300 while it is subscribed."""
REFUSED_MAX = 1000
"""Reasons remembered, to say each once."""
NOTHING = "answered 404"

Amend = Callable[[Sequence[Instrument], Sequence[Instrument]], Awaitable[None]]
"""(to subscribe, to let go) → done."""


class Orchestrator:
    """One venue's prediction markets."""

    def __init__(
        self,
        venue: Venue,
        discovery: Discovery,
        settings: VenueSettings,
        reach: tuple[Http, Gate],
        recorder: Recorder,
        followed: Sequence[Market] = (),
    ) -> None:
        self._venue, self._discovery, self._settings = venue, discovery, settings
        self._http, self._gate = reach
        self._recorder = recorder
        self._wanted = make_wanted(settings)
        self.roster = Roster(
            int(settings.lead_seconds * SECOND_US),
            int(settings.grace_seconds * SECOND_US),
            settings.filters.markets_max,
        )
        self.roster.restore(followed, _now_us())
        self._source = recorder.register(Source(venue.name, discovery.market, f"{venue.name}/markets"))
        self._asks: asyncio.Queue[tuple[tuple[str, ...], tuple[str, ...]]] = asyncio.Queue(ASKS_MAX)
        self._asking: set[str] = set()
        """Handles in line or under way."""
        self._changed = asyncio.Event()
        self._refused: dict[str, None] = {}
        self._roster_us = 0
        self._has_news = True

    def list_followed(self) -> tuple[Followed, ...]:
        """List the markets that are followed now."""
        return self.roster.list_followed()

    async def run(self, amend: Amend) -> None:
        """Follow markets until cancelled; whatever goes wrong with one, the others go on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._step_always(amend))
            group.create_task(self._list_always())
            for _ in range(ASKERS):
                group.create_task(self._ask_always())

    async def hear_wish(self, url: str, reply: Reply) -> None:
        """Take the answer to what the decoder wished for, if it tells of markets."""
        if self._discovery.tells(url):
            await self._hear_safely(url, reply)

    async def hear(self, url: str, reply: Reply) -> str:
        """Take an answer, whoever asked; return what is wrong with it."""
        if reply.status != 200:
            return f"answered {reply.status}"
        try:
            read = partial(self._discovery.read, url, reply.body)
            loop = asyncio.get_running_loop()
            is_large = len(reply.body) > THINK_BYTES
            versions, refused = await loop.run_in_executor(None, read) if is_large else read()
        except (DecodeError, msgspec.DecodeError) as error:
            return f"cannot be read: {error}"
        for reason in refused:
            self._note_refused(reason)
        for version in versions:
            self._hear_version(version)
        self._changed.set()
        return ""

    def _hear_version(self, version: MarketVersion) -> None:
        now_us = _now_us()
        if version.slug in self.roster or self._is_new(version, now_us):
            self.roster.tell(version, now_us)

    def _is_new(self, version: MarketVersion, now_us: int) -> bool:
        """Tell whether to follow a market from now on; lists show past ones as open that nobody closed."""
        is_past = version.ends_us is not None and version.ends_us <= now_us
        is_zombie = is_past and self._settings.filters.status == "open"
        return not is_zombie and self._discovery.is_wanted(self._wanted, version)

    # -- what is due --------------------------------------------------------------------------------------

    async def _step_always(self, amend: Amend) -> None:
        while True:
            self._changed.clear()
            now_us = _now_us()
            self.roster.seek(self._discovery.name_windows(self._wanted, now_us // SECOND_US), now_us)
            step = self.roster.step(now_us)
            for transition in step.transitions:
                self._note(STATE, **msgspec.structs.asdict(transition))
            self._has_news = self._has_news or bool(step.transitions)
            self._queue_asks(step.asks)
            if step.subscribe or step.unsubscribe:
                await amend(step.subscribe, step.unsubscribe)
            self._note_roster(now_us)
            await self._pause()

    async def _pause(self) -> None:
        """Wait until something is due, or an answer changed something."""
        wake_us = self.roster.wake_us
        wait_s = PAUSE_MAX_S if wake_us is None else (wake_us - _now_us()) / SECOND_US
        if wait_s <= 0:
            return await asyncio.sleep(GATHER_S)
        try:
            async with asyncio.timeout(min(wait_s, PAUSE_MAX_S)):
                await self._changed.wait()
            await asyncio.sleep(GATHER_S)
        except TimeoutError:
            return None

    def _queue_asks(self, handles: Sequence[str]) -> None:
        """Put questions in line; those under way are not asked twice, those without room come again by themselves."""
        fresh = [handle for handle in handles if handle not in self._asking]
        for urls, asked in self._discovery.ask_urls(fresh) if fresh else ():
            if self._asks.full():
                break
            self._asks.put_nowait((urls, asked))
            self._asking.update(asked)

    async def _ask_always(self) -> None:
        while True:
            urls, handles = await self._asks.get()
            problem = ""
            for url in urls:
                problem = await self._ask(url) or problem
            self._asking.difference_update(handles)
            self.roster.finish(handles, _now_us(), problem)
            self._changed.set()

    async def _ask(self, url: str) -> str:
        """Ask one time; return why nothing came of it. A venue's pause is no lack of an answer."""
        while (wait_s := self._gate.wait_s) > 0:  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(wait_s)
        try:
            async with asyncio.timeout(ASK_PATIENCE_S):
                reply = await self._http.ask_once(Ask(self._discovery.market, url, reason="follow"))
        except RateLimited as error:
            self._gate.ban(error.retry_after_s)
            return str(error)
        except TruetapeError as error:
            return str(error)
        except TimeoutError:
            problem = f"no answer within {ASK_PATIENCE_S:g} s"
            self._note("request_failed", url=url, error=problem)
            return problem
        return await self._hear_safely(url, reply)

    async def _hear_safely(self, url: str, reply: Reply) -> str:
        try:
            return await self.hear(url, reply)
        except Exception as error:  # noqa: BLE001 - supervisor: what one answer breaks must not end the others
            problem = f"{type(error).__name__}: {error}"
            self._note("discovery_failed", url=url, reason=problem)
            return problem

    # -- listings -----------------------------------------------------------------------------------------

    async def _list_always(self) -> None:
        pause_s = min(self._settings.listing_seconds or YEAR_S, self._discovery.list_s)
        generic_us = 0
        while True:
            now_us, wanted = _now_us(), self._wanted
            if now_us < generic_us:
                wanted = Wanted(wanted.series, wanted.assets)
            elif pause_s < GENERIC_LIST_S:  # what follows no clock is listed in many pages, and is in no hurry
                generic_us = now_us + int(min(self._settings.listing_seconds or YEAR_S, GENERIC_LIST_S) * SECOND_US)
            for url in self._discovery.list_urls(wanted, now_us // SECOND_US):
                await self._list(url)
            if self.roster.left_out:
                self._note(
                    "markets_left_out", count=self.roster.left_out, markets_max=self._settings.filters.markets_max
                )
                self.roster.left_out = 0
            await asyncio.sleep(pause_s)

    async def _list(self, first: str) -> None:
        """Read a listing; where it breaks off, the rest comes the next time."""
        url = first
        for _ in range(PAGES_MAX):
            following = None
            try:
                reply = await self._http.fetch(Ask(self._discovery.market, url, reason="listing"))
                problem = await self._hear_safely(url, reply)
                if not problem:
                    following = self._venue.find_next_page(url, reply.body)
            except (TruetapeError, msgspec.DecodeError) as error:
                problem = str(error)
            if problem and problem != NOTHING:  # asked by a name that may be an event's or a market's
                self._note("discovery_failed", url=url, reason=problem)
            if following is None:
                return
            url = following
        self._note("discovery_failed", url=first, reason=f"more than {PAGES_MAX} pages")

    # -- notes on the tape --------------------------------------------------------------------------------

    def _note(self, event: str, **facts: object) -> None:
        self._recorder.note(self._source, event, **facts)

    def _note_refused(self, reason: str) -> None:
        """Say once that a market cannot be recorded."""
        if reason not in self._refused and len(self._refused) < REFUSED_MAX:
            self._refused[reason] = None
            self._note("market_refused", reason=reason)

    def _note_roster(self, now_us: int) -> None:
        """Say now and then who is followed: a later run goes on from there."""
        every_s = ROSTER_S * max(1, len(self.roster) // ROSTER_MARKETS) if self._has_news else ROSTER_QUIET_S
        if not self._roster_us or now_us - self._roster_us >= every_s * SECOND_US:
            self._roster_us, self._has_news = now_us, False
            self._note(ROSTER, markets=self.roster.dump())


def _now_us() -> int:
    return clock.wall_ns() // 1000
