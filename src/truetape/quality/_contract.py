"""What a check file must offer: one frozen value named CHECK."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from truetape.lake import Lake

Severity = Literal["error", "warning"]
"""error: the data is wrong or a hole is not declared; warning: a person should look."""


class Finding(msgspec.Struct, frozen=True):
    """One thing a check found, at one instrument."""

    severity: Severity
    venue: str
    symbol: str
    what: str
    """One sentence."""
    count: int
    """How many rows, ids or bars."""
    at: datetime | None = None
    """Where it is first: the time, and the place on the tape."""
    tape_offset: int | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What a check looked at and found; nothing found in nothing proves nothing."""

    examined: int
    findings: tuple[Finding, ...] = ()
    total: int | None = None
    """How many there are, where not all of them could be examined."""


class Check(msgspec.Struct, frozen=True):
    """One question asked of a lake."""

    name: str
    doc: str
    """One line: what holds when nothing is found."""
    examines: str
    """What is counted as examined: trades, quotes, bars."""
    run: Callable[[Lake], Outcome]
    is_deep: bool = False
    """Whether it builds models to find out: seconds to minutes."""
