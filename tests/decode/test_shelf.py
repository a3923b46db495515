"""Books are found by stream and by market, and made anew from what streams remember."""

from truetape.decode.sealed import SealedBook
from truetape.decode.shelf import Shelf
from truetape.decode.state import StreamState
from truetape.events.instrument import Instrument
from truetape.events.rows import Rows
from truetape.venues._contract import Continuity

RULE = Continuity("book_change", "none")


def make_shelf(*markets: str, venue: str = "polymarket") -> Shelf:
    rows, states = Rows(), []
    for number, market in enumerate(markets):
        rows.add_stream(venue, "book_change", "clob", Instrument(venue, "clob", str(number), str(number), "outcome"))
        states.append(StreamState(RULE, sealed=SealedBook(bids=[("0.4", "1")], market=market)))
    return Shelf(rows, states)


def test_books_are_made_from_what_was_saved() -> None:
    shelf = make_shelf("a")
    live = shelf.find(0)
    assert live is not None and live.bids.join() == '{"price":"0.4","size":"1"}'
    assert shelf.find(0) is live
    assert shelf.find(7) is None
    assert make_shelf("a", venue="binance").find(0) is None


def test_outcomes_of_one_market_are_siblings_until_one_is_forgotten() -> None:
    shelf = make_shelf("a", "b", "", "")
    for index, market in ((2, "a"), (3, "c")):
        live = shelf.find(index)
        assert live is not None
        shelf.pair(live, market)
    assert [live.book.sibling for live in shelf.list_all()] == [2, -1, 0, -1]
    gone = shelf.find(0)
    assert gone is not None
    shelf.forget(gone)
    assert [(live.stream.index, live.book.sibling) for live in shelf.list_all()] == [(1, -1), (2, -1), (3, -1)]
    last = shelf.find(2)
    assert last is not None
    shelf.forget(last)
    assert len(list(shelf.list_all())) == 2
