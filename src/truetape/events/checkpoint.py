"""Where a view stands on the tape, and what the decoder knew there."""

import msgspec


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything below `offset` is in the sink; `state` lets decoding go on as if it had never stopped."""

    tape_id: str
    offset: int
    """First tape offset not yet delivered."""
    counts: dict[str, int]
    """Totals since offset 0: frames, decoded, quarantined, control, and rows.<kind>, duplicates.<kind>."""
    state: bytes
    """The decoder's memory, msgpack; opaque to sinks."""
