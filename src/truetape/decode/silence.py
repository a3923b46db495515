"""Connections that are silent: nothing comes at all, or pings are answered and nothing is told."""

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

Silence = tuple[int, dict[str, Any]]
"""Since when, and the evidence."""


def find_silence(connection: ConnectionState, states: Sequence[StreamState], now_ns: int) -> Silence | None:
    """Return since when a connection that has said something before, and its streams, are silent; null: they are not.

    Called at every tick.
    """
    usual_ns = (connection.seen_ns - connection.opened_ns) / connection.frames
    if _is_long(now_ns - connection.seen_ns, usual_ns):
        connection.silent = True
        return connection.seen_ns, _describe(now_ns - connection.seen_ns, usual_ns)
    return _find_muteness(connection, states, now_ns)


def _find_muteness(connection: ConnectionState, states: Sequence[StreamState], now_ns: int) -> Silence | None:
    """Return since when all streams of a connection have told nothing, though it lives.

    Answers to pings and heartbeats tell nothing, so frames say little about how far apart what is told usually comes;
    that is estimated from the share of ticks before which nothing was told, as of events at random. Where `Freeze`
    judges, quiet books are asked for.
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
    if not _is_long(now_ns - heard_ns, usual_ns):
        return None
    connection.told = 0  # once, until it has told something again
    return heard_ns, _describe(now_ns - heard_ns, usual_ns) | {"why": "only pings are answered"}


def _is_long(silent_ns: int, usual_ns: float) -> bool:
    return silent_ns > max(SILENCE_MIN_NS, SILENCE_SPACINGS * usual_ns)


def _describe(silent_ns: int, usual_ns: float) -> dict[str, Any]:
    return {"usual_spacing_ms": int(usual_ns / 1e6), "silent_s": silent_ns // 10**9}
