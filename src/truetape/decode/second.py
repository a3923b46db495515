"""Seconds that an oracle of one price a second skipped while its stream was in no gap: declared holes.

A frame is judged whole: a snapshot or an answer may tell its seconds in any order. What comes late fills its hole.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median_low

from truetape.decode.gaps import Ledger
from truetape.decode.observation import SECOND_US
from truetape.decode.state import HOLES_MAX, Hole, StreamState, fill_hole
from truetape.events.rows import PlainRow, Rows

SKIP_US = 2 * SECOND_US
"""Longest spacing that is no hole: a single second that does not come is carried, and its price's age tells."""
STEADY_MIN = 4
"""So many observations tell how far apart they usually are."""
REASON = "skipped"


@dataclass
class _Frame:
    """What one frame told of one stream, and how this stood before."""

    state: StreamState
    seen_ns: int
    was_in_gap: bool
    at: tuple[int, int]
    times: list[int] = field(default_factory=list)


class Seconds:
    """Finds what oracles skipped."""

    def __init__(self, rows: Rows, ledger: Ledger) -> None:
        self._rows = rows
        self._ledger = ledger
        self._frames: dict[int, _Frame] = {}

    def note(self, state: StreamState, row: PlainRow) -> None:
        """Take a row that is about to be observed; those of one frame come one after the other."""
        if row[1] is None:
            return
        frame = self._frames.get(row[0])
        if frame is None or frame.at[1] != row[3]:
            self.settle()
            frame = self._frames[row[0]] = _Frame(state, state.seen_ns, bool(state.gap), (row[2], row[3]))
        frame.times.append(row[1])

    def settle(self) -> None:
        """Judge the frame that was noted last."""
        for index, frame in self._frames.items():
            self._judge(index, frame)
        self._frames.clear()

    def _judge(self, index: int, frame: _Frame) -> None:
        state, newest = frame.state, max(frame.times)
        if state.holes:
            for at_us in frame.times:
                _, filled = fill_hole(state.holes, at_us // SECOND_US) if at_us % SECOND_US == 0 else (False, None)
                if filled is not None:
                    self._ledger.repair(self._rows.streams[index], filled, frame.at, {"proof": "arrived late"})
        judged = state.last
        if judged is None and len(state.observed) < STEADY_MIN:
            return
        begin = min(state.observed) if judged is None else judged
        if newest - begin > SKIP_US:
            told = sorted({begin, *(at_us for at_us in state.observed if begin < at_us <= newest)})
            for before, after in pairwise(told):
                is_live = before == judged
                if after - before > SKIP_US and not (is_live and frame.was_in_gap) and _is_steady(state):
                    span = (frame.seen_ns, frame.at[0]) if is_live else (before * 1000, after * 1000)
                    self._declare(index, frame, (before, after), span)
        state.last = newest if judged is None else max(judged, newest)

    def _declare(self, index: int, frame: _Frame, between: tuple[int, int], span_ns: tuple[int, int]) -> None:
        state, (before, after) = frame.state, between
        stream = self._rows.streams[index]
        missing = (after - before) // SECOND_US - 1 if after % SECOND_US == before % SECOND_US == 0 else None
        evidence = {
            "last_us": before, "next_us": after, "why": "one a second; these did not come while the stream was heard"
        }  # fmt: skip
        gap = self._ledger.declare(stream, span_ns, REASON, frame.at, state=state, evidence=evidence, missing=missing)
        if missing is not None:
            state.holes.append(Hole(before // SECOND_US + 1, after // SECOND_US - 1, gap, *span_ns, REASON))
            del state.holes[:-HOLES_MAX]


def _is_steady(state: StreamState) -> bool:
    """Tell whether a stream speaks every second: those that speak on change, or more rarely, skip nothing."""
    return median_low(after - before for before, after in pairwise(sorted(state.observed))) <= SECOND_US
