"""What is forgotten: streams of markets that are over, so that what decoding remembers does not grow with the days.

First go the states, when a market has its label and nothing came for a while; its names go later, for its last
answers, a day after its end, tell nothing new. Both happen at ticks of the tape, so the same frames forget the same.
"""

from collections.abc import Mapping

from truetape.decode.backfill import Past
from truetape.decode.gaps import Ledger
from truetape.decode.shelf import Shelf
from truetape.decode.state import OVER, UNLABELLED, ConnectionState, StreamState, find_label_s
from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import Rows
from truetape.venues import list_venues, load_venue

LOOK_S = 300
"""So often somebody looks for what can be forgotten."""
QUIET_S = 600
"""A stream is forgotten so long after its market's label and its own last row."""
NAMES_S = 26 * 3600
"""Names are forgotten so long after a market's end and label: the last look at a market is a day after its end."""
LOOSE_MAX = 20_000
"""Outcomes remembered that nobody records, as those of markets that a venue announces; the oldest are forgotten."""
SECOND_NS = 10**9


class Oblivion:
    """Forgets streams, and makes what is left dense again."""

    def __init__(
        self, rows: Rows, ledger: Ledger, states: list[StreamState | None], shelf: Shelf, past: Mapping[str, Past]
    ) -> None:
        self._rows = rows
        self._ledger = ledger
        self._states = states
        self._shelf = shelf
        self._past = past

    def take_event(self, name: str, at: tuple[int, int]) -> set[str]:
        """Take an event of the tape; return the venues of which something was forgotten: their decoders know it yet."""
        if name != "tick":
            return set()
        memory = self._rows.memory.setdefault("oblivion", {})
        now_s = at[0] // SECOND_NS
        if 0 <= now_s - memory.get("looked_s", 0) < LOOK_S:
            return set()
        memory["looked_s"] = now_s
        return self._forget_states(now_s, at) | self._forget_names(now_s)

    def compact(
        self, connections: dict[str, ConnectionState], siblings: dict[int, int], topics: dict[int, tuple[str, ...]]
    ) -> bool:
        """Number the streams that are left from 0; False when none was forgotten. Nothing may be pending."""
        states, rows = self._states, self._rows
        kept = rows.list_known_streams()
        is_whole = len(kept) == len(rows.streams)
        if not is_whole:
            new = {old: index for index, old in enumerate(kept)}
            rows.renumber_streams(new)
            states[:] = [states[old] for old in kept if old < len(states)]
            for state in states:
                if state is not None and state.sealed is not None:
                    state.sealed.sibling = new.get(state.sealed.sibling, -1)
            for connection in connections.values():
                connection.streams = [new[old] for old in connection.streams if old in new]
            for past in self._past.values():
                past.stream = new[past.stream]
            for known in (siblings, topics):
                told = {new[old]: value for old, value in known.items() if old in new}
                known.clear()
                known.update(told)  # type: ignore[arg-type]
        while states and states[-1] is None:  # as many as had a state, whenever the others were forgotten
            states.pop()
        return not is_whole

    # -- states -------------------------------------------------------------------------------------------

    def _forget_states(self, now_s: int, at: tuple[int, int]) -> set[str]:
        venues = set()
        for stream, state in zip(self._rows.streams, self._states, strict=False):
            if state is None or state.connections or now_s - state.seen_ns // SECOND_NS < QUIET_S:
                continue
            label_s = find_label_s(self._rows, stream)
            if label_s and now_s - label_s >= QUIET_S and self._is_free(stream):
                self._ledger.close(stream, state, at, evidence={"by": "its market is over"})
                live = self._shelf.find(stream.index)
                if live is not None:
                    self._shelf.forget(live)
                self._states[stream.index] = None
                self._rows.drop_stream(stream)
                venues.add(stream.venue)
        return venues

    def _is_free(self, stream: Stream) -> bool:
        return all(past.stream != stream.index for past in self._past.values())

    # -- names --------------------------------------------------------------------------------------------

    def _forget_names(self, now_s: int) -> set[str]:
        """Forget what listings and events told of outcomes that are over, and of the oldest that nobody records."""
        rows = self._rows
        for key, label_s in [*rows.memory.get(OVER, {}).items()]:
            if label_s > UNLABELLED and now_s - label_s >= NAMES_S:
                del rows.memory[OVER][key]
        held = {
            (stream.venue, stream.venue_symbol)
            for stream, state in zip(rows.streams, self._states, strict=False)
            if state is not None
        }
        loose = [
            one
            for one in rows.instruments.values()
            if one.market_type == "outcome" and (one.venue, one.venue_symbol) not in held and not self._is_over(one)
        ]
        surplus = max(0, len(loose) - LOOSE_MAX)
        gone = loose[:surplus] + [one for one in loose[surplus:] if _is_past(one, now_s)]
        if gone:
            self._drop(gone)
        return {one.venue for one in gone}

    def _is_over(self, one: Instrument) -> bool:
        """Tell whether its market's end is still remembered: its label is awaited, or its last look is to come."""
        return f"{one.venue} {one.venue_symbol}" in self._rows.memory.get(OVER, {})

    def _drop(self, gone: list[Instrument]) -> None:
        rows = self._rows
        for one in gone:
            del rows.instruments[one.venue, one.market, one.venue_symbol]
        symbols: dict[str, set[str]] = {}
        for one in gone:
            symbols.setdefault(one.venue, set()).update({one.symbol, one.symbol.rpartition(":")[0]})
        names = {venue: set(told) for venue, told in symbols.items()}
        for stream in [rows.streams[index] for index in rows.list_known_streams()]:
            is_free = stream.index >= len(self._states) or self._states[stream.index] is None
            if is_free and stream.symbol in symbols.get(stream.venue, ()) and self._is_free(stream):
                names[stream.venue].add(stream.venue_symbol)
                rows.drop_stream(stream)
        for venue, told in names.items():
            forget = load_venue(venue).forget if venue in list_venues() else None
            if forget is not None:
                forget(rows.memory, told)


def _is_past(one: Instrument, now_s: int) -> bool:
    return one.expiry_us is not None and now_s - one.expiry_us // 10**6 >= NAMES_S
