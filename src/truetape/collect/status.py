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
    trouble: str = ""
    """Why a poll's turns fail one after the other; empty while they do not, or are few."""


class VenueStatus(msgspec.Struct, frozen=True):
    """How one venue is doing."""

    venue: str
    state: State
    reason: str
    waits_s: float
    """For how long the venue told us to wait."""


class ServiceStatus(msgspec.Struct, frozen=True):
    """How one snapshot service is doing, since this run began."""

    service: str
    cycles: int
    """Turns taken."""
    snapshots: int
    missed: int
    tracked: int
    """Markets asked for in every turn."""
    requests: int
    failures: int
    rate_limited: int
    interval_s: float
    due_us: int
    """Turn taken last; 0 before the first."""
    faults: tuple[str, ...] = ()
    """Why snapshots of that turn were missed, by the ledger's words."""
    refusal: str = ""
    """Why the service is not asked any more; empty: it is."""


class CollectorStatus(msgspec.Struct, frozen=True):
    """How everything is doing."""

    venues: tuple[VenueStatus, ...]
    connections: tuple[ConnectionStatus, ...]
    recorder: RecorderStatus
    wishes_dropped: int
    services: tuple[ServiceStatus, ...] = ()
