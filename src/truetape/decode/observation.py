"""An oracle's observations: which were told before, and whether any is missing.

Snapshots on subscribing, a second connection and polls tell again what was told. The same observation is stored
once; another value for the same time is not the same, and neither is one whose exact digits come for the first time.
"""

from math import isclose

import msgspec

from truetape.events.rows import PlainRow

OBSERVED_MAX = 1024
"""Times remembered of a stream: a quarter of an hour at one a second; snapshots go back two minutes."""
SECOND_US = 1_000_000
ROUNDING = 1e-12
"""Sources round the float beside the exact digits: so far apart two floats are one value."""
_PRICE, _BID, _ASK, _EXACT = 7, 8, 9, 10
"""Places in a row of `oracle_price`."""


class Observation(msgspec.Struct, array_like=True):
    """One value told for one time."""

    price: float
    bid: float | None
    ask: float | None
    is_exact: bool

    def is_same(self, other: "Observation") -> bool:
        """Tell whether another tells nothing that this one does not."""
        if other.is_exact and not self.is_exact:
            return False
        pairs = ((self.price, other.price), (self.bid, other.bid), (self.ask, other.ask))
        return all(a is b or (a is not None and b is not None and isclose(a, b, rel_tol=ROUNDING)) for a, b in pairs)


def take_observation(observed: dict[int, list[Observation]], row: PlainRow) -> bool:
    """Remember an observation; False when it was told before."""
    at_us = row[1]
    if at_us is None:
        return True
    said = Observation(row[_PRICE], row[_BID], row[_ASK], row[_EXACT] is not None)
    known = observed.get(at_us)
    if known is None:
        observed[at_us] = [said]
        if len(observed) > OBSERVED_MAX:
            del observed[next(iter(observed))]
        return True
    if any(one.is_same(said) for one in known):
        return False
    known.append(said)
    del known[:-4]
    return True


def follows_on(observed: dict[int, list[Observation]], at_us: int | None) -> bool:
    """Tell whether the second before an observation was told, too: then nothing is missing between them."""
    return at_us is not None and at_us % SECOND_US == 0 and at_us - SECOND_US in observed


def is_older(observed: dict[int, list[Observation]], at_us: int | None) -> bool:
    """Tell whether something newer was observed already."""
    return at_us is not None and bool(observed) and at_us < max(observed)
