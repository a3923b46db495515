"""What a fake venue is: everything the server needs to stand for it."""

from collections.abc import Callable, Mapping

import msgspec

from truetape.sim.hub import Hub, Session
from truetape.sim.market import Market, Step
from truetape.sim.protocol import Desk, Query, Quota, Reply, Rules, Stage, Talk
from truetape.sim.spec import Spec
from truetape.sim.world import World


class NoDesk:
    """Publishes no market: the desk of a venue that has none of coins."""

    def __init__(self, market: Market, hub: Hub) -> None:
        raise AssertionError(f"{hub.venue} has no market {market.spec.symbol}")

    def advance(self, step: Step) -> None:
        """Publish nothing."""


class Line(msgspec.Struct, frozen=True):
    """What answers a WebSocket address."""

    feed: str
    rules: Rules
    make_talk: Callable[[Session, World], Talk]


class FakeVenue(msgspec.Struct, frozen=True):
    """Everything the server needs to stand for one venue."""

    name: str
    hosts: tuple[str, ...]
    """The venue's real hosts, WebSocket and REST."""
    specs: tuple[Spec, ...]
    connect: Callable[[Query], Line | Reply | None]
    """What answers a WebSocket address; a reply refuses the handshake; null: 404."""
    respond: Callable[[World, Query], Reply]
    make_desk: Callable[[Market, Hub], Desk]
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
    stages: Mapping[str, Callable[[World], Stage]] = {}
    """Name → what makes a part that moves by the time; it is found again as `world.stages[name]`."""
    methods: tuple[str, ...] = ("GET",)
    admit: Callable[[World, Query], Reply | None] = lambda world, query: None
    """Returns the refusal of a WebSocket handshake; null lets it through."""
    keys: Mapping[str, str] = {}
    """Credentials that it takes, as a recorder calls them: name → value."""


def open_doors(world: World, fake: FakeVenue) -> None:
    """Let a fake venue take part in a world."""
    world.add_desks(fake.name, fake.make_desk)
    for spec in fake.specs:
        world.add_spec(spec)
    for name, make_stage in fake.stages.items():
        world.stages[name] = make_stage(world)
