"""One venue: what it lists, the connections that follow from it, what it is asked."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from truetape.collect.connection import Connection, Tuning
from truetape.collect.gate import Gate
from truetape.collect.http import Ask, Http, HttpOptions
from truetape.collect.key import leave_out_keyless, load_key
from truetape.collect.listing import Page, fetch_page, list_pages, think
from truetape.collect.market import Market
from truetape.collect.orchestrator import Orchestrator
from truetape.collect.plan import (
    ConnectionPlan,
    amend_connections,
    choose_instruments,
    choose_listings,
    find_discovery,
    is_subscribing,
    plan_connections,
    revise_connections,
)
from truetape.collect.polled import group_outcomes, make_polled
from truetape.collect.recorder import Recorder
from truetape.collect.retry import GiveUp
from truetape.collect.status import State
from truetape.config import VenueSettings
from truetape.errors import Fatal, Transient, TruetapeError
from truetape.events.instrument import Instrument
from truetape.events.wish import Fetch
from truetape.tape.frame import Source
from truetape.venues._contract import Followed, Listing, Venue

FETCHES_MAX = 1000
"""Fetches of one venue waiting; more are dropped, and an event says so."""
FETCHERS = 4
"""Requests to one venue under way at once."""
YEAR_S = 365 * 86_400.0


class VenueCollector:
    """One venue: its listings, its connections, what it is asked."""

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        recorder: Recorder,
        tuning: Tuning,
        http: HttpOptions,
        *,
        followed: Sequence[Market] = (),
    ):
        key = load_key(venue)
        venue, self.left_out = leave_out_keyless(venue, settings, key)
        """Lines on what is not recorded, for want of a key."""
        self.venue = venue
        self.gate = Gate(venue, key)
        self.http = Http(venue, settings.url, recorder, self.gate, http)
        list_followed = self._list_followed
        self.polled = make_polled(venue, settings, recorder, key=key, options=http, list_followed=list_followed)
        self._outcomes: tuple[Followed, ...] = ()
        self.state: State = "listing"
        self.reason = ""
        self.fetches: asyncio.Queue[Fetch] = asyncio.Queue(FETCHES_MAX)
        self.fetching: set[str] = set()
        """Addresses that wait in line or are being asked: one answer serves whoever wishes for it meanwhile."""
        self._held: dict[Connection, asyncio.Task[None]] = {}
        self._settings = settings
        self._recorder = recorder
        self._tuning = tuning
        self._amending = asyncio.Lock()
        """Held while plans change: listings and prediction markets change them on their own."""
        discovery = find_discovery(venue, settings)
        reach = self.http, self.gate
        self.orchestrator = Orchestrator(venue, discovery, settings, reach, recorder, followed) if discovery else None
        """Finds and follows prediction markets; null where none are asked for."""

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Return the connections held now."""
        return tuple(self._held)

    async def plan(self) -> tuple[ConnectionPlan, ...] | Fatal:
        """Fetch the listings and plan connections; what cannot be helped is returned, not raised."""
        try:
            listed = await self._list_all()
            self._outcomes = group_outcomes(self._settings, listed)
            if not is_subscribing(self.venue, self._settings):
                return ()
            return await think(partial(make_plans, self.venue, self._settings, listed))
        except Fatal as error:
            return error
        except Exception as error:  # noqa: BLE001 - supervisor: one venue's bug must not stop the others
            return explain_bug(self.venue.name, error)

    async def run(self, plans: tuple[ConnectionPlan, ...]) -> None:
        """Hold the planned connections and fetch what is wished, until cancelled; raises Fatal when refused."""
        self.state, self.reason = "open", ""
        for line in self.left_out:
            self._note("left_out", line)
        async with asyncio.TaskGroup() as group:
            for polled in self.polled:
                group.create_task(polled.run())
            for plan in plans:
                self._hold(group, plan)
            for _ in range(FETCHERS):
                group.create_task(self._fetch_always())
            group.create_task(self._relist_always(group))
            if self.orchestrator is not None:
                group.create_task(self.orchestrator.run(partial(self._amend, group)))

    def give_up(self, error: Fatal) -> None:
        """Say on the tape that this venue is not recorded any more, and why."""
        self.state, self.reason = "refused", str(error)
        self._note("gave_up", str(error))

    def _note(self, event: str, reason: str) -> None:
        source = self._recorder.register(Source(self.venue.name, "", self.venue.name))
        self._recorder.note(source, event, reason=reason)

    def _list_followed(self) -> tuple[Followed, ...]:
        return self._outcomes if self.orchestrator is None else self.orchestrator.list_followed()

    def _hold(self, group: asyncio.TaskGroup, plan: ConnectionPlan) -> None:
        connection = Connection(self.venue, self._settings, plan, self._recorder, self.gate, self._tuning)
        task = self._held[connection] = group.create_task(connection.run())
        task.add_done_callback(lambda _: self._held.pop(connection, None))

    async def _relist_always(self, group: asyncio.TaskGroup) -> None:
        """Look for new and vanished instruments; whatever goes wrong, what is held goes on."""
        while True:
            pause_s = self._settings.listing_seconds or YEAR_S
            await asyncio.sleep(pause_s * (1 + 0.1 * self._tuning.draw()))
            try:
                await self._relist(group)
            except Fatal as error:
                self._note("relist_failed", str(error))
            except Exception as error:  # noqa: BLE001 - supervisor: a bug in a listing must not end what is held
                self._note("relist_failed", str(explain_bug(self.venue.name, error)))

    async def _relist(self, group: asyncio.TaskGroup) -> None:
        listed = await self._list_all()
        self._outcomes = group_outcomes(self._settings, listed)
        if not is_subscribing(self.venue, self._settings):
            return
        async with self._amending:
            plans = [plan for plan in self._list_plans() if not self._is_found(plan)]
            revised = await think(partial(revise_plans, self.venue, self._settings, plans, listed))
            kept = {(plan.feed.name, plan.number) for plan in revised}
            ended = [plan for plan in plans if (plan.feed.name, plan.number) not in kept]
            await self._apply(group, [*revised, *(_empty(plan) for plan in ended)])

    async def _amend(
        self, group: asyncio.TaskGroup, added: Sequence[Instrument], removed: Sequence[Instrument]
    ) -> None:
        """Subscribe some instruments and let go of others, leaving all else where it is."""
        async with self._amending:
            await self._apply(group, amend_connections(self.venue, self._settings, self._list_plans(), added, removed))

    async def _apply(self, group: asyncio.TaskGroup, plans: Sequence[ConnectionPlan]) -> None:
        """Have connections follow their new plans; those without topics end, those nobody holds begin."""
        held = {(c.plan.feed.name, c.plan.number): c for c in self._held if c.plan.topics}
        for plan in plans:
            connection = held.get((plan.feed.name, plan.number))
            if connection is None:
                self._hold(group, plan)
            elif plan != connection.plan:
                await connection.revise(plan)
                if not plan.topics and (task := self._held.get(connection)):
                    task.cancel()

    def _list_plans(self) -> list[ConnectionPlan]:
        return [connection.plan for connection in self._held if connection.plan.topics]

    def _is_found(self, plan: ConnectionPlan) -> bool:
        """Tell whether a connection is for prediction markets, which no listing takes away."""
        discovery = find_discovery(self.venue, self._settings)
        return discovery is not None and plan.feed.market == discovery.market

    async def _list_all(self) -> list[Instrument]:
        if self.venue.name_wanted is not None:
            return self.venue.name_wanted(self._settings.instruments)
        listed: list[Instrument] = []
        for listing in choose_listings(self.venue, self._settings):
            async for page in list_pages(self.venue, listing, partial(self._read_page, listing)):
                listed += page
        return listed

    async def _read_page(self, listing: Listing, url: str) -> Page:
        """Read one page, however long the venue is away."""
        attempt = 0
        while True:
            try:
                return await fetch_page(self.http, self.venue, listing, listing.market, url)
            except Transient as error:
                attempt += 1
                self.reason = str(error)
                verdict = self._tuning.decide(error, attempt)
                if isinstance(verdict, GiveUp):
                    raise Fatal(verdict.reason) from error
                await asyncio.sleep(verdict.delay_s)

    async def _fetch_always(self) -> None:
        while True:
            wish = await self.fetches.get()
            try:
                reply = await self.http.fetch(Ask(wish.feed, wish.url, wish.weight, wish.reason))
                if self.orchestrator is not None:
                    await self.orchestrator.hear_wish(wish.url, reply)
            except TruetapeError as error:
                self.reason = str(error)  # the failure is on the tape; who wished will wish again
            finally:
                self.fetching.discard(wish.url)


def _empty(plan: ConnectionPlan) -> ConnectionPlan:
    return msgspec.structs.replace(plan, topics=(), streams=())


def make_plans(venue: Venue, settings: VenueSettings, listed: list[Instrument]) -> tuple[ConnectionPlan, ...]:
    """Plan for the first time: every name in the settings must be there."""
    return plan_connections(venue, settings, choose_instruments(venue, settings, listed))


def revise_plans(
    venue: Venue, settings: VenueSettings, plans: Sequence[ConnectionPlan], listed: list[Instrument]
) -> tuple[ConnectionPlan, ...]:
    """Plan again; raises Fatal when a whole market has vanished, which is a fault of the listing."""
    markets = {instrument.market for instrument in listed}
    for plan in plans:
        if plan.feed.market not in markets:
            raise Fatal(f"venues.{venue.name}: the listing of {plan.feed.market} is empty now: not believed")
    chosen = choose_instruments(venue, settings, listed, is_complete=False)
    return revise_connections(venue, settings, plans, chosen)


def explain_bug(venue: str, error: Exception) -> Fatal:
    """Turn an error nobody foresaw into one that ends its venue only."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    fatal = Fatal(f"venues.{venue}: {type(first).__name__}: {first}")
    fatal.__cause__ = error
    return fatal
