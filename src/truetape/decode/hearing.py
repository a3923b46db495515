"""What a relay told of a time, where rows have no numbers: is it all of it?

Rows of a stream that follow each other within `Began.quiet_us` have nothing missing between them. So a range is whole when
rows were told from before it until after it, and none were further apart.
"""

import msgspec

from truetape.events.backfill import Range


class Hearing(msgspec.Struct):
    """What was told around one range so far, by receive times."""

    first_us: int | None = None
    last_us: int | None = None
    silence_us: int = 0
    """The longest between two rows, where the range is."""
    silent_from_us: int = 0

    def hear(self, span: Range, at_us: int) -> None:
        """Take a row; those of other ranges, and repeats, say nothing of this one."""
        begin_us, end_us, low, high = _find_ends(span)
        if not begin_us <= at_us <= end_us:
            return
        if self.last_us is None or self.first_us is None:
            self.first_us = self.last_us = at_us
        elif at_us > self.last_us:
            silence_us = at_us - self.last_us
            if self.last_us < high and at_us > low and silence_us > self.silence_us:
                self.silence_us, self.silent_from_us = silence_us, self.last_us
            self.last_us = at_us

    def find_silence(self, span: Range, quiet_us: int) -> tuple[int, int] | None:
        """Return when the relay told nothing for too long; null: it told all of the range."""
        begin_us, end_us, low, high = _find_ends(span)
        if self.first_us is None or self.last_us is None:
            return begin_us, end_us
        if self.first_us > low:
            return begin_us, self.first_us
        if self.last_us < high:
            return self.last_us, end_us
        is_long = self.silence_us > quiet_us
        return (self.silent_from_us, self.silent_from_us + self.silence_us) if is_long else None


def _find_ends(span: Range) -> tuple[int, int, int, int]:
    """Return from when until when was asked, and what of it is missing."""
    low, high = span.low or 0, span.high or 0
    return low if span.from_us is None else span.from_us, high if span.to_us is None else span.to_us, low, high
