"""History on the tape: only what is missing is taken, and gaps are judged by what came."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import framed
import msgspec
import pytest

from truetape.events.backfill import Began, Ended, Identity, Lost, Range
from truetape.tape.frame import Frame, FrameKind, Source

SECOND_NS = 1_000_000_000
START_NS = 1_795_262_000 * SECOND_NS
LIVE = Source("binance", "spot", "binance/spot#1")
PAST = Source("binance", "spot", "binance/backfill")
STREAM = {"channel": "trade", "market": "spot", "venue_symbol": "BTCUSDT", "topic": "btcusdt@trade"}
Row = tuple[Source, int, FrameKind, bytes, str]


def at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


def event(source: Source, second: float, name: str, **facts: Any) -> Row:
    return source, at(second), FrameKind.EVENT, b"", json.dumps({"event": name, **facts})


def live(number: int, second: float) -> Row:
    """Stream a trade; those of the tests happen each second, numbered by it."""
    ms = at(number) // 10**6
    data = {"e": "trade", "E": ms, "s": "BTCUSDT", "t": number, "p": "1", "q": "2", "T": ms, "m": False, "M": True}
    return LIVE, at(second), FrameKind.TEXT, json.dumps({"stream": "btcusdt@trade", "data": data}).encode(), ""


def page(numbers: Sequence[int], second: float = 100.0, status: int = 200) -> Row:
    """Answer trades of the past."""
    rows = [
        {"id": n, "price": "1", "qty": "2", "quoteQty": "2", "time": at(n) // 10**6, "isBuyerMaker": False}
        for n in numbers
    ]
    url = "https://api.binance.com/api/v3/historicalTrades?symbol=BTCUSDT&fromId=0&limit=1000"
    return PAST, at(second), FrameKind.RESPONSE, json.dumps(rows).encode(), json.dumps({"url": url, "status": status})


def began(*missing: Range, identity: Identity = "step", gap: str = "g1", known: tuple[int, ...] = ()) -> Row:
    lost = Lost(gap, at(3) // 1000, at(7) // 1000, "sequence", tuple(range(len(missing))))
    told = Began(
        market="spot", channel="trade", venue_symbol="BTCUSDT", identity=identity, from_us=at(3) // 1000,
        to_us=at(7) // 1000, missing=missing, gaps=(lost,), known=known,
    )  # fmt: skip
    return event(PAST, 99, "backfill_began", **msgspec.to_builtins(told))


def ended(**facts: Any) -> Row:
    return event(PAST, 101, "backfill_ended", **msgspec.to_builtins(Ended(**{"status": "answered", **facts})))


OPENING = [event(LIVE, 0, "opened"), event(LIVE, 0, "subscribed", streams=[STREAM])]
HOLED = [*OPENING, *(live(n, n) for n in (1, 2, 3, 7, 8))]


def decode(rows: Sequence[Row], stop: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """Decode; with `stop`, from a checkpoint on that was taken there."""
    frames = [Frame(received_ns, 0, int(kind), *source, *rest) for source, received_ns, kind, *rest in rows]
    outcome = framed.decode(frames, restores=() if stop is None else (stop,))
    framed.check_balance(outcome)
    return {kind: table.to_pylist() for kind, table in outcome.tables.items()}


def list_ids(tables: dict[str, list[dict[str, Any]]]) -> list[int]:
    return [int(row["trade_id"]) for row in tables["trade"]]


def judge(tables: dict[str, list[dict[str, Any]]], gap: str = "g1") -> tuple[str, dict[str, Any]]:
    last = [row for row in tables["gap"] if row["gap_id"] == gap][-1]
    return last["state"], json.loads(last["evidence"])


@pytest.mark.parametrize("stop", [None, 9, 10])
def test_a_hole_is_filled_once_and_its_gap_repaired(stop: int | None) -> None:
    rows = [*HOLED, began(Range(4, 6)), page([3, 4, 5, 6, 7]), page([4, 5]), ended(), live(5, 102), live(9, 103)]
    tables = decode(rows, stop)
    assert list_ids(tables) == [1, 2, 3, 7, 8, 4, 5, 6, 9]
    state, evidence = judge(tables)
    assert (state, evidence["rows"], evidence["missing"]) == ("repaired", 3, [[4, 6]])


def test_what_the_venue_lacks_stays_missing() -> None:
    tables = decode([*HOLED, began(Range(4, 6)), page([5, 6, 7]), ended(), live(4, 102)])
    state, evidence = judge(tables)
    assert state == "unrecoverable"
    assert evidence["left"] == [[4, 4]]
    assert "begins at" in evidence["why"]
    assert list_ids(tables) == [1, 2, 3, 7, 8, 5, 6, 4]  # that one may still arrive


def test_nothing_told_is_unrecoverable_with_the_venues_words() -> None:
    tables = decode([*HOLED, began(Range(4, 6)), page([]), ended(reason="no such symbol")])
    state, evidence = judge(tables)
    assert (state, evidence["why"]) == ("unrecoverable", "the venue has nothing of it: no such symbol")


def test_holes_between_pages_are_not_called_whole() -> None:
    state, evidence = judge(decode([*HOLED, began(Range(4, 6)), page([3, 4, 6, 7]), ended()]))
    assert (state, evidence["why"]) == ("unrecoverable", "the venue does not tell all of it")


def test_what_cannot_be_asked_is_unrecoverable_and_what_failed_stays() -> None:
    state, evidence = judge(decode([*HOLED, began(), ended(status="impossible", reason="told once")]))
    assert (state, evidence["why"]) == ("unrecoverable", "told once")
    tables = decode([*HOLED, began(Range(4, 6)), ended(status="failed", reason="away")])
    assert [row for row in tables["gap"] if row["gap_id"] == "g1"] == []
    state, evidence = judge(decode([*HOLED, began(Range(4, 6)), page([3, 4]), ended(status="failed", reason="away")]))
    assert (state, evidence["left"]) == ("closed", [[5, 6]])


def test_a_gap_without_missing_ids_is_proven_whole() -> None:
    state, evidence = judge(decode([*OPENING, live(1, 1), live(2, 2), began(), ended()]))
    assert (state, evidence["proof"]) == ("repaired", "ids step by one through it")


def test_before_the_first_row_time_says_what_is_wanted() -> None:
    start = [*OPENING, live(7, 7)]
    span = Range(None, 6, since_us=at(3) // 1000)
    tables = decode([*start, began(span), page([1, 2, 3, 4, 5, 6, 7]), ended()])
    assert list_ids(tables) == [7, 3, 4, 5, 6]
    assert judge(tables)[0] == "repaired"
    assert judge(decode([*start, began(span), page([4, 5, 6, 7]), ended()]))[0] == "unrecoverable"


def test_after_the_last_row_the_venue_may_have_no_more() -> None:
    span = Range(3, None, before_us=at(7) // 1000)
    tables = decode([*OPENING, live(1, 1), live(2, 2), began(span), page([2, 3, 4, 5, 8]), ended()])
    assert list_ids(tables) == [1, 2, 3, 4, 5]


def test_a_row_known_by_its_text_ends_what_is_missing() -> None:
    """The number of the first row is not known beforehand."""
    told = began(Range(until="5", since_us=at(2) // 1000, before_us=at(9) // 1000))
    source = Source("deribit", "public", "deribit/backfill")
    trades = [
        {"trade_seq": 90 + n, "trade_id": str(n), "timestamp": at(n) // 10**6, "instrument_name": "BTC-PERPETUAL",
         "price": 1.0, "amount": 10.0, "direction": "buy"}
        for n in (1, 2, 3, 4, 5, 6)
    ]  # fmt: skip
    meta = json.dumps({"url": "https://www.deribit.com/api/v2/public/get_last_trades_by_instrument", "status": 200})
    body = json.dumps({"result": {"trades": trades, "has_more": False}}).encode()
    facts = json.loads(told[4]) | {"market": "all", "venue_symbol": "BTC-PERPETUAL"}
    rows = [
        (source, told[1], FrameKind.EVENT, b"", json.dumps(facts)),
        (source, at(100), FrameKind.RESPONSE, body, meta),
        (source, at(101), FrameKind.EVENT, b"", ended()[4]),
    ]
    tables = decode(rows)
    assert list_ids(tables) == [2, 3, 4]
    assert judge(tables)[0] == "repaired"


FILLS = Source("kraken", "futures", "kraken/backfill")


def tell_piece(place: int, low: int, high: int, numbers: Sequence[int], **facts: Any) -> list[Row]:
    """Ask for one of two pieces of a gap in trades that have text ids; those of even numbers are known."""
    told = Began(
        market="futures", channel="trade", venue_symbol="PI_XBTUSD", identity="text", from_us=at(low) // 1000,
        to_us=at(high) // 1000, place=place, places=2, gaps=(Lost("g1", at(1) // 1000, at(9) // 1000, "disconnect"),),
        known_ids=tuple(str(number) for number in range(low, high + 1) if number % 2 == 0),
    )  # fmt: skip
    history = [
        {"time": f"{datetime.fromtimestamp(at(n) / 1e9, UTC):%Y-%m-%dT%H:%M:%S}.000Z", "trade_id": n, "uid": str(n),
         "type": "fill", "price": 1.0, "size": 10.0, "side": "buy"}
        for n in reversed(numbers)
    ]  # fmt: skip
    url = "https://futures.kraken.com/derivatives/api/v3/history?symbol=PI_XBTUSD"
    body = json.dumps({"result": "success", "history": history}).encode()
    return [
        event(FILLS, 99 + place, "backfill_began", **msgspec.to_builtins(told)),
        (FILLS, at(99.1 + place), FrameKind.RESPONSE, body, json.dumps({"url": url, "status": 200})),
        event(FILLS, 99.2 + place, "backfill_ended", **msgspec.to_builtins(Ended(**{"status": "answered", **facts}))),
    ]


@pytest.mark.parametrize("stop", [None, 1, 3, 4])
def test_pieces_are_judged_together(stop: int | None) -> None:
    tables = decode([*tell_piece(1, 2, 5, range(1, 7)), *tell_piece(2, 6, 9, range(4, 11))], stop)
    assert list_ids(tables) == [3, 5, 7, 9]
    (row,) = tables["gap"]
    evidence = json.loads(row["evidence"])
    assert (row["state"], evidence["rows"], evidence["pages"]) == ("repaired", 4, 2)


def test_a_piece_that_is_not_whole_is_told_at_the_end() -> None:
    state, evidence = judge(decode([*tell_piece(1, 2, 5, range(4, 7)), *tell_piece(2, 6, 9, range(4, 11))]))
    assert (state, evidence["rows"]) == ("unrecoverable", 3)
    assert evidence["why"].startswith(f"what the venue still tells begins at {at(4) // 1000} us")


@pytest.mark.parametrize("first", ["failed", "never asked", "of another run"])
def test_gaps_stay_when_a_piece_is_missing(first: str) -> None:
    whole = tell_piece(2, 6, 9, range(4, 11))
    before = {
        "failed": tell_piece(1, 2, 5, range(1, 7), status="failed", reason="away"),
        "never asked": [],
        "of another run": [*tell_piece(1, 2, 5, range(1, 7)), *tell_piece(1, 2, 5, [], status="failed")],
    }
    tables = decode([*before[first], *whole])
    assert "gap" not in tables or [row for row in tables["gap"] if row["gap_id"] == "g1"] == []
    assert list_ids(tables)[-2:] == [7, 9]
    again = decode([*before[first], *whole, *tell_piece(1, 2, 5, range(1, 7)), *tell_piece(2, 6, 9, range(4, 11))])
    assert judge(again)[0] == "repaired"  # what failed once says nothing of the next run


def test_history_says_nothing_of_the_stream_now() -> None:
    """A gap that is open stays open, and numbers go on from where the stream was."""
    rows = [
        *HOLED, event(LIVE, 9, "closed", cause="venue"), began(Range(4, 6)), page([4, 5, 6]), ended(),
        event(LIVE, 110, "opened"), event(LIVE, 110, "subscribed", streams=[STREAM]), live(12, 111),
    ]  # fmt: skip
    tables = decode(rows)
    closed = [row for row in tables["gap"] if row["reason"] == "disconnect"]
    assert [row["state"] for row in closed] == ["open", "closed"]
    assert closed[0]["from_at"].timestamp() == at(8) / 1e9
    assert closed[1]["missing"] == 3


def test_rows_of_other_streams_and_without_a_beginning_are_repeats() -> None:
    other = page([4, 5])
    other = (*other[:4], other[4].replace("BTCUSDT", "ETHUSDT"))
    tables = decode([*HOLED, page([4]), began(Range(4, 6)), other, ended(), page([5])])
    assert list_ids(tables) == [1, 2, 3, 7, 8]


def test_errors_are_rows_and_no_history() -> None:
    tables = decode([*HOLED, began(Range(4, 6)), page([4, 5, 6], status=429), page([3, 4, 5, 6, 7]), ended()])
    assert judge(tables)[0] == "repaired"
    assert tables["error"][0]["status"] == 429


def test_known_numbers_are_not_taken_again() -> None:
    """Numbers with holes: all between the pages' ends is told, but what is known."""
    tables = decode([*HOLED, began(Range(4, 6), identity="number", known=(5,)), page([3, 5, 6, 7]), ended()])
    assert list_ids(tables) == [1, 2, 3, 7, 8, 6]
    assert judge(tables)[0] == "repaired"


def test_a_merged_row_is_not_taken_apart() -> None:
    """The row after the hole has the amount of three fills: they are not missing."""
    span = Range(2, 6, merged=6.0)
    tables = decode([*OPENING, live(1, 1), live(7, 7), began(span, identity="number"), page(range(1, 8)), ended()])
    assert list_ids(tables) == [1, 7, 2, 3, 4]
    assert judge(tables)[0] == "repaired"


@pytest.mark.parametrize("stop", [None, 9, 11])
def test_rows_of_a_file_that_are_known_by_their_places_are_left_out(stop: int | None) -> None:
    """What is told of one block holds until something else is told; a file that was taken whole closes its gaps."""
    told = Began(
        market="spot", channel="trade", venue_symbol="BTCUSDT", identity="number", from_us=at(0) // 1000,
        to_us=at(20) // 1000, missing=(Range(),), file="https://host/file.zip",
    )  # fmt: skip
    lost = Lost("g1", at(3) // 1000, at(7) // 1000, "sequence")
    steps = [
        msgspec.structs.replace(told, known_rows=((1, 2), (4, 9))),
        told,
        msgspec.structs.replace(told, missing=(), gaps=(lost,)),
    ]
    first, second, last = (event(PAST, 99, "backfill_began", **msgspec.to_builtins(step)) for step in steps)
    tables = decode([*HOLED, first, page([4, 5, 6, 9]), second, page([10, 11]), ended(), last, ended()], stop)
    assert list_ids(tables) == [1, 2, 3, 7, 8, 4, 9, 10, 11]
    state, evidence = judge(tables)
    assert (state, evidence["file"]) == ("repaired", "https://host/file.zip")
