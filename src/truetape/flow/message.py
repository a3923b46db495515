"""The lines that `record` and its two child processes send each other: JSON, one message a line."""

import msgspec

from truetape.collect.status import ServiceStatus
from truetape.collect.turn import Cycle
from truetape.config import Settings
from truetape.decode.status import StreamStatus
from truetape.events.wish import Fetch, Reconnect, Resubscribe


class Begin(msgspec.Struct, frozen=True, tag=True):
    """First line to a child: what to do."""

    settings: Settings


class Grant(msgspec.Struct, frozen=True, tag=True):
    """A wish of the decoder, on its way to the collector."""

    wish: Fetch | Resubscribe | Reconnect


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Stop in good order: the collector at once, a view at the tape's end."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child cannot go on; one line for the user."""

    error: str
    is_fatal: bool


class ViewStatus(msgspec.Struct, frozen=True, tag=True):
    """How far the views are."""

    offset: int
    end: int
    counts: dict[str, int]
    streams: list[StreamStatus]


class ConnectionLine(msgspec.Struct, frozen=True):
    """One connection of the collector."""

    venue: str
    feed: str
    state: str
    frames: int
    age_s: float | None
    topics: int
    reason: str


class TapeStatus(msgspec.Struct, frozen=True, tag=True):
    """How the collector is doing."""

    frames: int
    durable: int
    held_bytes: int
    dropped_frames: int
    connections: list[ConnectionLine]
    troubles: list[str]
    services: tuple[ServiceStatus, ...] = ()
    failing: dict[str, str] = {}
    """Poll whose turns fail one after the other → why."""


class Turn(msgspec.Struct, frozen=True, tag=True):
    """A snapshot service has taken a turn."""

    cycle: Cycle


class Done(msgspec.Struct, frozen=True, tag=True):
    """The child ended in good order."""

    counts: dict[str, int] = {}


ToChild = Begin | Grant | Finish
FromChild = Grant | Failed | ViewStatus | TapeStatus | Turn | Done

read_to_child = msgspec.json.Decoder(ToChild).decode
read_from_child = msgspec.json.Decoder(FromChild).decode


def write_line(message: msgspec.Struct) -> bytes:
    """Encode one message as a line."""
    return msgspec.json.encode(message) + b"\n"
