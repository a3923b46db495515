"""Where the stages meet: a view carries a tape into a sink; verify proves that it did."""

from collections.abc import Callable, Iterator

import msgspec
import pyarrow as pa

from truetape.config import DeliverSettings
from truetape.decode.engine import Engine
from truetape.errors import SinkError, TapeError
from truetape.events.wish import Wish
from truetape.sinks import Sink, open_sink
from truetape.tape import TapeReader, open_reader

FEED_FRAMES_MAX = 4096
"""Frames decoded before their rows become columns: bounds memory, and the cost of making columns."""


class Progress(msgspec.Struct, frozen=True):
    """How far a view has come."""

    sink: str
    offset: int
    end: int
    counts: dict[str, int]
    seconds: float = 0.0


class View:
    """Reads a tape from where its sink stands, decodes, and writes; rows and offset become durable together."""

    def __init__(
        self, reader: TapeReader, tape_id: str, sink: Sink, settings: DeliverSettings, *, keep_books: bool = True
    ) -> None:
        self.engine = Engine(tape_id, keep_books=keep_books)
        self._reader = reader
        self._sink = sink
        self._settings = settings
        self._held: dict[str, list[pa.Table]] = {}
        self._held_rows = 0
        self._committed_ns = 0
        self._seen_ns = 0
        checkpoint = sink.resume()
        if checkpoint is not None:
            self.engine.restore(checkpoint)
        self._committed_offset = self.engine.offset

    def advance(self, frames_max: int = 50_000) -> int:
        """Decode at most about so many frames that are on the tape now; return how many were."""
        begin = self.engine.offset
        for batch in self._reader.read(max(begin, self._reader.first), frames_max):
            self.engine.feed(batch)
            self._seen_ns = batch.data.column("received_ns")[len(batch.data) - 1].as_py()
            if self.engine.pending >= FEED_FRAMES_MAX:
                self._hold()
                self._commit_when_due()
        self._hold()
        self._commit_when_due()
        return self.engine.offset - begin

    def take_wishes(self) -> list[Wish]:
        """Return what the decoder wished for."""
        return self.engine.take_wishes()

    def commit(self) -> None:
        """Make everything decoded so far durable."""
        self._hold()
        if self.engine.offset == self._committed_offset:
            return
        tables = {kind: pa.concat_tables(parts) for kind, parts in self._held.items()}
        self._sink.write(tables, self.engine.save())
        self._held.clear()
        self._held_rows = 0
        self._committed_ns = self._seen_ns
        self._committed_offset = self.engine.offset

    def _hold(self) -> None:
        for kind, table in self.engine.take().items():
            self._held.setdefault(kind, []).append(table)
            self._held_rows += table.num_rows

    def _commit_when_due(self) -> None:
        if not self._committed_ns:
            self._committed_ns = self._seen_ns
        waited_s = (self._seen_ns - self._committed_ns) / 1e9
        if self._held_rows >= self._settings.commit_rows or waited_s >= self._settings.commit_seconds:
            self.commit()


def deliver(
    tape: str,
    sinks: tuple[str, ...],
    settings: DeliverSettings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Progress]:
    """Run a view of the tape into each sink up to the tape's present end; return where each stands."""
    results = []
    for spec in sinks:
        reader = open_reader(tape)
        sink = open_sink(spec, reader.tape_id)
        try:
            view = View(reader, reader.tape_id, sink, settings or DeliverSettings())
            while view.advance():
                view.take_wishes()  # the past cannot be asked again: answers, where given, are on the tape
                if on_progress:
                    on_progress(Progress(spec, view.engine.offset, reader.end, view.engine.counts))
            view.commit()
            results.append(Progress(spec, view.engine.offset, reader.end, view.engine.counts))
        finally:
            sink.close()
            reader.close()
    return results


def replay(tape: str, begin: int = 0, end: int | None = None) -> Iterator[dict[str, pa.Table]]:
    """Decode a tape from its beginning and yield the rows of frames in [begin, end), stretch by stretch."""
    reader = open_reader(tape)
    try:
        engine = Engine(reader.tape_id)
        for batch in reader.read(reader.first):
            if end is not None and batch.offset >= end:
                return
            engine.feed(batch)
            engine.take_wishes()
            tables = engine.take()
            if engine.offset > begin:
                yield {kind: _cut(table, begin, end) for kind, table in tables.items()}
    finally:
        reader.close()


def _cut(table: pa.Table, begin: int, end: int | None) -> pa.Table:
    offsets = table.column("tape_offset")
    mask = pa.compute.greater_equal(offsets, begin)
    if end is not None:
        mask = pa.compute.and_(mask, pa.compute.less(offsets, end))
    return table.filter(mask)


class Verdict(msgspec.Struct, frozen=True):
    """What `verify` found: the equation of the tape and of one sink."""

    balanced: bool
    frames: int
    decoded: int
    quarantined: int
    control: int
    rows: dict[str, int]
    stored: dict[str, int]
    duplicates: dict[str, int]
    gaps: int
    lake_sha256: str | None
    problems: list[str]
    """Why it is not balanced; empty when it is."""


def verify(tape: str, sink_spec: str, hash_sink: Callable[[], str] | None = None) -> Verdict:
    """Decode the whole tape again and hold it against what the sink has stored."""
    reader = open_reader(tape)
    sink = open_sink(sink_spec, reader.tape_id)
    try:
        checkpoint = sink.resume()
        if checkpoint is None:
            raise SinkError(f"{sink_spec}: nothing of tape {tape} was ever delivered there")
        engine = Engine(reader.tape_id)
        for batch in reader.read(reader.first):
            engine.feed(batch)
            engine.take()
            engine.take_wishes()
        stored = sink.stored()
        end = reader.end
    finally:
        sink.close()
        reader.close()
    counts = engine.counts
    problems = _find_imbalance(counts, stored, checkpoint.offset, end)
    gaps = stored.get("gap", 0)
    return Verdict(
        not problems,
        counts["frames"],
        counts["decoded"],
        counts["quarantined"],
        counts["control"],
        _pick(counts, "rows."),
        stored,
        _pick(counts, "duplicates."),
        gaps,
        hash_sink() if hash_sink else None,
        problems,
    )


def _find_imbalance(counts: dict[str, int], stored: dict[str, int], offset: int, end: int) -> list[str]:
    problems = []
    told_apart = counts["decoded"] + counts["quarantined"] + counts["control"]
    if counts["frames"] != told_apart:
        problems.append(f"{counts['frames']} frames on the tape, {told_apart} decoded, quarantined or control")
    if offset != end:
        problems.append(f"the tape ends at {end}, the sink stands at {offset}: run `truetape deliver`")
        return problems
    rows, duplicates = _pick(counts, "rows."), _pick(counts, "duplicates.")
    for kind in sorted(rows.keys() | stored.keys()):
        due = rows.get(kind, 0) - duplicates.get(kind, 0)
        if due != stored.get(kind, 0):
            problems.append(f"{kind}: {due} rows are due ({rows.get(kind, 0)} decoded, {duplicates.get(kind, 0)} repeats), {stored.get(kind, 0)} stored")
    return problems


def _pick(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): n for name, n in sorted(counts.items()) if name.startswith(prefix)}


__all__ = ["Progress", "TapeError", "Verdict", "View", "deliver", "replay", "verify"]
