"""How a recording is doing at one moment: what alerts and metrics are made of."""

import msgspec

from truetape.collect.status import ServiceStatus
from truetape.decode.status import StreamStatus

POLLED = ("market_snapshot",)
"""Channels of snapshot services: a service is judged as a whole, and their rows are not counted by stream."""


class JobVital(msgspec.Struct, frozen=True):
    """How a job's last run went."""

    job: str
    state: str
    age_s: float
    """Seconds since it ended, or began when it is running."""


class Vitals(msgspec.Struct, frozen=True):
    """Everything watched."""

    now_ns: int = 0
    """The moment."""
    frames: int = 0
    durable: int = 0
    dropped: int = 0
    behind: int = 0
    """Frames on the tape that are not decoded yet."""
    counts: dict[str, int] = {}
    """decoded, quarantined, control, rows.KIND, duplicates.KIND since the tape began."""
    streams: tuple[StreamStatus, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    failing: dict[str, str] = {}
    """Poll (`polymarket/goldsky`) whose turns fail one after the other → why."""
    connections: dict[str, int] = {}
    """State → connections."""
    troubles: tuple[str, ...] = ()
    disk_free_bytes: int = 0
    """Of the disk that is fullest, of those that tape, sinks and state lie on."""
    disk_place: str = ""
    """What lies on that disk."""
    failed_jobs: dict[str, str] = {}
    """Job whose last run failed → why."""
    jobs: tuple[JobVital, ...] = ()
    """Jobs that ever ran."""
    is_streaming: bool = True
    """Whether venues are recorded; where only services and jobs are, no connection is to be open."""

    def measure_age(self, stream: StreamStatus) -> float | None:
        """Return the seconds since a stream's last row; null before the first."""
        return (self.now_ns - stream.seen_ns) / 1e9 if stream.seen_ns else None

    def measure_turn(self, service: ServiceStatus) -> float | None:
        """Return the seconds since the turn that a snapshot service took last was due; null before the first."""
        return (self.now_ns - service.due_us * 1000) / 1e9 if service.due_us else None
