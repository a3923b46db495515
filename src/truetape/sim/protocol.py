"""The seam between the server, which owns sockets, and the fake venues, which only speak."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from truetape.sim.market import Market, Step
from truetape.sim.spec import Spec

if TYPE_CHECKING:
    from truetape.sim.hub import Hub, Session
    from truetape.sim.world import World

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


class NoDesk:
    """Publishes no market: the desk of a venue that has none of coins."""

    def __init__(self, market: Market, hub: "Hub") -> None:
        raise AssertionError(f"{hub.venue} has no market {market.spec.symbol}")

    def advance(self, step: Step) -> None:
        """Publish nothing."""


class Stage(Protocol):
    """A part of a venue that moves by the time, not by a market's steps."""

    @property
    def due_us(self) -> int:
        """Market time before which it need not be called; 0: at every tick."""
        ...

    def advance(self, now_us: int) -> int:
        """Publish what has become due; returns how many frames or steps that was."""
        ...


class Line(msgspec.Struct, frozen=True):
    """What answers a WebSocket address."""

    feed: str
    rules: Rules
    make_talk: "Callable[[Session, World], Talk]"


class FakeVenue(msgspec.Struct, frozen=True):
    """Everything the server needs to stand for one venue."""

    name: str
    hosts: tuple[str, ...]
    """The venue's real hosts, WebSocket and REST."""
    specs: tuple[Spec, ...]
    connect: Callable[[Query], Line | Reply | None]
    """What answers a WebSocket address; a reply refuses the handshake; null: 404."""
    respond: "Callable[[World, Query], Reply]"
    make_desk: "Callable[[Market, Hub], Desk]"
    quotas: Mapping[str, Quota]
    refuse: Callable[[int], bytes]
    """Body of an answer with this error status."""
    name_topic: Callable[[bytes], str] = lambda payload: ""
    """Topic of a recorded frame; empty when it belongs to none."""
    name_symbol: Callable[[str], str] = lambda topic: ""
    """Instrument of a topic."""
    find_feed: Callable[[str], str] = lambda url: ""
    """Product line of a recorded connection's URL."""
    guess_spec: Callable[[str, str], Spec | None] = lambda feed, symbol: None
    """A plausible listing for a symbol that a recording has and we do not list."""
    stages: "Mapping[str, Callable[[World], Stage]]" = {}
    """Name → what makes a part that moves by the time; it is found again as `world.stages[name]`."""
    methods: tuple[str, ...] = ("GET",)
    admit: "Callable[[World, Query], Reply | None]" = lambda world, query: None
    """Returns the refusal of a WebSocket handshake; null lets it through."""
    keys: Mapping[str, str] = {}
    """Credentials that it takes, as a recorder calls them: name → value."""
