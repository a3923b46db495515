"""Tallies become rows when frames of another minute come, or when they are asked for."""

from truetape.decode.minute import MINUTE_NS, Minutes
from truetape.decode.sealed import SealedBook, Tally
from truetape.decode.shelf import Shelf
from truetape.decode.state import StreamState
from truetape.events.instrument import Instrument
from truetape.events.rows import Rows
from truetape.venues._contract import Continuity


def test_a_minute_is_written_once_and_an_epoch_splits_it() -> None:
    rows = Rows()
    rows.add_stream("polymarket", "book_change", "clob", Instrument("polymarket", "clob", "1", "1", "outcome"))
    state = StreamState(Continuity("book_change", "none"), sealed=SealedBook(tally=Tally(minute=2)))
    shelf = Shelf(rows, [state])
    minutes = Minutes(rows, shelf)
    (live,) = shelf.list_all()
    told = rows.plain.setdefault("book_proof", [])
    minutes.turn((2 * MINUTE_NS, 0))
    assert minutes.begin_epoch(live, "0.01", (2 * MINUTE_NS, 1)).epoch == "0.01"
    live.book.tally.batches = live.book.tally.proven = 3
    minutes.turn((2 * MINUTE_NS + 5, 2))
    assert told == []
    minutes.begin_epoch(live, "0.001", (2 * MINUTE_NS + 6, 3))
    live.book.tally.fetched = 1
    minutes.turn((3 * MINUTE_NS, 4))
    minutes.turn((3 * MINUTE_NS, 5), is_all=True)
    live.book.tally.mirrored = 2
    minutes.turn((3 * MINUTE_NS, 6), is_all=True)
    assert [(row[3], row[4], *row[5:8], row[11], row[13]) for row in told] == [
        (3, 120_000_000, "0.01", 3, 3, 0, 0),
        (4, 120_000_000, "0.001", 0, 0, 1, 0),
        (6, 180_000_000, "0.001", 0, 0, 0, 2),
    ]
