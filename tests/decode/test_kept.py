"""Books kept by the run: after any changes the same levels as level by level, and the same frame found that breaks them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.decode.book import Book
from truetape.decode.kept import LEVELS_MIN, WORTH, Keeper
from truetape.decode.numberbook import FastNumberBook, NumberBook, SlowNumberBook
from truetape.decode.state import StreamState
from truetape.decode.textbook import FastTextBook, Latest, SlowTextBook, TextBook
from truetape.events.instrument import Stream
from truetape.events.run import BookRun, TextRun, join_words
from truetape.venues import load_venue
from truetape.venues._contract import Continuity, Proof
from twins import NEEDS_COMPILED, pair_twins

STREAM = Stream(0, "okx", "book_change", "BTC-USDT", "BTC-USDT", "all", "public")
OKX = load_venue("okx")
INSTRUMENT = OKX.name_instrument("all", "BTC-USDT")
assert OKX.proof is not None
PROOF = OKX.proof._replace(depth=3)
PRICES = st.integers(1, 60).map(float)
LEVELS = st.lists(st.tuples(PRICES, st.integers(0, 3).map(float)), max_size=4)
FRAMES = st.lists(st.tuples(LEVELS, LEVELS), min_size=1, max_size=80)
PICTURE = st.lists(st.tuples(PRICES, st.just(1.0)), max_size=20, unique_by=lambda level: level[0])


def make_run(frames: list, stream: list[int] | None = None) -> BookRun:
    sides = [side for frame in frames for side in frame]
    flat = np.array([number for side in sides for level in side for number in level], np.float64)
    numbers = np.arange(len(frames))
    counts = np.array([len(side) for side in sides], np.int64)
    columns = [np.array(stream or [0] * len(frames))] + [numbers] * 7
    return BookRun(*columns, [], "line", counts, flat)


def make_book(bids: list, asks: list) -> Book:
    book = Book()
    book.replace([x for x in bids if float(x[0]) <= 30], [x for x in asks if float(x[0]) > 30])
    return book


def write(level: tuple[float, float]) -> tuple[str, str]:
    return f"{level[0]:.1f}", f"{level[1]:.2f}"


def make_text_run(run: BookRun, words: list[str], checks: list[int]) -> TextRun:
    return TextRun(run, join_words(words), np.array(checks, np.int64))


def count_whole(book: Book, frames: list) -> int:
    """Change a book frame by frame; return how many frames leave it uncrossed. It is left as before the next one."""
    for number, frame in enumerate(frames):
        before = [*book.bids.sizes.values()], [*book.asks.sizes.values()]
        book.apply(*frame)
        if book.is_crossed:
            book.replace(*before)
            return number
    return len(frames)


@pytest.mark.parametrize("make", pair_twins(SlowNumberBook, FastNumberBook))
@given(PICTURE, PICTURE, FRAMES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_numbers_are_as_level_by_level(
    make: type[NumberBook], bids: list, asks: list, frames: list, is_apart: bool
) -> None:
    if is_apart:
        frames = [([x for x in bids if x[0] <= 30], [x for x in asks if x[0] > 30]) for bids, asks in frames]
    book, other = make_book(bids, asks), make_book(bids, asks)
    kept = make(book)
    run = make_run(frames)
    assert kept.apply(run.side_counts, run.flat) == count_whole(other, frames)
    kept.write(book)
    other.sort()
    assert book == other


@pytest.mark.parametrize("make", pair_twins(partial(SlowTextBook, latest=Latest()), FastTextBook))
@given(PICTURE, PICTURE, FRAMES, st.sampled_from([0, 2, 5]), st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_text_is_as_level_by_level(
    make: Callable[[Book, Proof], TextBook], bids: list, asks: list, frames: list, depth: int, spoilt: int
) -> None:
    text_frames = [[[write(level) for level in side] for side in frame] for frame in frames]
    picture = [[write(level) for level in side] for side in (bids, asks)]
    book, other = make_book(*picture), make_book(*picture)
    book.depth_max = other.depth_max = depth
    kept = make(book, PROOF)
    checks, whole = [], len(frames)
    for number, frame in enumerate(text_frames):
        other.apply(*frame)
        checks.append(PROOF.prove(other.list_bids(3), other.list_asks(3), INSTRUMENT) + (number == spoilt))
        if number == spoilt or other.is_crossed:
            whole = number
            break
    checks += [0] * (len(frames) - len(checks))
    levels = [level for frame in text_frames for side in frame for level in side]
    run = make_text_run(make_run(frames), [":".join(level) for level in levels], checks)
    assert kept.apply(run, range(len(frames))) == whole
    kept.write(book)
    other.sort()
    assert book == other


MANY = [(1 + i / 1000, 1.0) for i in range(1, LEVELS_MIN + 1)]


def test_a_keeper_reads_a_book_once_and_puts_it_back() -> None:
    book = make_book([(1.0, 1.0)], [(40.0, 1.0)])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM])
    run = make_run([(MANY, []), ([(2.0, 0.0), (3.0, 5.0)], []), ([], [(2.5, 1.0)])])
    for begin, whole in ((0, 1), (1, 1), (2, 0)):
        part = run.pick(slice(begin, begin + 1))
        assert keeper.apply(state, 0, part, lambda part=part: (part.side_counts, part.flat), [0]) == whole
    assert book.bids.prices == [1.0]
    keeper.put_back(0, state)
    assert (len(book.bids.prices), book.list_bids(1)) == (LEVELS_MIN + 2, [(3.0, 5.0)])
    text = make_text_run(run, ["2:1"] * len(run.flat[::2]), [1, 2, 3])
    assert keeper.apply(state, 0, text, lambda: (run.side_counts, run.flat), [0]) == 0  # numbers are no digits


def test_few_levels_are_changed_one_by_one_until_many_come() -> None:
    book = make_book([(1.0, 1.0)], [(40.0, 1.0)])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM])
    few = make_run([([(2.0, 1.0)], []), ([(3.0, 1.0)], [(3.0, 1.0)]), ([(4.0, 1.0)], [])])
    assert keeper.apply(state, 0, few, lambda: (few.side_counts, few.flat), [0, 1, 2]) == 1
    assert book.bids.prices == [1.0, 2.0, 3.0]  # with the frame that crosses it, which is taken again
    book.apply([], [(3.0, 0.0)])
    assert keeper.apply(state, 0, few, lambda: (few.side_counts[:2], few.flat[:2]), [0]) == 1
    many = make_run([(MANY, [])])
    assert keeper.apply(state, 0, many, lambda: (many.side_counts, many.flat), [0]) == 1
    assert book.bids.prices == [1.0, 2.0, 3.0]
    keeper.put_back(0, state)
    assert len(book.bids.prices) == LEVELS_MIN + 3 - (2.0 in dict(MANY))


def test_a_large_book_is_read_only_when_much_of_it_changes() -> None:
    book = make_book(
        [(float(price), 1.0) for price in range(1, 31)], [(100.0 + i, 1.0) for i in range(WORTH * LEVELS_MIN)]
    )
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM])
    run = make_run([(MANY, [])])
    is_behind = []
    for _ in range(3):
        book.replace([(1.0, 1.0)], book.list_asks(WORTH * LEVELS_MIN))
        assert keeper.apply(state, 0, run, lambda: (run.side_counts, run.flat), [0]) == 1
        is_behind.append(len(book.bids.prices) == 1)
    assert is_behind == [False, True, True]


@NEEDS_COMPILED
def test_single_changes_follow_into_a_book_that_is_kept() -> None:
    book = make_book([(1.0, 1.0)], [(40.0, 1.0)])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM])
    assert not keeper.follow(state, 0, [(2.0, 1.0)], [], None)  # nobody keeps it
    many = make_run([(MANY, [])])
    assert keeper.apply(state, 0, many, lambda: (many.side_counts, many.flat), [0]) == 1
    assert keeper.follow(state, 0, [(5.0, 2.0)], [(39.0, 1.0)], None)
    assert book.bids.prices == [1.0]
    assert not keeper.follow(state, 0, [(50.0, 2.0)], [], None)  # crossed: it is put back as before that
    assert (book.list_bids(1), book.list_asks(2)) == ([(5.0, 2.0)], [(39.0, 1.0), (40.0, 1.0)])


@NEEDS_COMPILED
def test_single_changes_with_checksums_follow_into_a_book_that_is_kept() -> None:
    book = make_book([("1.0", "1.00")], [])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM])
    told = [("2.0", "1.00"), ("1.0", "1.00")]
    run = make_text_run(make_run([([(2.0, 1.0)], [])]), ["2.0:1.00"], [OKX.proof.prove(told, [], INSTRUMENT)])
    assert keeper.apply(state, 0, run, lambda: (run.books.side_counts, run.books.flat), [0]) == 1
    assert keeper.follow(state, 0, [("1.0", "0")], [], OKX.proof.prove(told[:1], [], INSTRUMENT))
    assert book.list_bids(9) == [("1.0", "1.00")]
    assert not keeper.follow(state, 0, [("3.0", "1")], [], 5)  # it is put back with the change that broke it
    assert book.list_bids(9) == [("3.0", "1"), ("2.0", "1.00")]


def test_a_keeper_forgets_what_is_no_more() -> None:
    state = StreamState(Continuity("book_change", "none"), book=make_book([(1.0, 1.0)], []))
    keeper = Keeper([STREAM])
    run = make_run([([(2.0, 1.0)], [])])
    assert keeper.apply(state, 0, run, lambda: (run.side_counts, run.flat), [0]) == 1
    state.book = None
    assert keeper.apply(state, 0, run, lambda: (run.side_counts, run.flat), [0]) == 0
    keeper.put_back(0, state)
    state.book = Book(depth_max=3)
    many = make_run([(MANY, [])])
    assert keeper.apply(state, 0, many, lambda: (many.side_counts, many.flat), [0]) == 1
    keeper.put_back_all([None, state])
    assert state.book.list_bids(9) == MANY[:-4:-1]  # cut as it goes, level by level


def test_a_book_is_kept_as_text_until_numbers_come() -> None:
    book = make_book([("1.0", "1.00")], [])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM])
    check = OKX.proof.prove([("2.0", "1.00"), ("1.0", "1.00")], [], INSTRUMENT)
    text = make_text_run(make_run([([(2.0, 1.0)], [])]), ["2.0:1.00"], [check])
    for _ in range(2):
        assert keeper.apply(state, 0, text, lambda: (text.books.side_counts, text.books.flat), [0]) == 1
    numbers = text.books
    assert keeper.apply(state, 0, numbers, lambda: (numbers.side_counts, numbers.flat), [0]) == 0
    assert book.list_bids(2) == [("2.0", "1.00"), ("1.0", "1.00")]
