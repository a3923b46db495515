"""Kalshi's times: ISO text in UTC with up to nine decimals."""

from datetime import datetime
from functools import lru_cache

from truetape.errors import DecodeError


@lru_cache(maxsize=256)
def _read_second(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000
    except ValueError as error:
        raise DecodeError(f"time {text!r} is not ISO") from error


def read_time(text: str) -> int:
    """Turn an ISO time into microseconds, cutting what is finer."""
    decimals = text[20:-1]
    if len(text) == 27 and text[26] == "Z" and text[19] == "." and decimals.isdecimal():  # nearly all have six
        return _read_second(text[:19]) + int(decimals)
    is_whole = len(text) == 20
    if text[-1:] != "Z" or not (is_whole or (text[19:20] == "." and decimals.isdecimal())):
        raise DecodeError(f"time {text!r} is not ISO in UTC")
    return _read_second(text[:19]) + int(f"{decimals:0<6.6}")
