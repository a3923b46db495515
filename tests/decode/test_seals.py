"""Sealed books: proven batch by batch; what is lost is a gap with evidence, and healed by what is proven."""

import json
from typing import Any

import pytest
from framed import Outcome, Tape, check_balance, decode
from sealed_market import DOWN, LINE, MARKET, OTHER_LINE, RECORDER, UP, URL, SealedMarket, begin, subscribe, tick

from truetape.events.wish import Fetch, Reconnect, Resubscribe


def books(outcome: Outcome, reason: str = "") -> list[dict[str, Any]]:
    """Gaps of books that are no beginnings."""
    gaps = [gap for gap in outcome.gaps(channel="book_change") if gap["reason"] != "not_started"]
    return [gap for gap in gaps if not reason or gap["reason"] == reason]


def proofs(outcome: Outcome) -> dict[str, int]:
    """Sums of all `book_proof` rows."""
    rows = outcome.rows("book_proof")
    names = [name for name in (rows[0] if rows else {}) if isinstance(rows[0][name], int) and "tape" not in name]
    return {name: sum(row[name] for row in rows) for name in names}


def stop(tape: Tape) -> Outcome:
    """End the session and decode."""
    tape.note(RECORDER, "stopped", reason="signal")
    outcome = decode(tape)
    check_balance(outcome)
    return outcome


def rebuild(outcome: Outcome, token: str) -> dict[tuple[str, float], float]:
    """Build a token's book from the stored rows."""
    book: dict[tuple[str, float], float] = {}
    frame = None
    for row in outcome.rows("book_change", venue_symbol=token):
        if row["is_snapshot"] and row["tape_offset"] != frame:
            book.clear()
        frame = row["tape_offset"]
        book[row["side"], row["price"]] = row["amount"]
    return {key: size for key, size in book.items() if size}


def whole(market: SealedMarket, token: str) -> dict[tuple[str, float], float]:
    bids, asks = market.list_sides(token)
    return {("bid", float(p)): float(s) for p, s in bids} | {("ask", float(p)): float(s) for p, s in asks}


def test_whole_batches_are_proven_and_counted_by_minute() -> None:
    market = SealedMarket()
    tape = begin(market)
    for number in range(6):
        tape.wait(20)
        tape.say(LINE, market.change(("BUY", "0.44", str(1 + number)), ("SELL", "0.50", "31")))
    outcome = stop(tape)
    assert books(outcome) == []
    rows = outcome.rows("book_proof", venue_symbol=UP)
    assert [(row["minute_at"].minute, row["batches"], row["proven"]) for row in rows] == [
        (0, 3, 3),
        (1, 3, 3),
        (2, 1, 1),
    ]
    total = proofs(outcome)
    assert (total["proven"], total["broken"], total["unjudged"], total["pictures"]) == (14, 0, 0, 2)
    assert (total["mirrored"], total["mirror_broken"]) == (7, 0)
    assert rebuild(outcome, DOWN) == whole(market, DOWN)


def test_a_lost_frame_is_a_gap_from_the_last_proof_with_evidence() -> None:
    market = SealedMarket()
    tape = begin(market)
    tape.wait(1)
    proven_at = tape.say(LINE, market.change(("BUY", "0.44", "1")))
    proven_ns = tape.now_ns
    market.change(("BUY", "0.43", "9"))  # lost
    tape.wait(1)
    wrong = tape.say(LINE, market.change(("BUY", "0.42", "2")))
    tape.wait(1)
    tape.say(LINE, market.change(("BUY", "0.41", "3")))
    outcome = decode(tape)
    gaps = books(outcome)
    assert [(gap["reason"], gap["state"], gap["symbol"]) for gap in gaps] == [
        ("checksum", "open", UP),
        ("checksum", "open", DOWN),
    ]
    evidence = json.loads(gaps[0]["evidence"])
    assert evidence["offset"] == wrong and evidence["levels"] == [4, 2] and evidence["epoch"] == "0.01"
    assert evidence["expected"] != evidence["made"] and evidence["batch"].isdigit()
    assert gaps[0]["from_at"].timestamp() == pytest.approx(proven_ns / 1e9, abs=1e-5)
    assert proven_at < wrong
    assert [wish.url for wish in outcome.wishes if isinstance(wish, Fetch)] == [URL + UP, URL + DOWN]


def test_a_fetched_book_heals_and_the_changes_since_go_on() -> None:
    market = SealedMarket()
    tape = begin(market)
    market.change(("BUY", "0.43", "9"))  # lost
    tape.say(LINE, market.change(("BUY", "0.42", "2")))
    tape.say(LINE, market.change(("BUY", "0.41", "3")))
    answers = [market.answer(token) for token in (UP, DOWN)]
    tape.say(LINE, market.change(("SELL", "0.50", "0"), ("SELL", "0.51", "5")))  # newer than the answer
    for token, answer in zip((UP, DOWN), answers, strict=True):
        tape.answer("polymarket", "clob", URL + token, answer)
    tape.say(LINE, market.change(("SELL", "0.55", "7")))
    outcome = stop(tape)
    for gap in books(outcome):
        assert (gap["reason"], gap["state"]) == ("checksum", "closed")
        assert json.loads(gap["evidence"]) == {
            "proof": "fetched",
            "hash": json.loads(gap["evidence"])["hash"],
            "joined": 1,
        }
    assert len(books(outcome)) == 2
    for token in (UP, DOWN):
        assert rebuild(outcome, token) == whole(market, token)
    assert proofs(outcome)["broken"] == 2


def test_a_fetched_book_that_is_too_old_heals_nothing() -> None:
    market = SealedMarket()
    tape = begin(market)
    old = market.answer(UP)
    market.change(("BUY", "0.43", "9"))  # lost
    for size in "123":
        tape.say(LINE, market.change(("BUY", "0.42", size)))
    tape.answer("polymarket", "clob", URL + UP, old)
    assert {gap["state"] for gap in books(stop(tape))} == {"open"}


def test_changes_that_a_fetched_book_has_already_are_repeats() -> None:
    market = SealedMarket()
    tape = begin(market)
    market.change(("BUY", "0.43", "9"))  # lost
    tape.say(LINE, market.change(("BUY", "0.42", "2")))
    tape.say(LINE, market.change(("BUY", "0.41", "3")))
    on_the_way = market.change(("BUY", "0.42", "4"))
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
    tape.say(LINE, on_the_way)
    tape.say(LINE, market.change(("BUY", "0.42", "5")))
    outcome = stop(tape)
    assert outcome.gaps(symbol=UP, reason="checksum")[0]["state"] == "closed"
    assert outcome.counts["duplicates.book_change"] == 1
    assert rebuild(outcome, UP) == whole(market, UP)


def test_frames_of_one_moment_are_one_batch_and_repeat_its_last_hash() -> None:
    market = SealedMarket()
    tape = begin(market)
    first = ("BUY", "0.43", "9")
    market.change(first)
    second = ("BUY", "0.44", "8")
    market.change(second, after_ms=0)
    tape.say(LINE, market.tell(first))
    tape.say(LINE, market.tell(second))
    tape.say(LINE, market.change(("BUY", "0.41", "3")))
    outcome = stop(tape)
    assert books(outcome) == []
    assert proofs(outcome)["batches"] == proofs(outcome)["proven"] == 6


def test_a_batch_that_nothing_follows_is_judged_by_the_time() -> None:
    market = SealedMarket()
    tape = begin(market)
    market.change(("BUY", "0.43", "9"))  # lost
    tape.say(LINE, market.change(("BUY", "0.42", "2")))
    assert books(decode(tape)) == []
    tick(tape)
    assert [gap["reason"] for gap in books(stop(tape))] == ["checksum", "checksum"]


def test_a_picture_ends_a_doubt_and_its_gap() -> None:
    market = SealedMarket()
    tape = begin(market)
    market.change(("BUY", "0.43", "9"))  # lost
    tape.say(LINE, market.change(("BUY", "0.42", "2")))
    market.at_ms += 5
    tape.say(LINE, market.pictures())
    outcome = stop(tape)
    gaps = books(outcome)
    assert [(gap["reason"], gap["state"]) for gap in gaps] == [("checksum", "closed")] * 2
    assert json.loads(gaps[0]["evidence"])["proof"] == "hash"


def test_a_trade_told_after_the_change_that_it_made_breaks_nothing() -> None:
    market = SealedMarket()
    tape = begin(market)
    market.last_price = "0.45"
    change = market.change(("BUY", "0.45", "15"))
    trade = {
        "event_type": "last_trade_price", "market": MARKET, "asset_id": UP, "price": "0.45", "size": "5", "side": "SELL",
        "timestamp": str(market.at_ms), "transaction_hash": "0x1",
    }  # fmt: skip
    tape.say(LINE, change)
    tape.say(LINE, trade)
    tape.say(LINE, trade | {"asset_id": DOWN})
    tape.say(LINE, market.change(("BUY", "0.41", "3")))
    outcome = stop(tape)
    assert books(outcome) == []
    assert proofs(outcome)["proven"] == 6


def test_another_tick_begins_another_epoch() -> None:
    market = SealedMarket()
    tape = begin(market)
    tape.say(LINE, market.change(("BUY", "0.42", "2")))
    market.tick = "0.001"
    for token in (UP, DOWN):
        tape.say(
            LINE,
            {
                "event_type": "tick_size_change", "market": MARKET, "asset_id": token, "old_tick_size": "0.01",
                "new_tick_size": "0.001", "timestamp": str(market.at_ms),
            },
        )  # fmt: skip
    tape.say(LINE, market.change(("BUY", "0.451", "2")))
    outcome = stop(tape)
    assert books(outcome) == []
    assert [(row["epoch"], row["proven"]) for row in outcome.rows("book_proof", venue_symbol=UP)] == [
        ("0.01", 2),
        ("0.001", 1),
    ]
    assert [row["price_step"] for row in outcome.rows("market", venue_symbol=UP)] == [0.001]


def test_constants_that_nothing_told_are_found_or_nothing_is_judged() -> None:
    found = SealedMarket(order_min="15")
    tape = begin(found)
    tape.say(LINE, found.change(("BUY", "0.42", "2")))
    outcome = stop(tape)
    assert (proofs(outcome)["proven"], books(outcome)) == (4, [])
    unknown = SealedMarket(order_min="7")
    tape = begin(unknown)
    for size in "23":
        tape.say(LINE, unknown.change(("BUY", "0.42", size)))
    outcome = stop(tape)
    assert (proofs(outcome)["unjudged"], proofs(outcome)["proven"], books(outcome)) == (6, 0, [])
    tape.frames.pop()
    tape.say(LINE, unknown.tell(("BUY", "0.52", "1"), tokens=(UP,)))
    gaps = books(decode(tape))
    assert [(gap["symbol"], gap["reason"]) for gap in gaps] == [(UP, "crossed")]


def test_an_answer_tells_the_constants_of_a_book_that_could_not_be_judged() -> None:
    market = SealedMarket(order_min="7")
    tape = begin(market)
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
    tape.say(LINE, market.pictures())
    tape.say(LINE, market.change(("BUY", "0.42", "2")))
    outcome = stop(tape)
    total = outcome.rows("book_proof", venue_symbol=UP)
    assert (sum(r["unjudged"] for r in total), sum(r["proven"] for r in total), sum(r["confirmed"] for r in total)) == (
        1,
        2,
        1,
    )


def test_unproven_books_must_mirror_each_other() -> None:
    market = SealedMarket(order_min="7")
    tape = begin(market)
    for size in "23":
        tape.say(LINE, market.change(("BUY", "0.46", size)))
        tape.say(LINE, market.tell(("BUY", "0.47", size), tokens=(UP,)))  # Down's part of it is lost
    gaps = books(stop(tape))
    assert {gap["reason"] for gap in gaps} == {"checksum"}
    assert json.loads(gaps[0]["evidence"])["mirror"]["levels"] == 1


def test_a_picture_with_a_wrong_hash_is_broken_when_constants_are_known() -> None:
    market = SealedMarket()
    tape = begin(market)
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))  # tells the constants
    market.at_ms += 5
    tape.say(LINE, market.picture(UP, hash="00"))
    outcome = stop(tape)
    assert [(gap["symbol"], gap["reason"], gap["state"]) for gap in books(outcome)] == [(UP, "checksum", "open")]


def test_an_answer_with_a_wrong_hash_is_an_error_and_no_evidence() -> None:
    market = SealedMarket()
    tape = begin(market)
    wrong = market.answer(UP) | {"bids": []}
    tape.answer("polymarket", "clob", URL + UP, wrong)
    outcome = stop(tape)
    assert books(outcome) == []
    assert "hash does not come out" in outcome.rows("error")[0]["message"]


def test_an_answer_of_the_same_moment_that_differs_is_a_gap() -> None:
    market = SealedMarket(order_min="7")  # nothing is judged by hash
    tape = begin(market)
    tape.say(LINE, market.tell(("BUY", "0.43", "5")))  # a change that the venue's book does not have
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
    outcome = stop(tape)
    (gap,) = books(outcome)
    assert (gap["symbol"], gap["reason"], gap["state"]) == (UP, "checksum", "closed")
    assert rebuild(outcome, UP) == whole(market, UP)


def test_nothing_happened_in_a_gap_when_the_hash_is_the_same_after_it() -> None:
    market = SealedMarket()
    channels = ("book_change", "trade", "quote")
    tape = begin(market, channels=channels)
    tape.wait(3)
    tape.note(LINE, "closed", code=1006)
    tape.wait(3)
    subscribe(tape, OTHER_LINE, channels)
    tape.say(OTHER_LINE, market.picture(UP))  # one by one: no array says that the subscription is answered
    tape.say(OTHER_LINE, market.picture(DOWN))
    outcome = stop(tape)
    gaps = [gap for gap in outcome.gaps() if gap["reason"] == "disconnect"]
    assert {(gap["channel"], gap["state"], gap["missing"]) for gap in gaps} == {
        (channel, "repaired", 0) for channel in channels
    }


def test_a_picture_ends_the_gaps_of_trades_and_quotes() -> None:
    market = SealedMarket()
    channels = ("book_change", "trade", "quote")
    tape = begin(market, channels=channels)
    tape.note(LINE, "closed", code=1006)
    tape.wait(3)
    market.change(("BUY", "0.43", "9"))
    market.at_ms += 2_900
    subscribe(tape, OTHER_LINE, channels)
    tape.say(OTHER_LINE, market.picture(UP))
    outcome = stop(tape)
    ended = {(gap["channel"], gap["symbol"], gap["state"]) for gap in outcome.gaps() if gap["reason"] == "disconnect"}
    assert ended == {(c, UP, "closed") for c in channels} | {(c, DOWN, "open") for c in channels}


def test_a_hand_over_repeats_and_loses_nothing() -> None:
    market = SealedMarket()
    tape = begin(market)
    subscribe(tape, OTHER_LINE)
    tape.say(OTHER_LINE, market.pictures())
    for size in "12":
        frame = market.change(("BUY", "0.42", size))
        tape.say(LINE, frame)
        tape.say(OTHER_LINE, frame)
    tape.note(LINE, "closed", code=1000)
    tape.say(OTHER_LINE, market.change(("BUY", "0.42", "3")))
    outcome = stop(tape)
    assert books(outcome) == []
    assert rebuild(outcome, UP) == whole(market, UP)
    assert outcome.counts["duplicates.book_change"] == 8 + 4


def test_remedies_grow_stronger_and_rarer() -> None:
    market = SealedMarket()
    tape = begin(market)
    market.change(("BUY", "0.43", "9"))  # lost
    for number in range(400):
        tape.wait(0.5)
        tape.say(LINE, market.change(("BUY", "0.42", str(number + 1))))
    wishes = [wish for wish in decode(tape).wishes if UP in wish.reason]
    assert [type(wish) for wish in wishes[:5]] == [Fetch, Resubscribe, Fetch, Reconnect, Reconnect]
    assert len(wishes) < 9
    assert isinstance(wishes[1], Resubscribe) and wishes[1].topics == (UP,)


@pytest.mark.parametrize("cut", range(2, 24, 3))
def test_cuts_and_restarts_change_nothing(cut: int) -> None:
    market = SealedMarket()
    tape = begin(market, channels=("book_change", "trade"))
    for number in range(4):
        tape.wait(25)
        tape.say(LINE, market.change(("BUY", "0.44", str(1 + number))))
    market.change(("BUY", "0.43", "9"))  # lost
    for number in range(4):
        tape.wait(20)
        tape.say(LINE, market.change(("BUY", "0.42", str(1 + number))))
        tick(tape, 1, 1.0)
    tape.answer("polymarket", "clob", URL + UP, market.answer(UP))
    tape.answer("polymarket", "clob", URL + DOWN, market.answer(DOWN))
    tape.say(LINE, market.change(("SELL", "0.55", "7")))
    tape.note(LINE, "closed", code=1006)
    tape.note(RECORDER, "stopped", reason="signal")
    once = decode(tape)
    again = decode(tape, restores=[cut])
    assert {kind: table.to_pylist() for kind, table in again.tables.items()} == {
        kind: table.to_pylist() for kind, table in once.tables.items()
    }
    assert once.wishes == again.wishes


@pytest.mark.parametrize("cut", [6, 7, 8])
def test_a_picture_ends_gaps_where_it_stands_however_frames_are_cut(cut: int) -> None:
    market = SealedMarket()
    tape = begin(market, channels=("book_change", "trade"))
    tape.note(LINE, "closed", code=1006)
    subscribe(tape, OTHER_LINE, ("book_change", "trade"))
    market.change(("BUY", "0.43", "9"))
    offset = tape.say(OTHER_LINE, market.picture(UP))
    trade = {
        "event_type": "last_trade_price",
        "market": MARKET,
        "asset_id": UP,
        "price": "0.5",
        "size": "5",
        "side": "BUY",
    }
    tape.say(OTHER_LINE, trade | {"timestamp": str(market.at_ms), "transaction_hash": "0x1"})
    for outcome in (decode(tape), decode(tape, cuts=[cut])):
        (gap,) = outcome.gaps(channel="trade", symbol=UP, reason="disconnect")
        assert (gap["state"], gap["tape_offset"]) == ("closed", offset)


def test_an_outcome_that_nobody_subscribed_is_fetched_and_then_goes_on() -> None:
    """Frames of changes have both outcomes, whichever was asked for."""
    market = SealedMarket()
    tape = Tape()
    tape.note(LINE, "opened", url="wss://ws-subscriptions-clob.polymarket.com/ws/market")
    tape.subscribe(LINE, "book_change", "clob", UP, UP)
    tape.say(LINE, market.picture(UP))
    for number in range(60):
        tape.wait(2)
        tape.say(LINE, market.change(("BUY", "0.42", str(number + 1))))
    wishes = decode(tape).wishes
    assert {(type(wish), getattr(wish, "url", "")) for wish in wishes} == {(Fetch, URL + DOWN)}
    assert len(wishes) < 8
    tape.answer("polymarket", "clob", URL + DOWN, market.answer(DOWN))
    tape.say(LINE, market.change(("BUY", "0.42", "99")))
    outcome = stop(tape)
    assert [(gap["symbol"], gap["state"]) for gap in outcome.gaps(reason="not_started")] == [
        (UP, "closed"),
        (DOWN, "closed"),
    ]
    assert rebuild(outcome, DOWN) == whole(market, DOWN)
