"""Which stream is meant, when its past is asked for."""

import msgspec


class Subject(msgspec.Struct, frozen=True):
    """A stream whose past is wanted."""

    venue: str
    market: str
    symbol: str
    venue_symbol: str
    channel: str
    interval: str = ""
