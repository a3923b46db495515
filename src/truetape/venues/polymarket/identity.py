"""Ids for trades that have none: what is known of a fill, and which of equal ones it is."""

from typing import Any

from truetape.venues.polymarket.desk import Desk

LINES_MAX = 64
"""Connections and page walks whose counts are kept; the oldest are forgotten."""
FILLS_MAX = 2048
"""Fills counted in one of them."""


class Occurrences:
    """Counts equal fills of one line: a connection, or a walk over pages.

    A transaction may hold several equal fills, and two lines tell the same ones: so each counts for itself, and
    the first, second, third of equal fills get equal ids on all lines.
    """

    def __init__(self, desk: Desk, line: str, *, is_new: bool = False) -> None:
        lines = desk.recall("occurrences")
        counts: dict[str, Any] = {} if is_new else lines.pop(line, {})
        lines[line] = counts
        if len(lines) > LINES_MAX:
            del lines[next(iter(lines))]
        self._counts = counts

    def number(self, token: str, what: str) -> str:
        """Return the id of the next fill of these words."""
        counts = self._counts
        key = f"{token} {what}"
        count: int = counts.get(key, 0)
        counts[key] = count + 1
        if len(counts) > FILLS_MAX:
            del counts[next(iter(counts))]
        return f"{what}:{count}"


def name_fill(transaction: str, side: str, price: float, size: float) -> str:
    """Say all that every source says of a fill: the socket in text, the Data API in numbers."""
    return f"{transaction.lower()}:{side}:{price!r}:{size!r}"
