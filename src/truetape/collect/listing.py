"""What venues list, page by page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec

from truetape.collect.http import Ask, Http
from truetape.errors import Fatal, VenueUnreachable
from truetape.events.instrument import Instrument
from truetape.venues._contract import Listing, Venue

PAGES_MAX = 200
"""Pages of one listing; a venue that has more gives up rather than being listed in part."""

Result = TypeVar("Result")
Page = tuple[list[Instrument], str | None]
"""The instruments of one page, and the URL of the next one."""


async def list_pages(
    venue: Venue, listing: Listing, read: Callable[[str], Awaitable[Page]]
) -> AsyncIterator[list[Instrument]]:
    """Yield the pages of one listing, given what reads one; Fatal when there is no end to them."""
    url: str | None = listing.url
    for _ in range(PAGES_MAX):
        if url is None:
            return
        page, url = await read(url)
        yield page
    raise Fatal(f"venues.{venue.name}: {listing.url} has more than {PAGES_MAX} pages")


async def fetch_page(http: Http, venue: Venue, listing: Listing, feed: str, url: str) -> Page:
    """Ask for one page, as of a feed; raises what `Http.fetch` does, VenueUnreachable when the answer is no listing."""
    reply = await http.fetch(Ask(feed, url, listing.weight, "listing"))
    if reply.status != 200:
        raise VenueUnreachable(f"{url} answered {reply.status}")
    try:
        return await think(partial(_read_page, venue, url, reply.body))
    except msgspec.DecodeError as error:
        raise VenueUnreachable(f"{url} answered what is no listing of {venue.title}: {error}") from error


def _read_page(venue: Venue, url: str, body: bytes) -> Page:
    return venue.read_listing(url, body), venue.find_next_page(url, body)


async def think(work: Callable[[], Result]) -> Result:
    """Run what takes tens of milliseconds beside the event loop, which has sockets to read."""
    return await asyncio.get_running_loop().run_in_executor(None, work)
