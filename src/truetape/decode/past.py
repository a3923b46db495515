"""An engine and what is on a tape already: where it begins, and how it gets to an offset."""

from truetape.decode.engine import Engine
from truetape.tape import FrameBatch, TapeReader, join_batches

TAKE_ROWS = 16_384
"""Rows that are held before they become columns, which count them."""


def start_engine(reader: TapeReader, *, keep_books: bool = False) -> Engine:
    """Return a decoder that stands at the tape's beginning, knowing what was taken off before it."""
    engine = Engine(reader.tape_id, keep_books=keep_books)
    if reader.pruned is not None:
        engine.restore(reader.pruned)
    return engine


def decode_to(engine: Engine, reader: TapeReader, end: int | None = None) -> None:
    """Decode from where the engine stands up to an offset, or the tape's end; rows and wishes are thrown away."""
    for batch in join_batches(reader.read(max(reader.first, engine.offset))):
        if end is not None and batch.offset >= end:
            break
        kept = batch.data if end is None else batch.data.slice(0, end - batch.offset)
        engine.feed(FrameBatch(batch.offset, kept))
        if engine.pending >= TAKE_ROWS:
            engine.take()
        engine.take_wishes()
    engine.take()
