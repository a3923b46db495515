"""Remedies come one after the other, ever more rarely, and once for a connection."""

import msgspec

from truetape.decode.remedy import BROKEN, FROZEN, PAUSE_NS, STALLED, Remedies
from truetape.decode.sealed import SealedBook
from truetape.decode.state import ConnectionState, StreamState
from truetape.events.instrument import Stream
from truetape.events.rows import Rows
from truetape.events.wish import Fetch, Reconnect, Resubscribe
from truetape.venues._contract import Continuity

STREAM = Stream(3, "polymarket", "book_change", "11", "11", "clob", "clob")
RULE = Continuity("book_change", "none", recovery="resubscribe", is_connection_scoped=True)


def test_each_remedy_is_stronger_and_later_than_the_last() -> None:
    rows, book = Rows(), SealedBook()
    state = StreamState(RULE, connections=["line"])
    remedies = Remedies(rows, {3: ("11",)})
    for at_ns in range(1, 60 * PAUSE_NS, PAUSE_NS // 2):
        remedies.ask(STREAM, state, book, at_ns, "checksum broken", BROKEN)
    assert [type(wish) for wish in rows.wishes] == [Fetch, Resubscribe, Fetch, Reconnect, Reconnect, Reconnect]
    assert rows.wishes[1] == Resubscribe("polymarket", "clob", "line", ("11",), "11: checksum broken")


def test_a_connection_is_opened_anew_once_for_all_its_books() -> None:
    rows = Rows()
    remedies = Remedies(rows, {})
    remedies.connections = {"line": ConnectionState("polymarket", "clob", 0, 0)}
    for at_ns in (PAUSE_NS, PAUSE_NS + 1, 3 * PAUSE_NS):
        remedies.ask(STREAM, StreamState(RULE, owner="line"), SealedBook(), at_ns, "silence", FROZEN)
    assert [type(wish) for wish in rows.wishes] == [Reconnect, Reconnect]


def test_where_no_book_can_be_fetched_it_is_subscribed_again() -> None:
    rows = Rows()
    stream = msgspec.structs.replace(STREAM, venue="chainlink")
    Remedies(rows, {}).ask(stream, StreamState(RULE), SealedBook(), 1, "broken", BROKEN)
    assert [type(wish) for wish in rows.wishes] == [Resubscribe]
    assert STALLED[0] == "resubscribe"
