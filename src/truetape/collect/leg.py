"""One connection attempt's life: greet, subscribe, keep alive, notice silence, close."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from truetape import clock
from truetape.collect.key import Key
from truetape.collect.pace import Pace
from truetape.collect.plan import ConnectionPlan, StreamPlan, batch_topics
from truetape.collect.recorder import Recorder
from truetape.collect.socket import Cause, Ending, Hooks, Socket
from truetape.errors import VenueUnreachable
from truetape.tape.frame import FrameKind
from truetape.venues._contract import Feed, Venue


class Leg:
    """One open connection; what it sends and what becomes of it is on the tape under its own name."""

    def __init__(
        self,
        venue: Venue,
        plan: ConnectionPlan,
        recorder: Recorder,
        name: str,
        source: int,
        socket: Socket,
        key: Key | None = None,
    ) -> None:
        self.name = name
        self._key = key
        self.socket = socket
        self.opened_ns = clock.monotonic_ns()
        self.subscribed_frames: int | None = None
        """Frames received when the last subscribe message went out; null until then."""
        self._venue = venue
        self._plan = plan
        self._recorder = recorder
        self._source = source
        self._requests = 0
        self._pace = Pace(plan.feed.limits.messages_per_second_max, 1.0)

    @property
    def is_open(self) -> bool:
        """Say whether it still stands."""
        return not self.socket.ended.done()

    async def begin(self) -> None:
        """Greet and subscribe; raises VenueUnreachable when the venue hangs up meanwhile."""
        feed = self._plan.feed
        if self._key is not None and feed.needs_key and (said := self._key.greet()):
            await self._say(said[0], "greeting", shown=said[1])
        for greeting in feed.greetings:
            await self._say(greeting.encode(), "greeting")
        await self.subscribe(self._plan.topics)
        self.subscribed_frames = self.socket.frames

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe topics in batches within the venue's limits, saying on the tape what each asked for."""
        by_topic = group_streams(self._plan)
        for batch in batch_topics(self._venue, self._plan.feed, topics):
            await self._ask(self._venue.subscribe, batch)
            self._recorder.note(self._source, "subscribed", streams=_describe(batch, by_topic))

    async def revise(self, plan: ConnectionPlan) -> None:
        """Follow a changed plan; topics that are gone are let go of, with an event.

        Where the address subscribes, new topics are for the connection that replaces this one.
        """
        old, self._plan = self._plan, plan
        kept, known = set(plan.topics), set(old.topics)
        by_topic = group_streams(old)
        for batch in batch_topics(self._venue, plan.feed, [topic for topic in old.topics if topic not in kept]):
            await self._ask(self._venue.unsubscribe, batch)
            self._recorder.note(self._source, "unsubscribed", streams=_describe(batch, by_topic))
        if self._venue.name_url is None:
            await self.subscribe([topic for topic in plan.topics if topic not in known])

    async def resubscribe(self, topics: Sequence[str]) -> None:
        """Drop topics and ask for them again, for a fresh snapshot."""
        known = [topic for topic in topics if topic in self._plan.topics]
        for batch in batch_topics(self._venue, self._plan.feed, known):
            await self._ask(self._venue.unsubscribe, batch)
        await self.subscribe(known)

    async def tend(self) -> None:
        """Send heartbeats and cut the line when nothing at all comes, until it has ended."""
        heartbeat, silence_s = self._plan.feed.heartbeat, self._plan.feed.silence_s
        beat_s = heartbeat.interval_s if heartbeat.interval_s > 0 else float("inf")
        next_beat_s = _now_s() + beat_s
        while self.is_open:
            left_s = silence_s - (_now_s() - self.socket.last_ns / 1e9)
            if left_s <= 0:
                await self.close("silence")
                return
            if _now_s() >= next_beat_s:
                next_beat_s = _now_s() + beat_s
                await self._beat(heartbeat.payload)
            await asyncio.wait([self.socket.ended], timeout=max(min(left_s, next_beat_s - _now_s()), 0.001))

    async def close(self, cause: Cause) -> Ending:
        """Close it; the reason is on the tape when this returns."""
        return await self.socket.close(cause)

    async def _ask(self, make: Callable[[Feed, Sequence[str], int], bytes], topics: Sequence[str]) -> None:
        """Send one subscribe or unsubscribe message, if the venue wants one."""
        self._requests += 1
        payload = make(self._plan.feed, topics, self._requests)
        if payload:
            await self._say(payload, "")

    async def _beat(self, payload: str) -> None:
        if not payload:
            self.socket.ping()
            return
        try:
            await self._say(payload.encode(), "heartbeat")
        except VenueUnreachable:
            return  # the end of the line is already on the tape

    async def _say(self, payload: bytes, purpose: str, shown: bytes | None = None) -> None:
        """Send one message, at the venue's pace; it, or what may be shown of it, is on the tape before any answer."""
        await asyncio.sleep(self._pace.reserve(_now_s()))
        if not self.is_open:
            ending = await self.socket.ended
            raise VenueUnreachable(f"{self.name} closed while subscribing: {ending.code} {ending.reason}")
        note_request(self._recorder, self._source, payload if shown is None else shown, purpose)
        self.socket.send(payload)


def group_streams(plan: ConnectionPlan) -> dict[str, list[StreamPlan]]:
    """Return the streams that each topic carries."""
    by_topic: dict[str, list[StreamPlan]] = {}
    for stream in plan.streams:
        by_topic.setdefault(stream.topic, []).append(stream)
    return by_topic


def _describe(topics: Sequence[str], by_topic: dict[str, list[StreamPlan]]) -> list[dict[str, Any]]:
    return [msgspec.structs.asdict(stream) for topic in topics for stream in by_topic.get(topic, [])]


def note_request(recorder: Recorder, source: int, payload: bytes, purpose: str) -> None:
    """Put a message of ours on the tape; `purpose` is empty for subscriptions, which the venue confirms one by one."""
    meta = msgspec.json.encode({"purpose": purpose}).decode() if purpose else ""
    recorder.put(source, FrameKind.REQUEST, payload, meta)


def make_hooks(recorder: Recorder, source: int, **facts: Any) -> Hooks:
    """Return what puts a connection's opening, end and automatic answers on the tape."""
    return Hooks(
        on_open=lambda: recorder.note(source, "opened", **facts),
        on_end=lambda end: recorder.note(source, "closed", code=end.code, reason=end.reason, cause=end.cause),
        on_answer=lambda payload: note_request(recorder, source, payload, "answer"),
    )


def _now_s() -> float:
    return clock.monotonic_ns() / 1e9
