"""A connection that answers pings and tells nothing: its socket lives, what it should carry does not come."""

import math
from collections.abc import Sequence
from typing import Any

from truetape.decode.state import ConnectionState, StreamState
from truetape.venues import list_venues, load_venue

SILENCE_MIN_NS = 30_000_000_000
SILENCE_SPACINGS = 50
"""A connection or stream is silent after this many of its usual spacings, and at least SILENCE_MIN_NS."""
EVIDENCE_ROWS = 3
"""So many rows of a sibling channel, while a stream said nothing, are evidence against it."""


def find_muteness(
    connection: ConnectionState, states: Sequence[StreamState], now_ns: int
) -> tuple[int, dict[str, Any]] | None:
    """Return since when all streams of a connection have told nothing, and the evidence; null: that is as usual.

    Called at every tick. Answers to pings and heartbeats tell nothing, so frames say little about how far apart what is
    told usually comes; that is estimated from the share of ticks before which nothing was told, as of events at random.
    Where `Freeze` judges, quiet books are asked for.
    """
    if connection.venue not in list_venues() or load_venue(connection.venue).sealing is not None:
        return None
    connection.ticks += 1
    heard_ns = max((state.seen_ns for state in states), default=0)
    if heard_ns > connection.told_ns:
        connection.told += 1
        connection.told_ns, connection.told_ticks = heard_ns, connection.ticks
    if connection.told < EVIDENCE_ROWS:
        return None
    quiet = (connection.told_ticks - connection.told + 1) / (connection.told_ticks + 1)
    usual_ns = (heard_ns - connection.opened_ns) / connection.told_ticks / -math.log(quiet)
    silent_ns = now_ns - heard_ns
    if silent_ns <= max(SILENCE_MIN_NS, SILENCE_SPACINGS * usual_ns):
        return None
    connection.told = 0  # once, until it has told something again
    why = "only pings are answered"
    return heard_ns, {"usual_spacing_ms": round(usual_ns / 1e6), "silent_s": silent_ns // 10**9, "why": why}
