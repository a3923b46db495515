"""How a recording is doing at one moment: what alerts and metrics are made of."""

import msgspec

POLLED = ("market_snapshot",)
"""Channels of snapshot services: a service is judged as a whole, and their rows are not counted by stream."""


class StreamVital(msgspec.Struct, frozen=True):
    """One stream."""

    venue: str
    symbol: str
    channel: str
    rows: int
    age_s: float | None
    """Seconds since its last row; null before the first."""
    gap: str
    """Reason of the open gap; empty when whole."""
    gaps: int
    lag_ms: float | None


class ServiceVital(msgspec.Struct, frozen=True):
    """One snapshot service, since this run began."""

    service: str
    cycles: int
    """Turns taken."""
    snapshots: int
    missed: int
    tracked: int
    requests: int
    failures: int
    rate_limited: int
    age_s: float | None
    """Seconds since the turn taken last was due; null before the first."""
    interval_s: float
    faults: tuple[str, ...] = ()
    """Why snapshots of that turn were missed."""
    is_refused: bool = False


class JobVital(msgspec.Struct, frozen=True):
    """How a job's last run went."""

    job: str
    state: str
    age_s: float
    """Seconds since it ended, or began when it is running."""


class Vitals(msgspec.Struct, frozen=True):
    """Everything watched."""

    frames: int = 0
    durable: int = 0
    dropped: int = 0
    behind: int = 0
    """Frames on the tape that are not decoded yet."""
    counts: dict[str, int] = {}
    """decoded, quarantined, control, rows.KIND, duplicates.KIND since the tape began."""
    streams: tuple[StreamVital, ...] = ()
    services: tuple[ServiceVital, ...] = ()
    failing: dict[str, str] = {}
    """Poll (`polymarket/goldsky`) whose turns fail one after the other → why."""
    connections: dict[str, int] = {}
    """State → connections."""
    troubles: tuple[str, ...] = ()
    disk_free_bytes: int = 0
    failed_jobs: dict[str, str] = {}
    """Job whose last run failed → why."""
    jobs: tuple[JobVital, ...] = ()
    """Jobs that ever ran."""
    is_streaming: bool = True
    """Whether venues are recorded; where only services and jobs are, no connection is to be open."""
