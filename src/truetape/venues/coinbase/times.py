"""Coinbase's times: ISO text with up to nine decimals, trailing zeros cut."""

from datetime import datetime
from functools import lru_cache

from truetape.errors import DecodeError


@lru_cache(maxsize=64)
def _read_second(text: str) -> int:
    """Turn 2026-08-09T21:05:48 into microseconds; 0 for year 1, the venue's way to say that it does not know."""
    if text.startswith("0001-"):
        return 0
    try:
        return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000
    except ValueError as error:
        raise DecodeError(f"time {text!r} is not ISO") from error


def read_time(text: str) -> int | None:
    """Turn an ISO time with any number of decimals into microseconds, cutting what is finer."""
    second = _read_second(text[:19])
    decimals = text[20:26]
    if len(text) != 27 or text[26] != "Z" or not decimals.isdecimal():  # nearly all have six decimals
        decimals = _cut_decimals(text)
    return second + int(decimals) if second else None


def _cut_decimals(text: str) -> str:
    decimals = text[20:-1]
    if text[-1:] != "Z" or (decimals and not decimals.isdecimal()):
        raise DecodeError(f"time {text!r} is not ISO in UTC")
    return (decimals + "000000")[:6]
