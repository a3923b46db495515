"""What is known of a foreign recording beside its lines, and what a format offers."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from truetape.tape.foreign.lines import OnRead, ignore_read
from truetape.tape.frame import Frame, FrameKind


class Origin(msgspec.Struct, frozen=True):
    """Where a foreign recording came from."""

    path: Path
    venue: str
    connection: str
    """Name that its connections get, or begin with."""
    feed: str | None = None
    """The venue's feed; None: the recording tells, or it stays empty."""
    feed_of: Callable[[str], str | None] | None = None
    """Tells the feed of a URL, for recordings that have URLs."""
    start_ns: int | None = None
    """First receive time, for recordings without times."""
    on_read: OnRead = ignore_read
    """Hears how much of the file has been read."""

    def find_feed(self, url: str) -> str:
        """Return the feed that a URL belongs to; empty when nobody knows."""
        if self.feed is not None:
            return self.feed
        return (self.feed_of(url) or "") if self.feed_of else ""


ReadLine = Callable[[bytes], Iterable[Frame]]
"""Turns one line, without its end, into frames; raises ValueError when the line is bad."""

StartReading = Callable[[Origin, Callable[[], Iterator[bytes]]], ReadLine]
"""Prepares to read one recording; may look through its lines first."""


class ReadWhole(Protocol):
    """Reads one recording whose frames are not lines."""

    def __call__(self, origin: Origin, *, skip_bad: bool, ratio_max: int) -> Iterator[Frame]:
        """Yield its frames; raises TapeError on a bad line, which `skip_bad` makes an EVENT frame."""
        ...


def make_event(frame: Frame, **meta: str | int) -> Frame:
    """Return an EVENT frame at the time and place of `frame`."""
    text = msgspec.json.encode(meta).decode()
    return frame._replace(kind=FrameKind.EVENT, payload=b"", meta=text)
