"""How a recording is doing at one moment: what alerts and metrics are made of."""

import msgspec


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
    connections: dict[str, int] = {}
    """State → connections."""
    troubles: tuple[str, ...] = ()
    disk_free_bytes: int = 0
    failed_jobs: dict[str, str] = {}
    """Job whose last run failed → why."""
