"""A view carries a tape into a sink; replay decodes it again for whoever asks."""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import sleep
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute

from truetape import clock
from truetape.config import DeliverSettings
from truetape.decode.past import decode_to, start_engine
from truetape.events.checkpoint import Checkpoint
from truetape.events.wish import Wish
from truetape.sinks import Sink, open_sink
from truetape.tape import TapeReader, join_batches, open_reader

FEED_FRAMES_MAX = 4096
"""Frames decoded before their rows become columns: bounds memory, and the cost of making columns."""

TRIM_EVERY_NS = 5_000_000_000
"""How often memory is given back at most."""

NEWEST_ROWS = 20
"""Rows of each stretch looked at for the newest prices."""
NEWEST_MAX = 20_000
"""Streams whose newest price is remembered: markets of minutes come by the hundreds a day."""

_PRICES = {
    "trade": "price",
    "quote": "bid_price",
    "ticker": "last_price",
    "derivative": "mark_price",
    "candle": "close",
}


class Progress(msgspec.Struct, frozen=True):
    """How far a view has come."""

    sink: str
    offset: int
    end: int
    counts: dict[str, int]
    seconds: float = 0.0


OnProgress = Callable[[Progress], None]


class View:
    """Reads a tape from where its sink stands, decodes, and writes; rows and offset become durable together."""

    def __init__(self, reader: TapeReader, sink: Sink, settings: DeliverSettings, *, keep_books: bool = False) -> None:
        self.engine = start_engine(reader, keep_books=keep_books)
        self._reader = reader
        self._sink = sink
        self._settings = settings
        self._held: dict[str, list[pa.Table]] = {}
        self._held_rows = self._held_bytes = 0
        self._committed_ns = 0
        self._seen_ns = self._trimmed_ns = 0
        checkpoint = sink.resume()
        if checkpoint is not None:
            self._resume(checkpoint)
        self.committed = self.engine.offset
        """Everything below this offset is durable in the sink."""
        self.newest: dict[tuple[str, str, str], tuple[float | None, float | None]] = {}
        """(channel, venue, symbol) → price and lag in ms of the newest row, of a sample of rows."""

    def _resume(self, checkpoint: Checkpoint) -> None:
        try:
            self.engine.restore(checkpoint)
        except msgspec.DecodeError:
            # Another version wrote what the decoder remembered: the tape tells it again.
            decode_to(self.engine, self._reader, checkpoint.offset)

    def advance(self, frames_max: int = 50_000, on_batch: Callable[[], None] = lambda: None) -> int:
        """Decode at most about so many frames that are on the tape now; return how many were. `on_batch`: after each stretch."""
        begin = self.engine.offset
        for batch in join_batches(self._reader.read(max(begin, self._reader.first), frames_max)):
            self.engine.feed(batch)
            self._seen_ns = batch.data.column("received_ns")[len(batch.data) - 1].as_py()
            if self.engine.pending >= FEED_FRAMES_MAX:
                self._hold()
                self._commit_when_due()
                on_batch()
        self._hold()
        self._commit_when_due()
        return self.engine.offset - begin

    def take_wishes(self) -> list[Wish]:
        """Return what the decoder wished for."""
        return self.engine.take_wishes()

    def commit(self) -> None:
        """Make everything decoded so far durable."""
        self._hold()
        if self.engine.offset == self.committed:
            return
        tables = {kind: pa.concat_tables(parts) for kind, parts in self._held.items()}
        self._sink.write(tables, self.engine.save())
        self._held.clear()
        self._held_rows = self._held_bytes = 0
        del tables
        self._give_memory_back()
        self._committed_ns = self._seen_ns
        self.committed = self.engine.offset

    def _give_memory_back(self) -> None:
        """Return freed memory to the system: measured, the allocators keep 100 MB and more of every commit.

        Commits that follow each other closely would fault it in again at once.
        """
        now_ns = clock.monotonic_ns()
        if now_ns - self._trimmed_ns >= TRIM_EVERY_NS:
            self._trimmed_ns = now_ns
            pa.default_memory_pool().release_unused()
            if _MALLOC_TRIM is not None:
                _MALLOC_TRIM(0)

    def _hold(self) -> None:
        for kind, table in self.engine.take().items():
            if kind in _PRICES:
                self._look(kind, table.slice(max(0, table.num_rows - NEWEST_ROWS)))
            self._held.setdefault(kind, []).append(table)
            self._held_rows += table.num_rows
            self._held_bytes += table.nbytes

    def _look(self, kind: str, tail: pa.Table) -> None:
        """Remember the newest price and lag per symbol."""
        columns = ("venue", "symbol", _PRICES[kind], "exchange_at", "received_at")
        for venue, symbol, price, exchange, received in zip(
            *(tail.column(c).to_pylist() for c in columns), strict=True
        ):
            lag_ms = None if exchange is None else (received - exchange).total_seconds() * 1e3
            self.newest[kind, venue, symbol] = (price, lag_ms)
        if len(self.newest) > NEWEST_MAX:
            self.newest = dict(islice(self.newest.items(), NEWEST_MAX // 2, None))

    def _commit_when_due(self) -> None:
        if not self._committed_ns:
            self._committed_ns = self._seen_ns
        waited_s = (self._seen_ns - self._committed_ns) / 1e9
        is_full = self._held_rows >= self._settings.commit_rows or self._held_bytes >= self._settings.commit_bytes
        if is_full or waited_s >= self._settings.commit_seconds:
            self.commit()


_MALLOC_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Only where the C library is glibc."""


def deliver(
    tape: str,
    sinks: tuple[str, ...],
    settings: DeliverSettings | None = None,
    on_progress: OnProgress | None = None,
) -> list[Progress]:
    """Run a view of the tape into each sink up to the tape's present end; return where each stands."""
    results = []
    for spec in sinks:
        reader = open_reader(tape)
        sink = open_sink(spec, reader.tape_id)
        try:
            view = View(reader, sink, settings or DeliverSettings())

            def tell(spec: str = spec, view: View = view, end: int = reader.end) -> None:
                if on_progress:
                    on_progress(Progress(spec, view.engine.offset, end, view.engine.counts))

            while view.advance(on_batch=tell):
                view.take_wishes()  # the past cannot be asked again: answers, where given, are on the tape
                tell()
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
        engine = start_engine(reader)
        for batch in join_batches(reader.read(max(reader.first, engine.offset))):
            if end is not None and batch.offset >= end:
                return
            engine.feed(batch)
            engine.take_wishes()
            tables = engine.take()
            if engine.offset > begin:
                yield {kind: _cut(table, begin, end) for kind, table in tables.items()}
    finally:
        reader.close()


def pace(rows: Iterable[dict[str, Any]], speed: float) -> Iterator[dict[str, Any]]:
    """Yield rows as far apart as they were received, `speed` times faster."""
    begin_at, begin_ns = None, clock.monotonic_ns()
    for row in rows:
        begin_at = begin_at or row["received_at"]
        due_ns = begin_ns + (row["received_at"] - begin_at).total_seconds() * 1e9 / speed
        wait_ns = due_ns - clock.monotonic_ns()
        if wait_ns > 0:
            sleep(wait_ns / 1e9)
        yield row


def _cut(table: pa.Table, begin: int, end: int | None) -> pa.Table:
    offsets = table.column("tape_offset")
    mask = pa.compute.greater_equal(offsets, begin)
    if end is not None:
        mask = pa.compute.and_(mask, pa.compute.less(offsets, end))
    return table.filter(mask)
