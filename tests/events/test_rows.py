"""What venues write rows with: numbering of all frames of a connection, claims, streams."""

from hypothesis import given
from hypothesis import strategies as st

from truetape.events.instrument import Instrument
from truetape.events.rows import HOLES_MAX, Rows, Scribe

SPOT = Instrument("v", "spot", "AB", "A-B", "spot", "A", "B")


@given(st.lists(st.integers(0, 30), max_size=60))
def test_each_number_of_a_connection_counts_once(numbers: list[int]) -> None:
    rows = Rows()
    scribe = Scribe("v", rows)
    seen: set[int] = set()
    last, repeats, jumps = None, [], []
    for offset, number in enumerate(numbers):
        scribe.count("a", 1, offset, number)
        # What came before the first number seen is not known: it is taken for a repeat.
        if number in seen or (last is not None and number < numbers[0]):
            repeats.append(offset)
        elif last is not None and number > last + 1:
            jumps.append((last, number))
        seen.add(number)
        last = number if last is None else max(last, number)
    assert rows.repeats == repeats
    assert [(counter.last, counter.number) for counter in rows.counters] == jumps


def test_holes_of_a_connection_are_bounded_and_go_with_it() -> None:
    rows = Rows()
    for number in range(0, 1000, 2):
        Scribe("v", rows).count("a", 1, number, number)
    assert len(rows.numberings["a"].holes) == HOLES_MAX
    assert Scribe("v", rows).claim("a", "book AB", "deep") == "deep"
    rows.forget_connection("a")
    assert (rows.numberings, rows.claims) == ({}, {})


def test_one_topic_of_a_connection_is_the_book() -> None:
    scribe = Scribe("v", Rows())
    assert scribe.claim("a", "book AB", "50") == "50"
    assert scribe.claim("a", "book AB", "200") == "50"
    assert scribe.claim("b", "book AB", "200") == "200"


def test_streams_are_found_again_whatever_feed_names_them() -> None:
    rows = Rows()
    scribe = Scribe("v", rows)
    assert scribe.stream("trade", "one", SPOT) is scribe.stream("trade", "two", SPOT)
    other = Rows()
    other.restore_streams(rows.streams)
    assert Scribe("v", other).stream("trade", "two", SPOT).index == 0
    assert Scribe("v", other).stream("quote", "two", SPOT).index == 1
