"""Numbers as venues may send them: finite, and small enough for every store of ours.

msgspec checks these while it decodes, at no cost to speak of: NaN, infinity and integers above 64 bits
make the frame a quarantined one instead of a row that no table takes.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Annotated

from msgspec import Meta

from truetape.errors import DecodeError

Size = Annotated[float, Meta(ge=0, le=1e300)]
"""A price, an amount, a volume: finite and not negative."""

Real = Annotated[float, Meta(ge=-1e300, le=1e300)]
"""A rate, a change, a price that may fall below zero: finite."""

Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of 64 bits."""

Moment = Annotated[int, Meta(ge=0, le=10**16)]
"""Micro- or milliseconds since 1970, told apart by their size: their microseconds fit 64 bits, too."""

Millis = Annotated[int, Meta(ge=0, le=10**14)]
"""Milliseconds from 1970 to the year 5138."""

Seconds = Annotated[int, Meta(ge=0, le=10**11)]
"""Seconds from 1970 to the year 5138."""

LARGEST = 1e300


def read_real(value: object, path: str) -> float:
    """Return a number that came as text or as a number; DecodeError when it is none, or not finite."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"expected a number, got {str(value)[:50]!r}", path) from error
    if not -LARGEST <= number <= LARGEST:
        raise DecodeError(f"expected a finite number, got {str(value)[:50]!r}", path)
    return number


def read_millis(value: object, path: str) -> int:
    """Return whole milliseconds since 1970; DecodeError outside what `Millis` may be."""
    number = read_real(value, path)
    if not 0 <= number <= 10**14:
        raise DecodeError(f"expected milliseconds since 1970, got {str(value)[:50]!r}", path)
    return int(number)


def check_levels(levels: Iterable[tuple[str, str]], path: str) -> None:
    """Refuse levels in the venue's own digits that are not all numbers, finite and not negative: DecodeError."""
    try:
        numbers = list(map(float, chain.from_iterable(levels)))
    except ValueError as error:
        raise DecodeError(f"a level is not a number: {error}", path) from error
    # The sum of numbers one of which is not finite is not finite either.
    if numbers and not (min(numbers) >= 0 and sum(numbers) <= LARGEST):
        raise DecodeError("a level is negative or not finite", path)
