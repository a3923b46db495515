"""Books kept by the run: after any changes the same levels as level by level, and the same frame found that breaks them."""

from zlib import crc32

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.decode.book import Book
from truetape.decode.kept import LEVELS_MIN, Keeper, NumberBook, TextBook, TextChanges
from truetape.decode.state import StreamState
from truetape.events.instrument import Instrument, Stream
from truetape.events.run import BookRun, TextRun
from truetape.venues._contract import Continuity, Proof

INSTRUMENT = Instrument("okx", "all", "BTC-USDT", "BTC-USDT", "spot")
STREAM = Stream(0, "okx", "book_change", "BTC-USDT", "BTC-USDT", "all", "public")
PROOF = Proof(3, lambda instrument, levels: [":".join(level) for level in levels], lambda *s: crc32(repr(s).encode()))
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


def count_whole(book: Book, frames: list) -> int:
    """Change a book frame by frame; return how many frames leave it uncrossed. It is left as before the next one."""
    for number, frame in enumerate(frames):
        before = [*book.bids.sizes.values()], [*book.asks.sizes.values()]
        book.apply(*frame)
        if book.is_crossed:
            book.replace(*before)
            return number
    return len(frames)


@given(PICTURE, PICTURE, FRAMES, st.booleans())
@settings(max_examples=200, deadline=None)
def test_numbers_are_as_level_by_level(bids: list, asks: list, frames: list, is_apart: bool) -> None:
    if is_apart:
        frames = [([x for x in bids if x[0] <= 30], [x for x in asks if x[0] > 30]) for bids, asks in frames]
    book, other = make_book(bids, asks), make_book(bids, asks)
    kept = NumberBook(book)
    run = make_run(frames)
    assert kept.apply(run.side_counts, run.flat) == count_whole(other, frames)
    kept.write(book)
    other.sort()
    assert book == other


@given(PICTURE, PICTURE, FRAMES, st.sampled_from([0, 2, 5]), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_text_is_as_level_by_level(bids: list, asks: list, frames: list, depth: int, spoilt: int) -> None:
    text_frames = [[[write(level) for level in side] for side in frame] for frame in frames]
    picture = [[write(level) for level in side] for side in (bids, asks)]
    book, other = make_book(*picture), make_book(*picture)
    book.depth_max = other.depth_max = depth
    kept = TextBook(book, PROOF, INSTRUMENT)
    checks, whole = [], len(frames)
    for number, frame in enumerate(text_frames):
        other.apply(*frame)
        checks.append(PROOF.prove(other.list_bids(9), other.list_asks(9), INSTRUMENT) + (number == spoilt))
        if number == spoilt or other.is_crossed:
            whole = number
            break
    checks += [0] * (len(frames) - len(checks))
    levels = [level for frame in text_frames for side in frame for level in side]
    words = [":".join(level) if float(level[1]) else "" for level in levels]
    changes = TextChanges(TextRun(make_run(frames), levels, words, checks))
    assert kept.apply(changes, range(len(frames))) == whole
    kept.write(book)
    other.sort()
    assert book == other


MANY = [(1 + i / 1000, 1.0) for i in range(1, LEVELS_MIN + 1)]


def test_a_keeper_reads_a_book_once_and_puts_it_back() -> None:
    book = make_book([(1.0, 1.0)], [(40.0, 1.0)])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM], lambda stream: INSTRUMENT)
    run = make_run([(MANY, []), ([(2.0, 0.0), (3.0, 5.0)], []), ([], [(2.5, 1.0)])])
    for begin, whole in ((0, 1), (1, 1), (2, 0)):
        part = run.pick(slice(begin, begin + 1))
        assert keeper.apply(state, 0, part, lambda part=part: (part.side_counts, part.flat), [0]) == whole
    assert book.bids.prices == [1.0]
    keeper.put_back(0, state)
    assert (len(book.bids.prices), book.list_bids(1)) == (LEVELS_MIN + 2, [(3.0, 5.0)])
    text = TextRun(run, [("2", "1"), ("2", "0"), ("3", "5")], ["2:1", "", "3:5"], [1, 2])
    assert keeper.apply(state, 0, text, lambda: (run.side_counts, run.flat), [0]) == 0  # numbers are no digits


def test_few_levels_are_changed_one_by_one_until_many_come() -> None:
    book = make_book([(1.0, 1.0)], [(40.0, 1.0)])
    state = StreamState(Continuity("book_change", "none"), book=book)
    keeper = Keeper([STREAM], lambda stream: INSTRUMENT)
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


def test_a_keeper_forgets_what_is_no_more() -> None:
    state = StreamState(Continuity("book_change", "none"), book=make_book([(1.0, 1.0)], []))
    keeper = Keeper([STREAM], lambda stream: INSTRUMENT)
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


def test_what_is_learned_of_an_instrument_is_taken_for_the_next_proof() -> None:
    book = make_book([("1.0", "1.00")], [])
    state = StreamState(Continuity("book_change", "none"), book=book)
    known = [INSTRUMENT, Instrument("okx", "all", "BTC-USDT", "BTC-USDT", "spot", status="live")]
    keeper = Keeper([STREAM], lambda stream: known[0])
    frames = [([("2.0", "1.00")], [])]
    check = _prove_okx(["2.0:1.00", "1.0:1.00"])
    text = TextRun(make_run([([(2.0, 1.0)], [])]), frames[0][0], ["2.0:1.00"], [check])
    for _ in known:
        assert keeper.apply(state, 0, text, lambda: (text.books.side_counts, text.books.flat), [0]) == 1
        known.reverse()
    numbers = text.books
    assert keeper.apply(state, 0, numbers, lambda: (numbers.side_counts, numbers.flat), [0]) == 0
    keeper.put_back(0, state)
    assert book.list_bids(2) == [("2.0", "1.00"), ("1.0", "1.00")]


def _prove_okx(words: list[str]) -> int:
    number = crc32(":".join(words).encode())
    return number - 2**32 if number >= 2**31 else number
