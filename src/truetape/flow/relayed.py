"""Gaps that a relay is asked for by a job, whether or not a recorder holds the tape: one that does is handed the work."""

from collections.abc import Callable, Collection
from datetime import datetime

from truetape import clock
from truetape.config import Settings
from truetape.errors import TapeLocked
from truetape.flow.history import find_lake
from truetape.flow.relay import is_wanted_of_relay, plan_relay, repair_from_relay
from truetape.flow.repair import SETTLED, Handed, Repair, count_handed, leave_busy
from truetape.flow.spool import hand_over
from truetape.flow.teller import load_relay_key
from truetape.quality.ledger import list_gaps
from truetape.venues.tardis import NAME


def relay_beside(
    settings: Settings,
    *,
    pending: Collection[str] = (),
    now: datetime,
    on_hand: Callable[[tuple[str, ...]], None] = lambda gaps: None,
) -> Repair | Handed:
    """Ask the relay for what venues left of gaps, as `repair_beside` asks the venues.

    Raises ConfigError when the relay cannot be asked, Busy when a recorder holds the tape and does not take the work.
    """
    load_relay_key(settings)
    try:
        return repair_from_relay(settings)
    except TapeLocked:
        lake = find_lake(settings)
    ledger = list_gaps(lake)
    gaps = [gap for gap in ledger if is_wanted_of_relay(gap) and gap.to_at and gap.to_at < now - SETTLED]
    free = leave_busy(gaps, pending, ledger)
    orders = plan_relay(settings, lake, free, ledger)
    on_hand(tuple(dict.fromkeys(lost.gap_id for one in orders for lost in one.began.gaps)))
    outcomes = clock.run(hand_over(settings, {NAME: orders})) if orders else []
    return count_handed(outcomes, len(gaps) - len(free))
