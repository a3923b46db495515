"""Streams that are over: outcomes of prediction markets that have ended have no gaps once they are let go of."""

from typing import Any

from truetape.decode.continuity import FindState
from truetape.decode.gaps import Ledger
from truetape.decode.state import OVER, UNLABELLED, StreamState
from truetape.events.instrument import Stream
from truetape.events.rows import Rows
from truetape.events.schema import CHANNELS
from truetape.tape.frame import Source

RUNNING = frozenset({"listed", "open", "ending"})
FINAL = frozenset({"resolved", "settled", "unknown"})
SECOND_NS = 10**9
OVER_MAX = 20_000
"""Outcomes remembered; the oldest are forgotten."""


class Endings:
    """Knows which outcomes' markets have ended, from the recorder's own notes."""

    def __init__(self, rows: Rows, ledger: Ledger, find_state: FindState) -> None:
        self._rows = rows
        self._ledger = ledger
        self._find_state = find_state

    def hear(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        """Take a step of a market; with its label, gaps of outcomes that nobody carries any more are over, too."""
        over = self._rows.memory.setdefault(OVER, {})
        for token in event.get("tokens", {}).values():
            over.pop(f"{source.venue} {token}", None)
            if event["state"] not in RUNNING:
                is_final = event["state"] in FINAL
                over[f"{source.venue} {token}"] = at[0] // SECOND_NS if is_final else UNLABELLED
            if event["state"] in FINAL:
                self._close_orphans(source, token, at)
        while len(over) > OVER_MAX:
            del over[next(iter(over))]

    def let_go(self, stream: Stream, state: StreamState, at: tuple[int, int]) -> bool:
        """Tell whether a stream that is let go of is over; a gap it may be in ends with it."""
        if not self.is_over(stream):
            return False
        self._close(stream, state, at)
        return True

    def is_over(self, stream: Stream) -> bool:
        """Tell whether a stream is of a market that has ended."""
        return f"{stream.venue} {stream.venue_symbol}" in self._rows.memory.get(OVER, {})

    def _close_orphans(self, source: Source, token: str, at: tuple[int, int]) -> None:
        for channel in CHANNELS:
            index = self._rows.find_stream(source.venue, channel, source.feed, token)
            if index is not None:
                state = self._find_state(index, at)
                if not state.connections:
                    self._close(self._rows.streams[index], state, at)

    def _close(self, stream: Stream, state: StreamState, at: tuple[int, int]) -> None:
        if state.gap:
            self._ledger.close(stream, state, at, evidence={"by": "its market is over"})
