"""Tapes in memory: frames made by hand or read from recordings, and what an engine makes of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from recorded import name_format

from truetape.decode.engine import Engine
from truetape.events.wish import Wish
from truetape.tape.foreign import read_recording
from truetape.tape.foreign.origin import Origin
from truetape.tape.frame import FRAME_SCHEMA, Frame, FrameBatch, FrameKind, Source
from truetape.venues import load_venue

START_NS = 1_767_225_600_000_000_000
"""2026-01-01."""
SECOND_NS = 10**9
RECORDER = Source("", "", "recorder")
_FORMATS = {"cfv3": "cryptofeed", "tsline": "hftbacktest", "raw": "plain"}


class Tape:
    """Frames in order; each is received 10 ms after the one before unless `wait` says otherwise."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self.frames: list[Frame] = []
        self.now_ns = start_ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * SECOND_NS)

    def put(self, source: Source, kind: FrameKind, payload: bytes = b"", meta: str = "") -> int:
        """Add a frame; return its offset."""
        self.now_ns += 10_000_000
        self.frames.append(Frame(self.now_ns, 0, int(kind), *source, payload, meta))
        return len(self.frames) - 1

    def say(self, source: Source, payload: bytes | str | dict[str, Any] | list[Any]) -> int:
        """Add a message of the venue."""
        if isinstance(payload, dict | list):
            payload = json.dumps(payload, separators=(",", ":"))
        return self.put(source, FrameKind.TEXT, payload.encode() if isinstance(payload, str) else payload)

    def ask(self, source: Source, payload: str = "{}", meta: str = "") -> int:
        """Add a message of ours."""
        return self.put(source, FrameKind.REQUEST, payload.encode(), meta)

    def answer(self, venue: str, feed: str, url: str, body: dict[str, Any] | list[Any], status: int = 200) -> int:
        """Add an HTTP response."""
        source, meta = Source(venue, feed, f"{venue}/http"), json.dumps({"url": url, "status": status})
        return self.put(source, FrameKind.RESPONSE, json.dumps(body).encode(), meta)

    def note(self, source: Source, event: str, **facts: Any) -> int:
        """Add an event."""
        return self.put(source, FrameKind.EVENT, b"", json.dumps({"event": event, **facts}))

    def subscribe(self, source: Source, channel: str, market: str, venue_symbol: str, topic: str = "topic") -> int:
        """Add the event that says what a connection asked for."""
        wanted = {"channel": channel, "market": market, "venue_symbol": venue_symbol, "topic": topic}
        return self.note(source, "subscribed", streams=[wanted])


@dataclass
class Outcome:
    """What an engine made of frames."""

    tables: dict[str, pa.Table]
    counts: dict[str, int]
    state: bytes
    wishes: list[Wish] = field(default_factory=list)

    def rows(self, kind: str, **equal: Any) -> list[dict[str, Any]]:
        """Return rows of a kind whose columns have these values."""
        table = self.tables.get(kind)
        rows = [] if table is None else table.to_pylist()
        return [row for row in rows if all(row[name] == value for name, value in equal.items())]

    def gaps(self, **equal: Any) -> list[dict[str, Any]]:
        """Return each gap as its last row tells it."""
        last = {row["gap_id"]: row for row in self.rows("gap")}
        return [row for row in last.values() if all(row[name] == value for name, value in equal.items())]

    def ids(self) -> list[int]:
        """Return the ids of all trades."""
        return [int(row["trade_id"]) for row in self.rows("trade")]


def batch(frames: Sequence[Frame], offset: int = 0) -> FrameBatch:
    """Turn frames into a batch that begins at an offset."""
    columns = zip(*frames, strict=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, FRAME_SCHEMA, strict=True)]
    return FrameBatch(offset, pa.RecordBatch.from_arrays(arrays, schema=FRAME_SCHEMA))


def decode(
    frames: Tape | Sequence[Frame],
    cuts: Iterable[int] = (),
    takes: Iterable[int] | None = None,
    restores: Iterable[int] = (),
    *,
    books: bool = True,
) -> Outcome:
    """Decode frames cut into batches; take columns, and start anew from a checkpoint, at these cuts (default: never)."""
    listed = frames.frames if isinstance(frames, Tape) else frames
    cutting, taking, restoring = set(cuts), set(takes or ()), set(restores)
    cutting |= taking | restoring
    ends = sorted({0, len(listed)} | {cut for cut in cutting if 0 < cut < len(listed)})
    engine, parts, wishes = Engine("tape", keep_books=books), [], []
    for begin, end in pairwise(ends):
        engine.feed(batch(listed[begin:end], begin))
        if end in taking or end in restoring:
            parts.append(engine.take())
            wishes += engine.take_wishes()
        if end in restoring:
            saved = engine.save()
            engine = Engine("tape", keep_books=books)
            engine.restore(saved)
    parts.append(engine.take())
    wishes += engine.take_wishes()
    kinds = {kind for part in parts for kind in part}
    tables = {kind: pa.concat_tables([part[kind] for part in parts if kind in part]) for kind in sorted(kinds)}
    return Outcome(tables, engine.counts, engine.save().state, wishes)


def check_balance(outcome: Outcome) -> None:
    """Hold the two equations of the tape."""
    counts = outcome.counts
    assert counts["frames"] == counts["decoded"] + counts["quarantined"] + counts["control"]
    kinds = {name[5:] for name in counts if name.startswith("rows.")} | set(outcome.tables)
    for kind in kinds:
        stored = outcome.tables[kind].num_rows if kind in outcome.tables else 0
        assert counts[f"rows.{kind}"] == stored + counts.get(f"duplicates.{kind}", 0), kind
    assert counts["quarantined"] == len(outcome.rows("quarantine"))


def read_recorded(path: Path, venue: str, feed: str | None = None, frames_max: int = 10**9) -> list[Frame]:
    """Read the frames of a recording as an import puts them on a tape."""
    known = load_venue(venue)
    origin = Origin(path, venue, f"import/{path.name}@0", feed=feed, feed_of=known.find_feed, start_ns=START_NS)
    found: list[Frame] = []
    opened = set()
    for frame in read_recording(_FORMATS[name_format(path)], origin):
        event = frame.meta if frame.kind == FrameKind.EVENT else ""
        if '"opened"' in event:
            opened.add(frame.connection)
        elif frame.connection not in opened and frame.kind <= FrameKind.BINARY:
            opened.add(frame.connection)
            found.append(frame._replace(kind=int(FrameKind.EVENT), payload=b"", meta='{"event":"opened"}'))
        found.append(frame)
        if len(found) >= frames_max:
            break
    return found
