"""Wishes: a broken book asks for what heals it at once, but not over and over."""

from framed import Tape, decode

from truetape.events.wish import Fetch
from truetape.tape.frame import Source

SPOT = Source("binance", "spot", "binance/spot/1#1")
BOOK_URL = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"


def say_diff(tape: Tape, first: int, last: int) -> None:
    data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": first, "u": last, "b": [["100.0", "1.0"]], "a": []}
    tape.say(SPOT, {"stream": "btcusdt@depth@100ms", "data": data})


def answer_book(tape: Tape, last: int) -> None:
    book = {"lastUpdateId": last, "bids": [["100.0", "1.0"]], "asks": [["101.0", "1.0"]]}
    tape.answer("binance", "spot", BOOK_URL, book)


def count_wishes(tape: Tape) -> int:
    wishes = decode(tape).wishes
    assert all(isinstance(wish, Fetch) and wish.url == BOOK_URL for wish in wishes)
    return len(wishes)


def test_a_wish_without_an_answer_is_made_again_after_a_while() -> None:
    tape = Tape()
    for number in range(1, 41):
        tape.wait(0.19)
        say_diff(tape, number, number)
    assert count_wishes(tape) == 2  # at the beginning and five seconds later; eight have passed


def test_a_book_that_breaks_again_after_its_answer_need_not_wait_as_long() -> None:
    tape = Tape()
    say_diff(tape, 1, 1)
    answer_book(tape, 1)
    say_diff(tape, 2, 2)
    tape.wait(1.6)
    say_diff(tape, 9, 9)
    assert count_wishes(tape) == 2


def test_an_answer_older_than_the_changes_is_asked_for_again_soon() -> None:
    tape = Tape()
    say_diff(tape, 5, 5)
    answer_book(tape, 1)
    for number in range(6, 16):
        tape.wait(0.19)
        say_diff(tape, number, number)
    assert count_wishes(tape) == 2
