"""Keep one planned connection alive: connect, back off, replace before its lifetime ends, grant wishes."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.gate import Gate
from truetape.collect.leg import Leg, make_hooks
from truetape.collect.plan import ConnectionPlan, StreamPlan
from truetape.collect.recorder import Recorder, Row
from truetape.collect.retry import Decide, GiveUp, decide
from truetape.collect.socket import Cause, Ending, SocketOptions, open_socket
from truetape.collect.status import ConnectionStatus, State
from truetape.config import VenueSettings, rewrite_url
from truetape.errors import RateLimited, Refused, Transient, VenueUnreachable
from truetape.tape.frame import Source
from truetape.venues._contract import Venue

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Tuning(msgspec.Struct, frozen=True):
    """How patient we are; tests make it short."""

    overlap_s: float = 3.0
    """Old and new connection run side by side this long once the new one delivers."""
    handover_timeout_s: float = 30.0
    """A new connection that delivered nothing by then has failed, unless the old one was as quiet."""
    stable_s: float = 30.0
    """A connection that lived this long starts counting attempts anew."""
    lifetime_margin_max_s: float = 1800.0
    """Connections are replaced up to this, or a tenth of the lifetime, before the venue would cut them."""
    refused_handover_s: float = 300.0
    """A refused replacement is tried again after this, as long as the old connection lives."""
    status_interval_s: float = 1.0
    """How often the status is told."""
    socket: SocketOptions = SocketOptions()
    decide: Decide = decide
    """Retry or give up."""
    draw: Callable[[], float] = random.random
    """Numbers in [0, 1) for jitter."""


class Connection:
    """Supervises one planned connection; `run` ends only by cancellation or when the venue refuses us."""

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        plan: ConnectionPlan,
        recorder: Recorder,
        gate: Gate,
        tuning: Tuning,
    ) -> None:
        self.lane = f"{venue.name}/{plan.feed.name}/{plan.number}"
        self._venue = venue
        self._settings = settings
        self.plan = plan
        self._recorder = recorder
        self._gate = gate
        self._tuning = tuning
        self._lane_source = self._register(self.lane)
        is_keyed = gate.key is not None and plan.feed.needs_key
        self._take: Callable[[Row], None] = self._hide if is_keyed else recorder.take
        self._legs: list[Leg] = []
        """Open ones, oldest first."""
        self._opened = 0
        self._attempts = 0
        self._name = ""
        self._wished = asyncio.Event()
        self._state: State = "connecting"
        self._reason = ""
        self._past_frames = self._past_bytes = 0

    async def run(self) -> None:
        """Hold the connection until cancelled; raises `Fatal` when trying again cannot help.

        A feed that refuses our key ends alone, with an event: the venue's others go on.
        """
        self._note_plan(self.plan.streams)
        try:
            async with asyncio.TaskGroup() as group:
                leg = await self._connect(group)
                while True:
                    leg = await self._hold(group, leg)
        except* Refused as errors:
            if not self.plan.feed.needs_key:
                raise
            self._recorder.note(self._lane_source, "feed_refused", reason=str(find_first(errors)))
        finally:
            self._state = "stopped"
            await asyncio.gather(*(leg.close("shutdown") for leg in list(self._legs)))

    async def revise(self, plan: ConnectionPlan) -> None:
        """Take a new plan for the same lane: what it adds is subscribed, what it lacks is not any more."""
        known = set(self.plan.streams)
        is_same = self.plan.topics == plan.topics
        self.plan = plan
        self._note_plan([stream for stream in plan.streams if stream not in known])
        if self._venue.name_url is not None and plan.topics and not is_same:
            self._wished.set()  # the address subscribes: another one must take over
        for leg in list(self._legs):
            try:
                await leg.revise(plan)
            except VenueUnreachable:
                continue  # the line broke: its successor follows the new plan

    def reconnect(self, name: str) -> bool:
        """Replace the connection if it still is the one of that name."""
        is_current = bool(self._legs) and self._legs[-1].name == name
        if is_current:
            self._wished.set()
        return is_current

    async def resubscribe(self, name: str, topics: Sequence[str]) -> bool:
        """Subscribe topics anew if the connection still is the one of that name."""
        if self._venue.name_url is not None:
            return self.reconnect(name)
        for leg in self._legs:
            if leg.name == name and leg.is_open:
                try:
                    await leg.resubscribe(topics)
                except VenueUnreachable:
                    return False
                return True
        return False

    def status(self) -> ConnectionStatus:
        """Return how it is doing."""
        leg = self._legs[-1] if self._legs else None
        return ConnectionStatus(
            venue=self._venue.name,
            feed=self.plan.feed.name,
            connection=leg.name if leg else self.lane,
            state=self._state,
            frames=self._past_frames + sum(leg.socket.frames for leg in self._legs),
            bytes=self._past_bytes + sum(leg.socket.bytes for leg in self._legs),
            age_s=(clock.monotonic_ns() - leg.socket.last_ns) / 1e9 if leg else None,
            attempts=self._attempts,
            topics=len(self.plan.topics),
            reason=self._reason,
        )

    async def _connect(self, group: asyncio.TaskGroup) -> Leg:
        """Open the connection, however long it takes."""
        while True:
            try:
                return await self._open(group)
            except (Transient, Refused) as error:
                await self._back_off(error)

    async def _back_off(self, error: Exception) -> None:
        self._state = "waiting"
        await asyncio.sleep(self._judge(error))

    def _judge(self, error: Exception) -> float:
        """Return how long to wait after a failure; raises Refused when that is of no use."""
        self._attempts += 1
        self._reason = str(error)
        verdict = self._tuning.decide(error, self._attempts)
        if isinstance(verdict, GiveUp):
            self._state = "refused"
            raise Refused(verdict.reason) from error
        if isinstance(error, RateLimited):
            self._gate.ban(verdict.delay_s)
        return verdict.delay_s

    async def _open(self, group: asyncio.TaskGroup) -> Leg:
        """Make one attempt: connect, greet, subscribe."""
        await self._gate.enter(self.plan.feed)
        feed = self.plan.feed
        if not self._legs:
            self._state = "connecting"
        # An attempt that fails leaves its name to the next: names on a tape stay few.
        self._name = self._name or f"{self.lane}#{self._opened + 1}-{_base36(clock.wall_ns())}"
        source = self._register(self._name)
        own_url = feed.url if self._venue.name_url is None else self._venue.name_url(feed, self.plan.topics)
        url = rewrite_url(own_url, self._settings.url)
        try:
            hooks = make_hooks(self._recorder, source, url=own_url, via=url, attempt=self._attempts + 1)
            options, answer = self._tuning.socket, self._venue.answer
            socket = await open_socket(url, self._take, source, options, answer, hooks, self._sign(own_url))
        except (Transient, Refused) as error:
            note = self._recorder.note
            note(self._lane_source, "connect_failed", url=own_url, error=str(error), attempt=self._attempts + 1)
            raise self._explain(error) from error
        leg = Leg(self._venue, self.plan, self._recorder, self._name, source, socket, self._gate.key)
        self._opened += 1
        self._name = ""
        self._legs.append(leg)
        socket.ended.add_done_callback(lambda _: self._retire(leg))
        group.create_task(leg.tend())
        try:
            await leg.begin()
        except VenueUnreachable:
            self._check_refusal(await socket.ended)
            raise
        self._state, self._reason = "open", ""
        return leg

    def _sign(self, url: str) -> dict[str, str]:
        key = self._gate.key
        return key.sign("GET", url, b"", clock.wall_ns()) if key and self.plan.feed.needs_key else {}

    def _hide(self, row: Row) -> None:
        """Take a frame of a venue that knows our key, and might repeat it."""
        key = self._gate.key
        self._recorder.take(row if key is None else (*row[:4], key.hide(row[4]), row[5]))

    def _check_refusal(self, ending: Ending) -> None:
        """Raise Refused when a connection ended because our key was not taken."""
        if ending.code in self.plan.feed.refusal_codes:
            raise self._explain(Refused(f"{self.lane} closed: {ending.code} {ending.reason}"))

    def _explain(self, error: Transient | Refused) -> Transient | Refused:
        """Say what to do about a refusal, and how long the venue usually wants us to wait."""
        if isinstance(error, Refused):
            name, key = f"venues.{self._venue.name}", self._gate.key
            is_keyed = key is not None and self.plan.feed.needs_key
            whose = f"its key is {key.variables}" if key and is_keyed else f"where it connects is {name}.url"
            return Refused(f"{name}: {error}: refused, trying again does not help; {whose}")
        if isinstance(error, RateLimited) and not error.retry_after_s:
            return RateLimited(str(error), self._venue.rest.ban_default_s)
        return error

    def _retire(self, leg: Leg) -> None:
        self._legs.remove(leg)
        self._past_frames += leg.socket.frames
        self._past_bytes += leg.socket.bytes

    async def _hold(self, group: asyncio.TaskGroup, leg: Leg) -> Leg:
        """Wait until the connection has to be replaced, and return its successor."""
        cause = await self._wait(leg, self._lifetime_s() - _age_s(leg))
        while cause is not None:
            self._state = "replacing"
            try:
                return await self._replace(group, leg, cause)
            except (Transient, Refused) as error:
                self._recorder.note(self._lane_source, "handover_failed", error=str(error), cause=cause)
                delay_s = self._tuning.refused_handover_s if isinstance(error, Refused) else self._judge(error)
            self._state = "open"
            cause = await self._wait(leg, delay_s) or (None if not leg.is_open else cause)
        ending = await leg.socket.ended
        self._check_refusal(ending)
        drain_s = next((within_s for code, within_s in self.plan.feed.drain_codes if code == ending.code), 0.0)
        if drain_s:
            self._state, self._reason = "waiting", f"{leg.name} was sent away: {ending.code} {ending.reason}"
            await asyncio.sleep(drain_s * self._tuning.draw())
        if _age_s(leg) >= self._tuning.stable_s:
            self._attempts = 0
        await self._back_off(VenueUnreachable(f"{leg.name} closed: {ending.cause} {ending.code} {ending.reason}"))
        return await self._connect(group)

    async def _wait(self, leg: Leg, seconds: float) -> Cause | None:
        """Wait for the end (None), a wish, or the time being up."""
        wished = asyncio.create_task(self._wished.wait())
        try:
            events: list[asyncio.Future[Any]] = [leg.socket.ended, wished]
            await asyncio.wait(events, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            wished.cancel()
        if not leg.is_open:
            return None
        if self._wished.is_set():
            self._wished.clear()
            return "wish"
        return "lifetime"

    async def _replace(self, group: asyncio.TaskGroup, old: Leg, cause: Cause) -> Leg:
        """Open a new connection, let both run, then close the old: nothing is missed in between."""
        seen = old.socket.frames
        new = await self._open(group)
        first = new.subscribed_frames or 0
        deadline_ns = clock.monotonic_ns() + int(self._tuning.handover_timeout_s * 1e9)
        while new.is_open and new.socket.frames <= first and old.is_open and clock.monotonic_ns() < deadline_ns:
            await asyncio.wait([new.socket.ended, old.socket.ended], timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
        if new.is_open and new.socket.frames <= first and old.is_open and old.socket.frames > seen:
            await new.close("silence")
        if new.is_open and old.is_open:
            overlap_s = min(self._tuning.overlap_s, self._lifetime_s() / 4)
            await asyncio.wait([new.socket.ended], timeout=overlap_s)
        if not new.is_open:
            raise VenueUnreachable(f"{new.name} did not take over")
        if old.is_open:
            await old.close(cause)
        self._attempts = 0
        return new

    def _note_plan(self, new: Sequence[StreamPlan]) -> None:
        """Say what is to come that nobody spoke of before."""
        if new:
            self._recorder.note(
                self._lane_source, "planned", streams=[msgspec.structs.asdict(stream) for stream in new]
            )

    def _lifetime_s(self) -> float:
        """Return after how long to replace a connection: somewhat before the venue would, not all at once."""
        lifetime_s = self._settings.lifetime_seconds or self.plan.feed.lifetime_s
        if lifetime_s <= 0:
            return 10 * 365 * 86_400.0
        margin_s = min(lifetime_s * 0.1, self._tuning.lifetime_margin_max_s)
        return lifetime_s - margin_s * (0.2 + 0.8 * self._tuning.draw())

    def _register(self, name: str) -> int:
        return self._recorder.register(Source(self._venue.name, self.plan.feed.name, name))


def find_first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error inside a group of groups."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _age_s(leg: Leg) -> float:
    return (clock.monotonic_ns() - leg.opened_ns) / 1e9


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text
