"""Who is subscribed to what, and the way of a frame from a desk to the sockets, faults included."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from truetape import clock
from truetape.errors import ConfigError
from truetape.sim.faults import DONE_MAX, QUIRKS, SPELLS, Armed, Done, Fault, spoil
from truetape.sim.protocol import Talk

BUFFER_BYTES_MAX = 64 * 1024 * 1024
"""A client that reads so slowly that more than this waits for it is cut off, as venues do."""


class SimClock:
    """Market time: the wall clock at the start, then running `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._start_us = clock.wall_ns() // 1000
        self._start_monotonic_ns = clock.monotonic_ns()

    def now_us(self) -> int:
        """Return the market time."""
        return self._start_us + int((clock.monotonic_ns() - self._start_monotonic_ns) * self.speed / 1000)

    def elapsed_s(self) -> float:
        """Return seconds of market time since the start."""
        return (clock.monotonic_ns() - self._start_monotonic_ns) * self.speed / 1e9


class Judge:
    """Decides what becomes of each frame and request under a script of faults, and records it."""

    def __init__(self, faults: tuple[Fault, ...], time: SimClock) -> None:
        self.time = time
        self.timed: list[Armed] = []
        self.rest: list[Armed] = []
        self.spells: list[Armed] = []
        self.frames: list[Armed] = []
        self._arm(faults)
        self.quirks = tuple(f for f in faults if f.action in QUIRKS)
        """Faults that make prediction markets odd; whoever makes the markets takes them from here."""
        self.done: deque[Done] = deque(maxlen=DONE_MAX)
        self.frozen_until_s: dict[str, float] = {}
        """Venue → until when it sends nothing."""
        self.held = 0
        """Frames held back to change places with the next one of their topic."""

    @property
    def is_watching(self) -> bool:
        """Say whether frames must pass the judge at all."""
        return bool(self.frames or self.frozen_until_s or self.held or self.spells)

    @property
    def is_calm(self) -> bool:
        """Say whether no fault of frames and connections waits for its time or its frames, and nobody is frozen."""
        elapsed_s = self.time.elapsed_s()
        waiting = [a for a in self.frames if a.fault.when != "every"]
        return not (self.timed or waiting or any(elapsed_s < until_s for until_s in self.frozen_until_s.values()))

    def arm(self, faults: tuple[Fault, ...]) -> None:
        """Arm more faults, their times counted from now; ConfigError for what makes markets odd from their beginning."""
        if odd := [fault.action for fault in faults if fault.action in QUIRKS]:
            raise ConfigError(f"fault: {odd[0]!r} can only be there from the start")
        now_s = self.time.elapsed_s()
        self._arm(tuple(replace(fault, value=fault.value + now_s) if fault.when == "at" else fault for fault in faults))

    def _arm(self, faults: tuple[Fault, ...]) -> None:
        for fault in faults:
            if fault.is_timed:
                self.timed.append(Armed(fault))
            elif fault.is_rest:
                self.rest.append(Armed(fault))
            elif fault.action in SPELLS:
                self.spells.append(Armed(fault))
            elif fault.action not in QUIRKS:
                self.frames.append(Armed(fault))

    def freeze(self, venue: str, until_s: float) -> None:
        """Stop everything that a venue sends."""
        self.frozen_until_s[venue] = until_s

    def is_frozen(self, venue: str) -> bool:
        """Say whether a venue sends nothing at present."""
        until_s = self.frozen_until_s.get(venue)
        if until_s is None:
            return False
        if self.time.elapsed_s() < until_s:
            return True
        del self.frozen_until_s[venue]
        return False

    def find_spell(self, action: str, venue: str, stream: str) -> Fault | None:
        """Return the spell of this sort that is on a stream at present; null when there is none."""
        if not self.spells:
            return None
        elapsed_s = self.time.elapsed_s()
        self.spells = [a for a in self.spells if elapsed_s < a.fault.value + a.fault.seconds]
        for armed in self.spells:
            fault = armed.fault
            if fault.action == action and fault.value <= elapsed_s and armed.fits(venue, stream):
                return fault
        return None

    def judge_frame(self, venue: str, stream: str) -> Fault | None:
        """Return the fault that concerns this frame; the first one that wants it."""
        elapsed_s = self.time.elapsed_s()
        found: Fault | None = None
        for armed in self.frames:
            if armed.fits(venue, stream) and armed.take(elapsed_s):
                found = armed.fault
                break
        if found is not None:
            self.frames = [a for a in self.frames if not a.is_spent]
        return found

    def judge_request(self, venue: str, path: str, is_book: bool = False, *, is_connect: bool = False) -> Fault | None:
        """Return the fault that concerns this HTTP request, or this WebSocket that is being opened."""
        elapsed_s = self.time.elapsed_s()
        for armed in self.rest:
            is_other = armed.fault.is_of_connects != is_connect
            if is_other or (armed.fault.action == "cut-snapshot" and not is_book):
                continue
            if armed.fits(venue, path) and armed.take(elapsed_s):
                self.rest = [a for a in self.rest if not a.is_spent]
                return armed.fault
        return None

    def record(self, venue: str, feed: str, stream: str, action: str, **more: Any) -> None:
        """Write down what was done."""
        self.done.append(Done(self.time.now_us(), clock.wall_ns(), venue, feed, stream, action, **more))


class Session:
    """One client connection: what waits to be sent and what it is subscribed to."""

    def __init__(self, name: str, hub: "Hub", transport: asyncio.Transport) -> None:
        self.name = name
        self.hub = hub
        self.transport = transport
        self.talk: Talk | None = None
        self.shape: Callable[[bytes], bytes] | None = None
        """Makes a published payload this connection's own (numbering, envelope)."""
        self.out: list[bytes] = []
        self.topics: dict[str, Delivery] = {}
        self.held: dict[str, bytes] = {}
        self.lost: dict[str, int] = {}
        """Topic → frames that the venue knows it did not send, until it has told."""
        self.is_closed = False
        self.close_code = 0
        self.close_reason = b""
        self.has_subscribed = False
        self.opened_s = hub.judge.time.elapsed_s()
        self.closing = asyncio.Event()

    def send(self, payload: bytes) -> None:
        """Send a control message, unless the venue is frozen."""
        if not self.hub.judge.is_frozen(self.hub.venue):
            self.out.append(encode_wire(payload))

    def show_life(self, payload: bytes) -> None:
        """Send an answer to a ping, or a heartbeat: a frozen venue does that, too."""
        self.out.append(encode_wire(payload))

    def subscribe(self, topic: str) -> bool:
        """Join a topic; False when already there."""
        self.has_subscribed = True
        if topic in self.topics:
            return False
        delivery = Delivery(self, topic, self.hub.judge.time.now_us())
        self.topics[topic] = delivery
        self.hub.rooms.setdefault(topic, []).append(delivery)
        self.hub.deliveries.append(delivery)
        return True

    def unsubscribe(self, topic: str) -> bool:
        """Leave a topic; False when not there."""
        delivery = self.topics.pop(topic, None)
        if delivery is None:
            return False
        delivery.ended_us = self.hub.judge.time.now_us()
        room = self.hub.rooms[topic]
        room.remove(delivery)
        if not room:
            del self.hub.rooms[topic]
        return True

    def leave(self) -> None:
        """Leave everything: the connection is gone."""
        for topic in list(self.topics):
            self.unsubscribe(topic)
        for topic in self.held:
            self.hub.judge.record(
                self.hub.venue, self.hub.feed, topic, "drop", connection=self.name, detail="held back"
            )
        self.hub.judge.held -= len(self.held)
        self.held.clear()
        self.hub.sessions.discard(self)

    def close(self, code: int, reason: str) -> None:
        """Close properly, with a code and a reason, after what waits was sent."""
        self.close_code, self.close_reason, self.is_closed = code, reason.encode()[:120], True
        self.closing.set()

    def flush(self) -> None:
        """Hand everything that waits to the socket in one write."""
        if not self.out:
            return
        batch, self.out = self.out, []
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(batch))
        if self.transport.get_write_buffer_size() > BUFFER_BYTES_MAX:
            self.hub.judge.record(self.hub.venue, self.hub.feed, "*", "slow-client", connection=self.name)
            self.transport.abort()


class Delivery:
    """One subscription's account: which ids were sent, first and last, how many frames."""

    __slots__ = ("ended_us", "first_id", "frames", "last_id", "session", "started_us", "topic")

    def __init__(self, session: Session, topic: str, started_us: int) -> None:
        self.session, self.topic, self.started_us = session, topic, started_us
        self.ended_us = 0
        self.frames = 0
        self.first_id = self.last_id = -1


class Hub:
    """One product line of one venue: its topics and who listens."""

    def __init__(self, venue: str, feed: str, judge: Judge) -> None:
        self.venue, self.feed, self.judge = venue, feed, judge
        self.rooms: dict[str, list[Delivery]] = {}
        """Topics with at least one listener; desks look here before they make anything."""
        self.sessions: set[Session] = set()
        self.deliveries: deque[Delivery] = deque(maxlen=DONE_MAX)
        self.published = 0

    def publish(self, topic: str, payload: bytes, first_id: int = -1, last_id: int = -1) -> None:
        """Queue a frame for everybody who listens."""
        room = self.rooms.get(topic)
        if room is None:
            return
        if self.judge.is_watching:
            self._publish_judged(room, payload, first_id, last_id)
            return
        self.published += 1
        wire = b""
        for delivery in room:
            session = delivery.session
            if session.shape is not None:
                session.out.append(encode_wire(session.shape(payload)))
            else:
                wire = wire or encode_wire(payload)
                session.out.append(wire)
            _account(delivery, first_id, last_id)

    def _publish_judged(self, room: list[Delivery], payload: bytes, first_id: int, last_id: int) -> None:
        topic, judge = room[0].topic, self.judge
        if judge.is_frozen(self.venue):
            judge.record(self.venue, self.feed, topic, "freeze", first_id=first_id, last_id=last_id)
            for delivery in room:
                if delivery.session.shape is not None:
                    delivery.session.shape(payload)  # a lost frame has used its number all the same
            return
        mute = judge.find_spell("mute", self.venue, topic)
        if mute is not None:
            heard = [d for d in room if d.session.opened_s >= mute.value]
            if len(heard) < len(room):
                judge.record(self.venue, self.feed, topic, "mute", first_id=first_id, last_id=last_id)
            room = heard
        self.published += 1
        fault = judge.judge_frame(self.venue, topic)
        for delivery in room:
            session = delivery.session
            if fault is not None and fault.action == "lose":
                session.lost[topic] = session.lost.get(topic, 0) + 1
                continue
            own = session.shape(payload) if session.shape is not None else payload
            self._deliver(session, topic, own, fault)
            if fault is None or fault.action in ("duplicate", "reorder", "change-field", "wrong-hash"):
                _account(delivery, first_id, last_id)
        if fault is not None:
            judge.record(self.venue, self.feed, topic, fault.action, first_id=first_id, last_id=last_id)

    def _deliver(self, session: Session, topic: str, payload: bytes, fault: Fault | None) -> None:
        late = session.held.pop(topic, None)
        if fault is None:
            session.out.append(encode_wire(payload))
        elif fault.action == "duplicate":
            session.out += [encode_wire(payload)] * 2
        elif fault.action == "reorder":
            session.held[topic] = payload
            self.judge.held += 1
        elif fault.action in ("corrupt", "change-field", "wrong-hash"):
            session.out.append(encode_wire(spoil(fault, payload)))
        if late is not None:
            self.judge.held -= 1
            session.out.append(encode_wire(late))


def _account(delivery: Delivery, first_id: int, last_id: int) -> None:
    delivery.frames += 1
    if delivery.first_id < 0:
        delivery.first_id = first_id
    delivery.last_id = last_id


def encode_wire(payload: bytes, opcode: int = 0x81) -> bytes:
    """Return the bytes of one unmasked WebSocket frame: text, unless another opcode is asked for."""
    size = len(payload)
    if size < 126:
        return bytes((opcode, size)) + payload
    if size < 65536:
        return bytes((opcode, 126, size >> 8, size & 255)) + payload
    return bytes((opcode, 127)) + size.to_bytes(8, "big") + payload
