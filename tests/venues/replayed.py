"""Play a recording through a venue's decoder, alone, without the engine: `from replayed import replay`."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from recorded import Recorded, read_frames

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import load_venue


@dataclass
class Replayed:
    """What became of a recording."""

    rows: Rows = field(default_factory=Rows)
    data: int = 0
    control: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(reason, payload or URL) of each frame that did not decode."""

    def count(self, channel: str) -> int:
        """Count rows of a channel."""
        return len(self.pick(channel))

    def pick(self, channel: str) -> list[tuple]:
        """Return the rows of a channel, in order."""
        lists = {"trade": self.rows.trades, "book_change": self.rows.books, "quote": self.rows.quotes}
        return lists.get(channel, self.rows.plain.get(channel, []))

    def group(self, channel: str) -> dict[tuple[str, str], list[tuple]]:
        """Return the rows of a channel by (market, venue_symbol)."""
        groups: dict[tuple[str, str], list[tuple]] = {}
        for row in self.pick(channel):
            stream = self.rows.streams[row[0]]
            groups.setdefault((stream.market, stream.venue_symbol), []).append(row)
        return groups


def replay(venue: str, path: Path, feed: str = "") -> Replayed:
    """Play a file; `feed` is for frames of connections whose address was not recorded."""
    return replay_frames(venue, read_frames(path), feed)


def replay_frames(venue: str, frames: object, feed: str = "") -> Replayed:
    """Play frames."""
    played = Replayed()
    spec = load_venue(venue)
    decoder = spec.make_decoder(Scribe(venue, played.rows))
    lines: dict[str, object] = {}
    for offset, frame in enumerate(frames):  # type: ignore[call-overload]
        assert isinstance(frame, Recorded)
        kind, where, payload, received_ns = frame
        if kind == "connect":
            lines[where] = decoder.open(spec.find_feed(payload.decode()) or feed, where)
            continue
        if kind in {"send", "failed"}:
            continue
        try:
            if kind == "http":
                answer = Response(spec.find_feed(where) or feed, "http", where, 200, payload, received_ns, offset)
                is_data = decoder.respond(answer)
            else:
                if where not in lines:
                    lines[where] = decoder.open(feed, where or "file")
                is_data = lines[where](payload, received_ns, offset)  # type: ignore[operator]
        except (DecodeError, msgspec.DecodeError) as error:
            played.refused.append((str(error), where if kind == "http" else payload.decode()))
            continue
        played.data += is_data
        played.control += not is_data
    return played
