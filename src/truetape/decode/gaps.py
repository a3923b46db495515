"""The gap ledger as it is written: opening and closing intervals in which a stream was not observed."""

import hashlib
from typing import Any

import msgspec

from truetape.decode.state import Hole, StreamState, find_label_s
from truetape.events.backfill import Lost
from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import PlainRow, Rows
from truetape.tape.frame import Source


class Ledger:
    """Appends `gap` rows; a gap_id's last row is its state."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._gaps: list[PlainRow] = rows.plain.setdefault("gap", [])

    def open(
        self,
        stream: Stream,
        state: StreamState,
        reason: str,
        at: tuple[int, int],
        *,
        from_ns: int = 0,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """Open a gap at (received_ns, offset) unless one is open already, or the stream's market has its label."""
        if state.gap or self.is_labelled(stream):
            return
        state.gaps += 1
        state.gap = name_gap(stream, at[1], state.gaps)
        state.gap_from_ns = from_ns or state.seen_ns or at[0]
        state.gap_reason = reason
        state.gap_missing = None
        self._append(stream, state.gap, (state.gap_from_ns, None), (reason, "open"), at, evidence, None)

    def is_labelled(self, stream: Stream) -> bool:
        """Tell whether a stream's market has its label: nothing is to be missed of it."""
        return bool(find_label_s(self._rows, stream))

    def widen(
        self, stream: Stream, state: StreamState, from_ns: int, at: tuple[int, int], evidence: dict[str, Any]
    ) -> None:
        """Say that the open gap began earlier than was known."""
        if state.gap and from_ns < state.gap_from_ns:
            state.gap_from_ns = from_ns
            self._append(stream, state.gap, (from_ns, None), (state.gap_reason, "open"), at, evidence, None)

    def close(
        self,
        stream: Stream,
        state: StreamState,
        at: tuple[int, int],
        outcome: str = "closed",
        *,
        evidence: dict[str, Any] | None = None,
        missing: int | None = None,
    ) -> None:
        """Close the open gap, if any: `closed` when data is missing, `repaired` when ids prove none is."""
        if not state.gap:
            return
        missing = state.gap_missing if missing is None else missing
        self._append(stream, state.gap, (state.gap_from_ns, at[0]), (state.gap_reason, outcome), at, evidence, missing)
        state.gap = ""

    def declare(
        self,
        stream: Stream,
        span_ns: tuple[int, int],
        reason: str,
        at: tuple[int, int],
        *,
        state: StreamState | None = None,
        evidence: dict[str, Any],
        missing: int | None = None,
    ) -> str:
        """Write a gap that is over already; return its gap_id. `state` counts it, where the stream is known."""
        if state is not None:
            state.gaps += 1
        gap_id = name_gap(stream, at[1], state.gaps if state is not None else 0)
        self._append(stream, gap_id, span_ns, (reason, "closed"), at, evidence, missing)
        return gap_id

    def repair(self, stream: Stream, hole: Hole, at: tuple[int, int], evidence: dict[str, Any]) -> None:
        """Say that all of a gap that was over arrived late; it keeps its span."""
        self._append(stream, hole.gap, (hole.from_ns, hole.to_ns), (hole.reason, "repaired"), at, evidence, 0)

    def judge(
        self, stream: Stream, lost: Lost, outcome: str, at: tuple[int, int], *, evidence: dict[str, Any],
        missing: int | None,
    ) -> None:  # fmt: skip
        """Say what a backfill made of a gap that was over: `repaired` or `unrecoverable`; it keeps its span."""
        span_ns = lost.from_us * 1000, lost.to_us * 1000
        self._append(stream, lost.gap_id, span_ns, (lost.reason, outcome), at, evidence, missing)

    def declare_nameless(
        self, source: Source, span_ns: tuple[int, int], reason: str, at: tuple[int, int], evidence: dict[str, Any]
    ) -> None:
        """Declare a hole of all of a feed, where the instrument is not known."""
        venue, feed = source.venue or "recorder", source.feed
        stream = self._rows.add_stream(venue, "*", feed, Instrument(venue, feed, "", "", ""))
        self.declare(stream, span_ns, reason, at, evidence=evidence)

    def _append(
        self,
        stream: Stream,
        gap_id: str,
        span_ns: tuple[int, int | None],
        verdict: tuple[str, str],
        at: tuple[int, int],
        evidence: dict[str, Any] | None,
        missing: int | None,
    ) -> None:
        """Write one row; `verdict` is reason and state."""
        from_us, to_us = span_ns[0] // 1000, None if span_ns[1] is None else span_ns[1] // 1000
        text = msgspec.json.encode(evidence or {}).decode()
        row = (stream.index, None, *at, gap_id, stream.channel, from_us, to_us, *verdict, text, missing)
        self._gaps.append(row)


def name_gap(stream: Stream, offset: int, number: int) -> str:
    """Name the stream's so manieth gap by where it was noticed: the same tape gives the same name."""
    text = f"{stream.venue}|{stream.market}|{stream.channel}|{stream.venue_symbol}|{offset}|{number}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
