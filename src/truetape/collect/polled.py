"""What of a venue no socket streams: its polls, and its pages in a browser."""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from truetape.collect.browser import BrowserReader, check_extra
from truetape.collect.http import HttpOptions
from truetape.collect.key import Key, choose_pages, choose_polls
from truetape.collect.poll import Poller, choose_subjects
from truetape.collect.recorder import Recorder
from truetape.collect.status import ConnectionStatus
from truetape.config import VenueSettings
from truetape.events.instrument import Instrument
from truetape.venues._contract import BrowserPage, Followed, Poll, Venue


class Polled(Protocol):
    """Something that asks by itself."""

    async def run(self) -> None:
        """Ask until cancelled, or until the venue refuses."""
        ...

    def status(self) -> ConnectionStatus:
        """Return how it is doing."""
        ...


def make_polled(
    venue: Venue,
    settings: VenueSettings,
    recorder: Recorder,
    *,
    key: Key | None,
    options: HttpOptions,
    list_followed: Callable[[], Sequence[Followed]],
) -> tuple[Polled, ...]:
    """Make what the settings ask for; ConfigError for what there is not, MissingExtra where a browser is missing."""
    polls = [
        Poller(venue, settings, poll, recorder, key=key, options=options, find_markets=lambda now_us: list_followed())
        for poll in choose_polls(venue, settings)
    ]
    pages = [BrowserReader(venue, settings, page, recorder, options=options) for page in choose_pages(venue, settings)]
    return *polls, *pages


def check_polled(venue: Venue, settings: VenueSettings) -> None:
    """Refuse what could not be made: names that a poll does not know, pages without what drives a browser."""
    pages = choose_pages(venue, settings)
    if pages:
        check_extra()
    parts: list[Poll | BrowserPage] = [*choose_polls(venue, settings), *pages]
    for part in parts:
        choose_subjects(venue, settings, part)


def group_outcomes(settings: VenueSettings, listed: Iterable[Instrument]) -> tuple[Followed, ...]:
    """Return the prediction markets of a listing that the settings name, as if they were followed: open until delisted."""
    tokens: dict[str, list[str]] = {}
    for instrument in listed:
        slug, _, outcome = instrument.symbol.rpartition(":")
        if instrument.market_type == "outcome" and outcome and _is_wanted(instrument, slug, settings.instruments):
            tokens.setdefault(slug, []).append(instrument.venue_symbol)
    return tuple(Followed(slug, "", tuple(held), 0, 0, "open") for slug, held in tokens.items())


def _is_wanted(instrument: Instrument, slug: str, wanted: Sequence[str]) -> bool:
    names = (instrument.symbol, instrument.venue_symbol, slug)
    return any(want == "all" or any(fnmatchcase(name, want) for name in names) for want in wanted)
