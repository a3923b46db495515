"""What became of a turn of a snapshot service: plain facts, that other processes can read without sockets."""

import msgspec


class Tally(msgspec.Struct):
    """How requests went."""

    requests: int = 0
    """Tries of requests."""
    success: int = 0
    failures: int = 0
    rate_limited: int = 0
    """Of the failures, those that told us to wait."""

    def add(self, other: "Tally") -> None:
        """Count another's requests, too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def success_rate(self) -> float | None:
        """Share of tries that were answered; null where there were none."""
        return self.success / self.requests if self.requests else None


class Cycle(msgspec.Struct, frozen=True):
    """What became of one turn of one service."""

    service: str
    number: int
    """From 1, in this run."""
    due_us: int
    tracked: int
    """Markets that were to be asked for."""
    snapshots: int
    missed: int
    requests: Tally
    seconds: float
    reason: str = ""
    """Why the first of the missed was missed."""
    faults: dict[str, int] = {}
    """Why snapshots were missed, by the ledger's words, and whether the listing was: how many."""
