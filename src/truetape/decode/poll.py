"""Events of polls: turns that were missed are gaps, the first good one after them ends these."""

from collections.abc import Sequence
from typing import Any

from truetape.decode.gaps import Ledger
from truetape.decode.state import StreamState
from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import Rows
from truetape.tape.frame import Source

POLL_EVENTS = frozenset({"poll_missed", "poll_resumed"})


def find_listed(rows: Rows, venue: str, wanted: dict[str, Any]) -> Instrument | None:
    """Return what a listing said of a stream that an event names; some are named by another market's listing."""
    market, symbol, other = wanted["market"], wanted["venue_symbol"], wanted.get("listed_in")
    listed = rows.instruments.get((venue, market, symbol))
    named = rows.instruments.get((venue, other, symbol)) if other and listed is None else None
    return listed if named is None else Instrument(venue, market, symbol, named.symbol, named.market_type)


def take_poll_event(
    ledger: Ledger,
    event: dict[str, Any],
    source: Source,
    at: tuple[int, int],
    found: Sequence[tuple[Stream, StreamState]],
) -> None:
    """Open or close gaps of the streams that an event names; what another connection carries has none."""
    if event["event"] == "poll_resumed":
        for stream, state in found:
            ledger.close(stream, state, at, evidence={"by": f"{event.get('poll', 'poll')} answered"})
        return
    reason, from_ns = str(event["gap"]), int(event.get("from_ns", at[0]))
    evidence = {key: event[key] for key in ("poll", "subject", "reason", "turns") if event.get(key)}
    for stream, state in found:
        if all(name == source.connection for name in state.connections):
            ledger.open(stream, state, reason, at, from_ns=from_ns, evidence=evidence)
    if not found and not event.get("still"):
        ledger.declare_nameless(source, (from_ns, at[0]), reason, at, evidence)
