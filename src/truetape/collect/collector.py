"""Everything that is collected at once: venues, their connections, wishes; the recorder below them."""

import asyncio
import gc
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.connection import Tuning
from truetape.collect.http import HttpOptions
from truetape.collect.key import leave_out_keyless, load_key
from truetape.collect.memory import Followed, make_markets
from truetape.collect.plan import ConnectionPlan, check_venues
from truetape.collect.polled import check_polled
from truetape.collect.recorder import Recorder
from truetape.collect.status import CollectorStatus, VenueStatus
from truetape.collect.venue import VenueCollector, explain_bug
from truetape.config import Settings, describe_settings
from truetape.errors import ConfigError, Fatal
from truetape.events.wish import Fetch, Reconnect, Resubscribe, Wish
from truetape.tape.contract import TapeWriter
from truetape.venues import load_venue
from truetape.venues._contract import Venue

WISH_REPEAT_S = 1.0
"""The same wish within this time is granted once."""
WISHES_MAX = 1000
"""Wishes remembered, and resubscriptions under way; more are dropped, and an event says so."""
START_TIMEOUT_S = 15.0
"""So long the start waits for all venues' listings, to refuse a wrong name before anything is recorded."""
SWITCH_INTERVAL_S = 0.0005
GC_THRESHOLDS = (50_000, 50, 1000)


Beside = Callable[[Recorder], Coroutine[Any, Any, None]]
"""Something that writes on the recorder's tape beside all that is collected, until it is cancelled."""


class Collector:
    """All venues of the settings; `run` until `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        venues: Mapping[str, Venue],
        recorder: Recorder,
        tuning: Tuning | None = None,
        http: HttpOptions | None = None,
        followed: Followed | None = None,
    ) -> None:
        self._recorder = recorder
        self._wished: OrderedDict[bytes, int] = OrderedDict()
        self._wishes_dropped = 0
        self._resubscribing: set[asyncio.Task[bool]] = set()
        tuning = tuning or Tuning()
        self._status_interval_s = tuning.status_interval_s
        limits = msgspec.structs.replace(tuning.socket, frame_bytes_max=settings.record.frame_bytes_max)
        tuning = msgspec.structs.replace(tuning, socket=limits)
        http = http or HttpOptions(
            body_bytes_max=settings.record.frame_bytes_max, decide=tuning.decide, trust=tuning.socket.trust
        )
        self._venues = {
            name: VenueCollector(
                venues[name], chosen, recorder, tuning, http, followed=make_markets(venues[name], followed or {})
            )
            for name, chosen in settings.venues.items()
        }

    async def run(
        self,
        stop: asyncio.Event,
        wishes: AsyncIterator[Wish] | None = None,
        on_status: Callable[[CollectorStatus], None] | None = None,
    ) -> None:
        """Collect until `stop`; raises ConfigError for names no venue has, Fatal when every venue refuses."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for part in self._venues.values():
                await stack.enter_async_context(part.http)
            tasks = [group.create_task(self._run_venues())]
            if wishes is not None:
                tasks.append(group.create_task(self._grant_always(wishes)))
            if on_status is not None:
                tasks.append(group.create_task(self._report_always(on_status)))
            await stop.wait()
            for task in tasks:
                task.cancel()
            for resubscribing in self._resubscribing:
                resubscribing.cancel()

    def grant(self, wish: Wish) -> bool:
        """Take a wish; false when the same was granted just now or it cannot be taken."""
        part = self._venues.get(wish.venue)
        if part is None or self._is_repeated(wish):
            return False
        if isinstance(wish, Fetch):
            if wish.url in part.fetching:
                return False
            try:
                part.fetches.put_nowait(wish)
            except asyncio.QueueFull:
                return self._refuse(wish)
            part.fetching.add(wish.url)
            return True
        if isinstance(wish, Reconnect):
            return any(connection.reconnect(wish.connection) for connection in part.connections)
        return self._resubscribe(part, wish)

    def status(self) -> CollectorStatus:
        """Return how everything is doing."""
        return CollectorStatus(
            venues=tuple(
                VenueStatus(name, part.state, part.reason or "; ".join(part.left_out), part.gate.banned_s)
                for name, part in self._venues.items()
            ),
            connections=tuple(c.status() for part in self._venues.values() for c in (*part.connections, *part.polled)),
            recorder=self._recorder.status(),
            wishes_dropped=self._wishes_dropped,
        )

    async def _run_venues(self) -> None:
        async with asyncio.TaskGroup() as group:
            planning = {name: group.create_task(part.plan()) for name, part in self._venues.items()}
            await asyncio.wait(planning.values(), timeout=START_TIMEOUT_S)
            for task in planning.values():
                if task.done() and isinstance(error := task.result(), ConfigError):
                    raise error
            running = [group.create_task(self._run_venue(name, task)) for name, task in planning.items()]
            refusals = await asyncio.gather(*running)
            raise next(refusal for refusal in refusals if refusal)

    async def _run_venue(self, name: str, planning: asyncio.Task[tuple[ConnectionPlan, ...] | Fatal]) -> Fatal:
        """Run one venue; ends only when it refuses us, with the reason: the others go on."""
        part = self._venues[name]
        refusal: Fatal | None = None
        plans = await planning
        if isinstance(plans, Fatal):
            refusal = plans
        else:
            try:
                await part.run(plans)
            except* Fatal as errors:
                refusal = find_error(errors)
            except* Exception as errors:  # noqa: BLE001 - supervisor: a bug ends its venue only
                refusal = refusal or explain_bug(name, errors)
        refusal = refusal or Fatal(f"venues.{name}: ended without a reason")
        part.give_up(refusal)
        return refusal

    async def _grant_always(self, wishes: AsyncIterator[Wish]) -> None:
        async for wish in wishes:
            self.grant(wish)

    async def _report_always(self, on_status: Callable[[CollectorStatus], None]) -> None:
        while True:
            on_status(self.status())
            await asyncio.sleep(self._status_interval_s)

    def _is_repeated(self, wish: Wish) -> bool:
        now_ns = clock.monotonic_ns()
        while self._wished and now_ns - next(iter(self._wished.values())) > WISH_REPEAT_S * 1e9:
            self._wished.popitem(last=False)
        key = msgspec.json.encode(msgspec.structs.replace(wish, reason=""))
        if key in self._wished:
            return True
        if len(self._wished) >= WISHES_MAX:
            return not self._refuse(wish)
        self._wished[key] = now_ns
        return False

    def _refuse(self, wish: Wish) -> bool:
        self._wishes_dropped += 1
        self._recorder.note_self("wish_dropped", venue=wish.venue, feed=wish.feed, reason=wish.reason)
        return False

    def _resubscribe(self, part: VenueCollector, wish: Resubscribe) -> bool:
        if len(self._resubscribing) >= WISHES_MAX:
            return self._refuse(wish)
        for connection in part.connections:
            if wish.connection.startswith(f"{connection.lane}#"):
                task = asyncio.create_task(connection.resubscribe(wish.connection, wish.topics))
                self._resubscribing.add(task)
                task.add_done_callback(self._resubscribing.discard)
                return True
        return False


def find_error(errors: BaseExceptionGroup[Any]) -> Fatal:
    """Return the first error inside a group of groups."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Fatal)
    return first


def load_venues(settings: Settings) -> dict[str, Venue]:
    """Load the venues of the settings and refuse channels and markets they do not have, or that need a missing key."""
    if not settings.venues and not settings.snapshots:
        raise ConfigError("venues: empty; name at least one venue to record")
    check_venues(settings)
    venues = {name: load_venue(name) for name in settings.venues}
    for name, venue in venues.items():
        chosen = settings.venues[name]
        check_polled(leave_out_keyless(venue, chosen, load_key(venue))[0], chosen)
    return venues


@contextmanager
def tune_interpreter() -> Iterator[None]:
    """Make the interpreter fit for one thread that must not wait and two that write.

    Measured at 300,000 frames/s on one core, stamp to visible p99: 107 ms as it comes, 40 ms with the shorter
    switch interval (the writing threads get the interpreter back sooner), 37 ms with the collector relaxed as
    well, which also cuts the p99 of the receive stamp from 14 to 3 ms.
    """
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(interval)


async def collect(  # noqa: PLR0913 - each is one thing that a caller may set
    settings: Settings,
    writer: TapeWriter,
    wishes: AsyncIterator[Wish] | None,
    stop: asyncio.Event,
    on_status: Callable[[CollectorStatus], None] | None = None,
    *,
    venues: Mapping[str, Venue] | None = None,
    tuning: Tuning | None = None,
    followed: Followed | None = None,
    beside: Beside | None = None,
) -> None:
    """Record what the settings name onto the tape until `stop`; the caller opened the writer and closes it.

    `followed` is what an earlier run on this tape followed (`read_followed`); `beside` writes on the same tape meanwhile.

    Raises ConfigError (nothing was recorded but listings), Refused when every venue refuses, TapeError when
    the tape cannot be written.
    """
    venues = load_venues(settings) if venues is None else venues
    recorder = open_recorder(settings, writer)
    collector = Collector(settings, venues, recorder, tuning, followed=followed)
    await run_recorder(recorder, lambda: collector.run(stop, wishes, on_status), beside)


def open_recorder(settings: Settings, writer: TapeWriter) -> Recorder:
    """Make the recorder of a tape, which says first what it was started with."""
    about = {"version": version("truetape"), "tape": settings.tape, "config": describe_settings(settings)}
    return Recorder(writer, settings.record, about)


async def run_recorder(
    recorder: Recorder, collect: Callable[[], Coroutine[Any, Any, None]], beside: Beside | None = None
) -> None:
    """Run a recorder below what collects, until that has ended and its last frame is on the tape."""
    try:
        with tune_interpreter():
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.run())
                await recorder.begun.wait()
                helper = asyncio.create_task(beside(recorder)) if beside else None
                try:
                    await _run_above(recorder, collect())
                finally:
                    if helper is not None:  # whatever became of it: it must not end the recording
                        helper.cancel()
                        await asyncio.gather(helper, return_exceptions=True)
    except* Fatal as errors:
        raise find_error(errors) from None


async def _run_above(recorder: Recorder, collecting: Any) -> None:
    """Close the recorder when collecting ends, however it does, after the last frame."""
    reason = "cancelled"
    try:
        await collecting
        reason = "stopped"
    except* Fatal as errors:
        reason = str(find_error(errors))
        raise
    finally:
        recorder.close(reason)
