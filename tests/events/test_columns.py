"""Rows become columns: numbers exact or flagged, places on the tape unique, nothing lost on the way."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from truetape.events.columns import find_inexact, take_tables
from truetape.events.instrument import Instrument
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Rows, Scribe, Unit
from truetape.events.schema import KINDS

DIGITS_EXACT = 15


def is_flagged(*values: float) -> list[bool]:
    return find_inexact(np.array(values, np.float64)).tolist()


@given(st.integers(0, 10**20), st.integers(-22, 5))
@example(9_999_999_99999999, -8)
@example(99999999_9999999, -8)
@example(10**15 - 1, -8)
@example(10**15 + 1, -8)
@example(1_00000000, -8)
@settings(max_examples=1000)
def test_a_number_of_at_most_15_digits_is_never_flagged_and_a_flagged_one_always_has_more(
    digits: int, power: int
) -> None:
    text = f"{digits}e{power}"
    needed = len(str(digits).strip("0") or "0")
    (flag,) = is_flagged(float(text))
    if needed <= DIGITS_EXACT:
        assert not flag
        assert Decimal(f"{float(text):.15g}") == Decimal(text)
    # The float alone says whether 15 digits give it back: exactly that is the flag.
    assert flag == (float(f"{float(text):.15g}") != float(text))


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=1000)
def test_the_flag_of_any_float_is_whether_15_digits_give_it_back(value: float) -> None:
    assert is_flagged(value) == [float(f"{value:.15g}") != value]


@pytest.mark.parametrize("whole", [0, 1, 9_999_998, 9_999_999, 10_000_000, 10_000_001, 99_999_999])
def test_the_fast_path_is_right_at_its_border(whole: int) -> None:
    for parts in range(0, 100_000_000, 12_345_677):
        value = float(f"{whole}.{parts:08}")
        near = [value, float(np.nextafter(value, 0)), float(np.nextafter(value, np.inf)), -value]
        assert is_flagged(*near) == [float(f"{v:.15g}") != v for v in near]


def test_nothing_is_flagged_that_is_no_number() -> None:
    assert is_flagged(float("nan"), 0.0, -0.0) == [False, False, False]


SPOT = Instrument("v", "spot", "AB", "A-B", "spot", "A", "B")


@pytest.fixture
def rows() -> Rows:
    rows = Rows()
    Scribe("v", rows).stream("book_change", "spot", SPOT)
    return rows


def test_an_inverse_level_at_price_zero_has_no_amount(rows: Rows) -> None:
    rows.books.append(
        (0, 1, 1000, 7, "c", BOOK_DIFF, None, None, None, [(0.0, 5.0), (2.0, 4.0)], [], Unit(10.0, True), None)
    )
    table = take_tables(rows)["book_change"]
    assert table["amount"].to_pylist() == [None, 20.0]
    assert table["contracts"].to_pylist() == [5.0, 4.0]


def test_levels_in_the_venues_digits_become_numbers(rows: Rows) -> None:
    rows.books.append(
        (0, None, 1000, 7, "c", BOOK_SNAPSHOT, None, 3, None, [("1.10", "2")], [("1.20", "0.00")], None, 1)
    )
    table = take_tables(rows)["book_change"].to_pylist()
    assert [(r["side"], r["price"], r["amount"], r["tape_row"]) for r in table] == [
        ("bid", 1.1, 2.0, 0),
        ("ask", 1.2, 0.0, 1),
    ]
    assert all(r["is_snapshot"] and r["sequence"] == 3 and r["exchange_at"] is None for r in table)


def test_books_without_levels_make_no_table(rows: Rows) -> None:
    rows.books.append((0, 1, 1000, 7, "c", BOOK_DIFF, None, None, None, [], [], None, None))
    assert take_tables(rows) == {}
    assert rows.books == []


def test_rows_of_one_frame_are_numbered_from_zero(rows: Rows) -> None:
    for offset, count in ((3, 2), (4, 1), (9, 3)):
        rows.trades += [(0, 1, 1000, offset, n, None, "buy", 1.0, 1.0, None, None) for n in range(count)]
    table = take_tables(rows)["trade"]
    places = zip(table["tape_offset"].to_pylist(), table["tape_row"].to_pylist(), strict=True)
    assert list(places) == [(3, 0), (3, 1), (4, 0), (9, 0), (9, 1), (9, 2)]


def test_ids_of_numbers_and_of_text_are_one_column(rows: Rows) -> None:
    head = (0, None, 1000)
    rows.trades.append((*head, 1, 17, None, None, 1.0, None, None, None))
    rows.trades.append((*head, 2, 18, "text", "sell", 1.0, None, 2.0, None))
    rows.trades.append((*head, 3, None, None, "buy", 0.1234567890123456, 1.0, None, None))
    table = take_tables(rows)["trade"]
    assert table["trade_id"].to_pylist() == ["17", "text", None]
    assert table["inexact"].to_pylist() == [False, False, True]
    assert table.schema == KINDS["trade"].arrow


def test_plain_rows_come_in_tape_order_whatever_order_they_were_noticed_in(rows: Rows) -> None:
    for offset, name in ((5, "a"), (3, "b"), (5, "c"), (4, "d")):
        rows.plain.setdefault("gap", []).append(
            (0, None, 1000, offset, name, "trade", 0, None, "sequence", "open", "{}", None)
        )
    table = take_tables(rows)["gap"]
    assert table["gap_id"].to_pylist() == ["b", "d", "a", "c"]
    assert table["tape_row"].to_pylist() == [0, 0, 0, 1]
