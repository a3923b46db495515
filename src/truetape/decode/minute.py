"""What was proven of sealed books, minute by minute, as `book_proof` rows: written by what is on the tape, not by a clock."""

from truetape.decode.sealed import Tally
from truetape.decode.shelf import Live, Shelf
from truetape.events.rows import Rows

MINUTE_NS = 60_000_000_000
At = tuple[int, int]
"""(received_ns, tape offset)."""


class Minutes:
    """Writes the tallies of all books when a minute is over."""

    def __init__(self, rows: Rows, shelf: Shelf) -> None:
        self._rows = rows
        self._shelf = shelf
        self.now = -1
        """The minute of the newest frame; -1: none was seen since the start."""

    def turn(self, at: At, *, is_all: bool = False) -> None:
        """Write what was proven in minutes that are over; `is_all`: in the running one, too."""
        self.now = at[0] // MINUTE_NS
        for live in self._shelf.list_all():
            if is_all or live.book.tally.minute != self.now:
                self._flush(live, at)
                live.book.tally.minute = self.now

    def begin_epoch(self, live: Live, epoch: str, at: At) -> Tally:
        """Count from here on under another price step."""
        if live.book.tally.epoch:
            self._flush(live, at)
        live.book.tally.epoch = epoch
        return live.book.tally

    def _flush(self, live: Live, at: At) -> None:
        tally = live.book.tally
        if tally.is_empty:
            return
        told = (
            tally.minute * MINUTE_NS // 1000, tally.epoch or None, tally.batches, tally.proven, tally.broken, tally.unjudged,
            tally.pictures, tally.fetched, tally.confirmed, tally.mirrored, tally.mirror_broken,
        )  # fmt: skip
        self._rows.plain.setdefault("book_proof", []).append((live.stream.index, None, *at, *told))
        live.book.tally = Tally(minute=self.now, epoch=tally.epoch)
