"""Sequence rules: what is lost is in the ledger with its ids, what came twice is stored once, and nothing else."""

import random
from typing import Any

import pytest
from framed import START_NS, Outcome, Tape, check_balance, decode
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.decode.continuity import RESTART_US
from truetape.events.wish import Fetch, Resubscribe
from truetape.tape.frame import Source

A, B = Source("binance", "spot", "binance/spot/0#1"), Source("binance", "spot", "binance/spot/0#2")


def trade(number: int, at_ms: int = START_NS // 10**6) -> dict[str, Any]:
    """A trade of Binance spot."""
    data = {
        "e": "trade",
        "E": at_ms,
        "s": "BTCUSDT",
        "t": number,
        "p": "100",
        "q": "1",
        "T": at_ms,
        "m": True,
        "M": True,
    }
    return {"stream": "btcusdt@trade", "data": data}


def decode_trades(numbers: list[int]) -> Outcome:
    """Decode trades that came in this order."""
    tape = Tape()
    for number in numbers:
        tape.say(A, trade(number))
    outcome = decode(tape)
    check_balance(outcome)
    return outcome


def read_missing(outcome: Outcome) -> int:
    """Sum what the last rows of all gaps say is missing."""
    return sum(gap["missing"] or 0 for gap in outcome.gaps(channel="trade"))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_trades_lost_repeated_and_late_are_accounted_for_exactly(data: st.DataObject) -> None:
    whole = list(range(10, 10 + data.draw(st.integers(2, 40))))
    kept = [whole[0], *(n for n in whole[1:-1] if data.draw(st.booleans())), whole[-1]]
    late = data.draw(st.lists(st.sampled_from(whole[1:]), unique=True, max_size=10))
    repeated = data.draw(st.lists(st.sampled_from(kept), max_size=10))
    sent = kept + data.draw(st.permutations(late + repeated))
    outcome = decode_trades(sent)
    stored, lost = set(kept) | set(late), set(whole) - set(kept) - set(late)
    assert sorted(outcome.ids()) == sorted(stored)
    assert outcome.counts.get("duplicates.trade", 0) == len(sent) - len(stored)
    gaps = outcome.gaps(channel="trade")
    runs = [gap for gap in gaps if gap["state"] == "repaired"]
    for gap in gaps:
        assert gap["reason"] == "sequence"
        assert gap["from_at"] <= gap["to_at"]
    # Each run of missing ids is one gap; it is repaired when all of it came late, and only then.
    holes = find_runs(sorted(set(whole) - set(kept)))
    assert len(gaps) == len(holes)
    assert len(runs) == sum(not (set(hole) & lost) for hole in holes)
    assert read_missing(outcome) == sum(len(hole) for hole in holes if set(hole) & lost)


def find_runs(numbers: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def test_two_holes_in_one_frame_are_two_gaps() -> None:
    tape = Tape()
    tape.say(A, [trade(n)["data"] for n in (1, 3, 7)])
    gaps = decode(tape).gaps(channel="trade")
    assert sorted(gap["missing"] for gap in gaps) == [1, 3]


def test_a_hole_keeps_its_span_when_it_is_repaired() -> None:
    outcome = decode_trades([1, 4, 2, 3])
    declared, repaired = outcome.rows("gap")
    assert (declared["from_at"], declared["to_at"]) == (repaired["from_at"], repaired["to_at"])
    assert (repaired["state"], repaired["missing"]) == ("repaired", 0)


def test_holes_are_bounded_and_the_newest_are_kept() -> None:
    outcome = decode_trades([*range(1, 1001, 2), 998])
    assert outcome.ids()[-1] == 998
    assert len(outcome.state) < 20_000


def test_ids_that_start_over_are_not_taken_for_repeats() -> None:
    tape, later = Tape(), START_NS // 10**6 + RESTART_US // 1000 + 1
    for number in (1000, 1001):
        tape.say(A, trade(number))
    for number in (1, 2, 3):
        tape.say(A, trade(number, later))
    tape.say(A, trade(1000))  # an old one again is still a repeat, or new: never lost with the others
    outcome = decode(tape)
    assert outcome.ids()[:5] == [1000, 1001, 1, 2, 3]
    (gap, *_) = outcome.gaps(channel="trade")
    assert "started over" in gap["evidence"]


def test_a_venue_that_sends_recent_trades_again_repeats_nothing() -> None:
    tape = Tape()
    for number in range(1, 6):
        tape.say(A, trade(number))
    tape.wait(600)
    for number in range(1, 6):
        tape.say(A, trade(number))
    outcome = decode(tape)
    assert outcome.ids() == [1, 2, 3, 4, 5]
    assert outcome.gaps(channel="trade") == []


def test_an_earlier_recording_put_on_the_tape_later_is_not_a_repeat() -> None:
    tape = Tape()
    tape.note(A, "opened")
    tape.say(A, trade(100))
    tape.note(A, "closed")
    tape.now_ns -= 86_400 * 10**9
    tape.note(B, "opened")
    tape.say(B, trade(50))
    tape.say(B, trade(51))
    assert decode(tape).ids() == [100, 50, 51]


@pytest.mark.parametrize("repeats", [1, 5000])
def test_trades_told_apart_by_text_are_stored_once(repeats: int) -> None:
    tape, line = Tape(), Source("bybit", "linear", "a")
    for _ in range(2):
        for n in range(3):
            row = {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2", "i": f"id-{n}", "L": "PlusTick", "BT": False}
            tape.say(line, {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": [row] * repeats})
    outcome = decode(tape)
    check_balance(outcome)
    assert [row["trade_id"] for row in outcome.rows("trade")] == ["id-0", "id-1", "id-2"]


# -- quotes ---------------------------------------------------------------------------------------------------


def quote(update: int) -> dict[str, Any]:
    """A best bid and ask of Binance spot."""
    data = {"u": update, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}
    return {"stream": "btcusdt@bookTicker", "data": data}


def test_quotes_only_go_forward() -> None:
    tape = Tape()
    for update in (5, 5, 7, 6, 8):
        tape.say(A, quote(update))
    outcome = decode(tape)
    check_balance(outcome)
    assert [row["sequence"] for row in outcome.rows("quote")] == [5, 7, 8]
    assert outcome.gaps() == []


def test_quotes_whose_numbers_start_over_come_back_within_a_minute() -> None:
    tape = Tape()
    tape.say(A, quote(1000))
    for update in range(1, 90):
        tape.wait(1)
        tape.say(A, quote(update))
    outcome = decode(tape)
    assert outcome.rows("quote")[-1]["sequence"] == 89
    (gap,) = outcome.gaps(channel="quote")
    assert (gap["reason"], gap["state"]) == ("sequence", "closed")


def test_bybit_restarts_its_count_at_one() -> None:
    tape, line = Tape(), Source("bybit", "linear", "a")
    for update in (500, 501, 1, 1, 2):
        data = {"s": "BTCUSDT", "b": [["1", "1"]], "a": [["2", "1"]], "u": update, "seq": 1}
        tape.say(line, {"topic": "orderbook.1.BTCUSDT", "type": "snapshot", "ts": 1, "data": data, "cts": 1})
    outcome = decode(tape)
    assert [row["sequence"] for row in outcome.rows("quote")] == [500, 501, 1, 2]
    assert outcome.gaps() == []


# -- books: a made stream, and the venue's documented procedure done plainly ----------------------------------

SPOT_URL = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
FUTURES_URL = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
Levels = list[list[str]]


class Market:
    """A random book that says all of its changes, each of which has an id."""

    def __init__(self, chance: random.Random, *, is_spot: bool) -> None:
        self.chance = chance
        self.is_spot = is_spot
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.last = 1000
        self.previous = 1000
        self.now_ms = START_NS // 10**6

    def change(self) -> dict[str, Any]:
        """Return the next diff."""
        first, count = self.last + 1, self.chance.randint(1, 4)
        said: dict[str, Levels] = {"b": [], "a": []}
        for _ in range(count):
            side = self.chance.choice("ba")
            price = str(self.chance.randint(80, 100) if side == "b" else self.chance.randint(101, 120))
            size = self.chance.choice(["0", "1", "2", "3"])
            said[side] = [level for level in said[side] if level[0] != price] + [[price, size]]
            self.sides[side][price] = size
            if size == "0":
                del self.sides[side][price]
        self.last += count
        self.now_ms += 100
        data = {"e": "depthUpdate", "E": self.now_ms, "s": "BTCUSDT", "U": first, "u": self.last, **said}
        if not self.is_spot:
            data |= {"T": self.now_ms, "pu": self.previous}
        self.previous = self.last
        return {"stream": "btcusdt@depth@100ms", "data": data}

    def picture(self) -> dict[str, Any]:
        """Return what the REST endpoint says now."""
        return {
            "lastUpdateId": self.last,
            "bids": [[price, size] for price, size in self.sides["b"].items()],
            "asks": [[price, size] for price, size in self.sides["a"].items()],
        }


def rebuild(rows: list[dict[str, Any]]) -> dict[str, dict[float, float]]:
    """Build a book from its rows as anyone would: a frame of snapshot rows begins anew."""
    sides: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    offset = -1
    for row in rows:
        if row["is_snapshot"] and row["tape_offset"] != offset:
            sides = {"bid": {}, "ask": {}}
        offset = row["tape_offset"]
        if row["amount"]:
            sides[row["side"]][row["price"]] = row["amount"]
        else:
            sides[row["side"]].pop(row["price"], None)
    return sides


def to_floats(market: Market) -> dict[str, dict[float, float]]:
    names = {"b": "bid", "a": "ask"}
    return {names[k]: {float(p): float(s) for p, s in side.items()} for k, side in market.sides.items()}


@pytest.mark.parametrize("is_spot", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_a_book_is_right_after_its_snapshot_however_late_that_comes(seed: int, is_spot: bool) -> None:
    chance = random.Random(seed)
    market = Market(chance, is_spot=is_spot)
    line = Source("binance", "spot" if is_spot else "usdm", "a")
    url, feed = (SPOT_URL, "spot") if is_spot else (FUTURES_URL, "usdm")
    tape = Tape()
    for _ in range(chance.randint(0, 5)):
        market.change()  # before we listened
    pictures: list[tuple[int, dict[str, Any]]] = []
    for step in range(60):
        change = market.change()
        roll = chance.random()
        if roll < 0.05 and step > 5:
            continue  # lost
        tape.say(line, change)
        if roll < 0.15:
            tape.say(line, change)  # twice
        if roll > 0.85 or step == 50:
            pictures.append((step + chance.choice([0, 1, 5]), market.picture()))
        for due, picture in [p for p in pictures if p[0] <= step]:
            pictures.remove((due, picture))
            tape.answer("binance", feed, url, picture)
    picture = market.picture()
    for _ in range(3):
        tape.say(line, market.change())
    tape.answer("binance", feed, url, picture)
    tape.say(line, market.change())
    outcome = decode(tape)
    check_balance(outcome)
    assert rebuild(outcome.rows("book_change")) == to_floats(market)
    assert all(gap["state"] != "open" for gap in outcome.gaps(channel="book_change"))


def feed_book(tape: Tape, market: Market, line: Source = A) -> None:
    tape.say(line, market.change())


def test_a_lost_diff_opens_a_gap_with_its_ids_and_one_wish_in_five_seconds() -> None:
    tape, market = Tape(), Market(random.Random(1), is_spot=True)
    feed_book(tape, market)
    tape.answer("binance", "spot", SPOT_URL, market.picture())
    feed_book(tape, market)
    known = market.last
    market.change()
    missing = market.last - known
    for _ in range(400):  # four seconds
        feed_book(tape, market)
    outcome = decode(tape)
    (gap,) = outcome.gaps(channel="book_change", reason="sequence")
    assert (gap["state"], f'"last_id":{known}' in gap["evidence"]) == ("open", True)
    assert [wish.url for wish in outcome.wishes if isinstance(wish, Fetch)] == [SPOT_URL] * 2
    for _ in range(300):
        feed_book(tape, market)
    assert len(decode(tape).wishes) == 3
    tape.answer("binance", "spot", SPOT_URL, market.picture())
    (gap,) = decode(tape).gaps(channel="book_change", reason="sequence")
    assert (gap["state"], gap["missing"]) == ("closed", missing)


def test_a_snapshot_older_than_the_diffs_is_not_taken() -> None:
    tape, market = Tape(), Market(random.Random(2), is_spot=True)
    old = market.picture()
    market.change()
    for _ in range(3):
        feed_book(tape, market)
    tape.answer("binance", "spot", SPOT_URL, old)
    outcome = decode(tape)
    assert not any(row["is_snapshot"] for row in outcome.rows("book_change"))
    assert outcome.gaps(channel="book_change")[0]["state"] == "open"


def test_two_connections_of_one_hand_over_give_each_change_once() -> None:
    tape, market = Tape(), Market(random.Random(3), is_spot=True)
    for line in (A, B):
        tape.note(line, "opened")
        tape.subscribe(line, "book_change", "spot", "BTCUSDT")
    feed_book(tape, market)
    tape.answer("binance", "spot", SPOT_URL, market.picture())
    for _ in range(20):
        change = market.change()
        tape.say(A, change)
        tape.say(B, change)
    tape.note(A, "closed", cause="lifetime")
    tape.say(B, market.change())
    outcome = decode(tape)
    assert rebuild(outcome.rows("book_change")) == to_floats(market)
    assert len(outcome.gaps()) == 1  # only that it had not started


def test_ids_of_a_book_that_start_over_are_a_gap_not_silence() -> None:
    tape, market = Tape(), Market(random.Random(4), is_spot=True)
    market.last = 10**6
    feed_book(tape, market)
    tape.answer("binance", "spot", SPOT_URL, market.picture())
    feed_book(tape, market)
    market.last, market.now_ms = 5, market.now_ms + 120_000
    for _ in range(3):
        feed_book(tape, market)
    tape.answer("binance", "spot", SPOT_URL, market.picture())
    feed_book(tape, market)
    outcome = decode(tape)
    assert rebuild(outcome.rows("book_change")) == to_floats(market)
    assert [gap["reason"] for gap in outcome.gaps()] == ["not_started", "sequence"]


# -- books of one connection ----------------------------------------------------------------------------------


def say_bybit(tape: Tape, line: Source, update: int, price: str, kind: str = "delta") -> None:
    data = {"s": "BTCUSDT", "b": [[price, "1"]], "a": [], "u": update, "seq": update}
    tape.say(line, {"topic": "orderbook.200.BTCUSDT", "type": kind, "ts": 1, "data": data, "cts": 1})


def test_a_connections_own_count_breaks_and_heals_by_subscribing_again() -> None:
    tape, line = Tape(), Source("bybit", "linear", "a")
    tape.note(line, "opened")
    tape.subscribe(line, "book_change", "linear", "BTCUSDT", "orderbook.200.BTCUSDT")
    say_bybit(tape, line, 10, "1", "snapshot")
    tape.wait(5)
    for update in (11, 11, 12, 14, 15):
        say_bybit(tape, line, update, str(update))
    say_bybit(tape, line, 20, "1", "snapshot")
    say_bybit(tape, line, 21, "2")
    say_bybit(tape, line, 1, "7", "snapshot")  # the venue's service started again
    say_bybit(tape, line, 2, "8")
    outcome = decode(tape)
    check_balance(outcome)
    assert rebuild(outcome.rows("book_change")) == {"bid": {7.0: 1.0, 8.0: 1.0}, "ask": {}}
    assert outcome.counts["duplicates.book_change"] == 1
    (gap,) = outcome.gaps(reason="sequence")
    assert (gap["state"], gap["missing"]) == ("closed", 1)
    (wish,) = [wish for wish in outcome.wishes if isinstance(wish, Resubscribe)]
    assert (wish.connection, wish.topics) == ("a", ("orderbook.200.BTCUSDT",))


def test_the_other_connection_takes_over_with_its_snapshot() -> None:
    tape, old, new = Tape(), Source("bybit", "linear", "a"), Source("bybit", "linear", "b")
    for line in (old, new):
        tape.note(line, "opened")
        tape.subscribe(line, "book_change", "linear", "BTCUSDT")
    say_bybit(tape, old, 10, "1", "snapshot")
    say_bybit(tape, old, 11, "2")
    say_bybit(tape, new, 900, "5", "snapshot")
    say_bybit(tape, old, 12, "3")
    say_bybit(tape, new, 901, "6")
    tape.note(old, "closed", cause="lifetime")
    say_bybit(tape, new, 902, "7")
    outcome = decode(tape)
    assert rebuild(outcome.rows("book_change")) == {"bid": {5.0: 1.0, 6.0: 1.0, 7.0: 1.0}, "ask": {}}
    assert [gap["reason"] for gap in outcome.gaps()] == ["not_started"]


def test_a_book_whose_own_connection_went_is_not_held_whole_by_another() -> None:
    tape, old, new = Tape(), Source("bybit", "linear", "a"), Source("bybit", "linear", "b")
    for line in (old, new):
        tape.note(line, "opened")
        tape.subscribe(line, "book_change", "linear", "BTCUSDT")
    say_bybit(tape, old, 10, "1", "snapshot")
    say_bybit(tape, new, 900, "5", "snapshot")
    tape.wait(5)
    tape.note(new, "closed", cause="remote")  # the hand-over failed; the old one's changes must not be lost
    say_bybit(tape, old, 12, "3")
    outcome = decode(tape)
    assert [row["price"] for row in outcome.rows("book_change")] == [1.0, 5.0, 3.0]
    (gap,) = outcome.gaps(reason="disconnect")
    assert gap["state"] == "open"
    assert [type(wish) for wish in outcome.wishes] == [Resubscribe]


# -- numbers over all frames of a connection ------------------------------------------------------------------


def say_coinbase(tape: Tape, line: Source, number: int, kind: str = "update") -> None:
    level = {"side": "bid", "event_time": "2026-01-01T00:00:00Z", "price_level": str(number), "new_quantity": "1"}
    event = {"type": kind, "product_id": "BTC-USD", "updates": [level]}
    message = {"channel": "l2_data", "timestamp": "2026-01-01T00:00:00Z", "sequence_num": number, "events": [event]}
    tape.say(line, {"channel": message.pop("channel"), "client_id": "", **message})


def test_a_lost_frame_of_a_counted_connection_breaks_its_books_only_once() -> None:
    tape, line = Tape(), Source("coinbase", "advanced", "a")
    tape.note(line, "opened")
    tape.subscribe(line, "book_change", "spot-advanced", "BTC-USD")
    say_coinbase(tape, line, 0, "snapshot")
    for number in (1, 2, 2, 4, 3, 5, 6):
        say_coinbase(tape, line, number)
    outcome = decode(tape)
    check_balance(outcome)
    assert outcome.counts["duplicates.book_change"] == 1
    (gap,) = outcome.gaps(reason="sequence")
    assert (gap["evidence"], gap["state"]) == ('{"last":2,"next":4}', "open")
    assert len(outcome.wishes) == 1
