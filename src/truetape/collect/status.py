"""What the collector says of itself, for the live table and for `truetape status`."""

from typing import Literal

import msgspec

from truetape.collect.recorder import RecorderStatus

State = Literal["listing", "waiting", "connecting", "open", "replacing", "refused", "stopped"]


class ConnectionStatus(msgspec.Struct, frozen=True):
    """How one connection is doing; its counts go on over reconnects."""

    venue: str
    feed: str
    connection: str
    """Its name on the tape; the lane's name while there is none."""
    state: State
    frames: int
    bytes: int
    age_s: float | None
    """Seconds since the last sign of life; null before the first."""
    attempts: int
    """Connects since it last worked."""
    topics: int
    reason: str = ""
    """What went wrong last."""


class VenueStatus(msgspec.Struct, frozen=True):
    """How one venue is doing."""

    venue: str
    state: State
    reason: str
    waits_s: float
    """For how long the venue told us to wait."""


class CollectorStatus(msgspec.Struct, frozen=True):
    """How everything is doing."""

    venues: tuple[VenueStatus, ...]
    connections: tuple[ConnectionStatus, ...]
    recorder: RecorderStatus
    wishes_dropped: int
