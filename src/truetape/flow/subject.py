"""Which stream is meant, and which moments, when its past is asked for."""

from datetime import UTC, datetime, timedelta

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Subject(msgspec.Struct, frozen=True):
    """A stream whose past is wanted."""

    venue: str
    market: str
    symbol: str
    venue_symbol: str
    channel: str
    interval: str = ""


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
