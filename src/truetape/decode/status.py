"""What a view says of its streams, for the live table, alerts and metrics."""

import msgspec


class StreamStatus(msgspec.Struct, frozen=True):
    """How one stream is doing."""

    venue: str
    symbol: str
    channel: str
    rows: int
    seen_ns: int
    """When its last row was received; 0 before the first."""
    gap: str
    """Reason of the open gap; empty when the stream is whole."""
    gaps: int
    """Gaps declared since the tape began, as far as this process saw."""
    price: float | None
    lag_ms: float | None
    """Receive time minus the venue's time of the last row; clocks may differ."""
