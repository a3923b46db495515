"""One connection from the server's side: limits, pings, deadlines, and closing as a venue closes."""

import asyncio
import contextlib
from collections import deque

from aiohttp import WSMessage, WSMsgType, web

from truetape import clock
from truetape.sim.fake import Line
from truetape.sim.hub import Hub, Session, encode_wire
from truetape.sim.world import World

POLL_S = 0.02
"""Deadlines and heartbeats are not looked at more often."""
PING, PONG = 0x89, 0x8A


class Conversation:
    """Holds one client to the venue's rules and passes its messages to the venue's talk."""

    def __init__(
        self, name: str, hub: Hub, transport: asyncio.Transport, line: Line, world: World, time_scale: float
    ) -> None:
        self.session = Session(name, hub, transport)
        self.rules = line.rules
        self.has_limits = True
        self._time_scale = time_scale
        self._opened_ns = clock.monotonic_ns()
        self._heard_s = self._pinged_s = 0.0
        self._unanswered_s = 0.0
        """When the oldest ping without a pong was sent; 0: all were answered."""
        self._recent: deque[float] = deque()
        hub.sessions.add(self.session)
        self.talk = line.make_talk(self.session, world)
        self.session.talk = self.talk

    def _now_s(self) -> float:
        return (clock.monotonic_ns() - self._opened_ns) / 1e9 * self._time_scale

    def take(self, message: WSMessage) -> None:
        """Take one message of the client, control frames included."""
        now_s = self._heard_s = self._now_s()
        if self._is_too_fast(now_s):
            self.session.close(1008, "Too many requests")
            return
        if message.type is WSMsgType.PING:
            self.session.out.append(encode_wire(bytes(message.data), PONG))
            self.session.flush()
        elif message.type is WSMsgType.PONG:
            self._unanswered_s = 0.0
        elif message.type is WSMsgType.TEXT:
            self.talk.hear(message.data)

    def _is_too_fast(self, now_s: float) -> bool:
        """Count messages in the last second, pings and pongs included, as Binance does."""
        if not self.rules.messages_per_second_max or not self.has_limits:
            return False
        self._recent.append(now_s)
        while self._recent and self._recent[0] <= now_s - 1.0:
            self._recent.popleft()
        return len(self._recent) > self.rules.messages_per_second_max

    async def run_clock(self, socket: web.WebSocketResponse) -> None:
        """Keep the venue's times until the connection ends."""
        while not self.session.is_closed and not socket.closed:
            now_s = self._now_s()
            self._keep_rules(now_s)
            self.talk.tick(now_s)
            self.session.flush()  # the clockwork may rest for long where no market moves
            await _wait(self.session.closing, max(POLL_S, self.rules.poll_s / self._time_scale))
        self.session.leave()
        self.session.flush()
        if not socket.closed:
            await socket.close(code=self.session.close_code or 1000, message=self.session.close_reason)

    def _keep_rules(self, now_s: float) -> None:
        rules, session = self.rules, self.session
        if rules.deadline_s and not session.has_subscribed and now_s > rules.deadline_s:
            session.close(1008, "no subscription in time")
        elif rules.lifetime_s and now_s > rules.lifetime_s:
            session.close(1001, "lifetime is over")
        elif rules.idle_s and now_s - self._heard_s > rules.idle_s:
            session.close(1000, "idle for too long")
        elif rules.ping_interval_s:
            self._keep_alive(now_s)

    def _keep_alive(self, now_s: float) -> None:
        if self._unanswered_s and now_s - self._unanswered_s > self.rules.pong_timeout_s:
            self.session.close(1008, "Pong timeout")
        elif now_s - self._pinged_s >= self.rules.ping_interval_s:
            self._pinged_s = now_s
            self._unanswered_s = self._unanswered_s or now_s
            self.session.out.append(encode_wire(str(int(now_s * 1000)).encode(), PING))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, or so long; where that is short, no task is made for it."""
    if seconds < 0.1:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
