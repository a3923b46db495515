"""Silent freeze: a book that stands still is frozen when something else proves that it moved, and quiet else.

Evidence is the other outcome's book, which moves with it, or a fetched book that is newer and another one. A book
that is quiet for long is asked for, ever more rarely while the answers agree.
"""

from collections.abc import Mapping
from typing import Any

from truetape.decode.gaps import Ledger
from truetape.decode.minute import At
from truetape.decode.remedy import BROKEN, FROZEN, STALLED
from truetape.decode.seals import Seals
from truetape.decode.shelf import Live
from truetape.decode.state import ConnectionState

DOUBT_NS = 2_000_000_000
"""A batch whose hash did not come out for so long is over: its frames come within milliseconds."""
BEHIND_NS = 5_000_000_000
"""So long a stream may lag behind what proves that it moved."""
BEHIND_ROWS = 3
PROBE_NS = 30_000_000_000
"""A book that was quiet for so long is asked for; twice as long after each answer."""
PROBE_MAX_NS = 300_000_000_000
PROBES_MAX = 16
"""Books asked for at one tick."""
DROP_NS = 600_000_000_000
"""A book that nobody carries any more is forgotten after this time."""


class Freeze:
    """Looks at all sealed books whenever the recorder ticks."""

    def __init__(self, seals: Seals, ledger: Ledger, connections: Mapping[str, ConnectionState]) -> None:
        self._seals = seals
        self._shelf = seals.shelf
        self._ledger = ledger
        self._connections = seals.remedies.connections = connections
        self._probes = 0

    def take_event(self, name: str, at: At) -> None:
        """Take an event of the tape: ticks pass time, ends of connections and sessions end a minute early."""
        if name == "tick":
            self._seals.minutes.turn(at)
            self._probes = 0
            for live in [*self._shelf.list_all()]:
                self._judge(live, at)
        elif name in {"closed", "stopped", "started"}:
            self._seals.minutes.turn(at, is_all=True)

    def _judge(self, live: Live, at: At) -> None:
        state, book = live.state, live.book
        if not state.connections:
            if at[0] - state.seen_ns > DROP_NS:
                self._shelf.forget(live)
            return
        if book.doubt is not None and at[0] - book.doubt.received_ns > DOUBT_NS:
            self._seals.settle_doubt(live, at, None)
        if self._ledger.is_labelled(live.stream):
            return  # it stands still for good, and nobody answers for it
        if state.gap and state.rows:
            connection = self._connections.get(state.connections[-1])
            if not state.is_synced and not (connection is not None and connection.silent):
                steps = STALLED if state.gap_reason == "silence" else BROKEN
                self._seals.remedies.ask(live.stream, state, book, at[0], "still not whole", steps)
            return
        evidence = self._find_sibling(live, at) or self._find_other_line(live, at) or self._find_rival(live, at)
        if evidence is not None:
            self._declare(live, at, evidence)
            other = self._shelf.find(book.sibling) if book.sibling >= 0 else None
            if other is not None and other.state.is_synced and other.book.at_us < evidence.get("answer_at_us", 0):
                self._declare(other, at, evidence | {"sibling": live.stream.symbol})  # it mirrors this one
        elif state.is_synced:
            self._probe(live, at)

    def _find_sibling(self, live: Live, at: At) -> dict[str, Any] | None:
        """Tell how the other outcome moved on without this one: every frame of changes has both."""
        other = self._shelf.find(live.book.sibling) if live.book.sibling >= 0 else None
        if other is None or not other.state.is_synced or other.book.at_us <= live.book.at_us:
            live.book.seen_sibling = other.state.rows if other is not None else 0
            return None
        moved = other.state.rows - live.book.seen_sibling
        if moved < BEHIND_ROWS or at[0] - live.state.seen_ns < BEHIND_NS:
            return None
        return {"sibling": other.stream.symbol, "rows_meanwhile": moved, "sibling_at_us": other.book.at_us}

    def _find_other_line(self, live: Live, at: At) -> dict[str, Any] | None:
        """Tell how another connection carried newer changes of this book."""
        if live.book.other_us <= live.book.at_us or at[0] - live.state.seen_ns < BEHIND_NS:
            return None
        return {"other_connection_at_us": live.book.other_us, "book_at_us": live.book.at_us}

    def _find_rival(self, live: Live, at: At) -> dict[str, Any] | None:
        """Tell how a fetched book was newer than what the stream brought since."""
        rival = live.book.rival
        if rival is None or at[0] - rival.received_ns < BEHIND_NS:
            return None
        if live.book.at_us >= rival.at_us:
            live.book.rival = None
            return None
        return {
            "answer_at_us": rival.at_us, "answer_hash": rival.expected, "answer_offset": rival.offset,
            "book_at_us": live.book.at_us, "book_hash": live.book.hash,
        }  # fmt: skip

    def _declare(self, live: Live, at: At, evidence: dict[str, Any]) -> None:
        """Open a gap from the last moment at which the stream was known whole, and wish for what heals it."""
        state, book = live.state, live.book
        state.is_synced = False
        book.rival = None
        is_frozen = not self._flows(live, at)
        evidence = evidence | {"connection_flows": not is_frozen, "confirmed_ns": book.confirmed_ns or None}
        # not from when an answer last agreed: answers may be cached, and so older than what was lost
        self._ledger.open(live.stream, state, "silence", at, from_ns=state.seen_ns, evidence=evidence)
        steps = FROZEN if is_frozen else STALLED
        self._seals.remedies.ask(live.stream, state, book, at[0], f"silence: {evidence}", steps)

    def _flows(self, live: Live, at: At) -> bool:
        """Tell whether any book came lately on the connection that carries this one; answers to pings prove nothing."""
        connection = self._connections.get(live.state.connections[-1])
        streams = connection.streams if connection is not None else []
        others = [self._shelf.find(index) for index in streams]
        return any(other is not None and at[0] - other.state.seen_ns < 2 * BEHIND_NS for other in others)

    def _probe(self, live: Live, at: At) -> None:
        """Ask for a quiet book: one of each market, for the other outcome mirrors it."""
        state, book = live.state, live.book
        if 0 <= book.sibling < live.stream.index or self._probes >= PROBES_MAX:
            return
        if state.seen_ns > book.probed_ns:
            book.pause_ns = PROBE_NS
        if at[0] - max(state.seen_ns, book.probed_ns) < book.pause_ns:
            return
        book.pause_ns = min(2 * book.pause_ns, PROBE_MAX_NS)
        book.probed_ns = at[0]
        self._probes += 1
        self._seals.remedies.fetch(live.stream, f"{live.stream.venue_symbol}: quiet, or frozen")
