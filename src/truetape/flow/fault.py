"""What is wrong with settings that read well but name what there is not: told before anything starts."""

from collections.abc import Callable, Iterator
from typing import ParamSpec

from truetape.config import Settings, SnapshotSettings, VenueSettings, list_urls
from truetape.errors import ConfigError, suggest
from truetape.sinks import check_spec
from truetape.venues import list_venues, load_venue

P = ParamSpec("P")


def find_faults(settings: Settings) -> Iterator[str]:
    """Yield one line for each sink, venue, service and table that settings or variables name and that there is not, or not so."""
    if not settings.tape:
        yield "tape: empty (allowed: a folder)"
    yield from _find_sink_faults(settings)
    for venue, chosen in settings.venues.items():
        yield from _try(_check_venue, venue, chosen)
    for service, asked in settings.snapshots.items():
        yield from _try(_check_service, service, asked)
    if settings.archive:
        yield from _try(_check_archive, settings)
    if settings.tardis.relay_repairs and not settings.tardis.relay_url:
        yield "tardis.relay_repairs: there is no relay to ask (tardis.relay_url is not set)"
    yield from _find_stray_urls(settings)
    if settings.retention.table_days:
        yield from _find_table_faults(settings)


def _find_sink_faults(settings: Settings) -> Iterator[str]:
    known = set[str]()
    for spec in settings.sinks:
        yield from (f"sinks: {told}" for told in _try(check_spec, spec))
        if spec in known:
            yield f"sinks: {spec!r} is given twice"
        known.add(spec)


def _find_stray_urls(settings: Settings) -> Iterator[str]:
    """Yield what would send nobody anywhere: the venue that was meant would be asked itself."""
    known = [*list_venues(), *settings.snapshots]
    for name in list_urls():
        if name not in known:
            hint = suggest(name, known)
            yield f"variable TRUETAPE_URL_{name.upper()}: there is no venue {name!r} (allowed: {', '.join(known)}){hint}"


# Every command reads settings: what only some of them name is loaded where they do.


def _check_venue(name: str, chosen: VenueSettings) -> None:
    from truetape.collect.plan import check_venue

    check_venue(load_venue(name), chosen)


def _check_service(name: str, asked: SnapshotSettings) -> None:
    from truetape.collect.services import check_form

    check_form(name, asked)


def _check_archive(settings: Settings) -> None:
    from truetape.flow.archive import list_kept

    list_kept(settings)


def _find_table_faults(settings: Settings) -> Iterator[str]:
    from truetape.events.schema import KINDS

    for kind in settings.retention.table_days:
        if kind not in KINDS:
            yield f"retention.table_days: no table {kind!r} (there are: {', '.join(KINDS)})"


def _try(check: Callable[P, object], *given: P.args, **named: P.kwargs) -> Iterator[str]:
    try:
        check(*given, **named)
    except ConfigError as error:
        yield str(error)
