"""Whether and when to try again: one function, which may be replaced."""

import random
from collections.abc import Callable

import msgspec

from truetape.errors import Fatal, RateLimited


class Retry(msgspec.Struct, frozen=True):
    """Try again after this delay."""

    delay_s: float


class GiveUp(msgspec.Struct, frozen=True):
    """Trying again cannot help."""

    reason: str


Decide = Callable[[Exception, int], Retry | GiveUp]
"""(error, attempts made so far) → what to do."""


class Backoff(msgspec.Struct, frozen=True):
    """How long to wait between attempts."""

    base_s: float = 0.5
    cap_s: float = 30.0
    banned_s: float = 60.0
    """Wait when a venue asks for patience without saying how long."""


def make_decide(backoff: Backoff, draw: Callable[[], float] = random.random) -> Decide:
    """Return the usual rule: capped exponential back-off with full jitter; `draw` gives numbers in [0, 1)."""

    def decide(error: Exception, attempt: int) -> Retry | GiveUp:
        if isinstance(error, Fatal):
            return GiveUp(str(error))
        if isinstance(error, RateLimited):
            # A little later than told, so that many clients do not come back in the same instant.
            return Retry((error.retry_after_s or backoff.banned_s) + draw() * backoff.base_s)
        ceiling = min(backoff.cap_s, backoff.base_s * 2.0 ** min(attempt, 32))
        return Retry(ceiling * draw())

    return decide


decide = make_decide(Backoff())
"""The rule with its usual numbers."""
