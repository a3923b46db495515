"""Which messages of a connection can be decoded by the run: told by the head of the frame, `{"stream":"btcusdt@trade`. Pure."""

import numpy as np

from truetape import compiled
from truetape.events.run import Integers
from truetape.venues._contract import Lane

BOOKS_MIN = 24
"""Changes of books that are worth a run."""


class Lanes:
    """The lanes of one connection."""

    def __init__(self, end: bytes = b'",') -> None:
        self._end = end
        """What follows the head: the end of the text that names the stream."""
        self.listed: list[Lane] = []
        self._codes: dict[bytes, int] = {}

    def add(self, head: bytes, lane: Lane) -> None:
        """Let frames that begin so belong to a lane."""
        self._codes[head] = len(self.listed)
        self.listed.append(lane)

    def clear(self) -> None:
        """Forget all."""
        self.listed.clear()
        self._codes.clear()

    def sort(self, payloads: list[bytes]) -> Integers:
        """Return the lanes of messages by number, below 0 for those that have none."""
        # hot: bench/decode.py
        if compiled.core:
            return np.frombuffer(compiled.core.sort_heads(payloads, self._end, self._codes), np.int64)
        return np.array(self.sort_slowly(payloads), np.int64)

    def sort_slowly(self, payloads: list[bytes]) -> list[int]:
        """Do the same as `sort`, in Python."""
        find, end = self._codes.get, self._end
        head = payloads[0].partition(end)[0] + end
        if payloads[-1].startswith(head) and min(payloads).startswith(head) and max(payloads).startswith(head):
            return [find(head[: -len(end)], -1)] * len(
                payloads
            )  # what lies between two texts of one beginning begins so, too
        return [find(payload.partition(end)[0], -1) for payload in payloads]
