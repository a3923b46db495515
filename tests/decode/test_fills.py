"""Fills without ids: told apart by counting, equal across connections, reconnects and sources."""

from typing import Any

from framed import Outcome, Tape, check_balance, decode
from sealed_market import LINE, MARKET, OTHER_LINE, UP, SealedMarket, begin, subscribe

URL = f"https://data-api.polymarket.com/v2/trades?condition={MARKET}"
AT_S = 1_767_225_600


def tell(number: int, *, price: str = "0.50", size: str = "12.50") -> dict[str, Any]:
    return {
        "event_type": "last_trade_price", "market": MARKET, "asset_id": UP, "price": price, "size": size, "side": "BUY",
        "timestamp": str(AT_S * 1000 + 7), "transaction_hash": f"0xA{number}",
    }  # fmt: skip


def answer(*numbers: int) -> dict[str, Any]:
    trades = [
        {
            "token_id": UP, "condition_id": MARKET, "side": "BUY", "size": 12.5, "price": 0.5, "timestamp": AT_S,
            "transaction_hash": f"0xa{number}", "proxy_wallet": "0xW", "outcome_index": 0,
        }
        for number in numbers
    ]  # fmt: skip
    return {"data": trades, "pagination": {"next_cursor": None, "has_more": False}}


def play(tape: Tape) -> Outcome:
    outcome = decode(tape)
    check_balance(outcome)
    return outcome


def test_the_data_api_tells_again_what_the_socket_told_and_more() -> None:
    tape = begin(SealedMarket(), channels=("book_change", "trade"))
    for number in (1, 1, 2):  # two equal fills of one transaction
        tape.say(LINE, tell(number))
    tape.answer("polymarket", "clob", URL, answer(1, 1, 1, 2, 3))
    tape.answer("polymarket", "clob", URL, answer(1, 1, 1, 2, 3))
    outcome = play(tape)
    ids = [row["trade_id"] for row in outcome.rows("trade")]
    one = "0xa{}:BUY:0.5:12.5:{}"
    assert ids == [one.format(1, 0), one.format(1, 1), one.format(2, 0), one.format(1, 2), one.format(3, 0)]
    assert outcome.counts["duplicates.trade"] == 3 + 5


def test_the_socket_tells_again_what_the_data_api_told_first() -> None:
    tape = begin(SealedMarket(), channels=("book_change", "trade"))
    tape.answer("polymarket", "clob", URL, answer(1))
    tape.say(LINE, tell(1))
    tape.say(LINE, tell(1))
    assert len(play(tape).rows("trade")) == 2


def test_two_connections_of_a_hand_over_tell_each_fill_once() -> None:
    market = SealedMarket()
    tape = begin(market, channels=("book_change", "trade"))
    subscribe(tape, OTHER_LINE, ("book_change", "trade"))
    for number in (1, 1, 2):
        tape.say(LINE, tell(number))
        tape.say(OTHER_LINE, tell(number))
    tape.note(LINE, "closed", code=1000)
    tape.say(OTHER_LINE, tell(3))
    assert len(play(tape).rows("trade")) == 4


def test_fetched_fills_end_no_gap() -> None:
    tape = begin(SealedMarket(), channels=("book_change", "trade"))
    tape.say(LINE, tell(1))
    tape.note(LINE, "closed", code=1006)
    tape.answer("polymarket", "clob", URL, answer(1, 2))
    outcome = play(tape)
    assert len(outcome.rows("trade")) == 2
    assert outcome.gaps(channel="trade", symbol=UP, reason="disconnect")[0]["state"] == "open"
