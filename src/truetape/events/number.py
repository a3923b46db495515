"""Numbers as venues may send them: finite, and small enough for every store of ours.

msgspec checks these while it decodes, at no cost to speak of: NaN, infinity and integers above 64 bits
make the frame a quarantined one instead of a row that no table takes.
"""

from typing import Annotated

from msgspec import Meta

Size = Annotated[float, Meta(ge=0, le=1e300)]
"""A price, an amount, a volume: finite and not negative."""

Real = Annotated[float, Meta(ge=-1e300, le=1e300)]
"""A rate, a change, a price that may fall below zero: finite."""

Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of 64 bits."""

Moment = Annotated[int, Meta(ge=0, le=10**16)]
"""Milli- or microseconds since 1970: their microseconds fit 64 bits, too."""
