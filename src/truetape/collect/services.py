"""All snapshot services of the settings: refused before anything starts, or run side by side."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import msgspec

from truetape.collect.key import Key, explain_missing, load_key
from truetape.collect.recorder import Recorder
from truetape.collect.retry import Decide, decide
from truetape.collect.snapshot import Service
from truetape.collect.status import ServiceStatus
from truetape.collect.tracked import Past
from truetape.collect.turn import Cycle
from truetape.config import SnapshotSettings
from truetape.errors import ConfigError, Refused
from truetape.venues import Venue, load_venue
from truetape.venues._contract import Credentials
from truetape.venues._snapshot.form import make_form
from truetape.venues.snapshot import NAME

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


def open_services(
    settings: Mapping[str, SnapshotSettings], recorder: Recorder, past: Mapping[str, Past], draw: Decide = decide
) -> list[Service]:
    """Make the services of the settings; ConfigError for what cannot be asked."""
    return [
        Service(name, chosen, *_find_venue(name, chosen), recorder, past=past.get(name), draw=draw)
        for name, chosen in settings.items()
    ]


def check_services(settings: Mapping[str, SnapshotSettings]) -> None:
    """Refuse what could not be asked: names, forms, keys that are missing."""
    if not settings:
        raise ConfigError("snapshots: empty; name at least one service (`truetape init --preset prediction-snapshots`)")
    for name, chosen in settings.items():
        check_form(name, chosen)
        _find_venue(name, chosen)


def check_form(name: str, settings: SnapshotSettings) -> None:
    """Refuse a service that could not be asked, whatever keys there are."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"snapshots.{name}: not a name of small letters, digits and `_`")
    make_form(f"snapshots.{name}", settings.preset, settings.url, settings.paths, settings.fields)
    if not settings.ids and not settings.filters.markets_max:
        raise ConfigError(f"snapshots.{name}: nothing to track: no ids, and filters.markets_max is 0")


def _find_venue(name: str, settings: SnapshotSettings) -> tuple[Venue, Key | None]:
    """Return a service as a venue of its own, and its key."""
    form = make_form(f"snapshots.{name}", settings.preset, settings.url, settings.paths, settings.fields)
    token = name.upper()
    credentials = Credentials(
        (token,),
        form.key_origin,
        lambda values, method, url, body, now_ms: {"Authorization": f"{form.key_scheme} {values[token]}"},
        (urlsplit(form.url).hostname or "",),
    )
    venue = msgspec.structs.replace(load_venue(NAME), credentials=credentials)
    key = load_key(venue)
    if key is None and settings.needs_key:
        raise ConfigError(f"snapshots.{name}: needs a key: {explain_missing(venue)}")
    return venue, key


async def run_services(
    services: Sequence[Service], stop: asyncio.Event, cycles_max: int, on_cycle: Callable[[Cycle], None]
) -> None:
    """Run all services until each has taken so many turns (0: no limit), or until `stop`. Raises Refused when all refuse."""
    refusals: list[Refused] = []

    async def run_one(service: Service) -> None:
        try:
            await service.run(cycles_max, on_cycle)
        except* Refused as errors:
            error: BaseException = errors
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            assert isinstance(error, Refused)
            service.refusal = str(error)
            service.note("feed_refused", service.name, reason=str(error))
            service.note("closed", service.name, code=None, reason=str(error), cause="venue")
            refusals.append(error)

    async with AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service.http)
        running = asyncio.gather(*(run_one(service) for service in services))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for service in services:
                service.note("closed", service.name, code=None, reason="", cause="shutdown")
        else:
            await running
    if refusals and len(refusals) == len(services):
        raise refusals[0]


def describe_service(service: Service) -> ServiceStatus:
    """Say how a service is doing."""
    total, last = service.total, service.last
    return ServiceStatus(
        service.name, service.cycles, service.snapshots, service.missed, len(service.tracked),
        total.requests, total.failures, total.rate_limited, service.settings.interval_seconds,
        last.due_us if last else 0, tuple(sorted(last.faults)) if last else (), service.refusal,
    )  # fmt: skip
