"""What passes between the server, which owns sockets, and the fake venues, which only speak."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from truetape.sim.market import Step

encode_json: Callable[[object], bytes] = msgspec.json.Encoder().encode


class Query(msgspec.Struct, frozen=True):
    """One HTTP request as a venue sees it."""

    host: str
    """Host the client meant; empty under the bare `/<venue>/…` path."""
    path: str
    args: Mapping[str, str]
    """Arguments of the address; the last one where a name is repeated."""
    target: str = ""
    """Path and arguments as they were sent: what a client signs, and where names may be repeated."""
    method: str = "GET"
    headers: Mapping[str, str] = {}
    """Header → value, names in lower case."""
    body: bytes = b""

    def number(self, name: str, default: int, highest: int = 1 << 62) -> int:
        """Return an integer argument, at most `highest`."""
        text = self.args.get(name, "")
        return min(int(text), highest) if text.lstrip("-").isdigit() else default


class Reply(msgspec.Struct, frozen=True):
    """One HTTP answer."""

    body: bytes
    status: int = 200
    quota: str = ""
    """Which of the venue's quotas it counts against; empty: none."""
    weight: int = 1
    is_book: bool = False
    """Whether the body is a book snapshot (for the `cut-snapshot` fault)."""
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"


class Quota(msgspec.Struct, frozen=True):
    """Weight that a client may use in a window."""

    weight_max: int
    window_s: float = 60.0
    header: str = ""
    """Response header with the weight used in this window."""
    left_header: str = ""
    """Response header with the weight left."""


class Rules(msgspec.Struct, frozen=True):
    """What a venue demands of one connection; 0 switches a rule off. Seconds are unscaled."""

    ping_interval_s: float = 0.0
    """The server sends a WebSocket ping this often."""
    pong_timeout_s: float = 60.0
    """… and closes when no pong came for this long after one."""
    deadline_s: float = 0.0
    """A subscription must come within."""
    idle_s: float = 0.0
    """A message of the client must come at least this often."""
    lifetime_s: float = 24 * 3600.0
    messages_per_second_max: float = 0.0
    topics_max: int = 0
    poll_s: float = 0.02
    """Deadlines and heartbeats are looked at this often."""


class Talk(Protocol):
    """One connection's conversation."""

    def hear(self, text: str) -> None:
        """Take one text message of the client."""
        ...

    def tick(self, now_s: float) -> None:
        """Do what is due by time (heartbeats); `now_s` is protocol time since the connection opened."""
        ...


class Desk(Protocol):
    """Publishes one market in the venue's shapes."""

    def advance(self, step: Step) -> None:
        """Publish what a step caused."""
        ...


class Stage(Protocol):
    """A part of a venue that moves by the time, not by a market's steps."""

    @property
    def due_us(self) -> int:
        """Market time before which it need not be called; 0: at every tick."""
        ...

    def advance(self, now_us: int) -> int:
        """Publish what has become due; returns how many frames or steps that was."""
        ...
