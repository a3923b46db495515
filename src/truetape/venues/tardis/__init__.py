"""Tardis: a vendor's recordings of many exchanges, as CSV files, over its HTTP API, or through a relay of its tables.

Rows are of the exchange that the lines name, called as its own venue here calls them, so they meet its live rows in one
table; an exchange that has no venue here stays this one's, its instruments named `<symbol>@<exchange>`. tardis-machine
can be recorded live; `venues.tardis.url` says where it is.
"""

from collections.abc import Mapping

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Continuity, Credentials, Feed, OnMessage, Rest, Venue
from truetape.venues.tardis import machine

NAME = "tardis"
HOSTS = ("api.tardis.dev", "datasets.tardis.dev")


class _Decoder:
    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe

    def open(self, feed: str, connection: str) -> OnMessage:
        if feed == machine.MACHINE:
            return machine.make_handler(self._scribe, connection)
        # Settings read venues, too, and need no tables.
        from truetape.venues.tardis.table import make_handler

        return make_handler(self._scribe, feed, connection)

    def respond(self, response: Response) -> bool:
        from truetape.venues.tardis.relay import take_answer

        return take_answer(self._scribe, response)


def sign(values: Mapping[str, str], method: str, url: str, body: bytes, now_ms: int) -> dict[str, str]:
    """Return the headers of a request to the vendor."""
    return {"Authorization": f"Bearer {values['API']}"}


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name an instrument of an exchange that has no venue here, its market is the exchange; or one of the machine."""
    if market == machine.MACHINE:
        return machine.name_instrument(venue_symbol)
    return Instrument(NAME, market, venue_symbol, f"{venue_symbol}@{market}", "unknown")


def _subscribe(feed: Feed, topics: object, request: int) -> bytes:
    """Return nothing to send: the address names the streams."""
    return b""


def _read_listing(url: str, body: bytes) -> list[Instrument]:
    raise DecodeError("nothing is asked of this venue")


VENUE = Venue(
    name=NAME,
    title="Tardis",
    feeds=(machine.FEED,),
    rest=Rest(ban_statuses=(429,)),
    listings=(),
    # Exchanges number trades in ways of their own: repeats are known by recent ids.
    continuity=(Continuity("trade", "window"), Continuity("book_change", "none", is_connection_scoped=True)),
    make_decoder=_Decoder,
    read_listing=_read_listing,
    name_instrument=name_instrument,
    list_topics=machine.list_topics,
    subscribe=_subscribe,
    unsubscribe=_subscribe,
    name_wanted=machine.name_wanted,
    name_url=machine.name_url,
    credentials=Credentials(("API",), "https://tardis.dev", sign, HOSTS),
)
