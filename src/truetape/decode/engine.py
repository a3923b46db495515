"""The decoder: frames in tape order in, tables and wishes out. Pure: the same frames give the same rows."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from truetape.decode.backfill import Backfills, Past
from truetape.decode.continuity import Continuity
from truetape.decode.drift import SAMPLE_EVERY, Drift, Shape
from truetape.decode.freeze import Freeze
from truetape.decode.gaps import Ledger
from truetape.decode.lifecycle import Lifecycle
from truetape.decode.oblivion import Oblivion
from truetape.decode.state import ConnectionState, StreamState, find_rule
from truetape.decode.upstream import cut_streams
from truetape.errors import DecodeError, TapeError
from truetape.events.backfill import is_backfill
from truetape.events.checkpoint import Checkpoint
from truetape.events.columns import pack_books, take_tables
from truetape.events.instrument import Instrument, Stream
from truetape.events.rows import Numbering, PlainRow, Response, Rows, Scribe, tell_offset
from truetape.events.run import Integers, Run, name_kind
from truetape.events.schema import KINDS
from truetape.events.wish import Wish
from truetape.tape import iter_payloads
from truetape.tape.frame import FrameBatch, FrameKind, Source
from truetape.venues import list_venues, load_venue
from truetape.venues._contract import Handler, Lane, OnMessage, Read, VenueDecoder

DAY_NS = 86_400 * 10**9
PACK_FRAMES = 256
"""Book frames whose levels are held as Python objects at once."""
RUN_FRAMES = 4096
"""Frames decoded at once, where a venue can."""
RUN_FRAMES_FIRST = 16
"""One by one these tell which streams a new connection has; then runs are soon long."""
RUN_GROWTH = 8
RUN_FRAMES_MIN = 48
"""In fewer frames nobody looks for runs."""
HANDLERS_MAX = 4096
"""Connections whose handlers are kept: those of closed ones go anyway."""
SAMPLED = tuple(kind for kind in KINDS if kind not in {"gap", "connection", "quarantine", "drift"})


class Memory(msgspec.Struct):
    """Everything a checkpoint must carry so that decoding goes on as if it had never stopped."""

    streams: list[Stream]
    states: list[StreamState | None]
    connections: dict[str, ConnectionState]
    session: dict[str, Any]
    siblings: dict[int, int]
    topics: dict[int, tuple[str, ...]]
    instruments: list[Instrument]
    venues: dict[str, dict[str, Any]]
    shapes: dict[str, Shape]
    numberings: dict[str, Numbering]
    claims: dict[str, dict[str, str]]
    past: dict[str, Past] = {}


class _Named(msgspec.Struct):
    event: str = ""


_decode_named = msgspec.json.Decoder(_Named).decode


class Engine:
    """Decodes a tape from one offset on."""

    def __init__(self, tape_id: str, *, keep_books: bool = False) -> None:
        self._tape_id = tape_id
        self._keep_books = keep_books
        self._offset = 0
        self._tally = {"frames": 0, "decoded": 0, "quarantined": 0, "control": 0}
        self._reset()

    def _reset(self) -> None:
        self._rows = Rows()
        self._ledger = Ledger(self._rows)
        self._continuity = Continuity(self._rows, self._ledger, self._find_state, self._adopt, books=self._keep_books)
        self._lifecycle = Lifecycle(
            self._rows, self._ledger, self._find_state, self._choose_rules, self._continuity.topics
        )
        self._freeze = Freeze(self._continuity.seals, self._ledger, self._lifecycle.connections)
        self._backfills = Backfills(self._rows, self._ledger, self._continuity, self._find_state)
        self._oblivion = Oblivion(
            self._rows, self._ledger, self._continuity.states, self._continuity.seals.shelf, self._backfills.past
        )
        self._drift = Drift(self._rows.plain.setdefault("drift", []))
        self._decoders: dict[str, VenueDecoder] = {}
        self._handlers: dict[Source, OnMessage] = {}
        self._sorters: dict[Source, Handler] = {}
        self._run_frames = RUN_FRAMES_FIRST
        """So many frames are next; few while connections are new and lanes are found by taking frames one by one."""
        self._waiting: list[Run] = []
        self._samples: list[int] = []
        self._stretch: _Stretch | None = None

    @property
    def offset(self) -> int:
        """The first tape offset not yet decoded."""
        return self._offset

    def feed(self, batch: FrameBatch) -> None:
        """Decode consecutive frames; TapeError when they were decoded before. Holes are declared on the tape."""
        # hot: bench/decode.py
        if batch.offset < self._offset:
            raise TapeError(f"decoding stands at offset {self._offset}, got a batch that begins at {batch.offset}")
        stretch = self._stretch = _Stretch(batch)
        handlers = self._list_handlers(stretch.sources)
        data, metas = batch.data, batch.data.column("meta")
        first_sample = -batch.offset % SAMPLE_EVERY
        self._samples = list(range(batch.offset + first_sample, batch.offset + len(data), SAMPLE_EVERY))
        begin = 0
        for stop in np.flatnonzero(stretch.is_other).tolist():
            self._take_messages(stretch, handlers, begin, stop)
            begin = stop + 1
            source, at = stretch.sources[stretch.codes[stop]], (stretch.received[stop], batch.offset + stop)
            self._settle()
            kind = data.column("kind")[stop].as_py()
            self._take_other(kind, stretch.payloads[stop], metas[stop].as_py(), source, at)
            handlers = self._list_handlers(stretch.sources)
        self._take_messages(stretch, handlers, begin, len(data))
        self._settle()
        self._stretch = None
        self._offset = batch.offset + len(data)
        self._tally["frames"] += len(data)

    def _take_messages(self, stretch: "_Stretch", handlers: list[OnMessage], begin: int, end: int) -> None:
        """Decode the messages of frames [begin, end) of a stretch, none of which is an event or an answer."""
        # hot: bench/decode.py
        for stop in self._find_strangers(stretch, begin, end):  # what came before them is judged without them
            self._take_known(stretch, handlers, begin, stop)
            self._settle()
            self._lifecycle.meet(stretch.sources[stretch.codes[stop]], stretch.received[stop])
            begin = stop
        while begin < end:
            stop = min(begin + self._run_frames, end)
            most = RUN_FRAMES if self._sorters else PACK_FRAMES
            self._run_frames = min(RUN_GROWTH * self._run_frames, most)
            if len(self._rows.books) * 2 > PACK_FRAMES:
                self._settle()
                pack_books(self._rows)
                self._continuity.forget_books()
            self._take_known(stretch, handlers, begin, stop)
            if self._rows.runs or (self._sorters and self._rows.books):  # runs of a book want what came before judged
                self._settle()
            begin = stop

    def _find_strangers(self, stretch: "_Stretch", begin: int, end: int) -> list[int]:
        """Return where connections speak for the first time that never said that they opened."""
        known = self._lifecycle.connections
        strangers = {code for code, source in enumerate(stretch.sources) if source.connection not in known}
        if not strangers:
            return []
        codes = stretch.codes[begin:end]
        return sorted(begin + codes.index(code) for code in strangers.intersection(codes))

    def _take_known(self, stretch: "_Stretch", handlers: list[OnMessage], begin: int, end: int) -> None:
        # hot: bench/decode.py
        if begin == end:
            return
        groups = self._group(stretch, begin, end) if end - begin >= RUN_FRAMES_MIN and self._sorters else []
        try:
            self._waiting = [_read_run(stretch, group) for group in groups]
        except Exception:  # noqa: BLE001 - supervisor: whatever is wrong, only the frames that have it must pay
            groups = []
        single: Sequence[int] = range(begin, end)
        if groups:
            is_single = np.ones(end - begin, bool)
            for group in groups:
                is_single[group.positions - begin] = False
            single = (np.flatnonzero(is_single) + begin).tolist()
        self._take_singly(stretch, handlers, single, begin, end)

    def _group(self, stretch: "_Stretch", begin: int, end: int) -> list["_Group"]:
        """Return the groups of frames that are worth being decoded by the run."""
        # hot: bench/decode.py
        payloads = stretch.payloads if end - begin == len(stretch.codes) else stretch.payloads[begin:end]
        sorters = [self._sorters.get(source) for source in stretch.sources]
        if len(sorters) == 1 and sorters[0]:
            found = sorters[0].sort(payloads)
        else:
            found = _sort_mixed(sorters, stretch.codes[begin:end], payloads)
        if np.count_nonzero(found >= 0) < RUN_FRAMES_MIN:
            return []
        lanes = self._list_lanes(stretch)
        if bool((found == found[0]).all()):
            lane = lanes[int(found[0])]
            if lane.frames_min > len(found):
                return []
            return [_Group(lane.read, np.arange(begin, end), np.full(end - begin, lane.stream), is_all=True)]
        return _group_lanes(found, lanes, begin)

    def _list_lanes(self, stretch: "_Stretch") -> list[Lane]:
        sorters = [self._sorters.get(source) for source in stretch.sources]
        return [lane for sorter in sorters if sorter for lane in sorter.lanes]

    def _take_singly(
        self, stretch: "_Stretch", handlers: list[OnMessage], positions: Sequence[int], begin: int, end: int
    ) -> None:
        """Decode some frames of [begin, end) one by one; the others wait in runs."""
        # hot: bench/decode.py
        rows, tally = self._rows, self._tally
        picked: Sequence[Any] = (stretch.payloads, stretch.received, stretch.codes)
        if len(positions) == end - begin:
            picked = picked if end - begin == len(stretch.codes) else [column[begin:end] for column in picked]
        else:
            picked = [[column[i] for i in positions] for column in picked]
        total, first = end - begin, stretch.offset
        control = quarantined = 0
        for payload, at, code, position in zip(*picked, positions, strict=True):
            offset = first + position
            try:
                if not handlers[code](payload, at, offset):
                    control += 1
            except Exception as error:  # noqa: BLE001 - supervisor: one bad frame must not stop a venue
                self._continuity.drop_frame(offset, is_repeat=False)
                self._catch_up(stretch, begin, offset)
                begin = position
                self._quarantine(stretch.sources[code], payload, (at, offset), error)
                quarantined += 1
            if rows.is_urgent:
                self._catch_up(stretch, begin, offset)
                begin = position
        tally["control"] += control
        tally["quarantined"] += quarantined
        tally["decoded"] += total - control - quarantined
        self._release(stretch, first + end)
        self._see(stretch, begin, end)

    def _catch_up(self, stretch: "_Stretch", begin: int, offset: int) -> None:
        """Judge everything up to a frame that something must be judged at, as if a batch had ended before it."""
        self._rows.is_urgent = False
        self._release(stretch, offset)
        self._see(stretch, begin, offset - stretch.offset)
        self._settle()

    def _release(self, stretch: "_Stretch", offset: int) -> None:
        """Let the rows of runs before an offset be judged, and look at samples among the frames before it."""
        waiting, self._waiting = self._waiting, []
        for run in waiting:
            ready = int(np.searchsorted(run.offset, offset))
            if ready == len(run.offset):
                self._rows.runs.append(run)
                continue
            if ready:
                self._rows.runs.append(run.pick(slice(0, ready)))
            self._waiting.append(run.pick(slice(ready, None)))
        while self._samples and self._samples[0] < offset:
            self._sample(stretch, self._samples.pop(0) - stretch.offset)

    def _see(self, stretch: "_Stretch", begin: int, end: int) -> None:
        """Note which connections spoke when in frames [begin, end)."""
        if begin == end:
            return
        if len(stretch.sources) == 1:
            self._lifecycle.see(stretch.sources[0], stretch.received_ns[begin:end])
            return
        spoken: dict[int, list[int]] = {}
        for code, at in zip(stretch.codes[begin:end], stretch.received[begin:end], strict=True):
            spoken.setdefault(code, []).append(at)
        for code, times in spoken.items():
            self._lifecycle.see(stretch.sources[code], times)

    def take(self) -> dict[str, pa.Table]:
        """Return everything decoded since the last call as tables, one per kind that has rows."""
        tables = take_tables(self._rows)
        self._continuity.forget_done()
        for kind, table in tables.items():
            self._add(f"rows.{kind}", table.num_rows)
        for kind, number in self._continuity.duplicates.items():
            self._add(f"rows.{kind}", number)
            self._add(f"duplicates.{kind}", number)
        self._continuity.duplicates.clear()
        return tables

    def take_wishes(self) -> list[Wish]:
        """Return what the decoder wished for since the last call."""
        wishes = list(self._rows.wishes)
        self._rows.wishes.clear()
        return wishes

    @property
    def pending(self) -> int:
        """Tuples held, not yet columns."""
        return self._rows.pending

    @property
    def counts(self) -> dict[str, int]:
        """Totals since offset 0: frames = decoded + quarantined + control; rows and duplicates per kind."""
        return dict(self._tally)

    @property
    def states(self) -> list[tuple[Stream, StreamState]]:
        """Every stream of a venue with what is known of it now."""
        pairs = zip(self._rows.streams, self._continuity.states, strict=False)
        return [(stream, state) for stream, state in pairs if state is not None]

    def is_over(self, stream: Stream) -> bool:
        """Tell whether a stream is of a market that has ended: nothing more is expected of it."""
        return self._lifecycle.is_over(stream)

    def save(self) -> Checkpoint:
        """Return where decoding stands; call after take()."""
        self._continuity.recall()
        is_renumbered = self._oblivion.compact(
            self._lifecycle.connections, self._lifecycle.siblings, self._continuity.topics
        )
        memory = Memory(
            self._rows.streams,
            self._continuity.states,
            self._lifecycle.connections,
            self._lifecycle.session,
            self._lifecycle.siblings,
            self._continuity.topics,
            list(self._rows.instruments.values()),
            self._rows.memory,
            self._drift.shapes,
            self._rows.numberings,
            self._rows.claims,
            self._backfills.past,
        )
        checkpoint = Checkpoint(self._tape_id, self._offset, dict(self._tally), msgspec.msgpack.encode(memory))
        if is_renumbered:  # decoders and handlers know the old numbers
            wishes = self._rows.wishes
            self.restore(checkpoint)
            self._rows.wishes += wishes
        return checkpoint

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same tape."""
        if checkpoint.tape_id != self._tape_id:
            raise TapeError(f"checkpoint belongs to tape {checkpoint.tape_id}, this is {self._tape_id}")
        memory = msgspec.msgpack.decode(checkpoint.state, type=Memory)
        self._reset()
        self._offset = checkpoint.offset
        self._tally = dict(checkpoint.counts)
        self._rows.restore_streams(memory.streams)
        self._rows.instruments.update({(i.venue, i.market, i.venue_symbol): i for i in memory.instruments})
        self._rows.memory.update(memory.venues)
        self._rows.numberings.update(memory.numberings)
        self._rows.claims.update(memory.claims)
        self._continuity.states.extend(memory.states)
        self._continuity.topics.update(memory.topics)
        self._lifecycle.connections.update(memory.connections)
        self._lifecycle.session.update(memory.session)
        self._lifecycle.siblings.update(memory.siblings)
        self._drift.shapes.update(memory.shapes)
        self._backfills.past.update(memory.past)

    # -- one frame ----------------------------------------------------------------------------------------

    def _take_other(self, kind: int, payload: bytes, meta: str, source: Source, at: tuple[int, int]) -> None:
        """Take a request, response or event."""
        try:
            outcome = "control"
            if kind == FrameKind.EVENT:
                self._lifecycle.handle(meta, source, at)
                name = _decode_named(meta or "{}").event
                self._freeze.take_event(name, at)
                self._forget_venues(self._oblivion.take_event(name, at))
                if is_backfill(source.connection):
                    self._backfills.take_event(msgspec.json.decode(meta or "{}"), source, at)
            elif kind == FrameKind.REQUEST:
                if not meta:  # heartbeats and greetings say their purpose; subscriptions say nothing
                    self._lifecycle.ask(source)
            elif self._respond(payload, meta, source, at):
                outcome = "decoded"
        except Exception as error:  # noqa: BLE001 - supervisor: one bad answer must not stop a venue
            self._continuity.drop_frame(at[1], is_repeat=False)
            self._quarantine(source, payload or meta.encode(), at, error)
            outcome = "quarantined"
        if kind == FrameKind.EVENT:
            self._forget_handlers(source)
        self._continuity.is_answer = kind == FrameKind.RESPONSE
        if kind == FrameKind.RESPONSE and is_backfill(source.connection):
            self._backfills.settle(source, at)
        self._settle()
        self._continuity.is_answer = False
        self._tally[outcome] += 1

    def _forget_handlers(self, source: Source) -> None:
        """Drop the handlers of connections that an event may have ended; those that speak on get new ones."""
        known = self._lifecycle.connections
        for gone in [s for s in self._handlers if s == source or s.connection not in known]:
            del self._handlers[gone]
            self._sorters.pop(gone, None)

    def _forget_venues(self, venues: set[str]) -> None:
        """Drop decoders that know streams which are forgotten; new ones begin with what is remembered."""
        for venue in venues:
            self._decoders.pop(venue, None)
            for gone in [source for source in self._handlers if source.venue == venue]:
                del self._handlers[gone]
                self._sorters.pop(gone, None)

    def _respond(self, body: bytes, meta: str, source: Source, at: tuple[int, int]) -> bool:
        said = msgspec.json.decode(meta or "{}", type=dict[str, Any])
        url, status = str(said.get("url", "")), int(said.get("status", 200))
        if status != 200:
            stream = self._lifecycle.nobody("error", source)
            text = body[:500].decode(errors="replace")
            self._rows.plain.setdefault("error", []).append(
                (stream.index, None, *at, source.connection, source.feed, status, text, url)
            )
            return False
        decoder = self._find_decoder(source.venue)
        if decoder is None:
            raise DecodeError(f"venue {source.venue!r} is not known")
        return decoder.respond(Response(source.feed, source.connection, url, status, body, *at))

    def _quarantine(self, source: Source, payload: bytes, at: tuple[int, int], error: Exception) -> None:
        reason, _, path = str(error).partition(" - at `")
        if not isinstance(error, (msgspec.DecodeError, DecodeError)):
            reason = f"{type(error).__name__}: {error}"
        stream = self._lifecycle.nobody("quarantine", source)
        excerpt = payload[:200].decode(errors="replace")
        self._rows.plain.setdefault("quarantine", []).append(
            (
                stream.index, None, *at, source.connection, source.feed,
                reason[:300], path[:300].rstrip("`") or "$", excerpt, len(payload),
            )
        )  # fmt: skip
        evidence = {"quarantined": reason[:100], "connection": source.connection}
        self._ledger.declare_nameless(source, (at[0], at[0]), "decode", at, evidence)
        self._lifecycle.suspect(source, payload, at, evidence)

    def _sample(self, stretch: "_Stretch", position: int) -> None:
        """Look at one frame whole; what it was is the kind of the newest row that bears its offset."""
        if stretch.is_other[position]:
            return
        at = stretch.received[position], stretch.offset + position
        found = self._find_row(at[1])
        if found is not None:
            kind, index = found
            feed, payload = stretch.sources[stretch.codes[position]].feed, stretch.payloads[position]
            self._drift.look(self._rows.streams[index], feed, kind, payload, at)

    def _find_row(self, offset: int) -> tuple[str, int] | None:
        """Return kind and stream of the newest row of a frame."""
        rows = self._rows
        for run in rows.runs:
            row = int(np.searchsorted(run.offset, offset))
            if row < len(run.offset) and run.offset[row] == offset:
                return name_kind(run), int(run.stream[row])
        own: dict[str, Sequence[PlainRow]] = {"trade": rows.trades, "book_change": rows.books, "quote": rows.quotes}
        for kind in SAMPLED:
            listed: Sequence[PlainRow] = own.get(kind) or rows.plain.get(kind) or ()
            row = bisect_right(listed, offset, key=tell_offset) - 1
            if row >= 0 and listed[row][3] == offset:
                return kind, listed[row][0]
        return None

    # -- between frames -----------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self._rows.repeats:
            for offset in self._rows.repeats:
                self._continuity.drop_frame(offset, is_repeat=True)
            self._rows.repeats.clear()
        self._continuity.settle()
        if self._continuity.losses:
            self._lifecycle.blame(self._continuity.losses)
        if self._rows.acks:
            self._lifecycle.acknowledge()
        if self._rows.counters:
            self._lifecycle.count()
        if self._rows.cuts:
            cut_streams(self._rows, self._ledger, self._find_state, self._lifecycle.connections)

    def _find_state(self, index: int, at: tuple[int, int]) -> StreamState:
        states = self._continuity.states
        while len(states) <= index:
            states.append(None)
        state = states[index]
        if state is None:
            stream = self._rows.streams[index]
            venue = load_venue(stream.venue)
            rule = find_rule(venue, stream.channel, stream.feed, at[0] // DAY_NS)
            state = states[index] = StreamState(rule)
            self._adopt(stream, state, at[1])
        return state

    def _adopt(self, stream: Stream, state: StreamState, offset: int) -> None:
        """Attach a stream that nobody subscribed on the tape to the connection that its row came on."""
        stretch = self._stretch
        if stretch is not None and not stretch.is_other[offset - stretch.offset]:
            source = stretch.sources[stretch.codes[offset - stretch.offset]]
            self._lifecycle.attach(stream, source.connection, state)

    def _choose_rules(self, source: Source, received_ns: int) -> None:
        """Take the rules in force for what a new connection may carry: its feed, or its day, may have others."""
        feeds = load_venue(source.venue).feeds if source.venue in list_venues() else ()
        feed = next((feed for feed in feeds if feed.name == source.feed), None)
        if feed is None:
            return
        for stream, state in self.states:
            if stream.venue == source.venue and stream.market == feed.market and stream.channel in feed.channels:
                state.rule = find_rule(load_venue(source.venue), stream.channel, feed.name, received_ns // DAY_NS)

    def _list_handlers(self, sources: list[Source]) -> list[OnMessage]:
        """Return the handlers by source, those that are not there yet made by their first message."""
        handlers: list[OnMessage] = []

        def postpone(code: int, source: Source) -> OnMessage:
            def make_first(payload: bytes, received_ns: int, offset: int) -> bool:
                handlers[code] = self._find_handler(source)
                return handlers[code](payload, received_ns, offset)

            return make_first

        handlers += [self._handlers.get(s) or postpone(code, s) for code, s in enumerate(sources)]
        return handlers

    def _find_handler(self, source: Source) -> OnMessage:
        handler = self._handlers.get(source)
        if handler is None:
            decoder = self._find_decoder(source.venue)
            try:
                opened = decoder.open(source.feed, source.connection) if decoder else _refuse(source)
            except (KeyError, DecodeError):  # such frames, if any come, are quarantined one by one
                opened = _refuse(source)
            if len(self._handlers) >= HANDLERS_MAX:
                self._handlers.clear()
                self._sorters.clear()
            if isinstance(opened, Handler):
                self._sorters[source] = opened
                opened = opened.on_message
            handler = self._handlers[source] = opened
            self._run_frames = RUN_FRAMES_FIRST
        return handler

    def _find_decoder(self, venue: str) -> VenueDecoder | None:
        if venue not in self._decoders:
            if venue not in list_venues():
                return None
            self._decoders[venue] = load_venue(venue).make_decoder(Scribe(venue, self._rows))
        return self._decoders[venue]

    def _add(self, name: str, number: int) -> None:
        self._tally[name] = self._tally.get(name, 0) + number


def _refuse(source: Source) -> OnMessage:
    def refuse(payload: bytes, received_ns: int, offset: int) -> bool:
        if source.venue in list_venues():
            feeds = ", ".join(feed.name for feed in load_venue(source.venue).feeds)
            raise DecodeError(f"feed {source.feed!r} is not known at {source.venue} (allowed: {feeds})")
        raise DecodeError(f"venue {source.venue!r} is not known (allowed: {', '.join(list_venues())})")

    return refuse


class _Stretch:
    """A batch of frames taken apart into lists."""

    def __init__(self, batch: FrameBatch) -> None:
        self.offset = batch.offset
        self.sources, self.codes = _list_sources(batch.data)
        self.received_ns: Integers = batch.data.column("received_ns").to_numpy()
        self.received: list[int] = self.received_ns.tolist()
        self.offsets = np.arange(batch.offset, batch.offset + len(batch.data))
        self.payloads = iter_payloads(batch.data)
        self.is_other: npt.NDArray[np.bool_] = batch.data.column("kind").to_numpy() > FrameKind.BINARY
        """Which frames are no messages of the venue."""


def _sort_mixed(sorters: list[Handler | None], codes: list[int], payloads: list[bytes]) -> Integers:
    """Return the lanes of frames of several sources, numbered through all of these."""
    # hot: bench/decode.py
    lanes = np.full(len(codes), -1)
    sources = np.array(codes)
    first = 0
    for code, sorter in enumerate(sorters):
        own = np.flatnonzero(sources == code)
        if sorter is not None and len(own):
            found = sorter.sort([payloads[i] for i in own.tolist()])
            lanes[own] = np.where(found >= 0, found + first, -1)
        first += len(sorter.lanes) if sorter else 0
    return lanes


class _Group(NamedTuple):
    """Frames of one kind."""

    read: Read
    positions: Integers
    """Their places in the stretch, ascending."""
    streams: Integers
    is_all: bool
    """Whether they are all frames from the first to the last of them."""


def _group_lanes(codes: Integers, lanes: list[Lane], begin: int) -> list[_Group]:
    """Return the frames by what reads them, in groups that are worth it."""
    # hot: bench/decode.py
    counts = np.bincount(codes + 1, minlength=len(lanes) + 1)
    met = np.flatnonzero(counts[1:])
    found = [lanes[code] for code in met.tolist()]
    frames: dict[Read, int] = {}
    for lane, count in zip(found, counts[met + 1].tolist(), strict=True):
        frames[lane.read] = frames.get(lane.read, 0) + count
    worthy = list(dict.fromkeys(lane.read for lane in found if frames[lane.read] >= lane.frames_min))
    if not worthy:
        return []
    places = np.full(len(lanes) + 1, -1)
    places[met] = np.arange(len(met))
    places = places[codes]  # -1, of frames that have no lane, picks the last one
    streams = np.array([*(lane.stream for lane in found), -1])
    numbers = {read: number for number, read in enumerate(worthy)}
    kinds = np.array([*(numbers.get(lane.read, -1) for lane in found), -1])[places]
    groups = []
    for kind, read in enumerate(worthy):
        own = np.flatnonzero(kinds == kind)
        groups.append(_Group(read, own + begin, streams[places[own]], is_all=False))
    return groups


def _read_run(stretch: _Stretch, group: _Group) -> Run:
    positions = group.positions
    if group.is_all:
        begin, end = int(positions[0]), int(positions[-1]) + 1
        payloads = stretch.payloads if end - begin == len(stretch.codes) else stretch.payloads[begin:end]
        return group.read(payloads, group.streams, stretch.received_ns[begin:end], stretch.offsets[begin:end])
    payloads = [stretch.payloads[i] for i in positions.tolist()]
    return group.read(payloads, group.streams, stretch.received_ns[positions], stretch.offsets[positions])


def _list_sources(data: pa.RecordBatch) -> tuple[list[Source], list[int]]:
    """Return the sources of a batch and, per frame, which one it came from."""
    constants = [_find_constant(data.column(name)) for name in Source._fields]
    if None not in constants:
        return [Source(*(name or "" for name in constants))], [0] * len(data)
    columns = [data.column(name).dictionary_encode() for name in Source._fields]
    names = [column.dictionary.to_pylist() for column in columns]
    venue, feed, connection = (column.indices.to_numpy().astype(np.int64) for column in columns)
    feeds, connections = len(names[1]), len(names[2])
    found, codes = np.unique((venue * feeds + feed) * connections + connection, return_inverse=True)
    sources = [
        Source(names[0][key // connections // feeds], names[1][key // connections % feeds], names[2][key % connections])
        for key in found.tolist()
    ]
    return sources, codes.tolist()


def _find_constant(column: pa.Array) -> str | None:
    """Return the text that is all of a column's, None when there are several."""
    if not len(column):
        return ""
    first: str = column[0].as_py()
    _, edges, data = column.buffers()
    places = np.frombuffer(edges, np.int32, len(column) + 1, column.offset * 4)
    text = first.encode()
    if not (np.diff(places) == len(text)).all():
        return None
    if data is None:
        return first
    is_one = data.slice(int(places[0]), int(places[-1] - places[0])).to_pybytes() == text * len(column)
    return first if is_one else None
