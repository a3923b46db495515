"""Kalshi's frames become whole books of both outcomes, and every loss of a frame is told."""

import json
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truetape.decode.engine import Engine
from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Response, Rows, Scribe
from truetape.events.schema import OUTCOME_PRICE, PREDICTION_MARKET, RESOLUTION
from truetape.tape.frame import FRAME_SCHEMA, Frame, FrameBatch, FrameKind
from truetape.venues import kalshi, load_venue
from truetape.venues.kalshi import ladder
from truetape.venues.kalshi.times import read_time

VENUE = load_venue("kalshi")
FEED = VENUE.feeds[0]
FED = "FED-23DEC-T3.00"
WINDOW = "KXBTC15M-26APR130415-15"
URL = kalshi.REST_URL

TICKER = {
    "market_id": "9b0f", "market_ticker": FED, "price_dollars": "0.4800", "yes_bid_dollars": "0.4500",
    "yes_ask_dollars": "0.5300", "volume_fp": "33896.00", "open_interest_fp": "20422.00", "dollar_volume": 16948,
    "dollar_open_interest": 10211, "yes_bid_size_fp": "300.00", "yes_ask_size_fp": "150.00",
    "last_trade_size_fp": "25.00", "ts": 1669149841, "ts_ms": 1669149841000, "time": "2022-11-22T20:44:01Z",
}  # fmt: skip
TRADE = {
    "trade_id": "d91bc706-ee49-470d-82d8-11418bda6fed", "market_ticker": FED, "yes_price_dollars": "0.3600",
    "no_price_dollars": "0.6400", "count_fp": "136.00", "taker_side": "no", "taker_outcome_side": "no",
    "taker_book_side": "ask", "is_block_trade": False, "ts": 1669149841, "ts_ms": 1669149841000,
}  # fmt: skip
MARKET = {
    "ticker": WINDOW, "event_ticker": "KXBTC15M-26APR130415", "market_type": "binary", "title": "BTC up in 15 minutes?",
    "open_time": "2026-04-13T08:00:00Z", "close_time": "2026-04-13T08:15:00Z", "status": "active",
    "notional_value_dollars": "1.0000", "last_price_dollars": "0.6700", "result": "", "expiration_value": "",
    "floor_strike": 67307.51, "strike_type": "greater_or_equal",
    "price_ranges": [
        {"start": "0.0000", "end": "0.1000", "step": "0.0010"}, {"start": "0.1000", "end": "0.9000", "step": "0.0100"},
    ],
}  # fmt: skip
FINAL = MARKET | {
    "status": "finalized", "result": "yes", "expiration_value": "67310.25", "settlement_value_dollars": "1.0000",
    "settlement_ts": "2026-04-13T08:16:12.5Z",
}  # fmt: skip


class Line:
    """One connection to a decoder that is alone with its rows."""

    def __init__(self, rows: Rows | None = None, connection: str = "line") -> None:
        self.rows = rows or Rows()
        self.on_message = VENUE.make_decoder(Scribe("kalshi", self.rows)).open("public", connection)
        self.offset = 0

    def say(self, kind: str, msg: object = None, sid: int | None = 1, seq: int | None = None, **more: object) -> bool:
        numbers = {name: value for name, value in (("sid", sid), ("seq", seq)) if value is not None}
        return self.send(encode({"type": kind, **numbers, **({} if msg is None else {"msg": msg}), **more}))

    def send(self, payload: bytes) -> bool:
        self.offset += 1
        return self.on_message(payload, self.offset * 10, self.offset)

    def picture(
        self, seq: int, yes: Sequence[tuple[str, str]], no: Sequence[tuple[str, str]], ticker: str = FED
    ) -> bool:
        sides = {"yes_dollars_fp": yes, "no_dollars_fp": no}
        return self.say(
            "orderbook_snapshot",
            {"market_ticker": ticker, "market_id": "x", **{k: v for k, v in sides.items() if v}},
            seq=seq,
        )

    def change(self, seq: int, side: str, price: str, delta: str, ticker: str = FED) -> bool:
        msg = {"market_ticker": ticker, "market_id": "x", "price_dollars": price, "delta_fp": delta, "side": side}
        return self.say("orderbook_delta", msg, seq=seq)

    def symbols(self, channel: str) -> list[str]:
        lists: dict[str, list[Any]] = {
            "trade": self.rows.trades,
            "book_change": self.rows.books,
            "quote": self.rows.quotes,
        }
        return [self.rows.streams[row[0]].symbol for row in lists.get(channel, self.rows.plain.get(channel, []))]


def encode(frame: object) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def answer(url: str, body: object, rows: Rows | None = None) -> Rows:
    rows = rows or Rows()
    assert VENUE.make_decoder(Scribe("kalshi", rows)).respond(Response("public", "http", url, 200, encode(body), 70, 7))
    return rows


def read(rows: Rows, kind: Any) -> list[dict[str, Any]]:
    names = [column.name for column in kind.own]
    return [dict(zip(names, row[4:], strict=True)) for row in rows.plain.get(kind.name, [])]


# -- what was recorded ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames(recordings: Path) -> list[bytes]:
    return (recordings / "prediction/kalshi/ws_frames.jsonl").read_bytes().splitlines()


def test_recorded_frames_decode(frames: list[bytes]) -> None:
    """Each but the last two is of a connection of its own; a change without a picture before it has no level."""
    assert len(frames) == 4
    expected = [1778028682875661, 1782316195033836]
    for payload, time in zip(frames[:2], expected, strict=True):
        line = Line()
        said = json.loads(payload)
        assert line.send(payload)
        assert [(b[1], b[5], b[7], b[9], b[10]) for b in line.rows.books] == [
            (time, BOOK_DIFF, said["seq"], [], [])
        ] * 2
        ticker, own = said["msg"]["market_ticker"], said["msg"]["side"].capitalize()
        assert line.symbols("book_change")[0] == f"{ticker}:{own}"
    line = Line()
    assert line.send(frames[2])
    yes, no = line.rows.books
    assert line.symbols("book_change") == [f"{FED}:Yes", f"{FED}:No"]
    assert yes[5:13] == (
        BOOK_SNAPSHOT, None, 2, None, [(0.22, 333.0), (0.08, 300.0)], [(0.44, 146.0), (0.46, 20.0)], None, None,
    )  # fmt: skip
    assert no[9:11] == ([(0.56, 146.0), (0.54, 20.0)], [(0.78, 333.0), (0.92, 300.0)])


def test_the_documented_change_does_not_fit_the_documented_picture(frames: list[bytes]) -> None:
    """It takes 54 contracts from a level that holds none: refused, and the books it belongs to are lost."""
    line = Line()
    assert line.send(frames[2])
    with pytest.raises(DecodeError, match=r"FED-23DEC-T3.00: yes 0.96 falls below zero - at `\$.msg.delta_fp`"):
        line.send(frames[3])
    assert line.rows.is_urgent
    assert [(c.last, c.number) for c in line.rows.counters] == [(3, 3)]
    alone = Line()
    assert alone.send(frames[3])
    assert [b[9:11] for b in alone.rows.books] == [([], []), ([], [])]
    assert alone.rows.books[0][1] == 1669149841000000


# -- books ------------------------------------------------------------------------------------------------


def test_changes_become_what_a_level_holds_in_both_books() -> None:
    line = Line()
    line.picture(1, [("0.2200", "333.00")], [("0.5600", "146.00")])
    line.change(2, "yes", "0.220", "-33.05")
    line.change(3, "no", "0.56", "4.00")
    line.change(4, "yes", "0.30", "10.00")
    line.change(5, "yes", "0.3", "-10.00")
    told = [(line.rows.streams[b[0]].symbol[-3:].strip(":"), b[7], b[9], b[10]) for b in line.rows.books[2:]]
    assert told == [
        ("Yes", 2, [(0.22, 299.95)], []), ("No", 2, [], [(0.78, 299.95)]),
        ("No", 3, [(0.56, 150.0)], []), ("Yes", 3, [], [(0.44, 150.0)]),
        ("Yes", 4, [(0.3, 10.0)], []), ("No", 4, [], [(0.7, 10.0)]),
        ("Yes", 5, [(0.3, 0.0)], []), ("No", 5, [], [(0.7, 0.0)]),
    ]  # fmt: skip
    assert all(b[4] == "line" and b[6] is None and b[11] is None for b in line.rows.books)


@settings(deadline=None, max_examples=25)  # each example is a hundred frames
@given(st.integers(0, 2**32))
def test_sums_stay_exact_and_books_mirror(seed: int) -> None:
    """Thousands of changes, against decimals; the No book is the Yes book turned around."""
    chance, line = random.Random(seed), Line()
    line.picture(1, [], [])
    held: dict[tuple[str, Decimal], Decimal] = {}
    for seq in range(2, 120):
        side, price = chance.choice(["yes", "no"]), Decimal(chance.randrange(1, 1000)).scaleb(-3)
        size = held.get((side, price), Decimal(0))
        delta = -size if size and chance.random() < 0.5 else Decimal(chance.randrange(1, 10**9)).scaleb(-2)
        held[side, price] = size + delta
        line.change(seq, side, str(price), str(delta))
        own, other = line.rows.books[-2:]
        assert own[9] == [(float(price), float(size + delta))]
        assert other[10] == [(float(1 - price), float(size + delta))]
    kept = line.rows.memory["kalshi"]["books"][FED]
    assert sum(len(side) for side in kept[2:]) == sum(1 for size in held.values() if size)


def test_a_jump_of_numbers_loses_the_books_of_its_subscription_only() -> None:
    line = Line()
    line.picture(1, [("0.22", "333.00")], [])
    line.say(
        "orderbook_snapshot",
        {"market_ticker": "OTHER", "market_id": "x", "yes_dollars_fp": [["0.10", "5"]]},
        sid=2,
        seq=1,
    )
    line.change(4, "yes", "0.22", "1.00")
    assert [(c.connection, c.offset, c.last, c.number) for c in line.rows.counters] == [("line", 3, 1, 4)]
    assert line.rows.is_urgent
    assert [b[9:11] for b in line.rows.books[-2:]] == [([], []), ([], [])]
    line.say(
        "orderbook_delta",
        {"market_ticker": "OTHER", "price_dollars": "0.1", "delta_fp": "1", "side": "yes"},
        sid=2,
        seq=2,
    )
    assert line.rows.books[-2][9] == [(0.1, 6.0)]
    line.picture(5, [("0.22", "7.00")], [])
    line.change(6, "yes", "0.22", "1.00")
    assert line.rows.books[-2][9] == [(0.22, 8.0)]
    assert len(line.rows.counters) == 1


def test_repeats_change_nothing() -> None:
    line = Line()
    line.picture(1, [("0.22", "333.00")], [])
    for _ in range(2):
        assert line.change(2, "yes", "0.22", "1.00")
        assert line.picture(1, [("0.22", "1.00")], [])
        assert line.say("trade", TRADE, sid=2, seq=9)
    assert (len(line.rows.books), len(line.rows.trades)) == (4, 1)
    assert line.rows.books[-2][9] == [(0.22, 334.0)]


def test_what_is_numbered_counts_whatever_it_tells() -> None:
    line = Line()
    line.picture(1, [("0.22", "333.00")], [])
    assert not line.say("ok", {"market_tickers": [FED]}, seq=2, id=5)
    assert not line.say("error", {"code": 26, "msg": "Subscription market limit exceeded", "market_ticker": FED}, seq=3)
    line.change(4, "yes", "0.22", "1.00")
    assert line.rows.counters == []
    assert len(line.rows.acks) == 1
    assert line.rows.plain["error"][0][6:8] == (26, f"Subscription market limit exceeded {FED}")


def test_a_subscription_that_begins_counts_anew() -> None:
    line = Line()
    line.picture(8, [("0.22", "333.00")], [])
    assert not line.say("subscribed", {"channel": "orderbook_delta", "sid": 1}, sid=None, id=1)
    line.picture(1, [("0.22", "5.00")], [])
    line.change(2, "yes", "0.22", "1.00")
    assert line.rows.books[-2][9] == [(0.22, 6.0)]
    assert (line.rows.counters, len(line.rows.acks)) == ([], 1)


def test_in_a_hand_over_the_last_picture_owns_the_book() -> None:
    old = Line(connection="old")
    old.picture(1, [("0.22", "333.00")], [])
    new = Line(old.rows, "new")
    new.picture(1, [("0.22", "334.00")], [])
    old.change(2, "yes", "0.22", "1.00")
    assert old.rows.books[-2][9] == []
    new.change(2, "yes", "0.22", "1.00")
    assert old.rows.books[-2][9] == [(0.22, 335.0)]


def test_a_checkpoint_carries_the_sums() -> None:
    line = Line()
    line.picture(1, [("0.22", "333.00")], [("0.5", "1")])
    rows = Rows()
    rows.memory.update(msgspec.msgpack.decode(msgspec.msgpack.encode(line.rows.memory), type=dict[str, dict[str, Any]]))
    again = Line(rows)
    again.change(2, "yes", "0.22", "0.05")
    again.change(2, "yes", "0.22", "0.05")
    assert [b[9] for b in rows.books] == [[(0.22, 333.05)], []]


def test_kept_books_are_bounded_and_letting_go_is_told() -> None:
    line = Line()
    for seq in range(1, ladder.BOOKS_MAX + 2):
        line.picture(seq, [("0.22", "1")], [], ticker=f"T{seq}")
    assert len(line.rows.memory["kalshi"]["books"]) <= ladder.BOOKS_MAX
    assert len(line.rows.counters) == 1
    for number in range(ladder.LINES_MAX + 5):
        Line(line.rows, f"line{number}").say("trade", TRADE, seq=1)
    assert len(line.rows.memory["kalshi"]["numbers"]) == ladder.LINES_MAX


# -- with the engine --------------------------------------------------------------------------------------


def decode(payloads: Sequence[bytes], cut: int | None = None) -> tuple[dict[str, pa.Table], Engine, list[Any]]:
    """Decode frames of one connection, a second apart, starting anew from a checkpoint at a cut."""
    listed = [
        Frame(1_780_000_000_000_000_000 + i * 10**9, 0, int(FrameKind.TEXT), "kalshi", "public", "line", payload, "")
        for i, payload in enumerate(payloads)
    ]
    engine, parts, wishes = Engine("tape"), [], []
    for begin, end in ((0, cut or len(listed)), (cut or len(listed), len(listed))):
        if begin == end:
            continue
        columns = zip(*listed[begin:end], strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, FRAME_SCHEMA, strict=True)]
        engine.feed(FrameBatch(begin, pa.RecordBatch.from_arrays(arrays, schema=FRAME_SCHEMA)))
        parts.append(engine.take())
        wishes += engine.take_wishes()
        saved = engine.save()
        engine = Engine("tape")
        engine.restore(saved)
    tables = {kind: pa.concat_tables([p[kind] for p in parts if kind in p]) for kind in {k for p in parts for k in p}}
    return tables, engine, wishes


def make_session(skipped: frozenset[int] = frozenset()) -> list[bytes]:
    picture = {
        "market_ticker": FED,
        "market_id": "x",
        "yes_dollars_fp": [["0.20", "5"]],
        "no_dollars_fp": [["0.70", "5"]],
    }
    frames: list[dict[str, Any]] = [{"type": "subscribed", "id": 1, "msg": {"channel": "orderbook_delta", "sid": 1}}]
    frames.append({"type": "orderbook_snapshot", "sid": 1, "seq": 1, "msg": picture})
    for seq in range(2, 12):
        msg = {"market_ticker": FED, "market_id": "x", "price_dollars": "0.21", "delta_fp": "1.00", "side": "yes"}
        frames.append({"type": "orderbook_delta", "sid": 1, "seq": seq, "msg": msg})
    return [encode(frame) for frame in frames if frame.get("seq") not in skipped]


def test_the_engine_keeps_whole_books() -> None:
    tables, engine, wishes = decode(make_session(), cut=6)
    book = [row for row in tables["book_change"].to_pylist() if row["symbol"] == f"{FED}:Yes"]
    assert [row["amount"] for row in book if row["price"] == 0.21] == [float(n) for n in range(1, 11)]
    mirrored = [
        row for row in tables["book_change"].to_pylist() if row["symbol"] == f"{FED}:No" and row["price"] == 0.79
    ]
    assert [(row["side"], row["amount"]) for row in mirrored] == [("ask", float(n)) for n in range(1, 11)]
    assert "gap" not in tables and "quarantine" not in tables
    assert wishes == []
    assert engine.counts["frames"] == engine.counts["decoded"] + engine.counts["control"] == 12


@pytest.mark.parametrize("skipped", [{5}, {1}, {1, 2, 3}])
def test_the_engine_declares_what_is_lost(skipped: set[int]) -> None:
    tables, _, wishes = decode(make_session(frozenset(skipped)))
    gaps = tables["gap"].to_pylist()
    assert {row["symbol"] for row in gaps} == {f"{FED}:Yes", f"{FED}:No"}
    assert {row["reason"] for row in gaps} == {"not_started" if 1 in skipped else "sequence"}
    assert {row["state"] for row in gaps} == {"open"}
    assert wishes


# -- trades, tickers, lifecycle ---------------------------------------------------------------------------


def test_a_trade_is_one_row_told_of_yes() -> None:
    line = Line()
    assert line.say("trade", TRADE, sid=11, seq=2)
    assert line.rows.trades == [
        (0, 1669149841000000, 10, 1, None, TRADE["trade_id"], "sell", 0.36, 136.0, None, None)
    ]  # fmt: skip
    assert line.symbols("trade") == [f"{FED}:Yes"]
    newer = {k: v for k, v in TRADE.items() if k != "taker_side"} | {
        "taker_outcome_side": "yes",
        "is_block_trade": True,
    }
    older = {k: v for k, v in TRADE.items() if not k.startswith("taker_")}
    line.say("trade", newer, sid=11, seq=3)
    line.say("trade", older | {"taker_side": "yes"}, sid=11, seq=4)
    line.say("trade", older, sid=11, seq=5)
    assert [(row[6], row[10]) for row in line.rows.trades[1:]] == [("buy", "block"), ("buy", None), (None, None)]


def test_a_ticker_is_quotes_of_both_and_the_state_of_yes() -> None:
    line = Line()
    assert line.say("ticker", TICKER, sid=11)
    head = (1669149841000000, 10, 1)
    assert [row[1:] for row in line.rows.quotes] == [
        (*head, 0.45, 300.0, 0.53, 150.0, None), (*head, 0.47, 150.0, 0.55, 300.0, None),
    ]  # fmt: skip
    assert line.symbols("quote") == [f"{FED}:Yes", f"{FED}:No"]
    assert line.rows.plain["ticker"][0][1:] == (*head, 0.48, 25.0, 0.45, 0.53, *(None,) * 5)
    assert line.rows.plain["derivative"][0][1:] == (*head, None, None, 0.48, 20422.0, *(None,) * 10)
    empty = {
        "yes_bid_dollars": "0.0000",
        "yes_bid_size_fp": "0.00",
        "yes_ask_dollars": "1.0000",
        "yes_ask_size_fp": "0.00",
    }
    line.say("ticker", TICKER | empty | {"price_dollars": "0.0000", "last_trade_size_fp": "0.00"}, sid=11)
    assert [row[4:8] for row in line.rows.quotes[2:]] == [(None,) * 4] * 2
    assert line.rows.plain["ticker"][1][4:6] == (None, None)


def test_results_of_the_socket_are_rows_but_no_labels() -> None:
    line = Line()
    created = {"market_ticker": WINDOW, "event_type": "created", "open_ts": 1, "close_ts": 2}
    assert not line.say("market_lifecycle_v2", created, sid=13, seq=1)
    determined = {"market_ticker": WINDOW, "event_type": "determined", "result": "no", "settlement_value": "0.0000"}
    for seq in (2, 3):
        assert line.say("market_lifecycle_v2", determined, sid=13, seq=seq)
    line.say("market_lifecycle_v2", determined | {"event_type": "settled", "settled_ts": 1776068172}, sid=13, seq=4)
    first, second = read(line.rows, RESOLUTION)
    assert (first["winner"], first["payouts"], first["is_resolved"]) == ("No", '{"Yes":0.0,"No":1.0}', False)
    assert (first["source"], first["status"]) == ("kalshi_socket", "determined")
    assert (second["status"], second["resolved_at"]) == ("settled", 1776068172000000)
    for seq, kind in enumerate(("event_lifecycle", "event_fee_update"), 5):
        assert not line.say(kind, {"event_ticker": "X"}, sid=13, seq=seq)
    assert line.rows.counters == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"pong", "malformed"),
        (b"{}", "missing required field `type`"),
        (b'{"type":"fill","sid":1,"msg":{}}', "message of type 'fill' has no rule"),
        (b'{"type":"orderbook_delta","sid":1,"seq":1,"msg":{}}', "at `$.msg`"),
        (b'{"type":"orderbook_delta","sid":1}', "`seq`"),
        (
            b'{"type":"trade","sid":1,"seq":1,"msg":{"trade_id":"a","market_ticker":"b","yes_price_dollars":"-1"}}',
            ">= 0",
        ),
    ],
)
def test_what_is_not_kalshi_is_refused_with_a_reason(payload: bytes, reason: str) -> None:
    with pytest.raises((DecodeError, msgspec.DecodeError)) as caught:
        Line().send(payload)
    assert reason in str(caught.value)


def test_other_layouts_of_a_frame_decode() -> None:
    line = Line()
    assert line.send(json.dumps({"sid": 3, "msg": TRADE, "seq": 1, "type": "trade"}).encode())
    assert len(line.rows.trades) == 1


# -- REST -------------------------------------------------------------------------------------------------


def test_markets_are_read_from_every_answer_that_has_them() -> None:
    urls = {
        "markets?limit=1000": {"markets": [MARKET], "cursor": ""},
        f"markets/{WINDOW}": {"market": MARKET},
        "events?with_nested_markets=true": {
            "events": [{"event_ticker": "E", "markets": [MARKET]}, {"event_ticker": "F"}]
        },
        "events/KXBTC15M-26APR130415": {"event": {"event_ticker": "E", "markets": [MARKET]}, "markets": [MARKET]},
    }
    for url, body in urls.items():
        rows = answer(f"{URL}/{url}", body)
        (market,) = read(rows, PREDICTION_MARKET)
        assert (market["slug"], market["series"], market["event_slug"]) == (WINDOW, "KXBTC15M", "KXBTC15M-26APR130415")
        assert len(rows.plain["market"]) == 2
    assert json.loads(market["outcomes"]) == {"Yes": f"{WINDOW}:Yes", "No": f"{WINDOW}:No"}
    assert market["opens_at"] == read_time("2026-04-13T08:00:00Z")
    assert market["ends_at"] - market["opens_at"] == 900 * 10**6
    assert (market["strike"], market["final_price"], market["tick"]) == (67307.51, None, 0.001)
    assert (market["is_active"], market["is_closed"], market["resolution_status"]) == (True, False, "active")
    assert market["rule"] is None
    (price,) = read(rows, OUTCOME_PRICE)
    assert price == {"condition": WINDOW, "outcome": "Yes", "price": 0.67, "source": "kalshi"}
    assert read(rows, RESOLUTION) == []


def test_a_version_is_written_once_and_a_result_is_a_label_when_final() -> None:
    rows = answer(f"{URL}/markets/{WINDOW}", {"market": MARKET})
    answer(f"{URL}/markets/{WINDOW}", {"market": MARKET}, rows)
    assert len(rows.plain["prediction_market"]) == len(rows.plain["outcome_price"]) == 1
    determined = FINAL | {"status": "determined"}
    for market in (determined, determined, FINAL, FINAL):
        answer(f"{URL}/markets/{WINDOW}", {"market": market}, rows)
    assert [m["resolution_status"] for m in read(rows, PREDICTION_MARKET)] == ["active", "determined", "finalized"]
    first, last = read(rows, RESOLUTION)
    assert (first["is_resolved"], first["winner"]) == (False, "Yes")
    assert last == {
        "condition": WINDOW, "slug": WINDOW, "source": "kalshi", "status": "finalized", "is_resolved": True,
        "winner": "Yes", "payouts": '{"Yes":1.0,"No":0.0}', "strike": 67307.51, "final_price": 67310.25,
        "is_disputed": None, "resolved_at": read_time("2026-04-13T08:16:12.5Z"),
    }  # fmt: skip
    assert len(rows.plain["outcome_price"]) == 1


@pytest.mark.parametrize(
    ("more", "is_resolved", "winner", "payouts"),
    [
        ({"result": "no", "settlement_value_dollars": None}, True, "No", '{"Yes":0.0,"No":1.0}'),
        ({"result": "scalar", "settlement_value_dollars": "0.5000"}, True, None, '{"Yes":0.5,"No":0.5}'),
        ({"result": "scalar", "settlement_value_dollars": "0.3000"}, False, None, '{"Yes":0.3,"No":0.7}'),
        ({"result": "scalar", "settlement_value_dollars": None}, False, None, None),
        ({"status": "disputed"}, False, "Yes", '{"Yes":1.0,"No":0.0}'),
    ],
)
def test_only_clear_results_are_labels(more: dict[str, Any], is_resolved: bool, winner: str, payouts: str) -> None:
    (told,) = read(answer(f"{URL}/markets/{WINDOW}", {"market": FINAL | more}), RESOLUTION)
    assert (told["is_resolved"], told["winner"], told["payouts"]) == (is_resolved, winner, payouts)
    assert told["is_disputed"] == (True if more.get("status") == "disputed" else None)


def test_markets_without_a_window_have_no_strike_of_its_start() -> None:
    words = FINAL | {"event_ticker": "KXHIGHNY-26JUN24", "expiration_value": "82° to 83°", "price_ranges": []}
    rows = answer(f"{URL}/markets/X", {"market": words})
    (market,) = read(rows, PREDICTION_MARKET)
    assert (market["opens_at"], market["strike"], market["final_price"], market["tick"]) == (None, None, None, None)
    (instrument,) = {i.strike for i in VENUE.read_listing(f"{URL}/markets", encode({"markets": [words]}))}
    assert instrument == 67307.51


def test_listings_have_pages() -> None:
    url = VENUE.listings[0].url
    following = VENUE.find_next_page(url, encode({"markets": [], "cursor": "a+b="}))
    assert following == f"{url}&cursor=a%2Bb%3D"
    assert VENUE.find_next_page(following, encode({"markets": [], "cursor": "c"})) == f"{url}&cursor=c"
    assert VENUE.find_next_page(url, encode({"markets": [], "cursor": ""})) is None
    assert VENUE.find_next_page(url, encode({"market": MARKET})) is None
    yes, no = VENUE.read_listing(url, encode({"markets": [MARKET], "cursor": "c"}))
    assert (yes.symbol, no.symbol) == (f"{WINDOW}:Yes", f"{WINDOW}:No")
    assert (yes.market_type, yes.quote, yes.price_step, yes.is_listed) == ("outcome", "USD", 0.001, True)
    with pytest.raises(msgspec.ValidationError):
        VENUE.read_listing(url, b"{}")


def test_rest_books_are_pictures_of_both_outcomes() -> None:
    body = {"orderbook_fp": {"yes_dollars": [["0.2200", "333.00"], ["0.4", "1"]], "no_dollars": [["0.5600", "146.00"]]}}
    rows = answer(kalshi.name_book_url(FED), body)
    yes, no = rows.plain["book_snapshot"]
    assert yes[1:] == (None, 70, 7, None, [0.4, 0.22], [1.0, 333.0], [0.44], [146.0])
    assert no[5:] == ([0.56], [146.0], [0.6, 0.78], [1.0, 333.0])
    assert [rows.streams[row[0]].symbol for row in (yes, no)] == [f"{FED}:Yes", f"{FED}:No"]
    empty = answer(kalshi.name_book_url(FED), {"orderbook_fp": {"yes_dollars": None, "no_dollars": []}})
    assert empty.plain["book_snapshot"][0][5:] == ([], [], [], [])


def test_rest_trades_are_the_socket_s() -> None:
    trade = {
        "trade_id": TRADE["trade_id"], "ticker": FED, "count_fp": "136.00", "yes_price_dollars": "0.3600",
        "no_price_dollars": "0.6400", "taker_side": "no", "created_time": "2022-11-22T20:44:01.123456Z",
    }  # fmt: skip
    later = trade | {"trade_id": "later", "created_time": "2022-11-22T20:44:02Z", "taker_outcome_side": "yes"}
    rows = answer(f"{URL}/markets/trades?ticker={FED}", {"trades": [later, trade], "cursor": ""})
    line = Line()
    line.say("trade", TRADE, seq=1)
    assert rows.trades[0][5:] == line.rows.trades[0][5:]
    assert [(row[1], row[6]) for row in rows.trades] == [(1669149841123456, "sell"), (1669149842000000, "buy")]


def test_other_answers_are_refused() -> None:
    for url in (f"{URL}/series", "https://api.elections.kalshi.com/trade-api/v1/markets"):
        with pytest.raises(DecodeError, match="has no rule"):
            answer(url, {})
    with pytest.raises(msgspec.ValidationError):
        answer(kalshi.name_book_url(FED), {"orderbook": {"yes": [[22, 333]]}})
    with pytest.raises(DecodeError, match="is not known"):
        VENUE.make_decoder(Scribe("kalshi", Rows())).open("private", "line")


# -- requests and times -----------------------------------------------------------------------------------


def test_topics_and_requests() -> None:
    yes, no = (VENUE.name_instrument("binary", f"{FED}:{outcome}") for outcome in ("Yes", "No"))
    listed = {
        channel: (VENUE.list_topics(FEED, channel, yes), VENUE.list_topics(FEED, channel, no))
        for channel in FEED.channels
    }
    assert listed == {
        "book_change": ((f"orderbook_delta:{FED}",),) * 2, "trade": ((f"trade:{FED}",), ()),
        "quote": ((f"ticker:{FED}",),) * 2, "ticker": ((f"ticker:{FED}",), ()), "derivative": ((f"ticker:{FED}",), ()),
    }  # fmt: skip
    assert (
        VENUE.list_topics(FEED, "candle", yes)
        == VENUE.list_topics(FEED, "trade", VENUE.name_instrument("binary", FED))
        == ()
    )
    asked = json.loads(VENUE.subscribe(FEED, ["orderbook_delta:A", "orderbook_delta:B"], 7))
    assert asked == {
        "id": 7,
        "cmd": "subscribe",
        "params": {"channels": ["orderbook_delta"], "market_tickers": ["A", "B"]},
    }
    assert {VENUE.group_topic(FEED, topic) for topic in ("trade:A", "trade:B")} == {"trade"}
    with pytest.raises(ValueError, match="takes one channel"):
        VENUE.subscribe(FEED, ["trade:A", "ticker:A"], 1)
    assert json.loads(VENUE.unsubscribe(FEED, ["trade:A"], 8)) == {"id": 8, "cmd": "list_subscriptions"}
    assert FEED.needs_key
    assert (
        kalshi.write_signed_text("GET", "/trade-api/v2/markets?limit=5", 1703123456789)
        == b"1703123456789GET/trade-api/v2/markets"
    )


@pytest.mark.parametrize(
    ("url", "feed"),
    [
        (FEED.url, "public"),
        ("wss://external-api-ws.kalshi.com/trade-api/ws/v2", "public"),
        ("https://external-api.kalshi.com/trade-api/v2/markets", "public"),
        ("https://demo-api.kalshi.co/trade-api/v2/markets", "public"),
        ("https://docs.kalshi.com/", None),
        ("https://example.org/trade-api/v2/markets", None),
    ],
)
def test_addresses_tell_the_feed(url: str, feed: str | None) -> None:
    assert VENUE.find_feed(url) == feed


def test_times_have_any_number_of_decimals() -> None:
    assert read_time("2026-05-06T00:51:22.875661Z") == 1778028682875661
    assert read_time("2026-05-06T00:51:22Z") == 1778028682000000
    assert read_time("2026-05-06T00:51:22.5Z") == 1778028682500000
    assert read_time("2026-05-06T00:51:22.123456789Z") == 1778028682123456
    for text in (
        "",
        "yesterday",
        "2026-05-06T00:51:22",
        "2026-05-06T00:51:22.Z",
        "2026-05-06T00:51:22.xZ",
        "2026-13-06T00:51:22Z",
    ):
        with pytest.raises(DecodeError, match="is not ISO"):
            read_time(text)
