"""Gamma's and the Data API's times: ISO text in several spellings, or seconds since 1970."""

from datetime import UTC, datetime, timedelta

from truetape.errors import DecodeError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def read_time(value: str | float | None) -> int | None:
    """Return microseconds of 2026-04-30T15:31:26.5Z, of closedTime's 2026-04-30 15:31:26+00 and of 1777562700; null of none."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        return round(value * 1_000_000)
    if value.isdecimal():
        return int(value) * 1_000_000
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise DecodeError(f"time {value!r} is not ISO") from error
    if moment.tzinfo is None:
        raise DecodeError(f"time {value!r} says no zone")
    return (moment - _EPOCH) // _MICROSECOND
