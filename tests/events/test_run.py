"""Runs: columns that say the same as tuples of rows, whole and in parts."""

import numpy as np
import pytest

from truetape.events.columns import take_tables
from truetape.events.instrument import Instrument
from truetape.events.rows import BOOK_DIFF, Rows, Scribe, Unit
from truetape.events.run import (
    UNKNOWN,
    BookRun,
    QuoteRun,
    Run,
    TextRun,
    TradeRun,
    array_known,
    join_words,
    list_known,
    name_kind,
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


HEAD = ints(0, 1, 0, 1), ints(5, 6, UNKNOWN, 8), ints(5000, 6000, 7000, 8000), ints(10, 11, 12, 14)
TIMED = HEAD[0], ints(5, 6, 7, 8), *HEAD[2:]
TRADES = TradeRun(
    *TIMED, ints(1, 7, 2, 8), np.array([True, False, False, True]), floats(1.5, 2, 3, 4), floats(1, 0, 3, 1)
)
QUOTES = QuoteRun(
    *HEAD, floats(1, np.nan, 3, 4), floats(1, np.nan, 3, 4), floats(2, 3, 4, 5), floats(2, 3, 4, 5), ints(*range(4))
)
IDS = ints(1, 5, 2, 6), ints(1, 5, 2, 6), ints(0, UNKNOWN, 1, UNKNOWN)
LEVELS = ints(1, 0, 0, 2, 0, 0, 1, 1), floats(1, 10, 2, 20, 3, 30, 4, 40, 5, 50)
BOOKS = BookRun(*HEAD, np.full(4, BOOK_DIFF), *IDS, [], "line", *LEVELS)
COUNTED = BOOKS._replace(units=[None, Unit(100.0, True), None, Unit(float("nan"), True)])
RUNS = {"trade": TRADES, "quote": QUOTES, "book_change": BOOKS, "counted": COUNTED}


def make_rows() -> Rows:
    rows = Rows()
    for symbol in ("A", "B"):
        Scribe("v", rows).stream("trade", "f", Instrument("v", "spot", symbol, symbol, "X", symbol, "X"))
    return rows


def put(rows: Rows, run: Run) -> None:
    lists = {"trade": rows.trade_runs, "quote": rows.quote_runs, "book_change": rows.book_runs}
    lists[name_kind(run)].append(run)


def put_tuples(rows: Rows, run: Run) -> None:
    lists = {"trade": rows.trades, "quote": rows.quotes, "book_change": rows.books}
    lists[name_kind(run)].extend(run.unpack())


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_run_makes_the_table_that_its_tuples_make(run: Run) -> None:
    one, other = make_rows(), make_rows()
    put(one, run)
    put_tuples(other, run)
    assert one.pending == other.pending == 4
    assert take_tables(one) == take_tables(other)
    assert one.pending == 0


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("wanted", [slice(0, 2), slice(2, None), np.array([True, False, True, False])], ids=str)
def test_parts_of_a_run_are_the_same_parts_of_its_tuples(run: Run, wanted: slice | np.ndarray) -> None:
    rows = run.unpack()
    chosen = (
        rows[wanted] if isinstance(wanted, slice) else [row for row, is_in in zip(rows, wanted, strict=True) if is_in]
    )
    assert repr(run.pick(wanted).unpack()) == repr(chosen)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_runs_and_tuples_come_in_tape_order(run: Run) -> None:
    whole, mixed = make_rows(), make_rows()
    put(whole, run)
    is_even = np.array([True, False, True, False])
    put(mixed, run.pick(~is_even))
    put_tuples(mixed, run.pick(is_even))
    assert take_tables(whole) == take_tables(mixed)


def test_unknown_integers_are_null() -> None:
    assert list_known(array_known([1, None, 3])) == [1, None, 3]
    assert QUOTES.unpack()[2][1] is None
    assert QUOTES.unpack()[1][4] is None
    assert [row[8] for row in BOOKS.unpack()] == [0, None, 1, None]


def test_frames_with_checksums_keep_their_digits() -> None:
    numbers = np.arange(3)
    counts, flat = np.array([1, 0, 1, 1, 0, 1]), np.arange(8.0)
    books = BookRun(*[numbers] * 8, [], "line", counts, flat)
    levels = [("0.0", "1"), ("2.0", "3"), ("4.0", "5"), ("6.0", "7")]
    run = TextRun(books, join_words([":".join(level) for level in levels]), np.array([7, 8, 9]))
    rows = run.unpack()
    assert [(row[3], row[9], row[10], row[12]) for row in rows] == [
        (0, levels[:1], [], 7),
        (1, levels[1:2], levels[2:3], 8),
        (2, [], levels[3:], 9),
    ]
    for wanted in (slice(1, None), np.array([False, True, True])):
        part = run.pick(wanted)
        assert part.unpack() == rows[1:]
        assert (part.words.list(), part.checks.tolist(), part.offset.tolist(), part.stream.tolist()) == (
            ["2.0:3", "4.0:5", "6.0:7"], [8, 9], [1, 2], [1, 2],
        )  # fmt: skip
