"""Events on the tape: connections open, subscribe, fall silent, close; the recorder starts, ticks, stops.

From these follow the gaps that no sequence number shows.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from truetape.decode.continuity import WISH_AGAIN_NS, FindState, Loss
from truetape.decode.ending import Endings
from truetape.decode.gaps import Ledger
from truetape.decode.notice import UNLISTED, WRITERS, note_connection
from truetape.decode.poll import POLL_EVENTS, find_listed, take_poll_event
from truetape.decode.silence import EVIDENCE_ROWS, SILENCE_MIN_NS, find_silence
from truetape.decode.state import BLANK_NS, BLANKS_MAX, ConnectionState, StreamState
from truetape.events.backfill import is_backfill
from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import Rows
from truetape.events.run import Integers
from truetape.events.schema import CHANNELS
from truetape.events.wish import Reconnect
from truetape.tape.frame import Source
from truetape.venues import list_venues, load_venue


class Lifecycle:
    """Keeps connections and their streams; opens gaps when they go, closes them when they are back."""

    def __init__(
        self,
        rows: Rows,
        ledger: Ledger,
        find_state: FindState,
        choose_rules: Callable[[Source, int], None],
        topics: dict[int, tuple[str, ...]],
    ) -> None:
        self._rows = rows
        self._ledger = ledger
        self._find_state = find_state
        self._choose_rules = choose_rules
        self._topics = topics
        self._endings = Endings(rows, ledger, find_state)
        self._on_market_state = self._endings.hear
        self.is_over = self._endings.is_over
        self.connections: dict[str, ConnectionState] = {}
        self.session: dict[str, Any] = {}
        """seen_ns: the recorder's last sign of life; ended: how the last session ended."""
        self.siblings: dict[int, int] = {}
        """Stream index → rows of trades on the same instrument when the stream was last seen."""

    def handle(self, meta: str, source: Source, at: tuple[int, int]) -> None:
        """Take one event frame; most are also a `connection` row."""
        event = msgspec.json.decode(meta or "{}", type=dict[str, Any])
        name = str(event.get("event", ""))
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(event, source, at)
        elif name in POLL_EVENTS:
            take_poll_event(self._ledger, event, source, at, self._expect(event, source, at))
        if name in WRITERS:
            WRITERS[name](self._rows, event, source, at)
        if name not in UNLISTED:
            note_connection(self._rows, self.nobody("connection", source), (source.connection, name, meta), at)
        is_live = source.connection not in {"recorder", ""} and not is_backfill(source.connection)
        if is_live or name in {"tick", "started"}:
            self.session["seen_ns"] = at[0]

    def meet(self, source: Source, received_ns: int) -> None:
        """Note that a connection speaks that never said that it opened."""
        self._add(source, received_ns)

    def see(self, source: Source, received: Sequence[int] | Integers) -> None:
        """Note when a connection spoke; never empty."""
        connection = self.connections[source.connection]
        times = np.append(np.int64(connection.seen_ns), received)
        if np.ptp(times) >= BLANK_NS:  # clocks may step back, and on from there
            holes = np.flatnonzero(np.diff(times) >= BLANK_NS)[-BLANKS_MAX:]
            spans = zip(times[holes].tolist(), times[holes + 1].tolist(), strict=True)
            connection.holes = [*connection.holes, *spans][-BLANKS_MAX:]
        connection.seen_ns = int(times[-1])
        connection.frames += len(received)
        connection.silent = False

    def blame(self, losses: list[Loss]) -> None:
        """Declare what was lost with what ids prove lost: streams without ids, when all their connection was silent."""
        for loss in sorted(losses, key=lambda loss: loss.offset):  # they were found kind by kind
            state = self._find_state(loss.stream, (loss.to_ns, loss.offset))
            for name in state.connections:
                connection = self.connections[name]
                for hole in connection.holes:
                    if hole[0] >= loss.from_ns - BLANK_NS and hole[1] <= loss.to_ns:
                        self._declare_hole(connection, loss, hole)
                connection.holes = [h for h in connection.holes if h[1] > loss.to_ns]
        losses.clear()

    def _declare_hole(self, connection: ConnectionState, loss: Loss, hole: tuple[int, int]) -> None:
        at = loss.to_ns, loss.offset
        witness = self._rows.streams[loss.stream]
        evidence = {"proof": f"ids of {witness.channel} {witness.venue_symbol} jumped while nothing came"}
        for index in connection.streams:
            stream, state = self._pair(index, at)
            has_ids = state.rule.rule in {"step", "range", "chain"}
            if not has_ids and not state.gap and state.rows and len(state.connections) == 1:
                self._ledger.declare(stream, hole, "silence", at, state=state, evidence=evidence)

    def ask(self, source: Source) -> None:
        """Note that we sent something that the venue will confirm."""
        connection = self.connections.get(source.connection)
        if connection is not None:
            connection.asked += 1

    def attach(self, stream: Stream, connection_name: str, state: StreamState) -> None:
        """Note that a connection carries a stream."""
        connection = self.connections.get(connection_name)
        if connection is not None and connection_name not in state.connections:
            state.connections.append(connection_name)
            insort(connection.streams, stream.index)

    def acknowledge(self) -> None:
        """Take the venue's confirmations: a confirmed quiet stream is observed, not in a gap."""
        for ack in self._rows.acks:
            connection = self.connections.get(ack.connection)
            if connection is None:
                continue
            connection.acked += 1
            if connection.asked and connection.acked >= connection.asked:
                for index in connection.streams:
                    stream, state = self._pair(index, (ack.received_ns, ack.offset))
                    if stream.channel != "book_change":
                        self._ledger.close(
                            stream, state, (ack.received_ns, ack.offset), evidence={"by": "subscription confirmed"}
                        )
        self._rows.acks.clear()

    def count(self) -> None:
        """Take jumps of numbers that count all frames of a connection: gaps for all it carries."""
        for counter in self._rows.counters:
            connection = self.connections.get(counter.connection)
            if connection is None:
                continue
            evidence = {"last": counter.last, "next": counter.number}
            at = counter.received_ns, counter.offset
            self._lose(connection, counter.connection, "sequence", at, evidence)
            self._wish(connection, counter.connection, at, "frames lost on this connection")
        self._rows.counters.clear()

    # -- events of a connection ---------------------------------------------------------------------------

    def _on_opened(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        if source.connection in self.connections:  # a recording that reconnects under one name
            self._end(source.connection, "disconnect", at, {"why": "opened again"})
        self._add(source, at[0])

    def _on_planned(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        self._expect(event, source, at)  # it may never come to a connection, and that is a gap, too

    def _on_subscribed(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        for stream, state in self._expect(event, source, at):
            self.attach(stream, source.connection, state)
        connection = self.connections.get(source.connection)
        if connection is not None and self._is_acked_by_topic(source):
            topics = {wanted["topic"] for wanted in event.get("streams", [])}
            connection.asked += max(0, len(topics) - 1)  # the request itself counted one

    def _is_acked_by_topic(self, source: Source) -> bool:
        feeds = load_venue(source.venue).feeds if source.venue in list_venues() else ()
        return any(feed.is_acked_by_topic for feed in feeds if feed.name == source.feed)

    def _expect(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> list[tuple[Stream, StreamState]]:
        """Return the streams that an event names; those that nobody carries yet have not started."""
        if source.venue not in list_venues():
            return []
        venue = load_venue(source.venue)
        found = []
        for wanted in event.get("streams", []):
            market, symbol = wanted["market"], wanted["venue_symbol"]
            instrument = find_listed(self._rows, source.venue, wanted) or venue.name_instrument(market, symbol)
            stream = self._rows.add_stream(source.venue, wanted["channel"], source.feed, instrument)
            state = self._find_state(stream.index, at)
            self._topics.update({stream.index: (wanted["topic"],)} if wanted["topic"] else {})  # a poll has none
            if not state.rows and not state.connections:
                began = self.session.get("started_ns", at[0])
                self._ledger.open(stream, state, "not_started", at, from_ns=began, evidence={"why": event["event"]})
            found.append((stream, state))
        return found

    def _on_unsubscribed(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        """Let streams go, for instance those that the venue lists no more: not observed from here on."""
        connection = self.connections.get(source.connection)
        for stream, state in self._expect(event, source, at):
            if source.connection in state.connections:
                state.connections.remove(source.connection)
            if connection is not None and stream.index in connection.streams:
                connection.streams.remove(stream.index)
            if not state.connections and not self._endings.let_go(stream, state, at):
                evidence = {"why": "unsubscribed"}
                self._ledger.open(stream, state, "venue_status", at, from_ns=at[0], evidence=evidence)

    def _on_closed(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        if event.get("cause") == "shutdown":
            return  # the streams go on in the next session, which says from when they were not observed
        reason = "silence" if event.get("cause") == "silence" else "disconnect"
        evidence = {k: event[k] for k in ("code", "reason", "cause") if k in event}
        self._end(source.connection, reason, at, evidence)

    def _on_gave_up(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        """End what was closed as in a shutdown, though only this venue's recording ended."""
        for name in [name for name, connection in self.connections.items() if connection.venue == source.venue]:
            self._end(name, "disconnect", at, {"gave_up": str(event.get("reason", ""))})

    def _end(self, name: str, reason: str, at: tuple[int, int], evidence: dict[str, Any]) -> None:
        """Open gaps on streams that nobody carries any more."""
        connection = self.connections.pop(name, None)
        self._rows.forget_connection(name)
        if connection is None:
            return
        for index in dict.fromkeys([*connection.streams, *self._list_orphans(connection, at)]):
            stream, state = self._pair(index, at)
            if name in state.connections:
                state.connections.remove(name)
            is_own = state.rule.is_connection_scoped or state.rule.rule == "none"
            is_book_gone = stream.channel == "book_change" and is_own and state.owner == name
            if state.connections and not is_book_gone:
                continue  # a hand-over: the other connection carries it on
            if stream.channel == "book_change" and is_own:
                _forget_book(state)  # venue-wide ids may still prove that the book goes on whole
            self._ledger.open(stream, state, reason, at, from_ns=connection.seen_ns, evidence=evidence)

    def _on_dropped(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        connection = self.connections.get(source.connection)
        evidence = {k: v for k, v in event.items() if k != "event"}
        if connection is not None:
            self._lose(connection, source.connection, "disk", at, evidence)
        else:
            self._ledger.declare_nameless(source, (int(event.get("from_ns", at[0])), at[0]), "disk", at, evidence)

    def _on_damaged(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        """Frames of unknown connections are lost to damage of the tape itself."""
        evidence = {k: v for k, v in event.items() if k != "event"}
        for name, connection in self.connections.items():
            self._lose(connection, name, "disk", at, evidence)
        self._ledger.declare_nameless(source, (int(event["from_ns"]), at[0]), "disk", at, evidence)

    def _lose(
        self, connection: ConnectionState, name: str, reason: str, at: tuple[int, int], evidence: dict[str, Any]
    ) -> None:
        """Frames of unknown streams are lost: every stream whose own ids do not tell has a hole."""
        begin = int(evidence.get("from_ns", connection.seen_ns))
        for index in connection.streams:
            stream, state = self._pair(index, at)
            is_book = stream.channel == "book_change"
            if state.rule.rule in _DENSE or self._is_spared(state, name, begin, is_book=is_book):
                continue
            if state.gap:
                if is_book:  # what was found wrong with it may have begun before
                    self._ledger.widen(stream, state, begin, at, evidence)
                continue
            if is_book:
                state.is_synced = False
                self._ledger.open(stream, state, reason, at, from_ns=begin, evidence=evidence)
                self._wish(connection, name, at, "book lost frames")
            else:
                self._ledger.declare(stream, (begin, at[0]), reason, at, state=state, evidence=evidence)
        connection.lost_ns = at[0]

    def _is_spared(self, state: StreamState, name: str, begin_ns: int, *, is_book: bool) -> bool:
        """Tell whether another connection carried a stream whole while this one lost frames.

        One that opened meanwhile, or lost frames itself, is no witness. A book follows one connection only.
        """
        others = [self.connections[other] for other in state.connections if other != name and other in self.connections]
        if is_book:
            return bool(others) and state.owner != name
        return any(other.opened_ns <= begin_ns and other.lost_ns < begin_ns for other in others)

    def suspect(self, source: Source, payload: bytes, at: tuple[int, int], evidence: dict[str, Any]) -> None:
        """Declare holes on streams that a frame that does not decode names, where no ids of theirs would tell."""
        connection = self.connections.get(source.connection)
        for index in connection.streams if connection is not None else []:
            stream, state = self._pair(index, at)
            name = stream.venue_symbol.encode()
            if state.rule.rule not in _DENSE and not state.gap and (name in payload or name.lower() in payload):
                self._ledger.declare(stream, (at[0], at[0]), "decode", at, state=state, evidence=evidence)

    def _wish(self, connection: ConnectionState, name: str, at: tuple[int, int], reason: str) -> None:
        if not connection.wished_ns or at[0] - connection.wished_ns >= WISH_AGAIN_NS:
            connection.wished_ns = at[0]
            self._rows.wishes.append(Reconnect(connection.venue, connection.feed, name, reason))

    # -- events of the recorder ---------------------------------------------------------------------------

    def _on_started(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        ended = self.session.get("ended", "killed") if self.session else ""
        reason = "torn_tail" if self.session.get("torn") else "not_started"
        for name, connection in self.connections.items():
            self._rows.forget_connection(name)
            alive = max(self.session.get("seen_ns", 0), connection.seen_ns)
            for index in connection.streams:
                stream, state = self._pair(index, at)
                state.connections = []
                if stream.channel == "book_change" and (state.rule.is_connection_scoped or state.rule.rule == "none"):
                    _forget_book(state)
                self._ledger.open(stream, state, reason, at, from_ns=alive, evidence={"recorder": ended})
        self.connections.clear()
        self.session = {"started_ns": at[0], "seen_ns": at[0], "ended": "killed"}

    def _on_stopped(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        self.session["ended"] = str(event.get("reason", "stopped"))
        self.session["seen_ns"] = at[0]

    def _on_torn_tail(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        self.session["torn"] = True

    def _on_tick(self, event: dict[str, Any], source: Source, at: tuple[int, int]) -> None:
        for name, connection in self.connections.items():
            if connection.silent or connection.frames < EVIDENCE_ROWS:
                continue
            states = [self._find_state(index, at) for index in connection.streams]
            if silence := find_silence(connection, states, at[0]):
                self._silence((name, connection), connection.streams, silence[0], at, silence[1])
            else:
                self._judge_streams(name, connection, at)

    def _judge_streams(self, name: str, connection: ConnectionState, at: tuple[int, int]) -> None:
        """A book or quote that stands still while its instrument trades is frozen, not quiet."""
        trades = {}
        for index in connection.streams:
            stream = self._rows.streams[index]
            if stream.channel == "trade":
                trades[stream.venue_symbol] = self._find_state(index, at).rows
        for index in connection.streams:
            stream, state = self._pair(index, at)
            traded = trades.get(stream.venue_symbol)
            if stream.channel not in {"book_change", "quote"} or traded is None or not state.rows or state.gap:
                continue
            if load_venue(stream.venue).sealing is not None:
                continue  # `Freeze` judges sealed books; quotes beside them tell prices only, which trades need not move
            if at[0] - state.seen_ns < SILENCE_MIN_NS:
                self.siblings[index] = traded
            elif traded - self.siblings.setdefault(index, traded) >= EVIDENCE_ROWS:
                evidence = {"trades_meanwhile": traded - self.siblings[index]}
                self._silence((name, connection), [index], state.seen_ns, at, evidence)

    def _silence(
        self,
        named: tuple[str, ConnectionState],
        streams: list[int],
        from_ns: int,
        at: tuple[int, int],
        evidence: dict[str, Any],
    ) -> None:
        name, connection = named
        for index in streams:
            stream, state = self._pair(index, at)
            if stream.channel == "book_change" and state.rule.rule not in _DENSE:
                state.is_synced = False  # ids would tell whether anything was missed
            self._ledger.open(stream, state, "silence", at, from_ns=from_ns, evidence=evidence)
        self._wish(connection, name, at, f"silence: {evidence}")

    # -- small parts --------------------------------------------------------------------------------------

    def _add(self, source: Source, received_ns: int) -> None:
        self._rows.forget_connection(source.connection)
        self.connections[source.connection] = ConnectionState(source.venue, source.feed, received_ns, received_ns)
        self._choose_rules(source, received_ns)

    def _pair(self, index: int, at: tuple[int, int]) -> tuple[Stream, StreamState]:
        return self._rows.streams[index], self._find_state(index, at)

    def _list_orphans(self, connection: ConnectionState, at: tuple[int, int]) -> list[int]:
        """Streams of the connection's feed that nobody carries: a recording that never said who subscribed what."""
        orphans = []
        for stream in self._rows.streams:
            if (stream.venue, stream.feed) == (connection.venue, connection.feed) and stream.channel in CHANNELS:
                state = self._find_state(stream.index, at)
                if not state.connections and state.seen_ns >= connection.opened_ns:
                    orphans.append(stream.index)
        return orphans

    def nobody(self, channel: str, source: Source) -> Stream:
        """Return the stream of rows that belong to no instrument."""
        venue = source.venue or "recorder"
        return self._rows.add_stream(venue, channel, source.feed, Instrument(venue, source.feed, "", "", ""))


_DENSE = ("step", "range", "chain")
"""Rules whose ids tell what is missing."""


def _forget_book(state: StreamState) -> None:
    state.is_synced = False
    state.last = None
    state.book = None
    state.buffer.clear()
