"""The ledger: one open gap a stream, a name of its own for each, the last row is its state."""

import pytest

from truetape.decode.gaps import Ledger, name_gap
from truetape.decode.state import Hole, StreamState
from truetape.events.instrument import Stream
from truetape.events.rows import Rows
from truetape.venues._contract import Continuity

STREAM = Stream(0, "v", "trade", "A-B", "AB", "spot", "spot")


@pytest.fixture
def rows() -> Rows:
    return Rows()


def test_a_stream_has_one_open_gap_at_a_time(rows: Rows) -> None:
    ledger, state = Ledger(rows), StreamState(Continuity("trade", "step"))
    ledger.open(STREAM, state, "disconnect", (2000, 1), from_ns=1000)
    ledger.open(STREAM, state, "silence", (3000, 2))
    ledger.close(STREAM, state, (4000, 3), missing=2)
    ledger.close(STREAM, state, (5000, 4))
    told = [(row[6], row[7], row[8], row[9], row[11]) for row in rows.plain["gap"]]
    assert told == [(1, None, "disconnect", "open", None), (1, 4, "disconnect", "closed", 2)]
    assert len({row[4] for row in rows.plain["gap"]}) == 1
    assert (state.gap, state.gaps) == ("", 1)


def test_gaps_noticed_at_one_frame_have_names_of_their_own(rows: Rows) -> None:
    ledger, state = Ledger(rows), StreamState(Continuity("trade", "step"))
    names = [ledger.declare(STREAM, (1, 2), "sequence", (2, 7), state=state, evidence={}, missing=1) for _ in range(3)]
    assert len(set(names)) == 3
    assert state.gaps == 3
    assert names[0] == name_gap(STREAM, 7, 1)


def test_a_repair_keeps_the_span_and_reason_of_what_it_repairs(rows: Rows) -> None:
    Ledger(rows).repair(STREAM, Hole(5, 6, "name", 1000, 9000, "disconnect"), (99_000, 3), {"proof": "arrived late"})
    (row,) = rows.plain["gap"]
    assert row[4:] == ("name", "trade", 1, 9, "disconnect", "repaired", '{"proof":"arrived late"}', 0)


def test_an_open_gap_may_turn_out_to_have_begun_earlier(rows: Rows) -> None:
    ledger, state = Ledger(rows), StreamState(Continuity("book_change", "none"))
    ledger.widen(STREAM, state, 500, (1500, 0), {})
    ledger.open(STREAM, state, "crossed", (2000, 1))
    ledger.widen(STREAM, state, 1000, (2000, 1), {"last": 1, "next": 3})
    ledger.widen(STREAM, state, 1500, (2000, 1), {})
    ledger.close(STREAM, state, (4000, 3))
    assert [(row[6], row[7], row[9]) for row in rows.plain["gap"]] == [
        (2, None, "open"),
        (1, None, "open"),
        (1, 4, "closed"),
    ]
