"""What is asked for on a schedule: every turn is taken in its time or declared missed, whatever the venue does."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from truetape import clock
from truetape.collect.connection import find_first
from truetape.collect.gate import Gate
from truetape.collect.http import Http, HttpOptions
from truetape.collect.key import Key
from truetape.collect.recorder import Recorder
from truetape.collect.retry import GiveUp
from truetape.collect.status import ConnectionStatus, State
from truetape.config import VenueSettings
from truetape.errors import ConfigError, DecodeError, Fatal, RateLimited, Refused, Transient
from truetape.tape.frame import Source
from truetape.venues._contract import Ask, BrowserPage, Followed, Poll, Round, Told, Venue

FindMarkets = Callable[[int], Sequence[Followed]]
"""(now in microseconds) → the markets that are followed."""
LATE_SHARE = 0.5
"""A turn that would begin later than this share of the interval is missed: the next one takes its own time."""


class Fault(NamedTuple):
    """Why a snapshot was not had."""

    gap: str
    """Reason of the gap in the ledger."""
    text: str


class StatusError(Exception):
    """An answer came, and it is not what was asked for."""


class Poller:
    """Keeps one poll of a venue going: a schedule for each subject, one gate for all of them."""

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        poll: Poll,
        recorder: Recorder,
        *,
        key: Key | None = None,
        options: HttpOptions | None = None,
        find_markets: FindMarkets = lambda now_us: (),
    ) -> None:
        self.gate = Gate(venue, key, poll.allowance)
        self.name = f"{venue.name}/{poll.name}"
        self._venue = venue
        self._poll = poll
        self._recorder = recorder
        self._source = recorder.register(Source(venue.name, poll.feed, self.name))
        self._http = Http(venue, settings.url, recorder, self.gate, options, name=poll.name)
        self._decide = (options or HttpOptions()).decide
        self._find_markets = find_markets
        self._schedules = [Schedule(self, subject) for subject in choose_subjects(venue, settings, poll)]
        self._state: State = "connecting"
        self._reason = ""
        self._answers = self._bytes = 0
        self._answered_ns: int | None = None

    async def run(self) -> None:
        """Take turns until cancelled; ends by itself, with an event, when the venue refuses us."""
        self._recorder.note(self._source, "opened", poll=self._poll.name, interval_s=self._poll.interval_s)
        try:
            await self._run_all()
        except asyncio.CancelledError:
            self._state = "stopped"
            self._recorder.note(self._source, "closed", code=None, reason="", cause="shutdown")
            raise

    async def _run_all(self) -> None:
        try:
            async with self._http, asyncio.TaskGroup() as group:
                for number, schedule in enumerate(self._schedules):
                    group.create_task(schedule.run(number / len(self._schedules)))
        except* Refused as errors:
            self._give_up(str(find_first(errors)))
        except* Exception as errors:  # noqa: BLE001 - supervisor: a bug in a poll must not end what streams
            first = find_first(errors)
            self._give_up(f"{type(first).__name__}: {first}")

    def status(self) -> ConnectionStatus:
        """Return how it is doing."""
        age_s = None if self._answered_ns is None else (clock.monotonic_ns() - self._answered_ns) / 1e9
        return ConnectionStatus(
            venue=self._venue.name,
            feed=self._poll.feed,
            connection=self.name,
            state=self._state,
            frames=self._answers,
            bytes=self._bytes,
            age_s=age_s,
            attempts=max(schedule.failures for schedule in self._schedules),
            topics=sum(len(schedule.streams) for schedule in self._schedules),
            reason=self._reason,
            trouble=next((schedule.trouble for schedule in self._schedules if schedule.trouble), ""),
        )

    # -- what schedules share -----------------------------------------------------------------------------

    @property
    def poll(self) -> Poll:
        """Return what is asked for."""
        return self._poll

    def make_asks(self, subject: str, since_us: int) -> list[Ask]:
        """Return what to ask now."""
        now_us = clock.wall_ns() // 1000
        return list(self._poll.make_asks(Round(now_us, subject, tuple(self._find_markets(now_us)), since_us)))

    def note(self, event: str, subject: str, **facts: object) -> None:
        """Say on the tape what became of a turn."""
        self._recorder.note(self._source, event, poll=self._poll.name, subject=subject, **facts)

    def judge(self, reason: str) -> None:
        """Take how the last turn went, for the status."""
        self._state, self._reason = ("waiting" if reason else "open"), reason

    async def take_snapshot(self, ask: Ask) -> Fault | None:
        """Ask for a snapshot with all its pages; return what went wrong. Raises Refused."""
        if self.gate.banned_s > self._poll.interval_s:
            return Fault("rate_limit", f"told to wait {self.gate.banned_s:.1f} s more")
        try:
            async with asyncio.timeout(self._poll.patience_s):
                return await self._read_pages(ask)
        except TimeoutError:
            gap = "rate_limit" if self.gate.wait_s > 0 else "disconnect"
            return Fault(gap, f"no whole answer within {self._poll.patience_s:g} s")
        except RateLimited as error:
            return Fault("rate_limit", str(error))
        except Transient as error:
            return Fault("disconnect", str(error))
        except (msgspec.DecodeError, DecodeError) as error:
            return Fault("decode", str(error))
        except StatusError as error:
            return Fault("venue_status", str(error))
        except Refused:
            raise
        except Fatal as error:
            return Fault("venue_status", str(error))

    async def _read_pages(self, ask: Ask) -> Fault | None:
        page = ask
        for _ in range(self._poll.pages_max):
            following = self._poll.follow(page, await self._read_page(page))
            if following is None:
                return None
            page = following
        return Fault("venue_status", f"more than {self._poll.pages_max} pages")

    async def _read_page(self, ask: Ask) -> bytes:
        """Ask for one page, again where that may help; raises when there is none."""
        attempt = 1
        while True:
            try:
                reply = await self._http.ask_once(ask)
                break
            except RateLimited as error:
                self.gate.ban(error.retry_after_s)
                raise
            except Transient as error:
                verdict = self._decide(error, attempt)
                if attempt >= self._poll.attempts_max or isinstance(verdict, GiveUp):
                    raise
                attempt += 1
                await asyncio.sleep(verdict.delay_s)
        self._answers += 1
        self._bytes += len(reply.body)
        self._answered_ns = clock.monotonic_ns()
        if reply.status != 200:
            raise StatusError(f"answered {reply.status}")
        if fault := self._poll.find_fault(reply.body):
            raise StatusError(fault)
        return reply.body

    def _give_up(self, reason: str) -> None:
        """Say that this poll is over; what it told has gaps from here on."""
        self._state, self._reason = "refused", reason
        self._recorder.note(self._source, "feed_refused", poll=self._poll.name, reason=reason)
        self._recorder.note(self._source, "closed", code=None, reason=reason, cause="venue")


class Asker(Protocol):
    """Who a schedule takes its turns for."""

    @property
    def poll(self) -> Poll:
        """Return what is asked for."""
        ...

    def make_asks(self, subject: str, since_us: int) -> list[Ask]:
        """Return what to ask now."""
        ...

    def note(self, event: str, subject: str, **facts: object) -> None:
        """Say on the tape what became of a turn."""
        ...

    def judge(self, reason: str) -> None:
        """Take how the last turn went."""
        ...

    async def take_snapshot(self, ask: Ask) -> Fault | None:
        """Ask for a snapshot; return what went wrong. Raises Refused."""
        ...


class Schedule:
    """The turns of one subject: drift-free, one under way at a time, each that was not taken declared."""

    def __init__(self, poller: Asker, subject: str) -> None:
        self.failures = 0
        """Turns that failed since the last good one."""
        self.trouble = ""
        """Why, once they are so many that a person must hear of them; empty before."""
        self.streams: dict[Told, int] = {}
        """What is asked for now → when an answer about it was last asked for that came (wall ns); 0: none yet."""
        self._missing: set[Told] = set()
        """Not answered since they were new, or since they missed a turn."""
        self._declared: set[Told] = set()
        """Those named on the tape as having missed a turn."""
        self._poller = poller
        self._subject = subject
        self._since_ns = 0
        self._limit = asyncio.Semaphore(poller.poll.parallel_max)

    async def run(self, phase: float) -> None:
        """Take turns until cancelled; the first begins after a share of the interval."""
        interval_ns = int(self._poller.poll.interval_s * 1e9)
        begin_ns = clock.monotonic_ns() + int(phase * interval_ns)
        turn = 0
        while True:
            await asyncio.sleep(max(begin_ns + turn * interval_ns - clock.monotonic_ns(), 0) / 1e9)
            await self.take_turn()
            turn += 1
            late = (clock.monotonic_ns() - begin_ns - turn * interval_ns) / interval_ns
            missed = int(late - LATE_SHARE) + 1 if late > LATE_SHARE else 0
            if missed:
                turn += missed
                self.miss_turns(Fault("silence", f"the turn before took {1 + late:.1f} intervals"), missed)

    def miss_turns(self, fault: Fault, count: int, answered: Collection[str] = ()) -> None:
        """Declare turns that were not taken, or cut short when some had been answered (the venue's names of them)."""
        missed = [told for told in self.streams if told.venue_symbol not in answered]
        self._miss(missed, fault, count)
        self._fail("late")

    async def take_turn(self) -> None:
        """Take one turn: ask all there is to ask, and say what became of it."""
        began_ns = clock.wall_ns()
        try:
            asks = self._poller.make_asks(self._subject, self._since_ns // 1000)
        except (msgspec.DecodeError, DecodeError, ValueError) as error:
            self._miss(list(self.streams), Fault("decode", str(error)))
            self._fail(str(error))
            return
        self._follow([told for ask in asks for told in ask.streams])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._take_one(ask)) for ask in asks]
        faults = {ask: fault for ask, task in zip(asks, tasks, strict=True) if (fault := task.result())}
        self._take_good([told for ask in asks if ask not in faults for told in ask.streams], began_ns)
        by_gap: dict[str, list[Ask]] = {}
        for ask, fault in faults.items():
            by_gap.setdefault(fault.gap, []).append(ask)
        for failed in by_gap.values():
            self._miss([told for ask in failed for told in ask.streams], faults[failed[0]])
        if faults:
            self._fail(next(iter(faults.values())).text)
        else:
            self._since_ns = began_ns
            self._recover()

    async def _take_one(self, ask: Ask) -> Fault | None:
        async with self._limit:
            return await self._poller.take_snapshot(ask)

    def _follow(self, wanted: Sequence[Told]) -> None:
        """Say on the tape what is asked for from now on, and what not any more."""
        new = [told for told in dict.fromkeys(wanted) if told not in self.streams]
        gone = [told for told in self.streams if told not in set(wanted)]
        if new:
            self._poller.note("subscribed", self._subject, streams=describe(new))
            self._missing.update(new)
            self.streams.update(dict.fromkeys(new, 0))
        if gone:
            self._poller.note("unsubscribed", self._subject, streams=describe(gone))
            for told in gone:
                del self.streams[told]
                self._missing.discard(told)
                self._declared.discard(told)

    def _take_good(self, answered: Sequence[Told], began_ns: int) -> None:
        back = [told for told in answered if told in self._missing]
        if back:
            self._poller.note("poll_resumed", self._subject, streams=describe(back))
            self._missing.difference_update(back)
            self._declared.difference_update(back)
        for told in answered:
            self.streams[told] = began_ns

    def _miss(self, streams: Sequence[Told], fault: Fault, count: int = 1) -> None:
        """Declare turns that were not taken, or failed; streams that miss turns already are counted, not named again."""
        new = [told for told in streams if told not in self._declared]
        known = [self.streams[told] for told in new if self.streams.get(told)]
        facts: dict[str, object] = {"from_ns": min(known)} if known else {}
        self._missing.update(new)
        self._declared.update(new)
        self._poller.note(
            "poll_missed",
            self._subject,
            gap=fault.gap,
            reason=fault.text,
            turns=count,
            streams=describe(new),
            still=len(streams) - len(new),
            **facts,
        )

    def _fail(self, reason: str) -> None:
        self.failures += 1
        self._poller.judge(reason)
        if self.failures == self._poller.poll.failures_max:
            self._poller.note("poll_failing", self._subject, failures=self.failures, reason=reason)
        if self.failures >= self._poller.poll.failures_max:
            whose = f" of {self._subject}" if self._subject else ""
            self.trouble = f"{self.failures} turns{whose} in a row failed: {reason}"

    def _recover(self) -> None:
        if self.failures >= self._poller.poll.failures_max:
            self._poller.note("poll_recovered", self._subject, failures=self.failures)
        self.failures, self.trouble = 0, ""
        self._poller.judge("")


def choose_subjects(venue: Venue, settings: VenueSettings, part: Poll | BrowserPage) -> Sequence[str]:
    """Return what has a schedule, or a page, of its own; ConfigError when that is nothing."""
    subjects = part.list_subjects(settings.instruments)
    if not subjects:
        wanted = ", ".join(settings.instruments)
        raise ConfigError(f"venues.{venue.name}.instruments: {wanted}: {part.name} has none of these")
    return subjects


def describe(streams: Iterable[Told]) -> list[dict[str, str]]:
    """Return streams as events on the tape spell them."""
    return [
        {
            "channel": told.channel,
            "market": told.market,
            "venue_symbol": told.venue_symbol,
            "topic": "",
            "listed_in": told.listed_in,
        }
        for told in streams
    ]
