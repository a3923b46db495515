"""Polymarket's frames decode to the rows that the recordings prove, and their hashes prove the books."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import Recorded
from replayed import Replayed, replay_frames

from truetape.decode.engine import Engine
from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_FETCHED, BOOK_SNAPSHOT, Rows, Scribe, Seal
from truetape.events.schema import KINDS
from truetape.tape.frame import FRAME_SCHEMA, Frame, FrameBatch, FrameKind
from truetape.venues import load_venue
from truetape.venues.polymarket import gamma
from truetape.venues.polymarket.data import count_units
from truetape.venues.polymarket.gamma import find_next_page, read_markets, read_rule
from truetape.venues.polymarket.naming import list_oracles, read_pair
from truetape.venues.polymarket.oracle import scale_e18
from truetape.venues.polymarket.proof import Context, Prover, Verdict, find_mirror_break, hash_book, prove_seal
from truetape.venues.polymarket.rest import list_best_first, prove_answer, read_book
from truetape.venues.polymarket.times import read_time
from truetape.venues.polymarket.window import COUNTED, name_event_url, name_window, read_window

VENUE = load_venue("polymarket")
FEEDS = {feed.name: feed for feed in VENUE.feeds}
CLOB_URL = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
RTDS_URL = "wss://ws-live-data.polymarket.com"
BOLT_URL = "wss://ws-live-v2.polymarket.com/ws"
BOOK_URL = "https://clob.polymarket.com/book?token_id=1"
GAMMA = "https://gamma-api.polymarket.com"
DATA = "https://data-api.polymarket.com"
GOLDSKY = "https://api.goldsky.com/api/public/project_x/subgraphs/{}/1.0/gn"
LONGEST = "m9-rtds-natural-20260429T021025Z-fresh"


@pytest.fixture(scope="module")
def prediction(recordings: Path) -> Path:
    return recordings / "prediction"


@pytest.fixture(scope="module")
def nautilus(prediction: Path) -> Path:
    return prediction / "fixtures/nautilus"


@pytest.fixture(scope="module")
def sessions(prediction: Path) -> dict[str, list[Recorded]]:
    found = sorted(prediction.glob("raw_sessions/*/*/raw_messages.jsonl"))
    assert len(found) == 8
    return {path.parent.name: list(read_session(path)) for path in found}


@pytest.fixture(scope="module")
def played(sessions: dict[str, list[Recorded]]) -> dict[str, Replayed]:
    return {name: replay_frames("polymarket", frames) for name, frames in sessions.items()}


def read_session(path: Path) -> Iterator[Recorded]:
    """Frames of the services of this venue; a picture without `event_type` was fetched. The recorder opened a
    connection for each cycle, and each begins with the array of pictures."""
    cycle = 0
    for line in path.read_text().splitlines():
        row = json.loads(line)
        payload, received_ns = row["payload"].encode(), int(row["recv_wall_ts"]) * 10**6
        if row["source"] == "polymarket_rtds_chainlink":
            yield Recorded("connect", "rtds", RTDS_URL.encode(), received_ns)
            yield Recorded("text", "rtds", payload, received_ns)
        elif row["source"] == "polymarket_clob":
            is_fetched = payload.startswith(b"{") and b'"event_type"' not in payload
            if payload.startswith(b"["):
                cycle += 1
                yield Recorded("connect", f"clob {cycle}", CLOB_URL.encode(), received_ns)
            yield Recorded(*(("http", BOOK_URL) if is_fetched else ("text", f"clob {cycle}")), payload, received_ns)


def play(*frames: Any, url: str = CLOB_URL) -> Replayed:
    """Play made-up messages of one connection."""
    encoded = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
    lines = [Recorded("text", "line", payload, 5_000 + i) for i, payload in enumerate(encoded)]
    return replay_frames("polymarket", [Recorded("connect", "line", url.encode(), 5), *lines])


def ask(*answers: tuple[str, Any]) -> Replayed:
    """Play made-up answers."""
    bodies = [(url, body if isinstance(body, bytes) else json.dumps(body).encode()) for url, body in answers]
    return replay_frames("polymarket", [Recorded("http", url, body, 7_000) for url, body in bodies])


def list_rows(done: Replayed, kind: str) -> list[dict[str, Any]]:
    """Rows of a kind with their columns' names, the stream's symbol and venue_symbol."""
    names = ("stream", "exchange_us", "received_ns", "offset", *(column.name for column in KINDS[kind].own))
    rows = [dict(zip(names, row, strict=True)) for row in done.pick(kind)]
    for row in rows:
        stream = done.rows.streams[row["stream"]]
        row |= {"symbol": stream.symbol, "venue_symbol": stream.venue_symbol}
    return rows


def prove(done: Replayed) -> tuple[list[Verdict], list[Verdict]]:
    """Prove all books; return (verdicts, batches that stayed in doubt)."""
    prover = Prover()
    verdicts = [verdict for row in done.rows.books if row[5] != BOOK_FETCHED for verdict in prover.feed(row)]
    return verdicts, prover.finish()


# -- recorded sessions ----------------------------------------------------------------------------------------


def test_every_recorded_frame_decodes(sessions: dict[str, list[Recorded]], played: dict[str, Replayed]) -> None:
    for name, done in played.items():
        messages = [frame for frame in sessions[name] if frame.kind in ("text", "http")]
        assert done.refused == []
        assert (done.data, done.control) == (len(messages), 0)


def test_the_rows_are_as_many_as_the_recorded_events(
    sessions: dict[str, list[Recorded]], played: dict[str, Replayed]
) -> None:
    total: Counter[str] = Counter()
    for name, done in played.items():
        expected: Counter[str] = Counter()
        for frame in sessions[name]:
            said = json.loads(frame.payload) if frame.kind in ("text", "http") else []
            for event in said if isinstance(said, list) else [said]:
                if "topic" in event:
                    expected["oracle_price"] += len(event["payload"].get("data", [0]))
                elif event.get("event_type") == "price_change":
                    expected["book_change"] += len({change["asset_id"] for change in event["price_changes"]})
                else:
                    kinds = {"book": ["book_change"], "new_market": ["prediction_market"]}
                    expected.update(kinds.get(event.get("event_type"), ["book_snapshot", "book_change"]))
        assert {kind: done.count(kind) for kind in expected} == expected
        assert done.count("market") == 2 * done.count("prediction_market")
        total += expected
    assert total == {"oracle_price": 6970, "book_change": 434 + 492, "book_snapshot": 492, "prediction_market": 42}


def test_every_subscription_is_acknowledged_by_its_array_of_pictures(played: dict[str, Replayed]) -> None:
    assert sum(len(done.rows.acks) for done in played.values()) == 48


def test_every_fetched_book_is_proven_by_its_hash(sessions: dict[str, list[Recorded]]) -> None:
    fetched = [frame for frames in sessions.values() for frame in frames if frame.kind == "http"]
    verdicts = Counter(prove_answer(read_book(frame.payload)) for frame in fetched)
    assert verdicts == {True: 492}


def test_every_picture_and_every_batch_of_the_socket_is_proven(played: dict[str, Replayed]) -> None:
    """288 pictures; 146 changes of tokens, of which the hash of all is that of the last state of their batch."""
    kinds: Counter[tuple[bool, bool]] = Counter()
    for done in played.values():
        verdicts, doubtful = prove(done)
        pictures = {row[3] for row in done.rows.books if row[5] == BOOK_SNAPSHOT}
        kinds.update((verdict.offset in pictures, verdict.is_proven) for verdict in verdicts)
        assert doubtful == []
    assert kinds[True, True] == 288
    assert kinds[True, False] == kinds[False, False] == 0
    assert kinds[False, True] == 144  # of 146 rows: two are in the middle of their batch


def test_a_batch_spread_over_frames_is_judged_by_its_last(played: dict[str, Replayed]) -> None:
    rows = [row for done in played.values() for row in done.rows.books if row[5] == BOOK_DIFF]
    batches = Counter((row[0], row[4], row[12].batch, row[2] // 10**12) for row in rows)
    assert sum(number - 1 for number in batches.values()) == 2


def test_the_engine_makes_tables_of_a_session(sessions: dict[str, list[Recorded]], played: dict[str, Replayed]) -> None:
    name = "m9-rtds-natural-20260428e"
    frames = []
    for frame in sessions[name]:
        if frame.kind == "connect":
            continue
        is_http = frame.kind == "http"
        feed = "rtds" if frame.where == "rtds" else "clob"
        meta = json.dumps({"url": frame.where, "status": 200}) if is_http else ""
        kind = FrameKind.RESPONSE if is_http else FrameKind.TEXT
        frames.append(Frame(frame.received_ns, 0, int(kind), "polymarket", feed, frame.where, frame.payload, meta))
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*frames, strict=True), FRAME_SCHEMA, strict=True)
    ]
    engine = Engine("tape")
    engine.feed(FrameBatch(0, pa.RecordBatch.from_arrays(columns, schema=FRAME_SCHEMA)))
    tables = engine.take()
    done = played[name]
    assert "quarantine" not in tables
    assert tables["oracle_price"].num_rows == done.count("oracle_price")
    repeated = engine.counts["duplicates.book_change"]  # pictures that a new connection tells again
    assert tables["book_change"].num_rows + repeated == sum(
        len(row[9]) + len(row[10]) for row in done.rows.books if row[5] != BOOK_FETCHED
    )
    assert tables["oracle_price"].schema.equals(KINDS["oracle_price"].arrow)
    assert not [gap for gap in tables.get("gap", pa.table({})).to_pylist() if gap["reason"] in ("crossed", "checksum")]


def test_recorded_pictures_of_one_moment_mirror_each_other(played: dict[str, Replayed]) -> None:
    pairs = 0
    for done in played.values():
        sides: dict[tuple[int, int, str], list[Any]] = {}
        for row in done.rows.books:
            if row[5] == BOOK_SNAPSHOT:
                sides.setdefault((row[3], row[1], row[12].context[0]), []).append((row[9], row[10]))
        for books in sides.values():
            if len(books) == 2:
                assert find_mirror_break(*books) is None
                pairs += 1
    assert pairs > 50


def test_oracle_prices_are_exact_and_stand_at_their_observation(played: dict[str, Replayed]) -> None:
    rows = [row for done in played.values() for row in list_rows(done, "oracle_price")]
    updates = [row for row in rows if not row["is_snapshot"]]
    assert len(updates) == 864
    assert len(rows) - len(updates) == 6106
    assert {row["source"] for row in rows} == {"rtds_chainlink"}
    assert {row["window_s"] for row in rows} == {None}
    assert {row["symbol"] for row in rows if row["feed_id"] == "btc/usd"} == {"BTC-USD:rtds_chainlink"}
    for row in updates:
        assert row["price"] == float(row["exact_price"])
        assert row["exchange_us"] % 1_000_000 == 0
        assert 0 < row["published_at"] - row["exchange_us"] < 5_000_000


def test_coverage_of_a_recorded_day_is_what_the_fact_sheet_measured(prediction: Path) -> None:
    """A recorder's table of a day, put back into frames: its floats and the exact text agree, and 97.9 % of seconds came."""
    path = prediction / "oracle_and_outcomes/ligengxin_btc5m/BTCUSD-prices-2026-06-08.csv.gz"
    frames = [Recorded("connect", "rtds", RTDS_URL.encode(), 0)]
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            said = {"symbol": "btc/usd", "timestamp": int(row["feed_ts_ms"]), "value": float(row["value"])}
            payload = said | {"full_accuracy_value": row["full_accuracy_value"]}
            frame = {"topic": "crypto_prices_chainlink", "type": "update", "timestamp": int(row["server_ts_ms"])}
            frames.append(
                Recorded("text", "rtds", json.dumps(frame | {"payload": payload}).encode(), int(row["recv_ms"]) * 10**6)
            )
    done = replay_frames("polymarket", frames)
    rows = list_rows(done, "oracle_price")
    assert (len(rows), done.refused) == (84_558, [])
    seconds = sorted({row["exchange_us"] // 1_000_000 for row in rows})
    assert round(len(seconds) / 86_400, 3) == 0.979
    steps = [b - a for a, b in pairwise(seconds)]
    assert (sum(step > 60 for step in steps), max(steps)) == (4, 122)
    assert all(float(row["exact_price"]) == row["price"] for row in rows)


# -- the proof ------------------------------------------------------------------------------------------------


def test_the_official_hash_vectors_reproduce(prediction: Path) -> None:
    vectors = json.loads((prediction / "fixtures/clob_orderbook_hash_vectors.json").read_text())
    checked = 0
    for vector in vectors:
        raw = vector["raw"]
        bids, asks = ([(level["price"], level["size"]) for level in reversed(raw[side])] for side in ("bids", "asks"))
        context = Context(
            raw["market"], raw["asset_id"], raw["timestamp"], raw["min_order_size"], raw["tick_size"], raw["neg_risk"],
            raw["last_trade_price"],
        )  # fmt: skip
        if vector["expected_hash"]:
            assert hash_book(bids, asks, context) == vector["expected_hash"]
            checked += 1
    assert checked == 2


MARKET = "0x" + "ab" * 32


def make_book(bids: dict[str, str], asks: dict[str, str], at: int = 1000, **changed: Any) -> dict[str, Any]:
    """A `book` event whose hash is right for the given constants."""
    constants = {
        "order_min": "5",
        "is_negative_risk": False,
        "tick": "0.01",
        "last_price": "0.5",
        "token": "11",
    } | changed
    best_first = [
        sorted(side.items(), key=lambda level: float(level[0]), reverse=down)
        for side, down in ((bids, True), (asks, False))
    ]
    context = Context(
        MARKET, constants["token"], str(at), constants["order_min"], constants["tick"], constants["is_negative_risk"],
        constants["last_price"],
    )  # fmt: skip
    levels = [[{"price": p, "size": s} for p, s in reversed(side)] for side in best_first]
    return {
        "event_type": "book", "market": MARKET, "asset_id": constants["token"], "timestamp": str(at), "bids": levels[0],
        "asks": levels[1], "hash": hash_book(*best_first, context), "tick_size": constants["tick"],
        "last_trade_price": constants["last_price"],
    }  # fmt: skip


def make_change(at: int, hashed: str, *levels: tuple[str, str, str], token: str = "11") -> dict[str, Any]:
    changes = [
        {
            "asset_id": token,
            "price": price,
            "size": size,
            "side": side,
            "hash": hashed,
            "best_bid": "0",
            "best_ask": "1",
        }
        for side, price, size in levels
    ]
    return {"event_type": "price_change", "market": MARKET, "price_changes": changes, "timestamp": str(at)}


def test_a_lost_change_is_found_by_the_next_batch() -> None:
    after = make_book({"0.4": "1", "0.41": "2"}, {"0.6": "1"}, 3000)
    done = play(make_book({"0.4": "1"}, {"0.6": "1"}), make_change(3000, after["hash"], ("BUY", "0.42", "9")))
    verdicts, doubtful = prove(done)
    assert [verdict.is_proven for verdict in verdicts] == [True]
    assert [(verdict.batch, verdict.expected) for verdict in doubtful] == [("3000", after["hash"])]


def test_frames_of_one_timestamp_are_one_batch() -> None:
    after = make_book({"0.4": "1", "0.41": "2"}, {"0.6": "1", "0.7": "3"}, 3000)["hash"]
    first, second = make_change(3000, after, ("BUY", "0.41", "2")), make_change(3000, after, ("SELL", "0.7", "3"))
    later = make_change(4000, "wrong", ("SELL", "0.7", "0"))
    last = make_change(5000, "wrong again", ("SELL", "0.7", "0"))
    done = play(make_book({"0.4": "1"}, {"0.6": "1"}), first, second, later, last)
    verdicts, doubtful = prove(done)
    assert [(verdict.batch, verdict.is_proven) for verdict in verdicts] == [
        ("1000", True),
        ("3000", True),
        ("4000", False),
    ]
    assert [verdict.batch for verdict in doubtful] == ["5000"]


def test_trades_and_ticks_are_in_the_hash() -> None:
    after = make_book({"0.4": "1"}, {"0.6": "2"}, 3000, tick="0.001", last_price="0.601")["hash"]
    trade = {
        "event_type": "last_trade_price",
        "market": MARKET,
        "asset_id": "11",
        "timestamp": "2000",
        "price": "0.601",
        "size": "1",
        "side": "BUY",
    }
    tick = {
        "event_type": "tick_size_change",
        "market": MARKET,
        "asset_id": "11",
        "timestamp": "2500",
        "old_tick_size": "0.01",
        "new_tick_size": "0.001",
    }
    done = play(make_book({"0.4": "1"}, {"0.6": "1"}), trade, tick, make_change(3000, after, ("SELL", "0.6", "2")))
    verdicts, doubtful = prove(done)
    assert ([verdict.is_proven for verdict in verdicts], doubtful) == ([True, True], [])
    assert list_rows(done, "market")[0]["price_step"] == 0.001


@pytest.mark.parametrize("order_min", ["1", "15", "100"])
@pytest.mark.parametrize("is_negative_risk", [False, True])
def test_constants_that_nothing_told_are_found_by_the_first_picture(order_min: str, is_negative_risk: bool) -> None:
    constants = {"order_min": order_min, "is_negative_risk": is_negative_risk}
    after = make_book({"0.4": "2"}, {"0.6": "1"}, 2000, **constants)["hash"]
    done = play(make_book({"0.4": "1"}, {"0.6": "1"}, **constants), make_change(2000, after, ("BUY", "0.4", "2")))
    verdicts, doubtful = prove(done)
    assert ([verdict.is_proven for verdict in verdicts], doubtful) == ([True, True], [])
    assert not done.rows.books[0][12].is_certain


def test_constants_of_a_listing_are_certain() -> None:
    listed = {
        "conditionId": MARKET,
        "slug": "s",
        "outcomes": '["Up","Down"]',
        "clobTokenIds": '["11","12"]',
        "orderMinSize": 15,
        "negRisk": True,
    }
    frames = [
        Recorded("http", f"{GAMMA}/markets/slug/s", json.dumps(listed).encode(), 1),
        Recorded("connect", "line", CLOB_URL.encode(), 2),
        Recorded(
            "text", "line", json.dumps(make_book({"0.4": "1"}, {}, order_min="15", is_negative_risk=True)).encode(), 3
        ),
    ]
    done = replay_frames("polymarket", frames)
    seal = done.rows.books[0][12]
    assert isinstance(seal, Seal)
    assert seal.is_certain
    assert prove_seal(done.rows.books[0][9], [], seal) == seal.expected
    assert done.rows.streams[done.rows.books[0][0]].symbol == "s:Up"


def test_the_mirror_rule_tells_what_differs() -> None:
    up = ([("0.4", "10"), ("0.35", "1")], [("0.62", "7")])
    assert find_mirror_break(up, ([("0.38", "7.0")], [("0.6", "10"), ("0.65", "1")])) is None
    broken = find_mirror_break(up, ([("0.38", "8")], [("0.6", "10"), ("0.65", "1")]))
    assert broken == {"sides": "up asks, down bids", "levels": 1, "price": 0.38, "expected": 7.0, "got": 8.0}


@given(st.dictionaries(st.integers(1, 999), st.integers(1, 10**6), max_size=30), st.integers(1, 40))
def test_a_rebuilt_book_hashes_as_the_whole_one(levels: dict[int, int], split: int) -> None:
    text = {f"{price / 1000:g}": f"{size / 100:g}" for price, size in levels.items()}
    first = dict(list(text.items())[:split])
    after = make_book(text, {}, 2000)["hash"]
    changes = [("BUY", price, size) for price, size in text.items() if price not in first] or [("SELL", "0.9995", "0")]
    verdicts, doubtful = prove(play(make_book(first, {}), make_change(2000, after, *changes)))
    assert ([verdict.is_proven for verdict in verdicts], doubtful) == ([True, True], [])


# -- the socket of the order book -----------------------------------------------------------------------------


def test_fixtures_of_the_market_channel_decode(nautilus: Path) -> None:
    expected = {
        "crate_test_data/ws_market_best_bid_ask_msg.json": "quote",
        "crate_test_data/ws_market_book_msg.json": "book_change",
        "crate_test_data/ws_market_last_trade_msg.json": "trade",
        "crate_test_data/ws_market_new_market_msg.json": "prediction_market",
        "crate_test_data/ws_market_price_change_msg.json": "book_change",
        "crate_test_data/ws_market_tick_size_msg.json": "market",
        "ws_messages/book.json": "book_change",
        "ws_messages/last_trade_price.json": "trade",
        "ws_messages/price_change.json": "book_change",
        "ws_messages/tick_size_change.json": "market",
    }
    for name, kind in expected.items():
        done = play((nautilus / name).read_bytes())
        assert (done.refused, done.count(kind)) == ([], 1), name


def test_frames_of_no_rule_are_refused(nautilus: Path) -> None:
    """The user's own channel is out of scope; parts of frames without `event_type` never came from the socket."""
    parts = ("ws_book_snapshot", "ws_last_trade", "ws_quotes", "ws_tick_size_change")
    names = [
        *nautilus.glob("crate_test_data/ws_user_*.json"),
        *(nautilus / f"crate_test_data/{part}.json" for part in parts),
    ]
    names += [*nautilus.glob("ws_messages/order_*.json"), *nautilus.glob("ws_messages/user_trade*.json")]
    for path in [*names, nautilus / "ws_messages/trades.json"]:
        done = play(path.read_bytes())
        assert "event_type" in done.refused[0][0], path.name
    assert len(names) == 19


def test_the_old_forms_of_a_change_decode() -> None:
    listed = {"event_type": "price_change", "market": MARKET, "asset_id": "11", "timestamp": "5", "hash": "h",
              "changes": [{"price": "0.4", "size": "3", "side": "BUY"}, {"price": "0.5", "size": "0", "side": "SELL"}]}  # fmt: skip
    flat = {
        "event_type": "price_change",
        "market": MARKET,
        "asset_id": "11",
        "timestamp": "6",
        "hash": "i",
        "price": "0.4",
        "size": "1",
        "side": "SELL",
    }
    done = play(listed, flat)
    assert [row[9:11] for row in done.rows.books] == [([("0.4", "3")], [("0.5", "0")]), ([], [("0.4", "1")])]
    assert [row[12].expected for row in done.rows.books] == ["h", "i"]


def test_a_change_of_both_tokens_is_a_row_of_each(played: dict[str, Replayed]) -> None:
    done = played[LONGEST]
    changes = [row for row in done.rows.books if row[5] == BOOK_DIFF]
    by_frame: dict[int, set[int]] = {}
    for row in changes:
        by_frame.setdefault(row[3], set()).add(row[0])
    assert {len(streams) for streams in by_frame.values()} == {2}
    assert all(row[7] is None for row in changes)


def test_levels_keep_the_venues_digits(played: dict[str, Replayed]) -> None:
    texts = [size for row in played[LONGEST].rows.books for _, size in (*row[9], *row[10])]
    assert all(isinstance(text, str) for text in texts)


def test_equal_fills_of_one_transaction_stay_two_trades_and_two_lines_agree() -> None:
    fill = {
        "event_type": "last_trade_price",
        "market": MARKET,
        "asset_id": "11",
        "timestamp": "2000",
        "price": "0.6",
        "size": "1.5",
        "side": "SELL",
        "transaction_hash": "0xt",
    }
    lines = [Recorded("connect", name, CLOB_URL.encode(), 1) for name in ("a", "b")]
    told = [Recorded("text", name, json.dumps(fill).encode(), 2) for name in ("a", "b", "a", "b")]
    done = replay_frames("polymarket", lines + told)
    assert [row[5] for row in done.rows.trades] == ["0xt:SELL:0.6:1.5:0"] * 2 + ["0xt:SELL:0.6:1.5:1"] * 2
    assert {row[4:5] + row[6:9] for row in done.rows.trades} == {(None, "sell", 0.6, 1.5)}


@pytest.mark.parametrize(
    ("told", "bid", "ask"), [(("0.3", ""), 0.3, None), (("0", "0.002"), None, 0.002), (("0.999", "1"), 0.999, None)]
)
def test_quotes_without_a_side_have_none(told: tuple[str, str], bid: float | None, ask: float | None) -> None:
    """A side is empty when nothing stands there, or a price at which no order can lie."""
    done = play(
        {
            "event_type": "best_bid_ask",
            "market": MARKET,
            "asset_id": "11",
            "timestamp": "7",
            "best_bid": told[0],
            "best_ask": told[1],
            "spread": "",
        }
    )
    assert done.rows.quotes == [(0, 7000, 5000, 1, bid, None, ask, None, None)]


def test_a_resolved_market_of_the_socket_is_no_label() -> None:
    done = play(
        {
            "event_type": "market_resolved",
            "id": "1",
            "market": MARKET,
            "timestamp": "9",
            "winning_asset_id": "11",
            "winning_outcome": "Up",
        }
    )
    (row,) = list_rows(done, "resolution")
    assert (row["is_resolved"], row["winner"], row["status"], row["source"]) == (False, "Up", "resolved", "clob_socket")


def test_a_resolved_market_that_is_known_is_asked_for_at_once() -> None:
    resolved = {"event_type": "market_resolved", "id": "1", "market": MARKET, "timestamp": "9", "winning_outcome": "Up"}
    market = {"conditionId": MARKET, "slug": "m", "outcomes": '["Up"]', "clobTokenIds": '["11"]'}
    event = json.dumps({"slug": "e", "markets": [market]}).encode()
    frames = [Recorded("connect", "line", CLOB_URL.encode(), 5), Recorded("http", f"{GAMMA}/events/slug/e", event, 6)]
    told = Recorded("text", "line", json.dumps(resolved).encode(), 7)
    (wish,) = replay_frames("polymarket", [*frames, told, told]).rows.wishes
    assert (wish.venue, getattr(wish, "url", "")) == ("polymarket", f"{GAMMA}/events/slug/e")


def test_pongs_are_control() -> None:
    done = play(b"PONG", [])
    assert (done.data, done.control) == (0, 2)


@pytest.mark.parametrize(
    ("price", "size"), [("x", "1"), ("0.5", "nan"), ("1.5", "1"), ("0.5", "-1"), ("0.5", "inf"), ("nan", "1")]
)
def test_levels_that_are_no_numbers_are_refused(price: str, size: str) -> None:
    done = play(make_change(1, "h", ("BUY", price, size)))
    assert len(done.refused) == 1
    assert done.rows.books == []


@pytest.mark.parametrize("frame", [{"event_type": "other"}, {"event_type": "price_change", "market": "m", "timestamp": "1"},
                                   {"event_type": "price_change", "market": "m", "timestamp": "1", "asset_id": "1"}, 5, b"{"])  # fmt: skip
def test_other_shapes_are_refused(frame: Any) -> None:
    assert len(play(frame).refused) == 1


# -- oracles --------------------------------------------------------------------------------------------------


def test_fixtures_of_rtds_decode(nautilus: Path, prediction: Path) -> None:
    lines = (prediction / "rtds/twap_and_error_frames.jsonl").read_text().splitlines()
    frames = [line.encode() for line in lines]
    done = play(*frames, (nautilus / "crate_test_data/rtds_crypto_prices_update.json").read_bytes(), b"", url=RTDS_URL)
    twap, binance = list_rows(done, "oracle_price")
    assert (twap["source"], twap["window_s"], twap["feed_id"]) == ("rtds_chainlink", 60, "btc/usd")
    assert (twap["exact_price"], twap["symbol"]) == ("63086.406212239293939712", "BTC-USD:rtds_chainlink_twap60")
    assert (binance["source"], binance["exact_price"], binance["symbol"]) == (
        "rtds_binance",
        "61035.86",
        "BTC-USDT:rtds_binance",
    )
    assert [row["message"] for row in list_rows(done, "error")] == ["Invalid request body"]
    for name in ("update", "subscribe"):
        equity = play((nautilus / f"crate_test_data/rtds_equity_prices_{name}.json").read_bytes(), url=RTDS_URL)
        assert "equity_prices" in equity.refused[0][0]  # not an oracle that we record


def test_snapshots_of_averages_are_told_by_their_feed() -> None:
    frame = {
        "topic": "crypto_prices",
        "type": "subscribe",
        "timestamp": 9,
        "payload": {"symbol": "btc/usd", "data": [{"timestamp": 1000, "value": 1.5}]},
    }
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("polymarket", rows))
    for feed in ("rtds", "rtds-twap60"):
        decoder.open(feed, feed)(json.dumps(frame).encode(), 5, 1)
    assert [row[6] for row in rows.plain["oracle_price"]] == [None, 60]
    assert [stream.symbol for stream in rows.streams] == ["BTC-USD:rtds_chainlink", "BTC-USD:rtds_chainlink_twap60"]


def test_examples_of_polybolt_decode(prediction: Path) -> None:
    lines = [json.loads(line) for line in (prediction / "polybolt/frames.jsonl").read_text().splitlines()]
    done = play(*(line["frame"] for line in lines if line["dir"] == "recv"), url=BOLT_URL)
    assert done.refused == []
    rows = list_rows(done, "oracle_price")
    assert [(row["source"], row["window_s"], row["exact_price"], row["is_snapshot"]) for row in rows] == [
        ("polybolt_pyth", None, "64123.5", True),
        ("polybolt_pyth", None, "64125.1", True),
        ("polybolt_pyth", None, "64126", False),
        ("polybolt_chainlink", 60, "64120.7", False),
    ]
    assert len(done.rows.acks) == 1
    assert [row["message"] for row in list_rows(done, "error")] == ["auth_required price.crypto"]
    assert done.rows.counters == []


def make_bolt(seq: int, **more: Any) -> dict[str, Any]:
    payload = {
        "symbol": "btcusd",
        "value": 1.0,
        "full_accuracy_value": "1.00",
        "timestamp": 1000 * seq,
        "source": "chainlink",
    }
    return {"v": 1, "channel": "price.crypto", "seq": seq, "ts": 1000 * seq, "payload": payload} | more


def test_polybolt_frames_are_counted_by_channel() -> None:
    done = play(
        make_bolt(1), make_bolt(2), make_bolt(5), make_bolt(6, dropped=2), make_bolt(1), make_bolt(2), url=BOLT_URL
    )
    assert [(counter.last, counter.number) for counter in done.rows.counters] == [(2, 5), (3, 6)]


@pytest.mark.parametrize(
    "frame",
    [make_bolt(1, v=2), make_bolt(1, channel="price.equity"), make_bolt(1, channel="price.crypto.twap"), {"op": "what"},
     make_bolt(1, payload={"symbol": "btcusd", "source": "chainlink"}), make_bolt(1, payload={"symbol": "?", "source": "s", "value": 1, "timestamp": 1})],
)  # fmt: skip
def test_other_shapes_of_polybolt_are_refused(frame: Any) -> None:
    assert len(play(frame, url=BOLT_URL).refused) == 1


@given(st.integers(0, 10**30))
def test_scaling_loses_no_digit(units: int) -> None:
    assert Fraction(scale_e18(str(units))) * 10**18 == units


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e18", "x"])
def test_scaling_refuses_other_text(text: str) -> None:
    with pytest.raises(DecodeError):
        scale_e18(text)


def test_pairs_are_read_in_both_forms() -> None:
    assert (read_pair("btc/usd"), read_pair("xrpusdt"), read_pair("hypeusd")) == (
        ("BTC", "USD"),
        ("XRP", "USDT"),
        ("HYPE", "USD"),
    )
    with pytest.raises(DecodeError):
        read_pair("aapl")


# -- Gamma ----------------------------------------------------------------------------------------------------


def read_bodies(prediction: Path) -> dict[str, bytes]:
    """Every recorded answer of Gamma's that is whole."""
    bodies = {
        path.name: path.read_bytes()
        for path in (prediction / "fixtures/nautilus/crate_test_data").glob("gamma_[em]*.json")
    }
    bodies["search"] = (prediction / "fixtures/nautilus/crate_test_data/search_response.json").read_bytes()
    bodies["brightkha"] = (prediction / "gamma/brightkha/btc_5m_spot_v1_event_2026-04-30.json").read_bytes()
    bodies["yongkangc"] = (prediction / "gamma/yongkangc/updown_markets_sample.json").read_bytes()
    for path in (prediction / "gamma/vinayak_active_btc15m").glob("*.json"):
        bodies[path.name] = json.dumps(json.loads(path.read_text())["raw_market"]).encode()
    return bodies


def test_every_recorded_answer_of_gamma_decodes(prediction: Path) -> None:
    bodies = read_bodies(prediction)
    assert len(bodies) == 16
    for name, body in bodies.items():
        path = "public-search" if name == "search" else "events"
        done = ask((f"{GAMMA}/{path}", body))
        markets, refused = read_markets(body)
        assert (done.refused, refused) == ([], []), name
        assert done.count("prediction_market") == len(markets) > 0
        assert done.count("market") == sum(token is not None for m in markets for token in m.outcomes.values())
        assert len(VENUE.read_listing(f"{GAMMA}/events", body)) == done.count("market")


def test_a_market_is_read_whole(prediction: Path) -> None:
    done = ask((f"{GAMMA}/events?slug=btc-updown-5m-1777562700&closed=true", read_bodies(prediction)["brightkha"]))
    (row,) = list_rows(done, "prediction_market")
    outcomes = json.loads(row["outcomes"])
    assert list(outcomes) == ["Up", "Down"]
    assert (row["slug"], row["series"], row["version"]) == ("btc-updown-5m-1777562700", "btc-up-or-down-5m", "v1")
    assert (row["opens_at"], row["ends_at"]) == (1_777_562_700 * 10**6, 1_777_563_000 * 10**6)
    assert (row["rule"], row["rule_window_s"], row["strike"], row["final_price"]) == (
        "spot",
        None,
        76416.51228783683,
        76474.488985,
    )
    assert (row["fee_rate"], row["fee_exponent"], row["is_taker_fee_only"], row["fee_rebate"]) == (0.07, 1.0, True, 0.2)
    (label,) = list_rows(done, "resolution")
    assert (label["is_resolved"], label["winner"], json.loads(label["payouts"])) == (
        True,
        "Up",
        {"Up": 1.0, "Down": 0.0},
    )
    assert label["resolved_at"] == read_time("2026-04-30 15:31:26+00") == read_time("2026-04-30T15:31:26Z")
    up = next(i for i in done.rows.instruments.values() if i.symbol.endswith(":Up"))
    assert (up.venue_symbol, up.price_step, up.is_listed) == (outcomes["Up"], 0.01, True)
    assert {(r["outcome"], r["price"]) for r in list_rows(done, "outcome_price")} == {("Up", 1.0), ("Down", 0.0)}


def test_outcomes_are_told_by_name() -> None:
    turned = {"conditionId": MARKET, "slug": "s", "outcomes": '["Down","Up"]', "clobTokenIds": '["1","2"]', "outcomePrices": '["0","1"]',
              "closed": True, "umaResolutionStatus": "resolved"}  # fmt: skip
    done = ask((f"{GAMMA}/markets/slug/s", turned))
    assert {i.venue_symbol: i.symbol for i in done.rows.instruments.values()} == {"1": "s:Down", "2": "s:Up"}
    assert list_rows(done, "resolution")[0]["winner"] == "Up"


def test_all_labels_of_a_recorded_day_are_strict_ones(prediction: Path) -> None:
    path = prediction / "oracle_and_outcomes/ligengxin_btc5m/BTC-5m-markets-2026-06-08.jsonl.gz"
    count = 0
    with gzip.open(path, "rt") as file:
        for line in file:
            told = json.loads(line)
            ((market,), _) = read_markets(json.dumps(told["raw"]).encode())
            winner = {("1", "0"): "Up", ("0", "1"): "Down"}[tuple(told["outcome_prices"])]
            assert (market.is_resolved, market.winner) == (told["resolved"], winner) == (True, winner)
            assert list(market.outcomes.values()) == told["token_ids"]
            assert (market.opens_us, market.ends_us) == (told["start_sec"] * 10**6, told["end_sec"] * 10**6)
            assert market.rule == "spot"
            count += 1
    assert count == 292


@pytest.mark.parametrize(
    ("changed", "is_resolved", "winner"),
    [
        ({}, True, "Up"),
        ({"outcomePrices": '["0", "1"]'}, True, "Down"),
        ({"outcomePrices": '["0.5", "0.5"]'}, True, None),
        ({"closed": False}, False, None),
        ({"closed": None}, False, None),
        ({"umaResolutionStatus": "proposed"}, False, None),
        ({"umaResolutionStatus": "disputed"}, False, None),
        ({"umaResolutionStatus": None}, False, None),
        ({"outcomePrices": '["0.9995", "0.0005"]'}, False, None),
        ({"outcomePrices": '["1", "1"]'}, False, None),
        ({"outcomePrices": '["0", "0"]'}, False, None),
        ({"outcomePrices": None}, False, None),
        ({"outcomePrices": '["nan", "1"]'}, False, None),
        ({"resolutionStatus": "resolved", "umaResolutionStatus": None}, False, None),
        ({"version": "v2"}, False, None),
        ({"version": "v2", "resolutionStatus": "resolved", "positionIds": ["7", "8"]}, True, "Up"),
    ],
)
def test_resolved_means_closed_and_resolved_and_paid(
    changed: dict[str, Any], is_resolved: bool, winner: str | None
) -> None:
    market = {"conditionId": MARKET, "slug": "s", "outcomes": '["Up", "Down"]', "clobTokenIds": '["1", "2"]',
              "outcomePrices": '["1", "0"]', "closed": True, "umaResolutionStatus": "resolved"}  # fmt: skip
    ((read,), _) = read_markets(json.dumps(market | changed).encode())
    assert (read.is_resolved, read.winner) == (is_resolved, winner)


def test_a_v2_market_has_its_tokens_elsewhere_and_unknown_versions_are_refused() -> None:
    market = {
        "conditionId": MARKET,
        "slug": "s",
        "outcomes": '["Up", "Down"]',
        "clobTokenIds": None,
        "positionIds": ["7", "8"],
        "version": "v2",
    }
    listed = VENUE.read_listing(f"{GAMMA}/markets/slug/s", json.dumps(market).encode())
    assert [(i.symbol, i.venue_symbol) for i in listed] == [("s:Up", "7"), ("s:Down", "8")]
    with pytest.raises(DecodeError, match="v3"):
        read_markets(json.dumps(market | {"version": "v3"}).encode())
    page = {"markets": [market, market | {"version": "v3", "slug": "other"}]}
    done = ask((f"{GAMMA}/markets/keyset", page))
    assert (done.count("prediction_market"), done.count("error"), done.refused) == (1, 1, [])
    assert "other" in list_rows(done, "error")[0]["message"]


def test_rules_follow_the_markets_own_metadata() -> None:
    spot, twap = "https://data.chain.link/streams/btc-usd", "https://data.chain.link/streams/btc-usd-twap-60s-streams"
    config = gamma._CryptoConfig
    assert read_rule(spot, None) == read_rule(spot, config(twapEnabled=False)) == ("spot", None)
    assert read_rule(twap, None) == read_rule(twap, config(True, 60)) == read_rule("", config(True, 60)) == ("twap", 60)
    for source, told in (
        (spot, config(True, 60)),
        (twap, config(True, 30)),
        ("https://www.binance.com/en/trade/BTC_USDT", None),
        (None, None),
    ):
        assert read_rule(source, told) == (None, None)


def test_metadata_are_rows_only_when_they_changed() -> None:
    market = {
        "conditionId": MARKET,
        "slug": "s",
        "outcomes": '["Up","Down"]',
        "clobTokenIds": '["1","2"]',
        "updatedAt": "2026-05-01T00:00:00Z",
    }
    event = {"slug": "s", "markets": [market]}
    later = {
        **event,
        "eventMetadata": {"priceToBeat": 5.5},
        "markets": [market | {"updatedAt": "2026-05-02T00:00:00Z"}],
    }
    done = ask(*((f"{GAMMA}/events/slug/s", answer) for answer in (event, event, later, later)))
    assert [row["strike"] for row in list_rows(done, "prediction_market")] == [None, 5.5]
    assert len(list_rows(done, "resolution")) == 1
    assert done.count("market") == 2


def test_pages_follow_their_cursor() -> None:
    listing = VENUE.listings[0].url
    following = find_next_page(listing, b'{"events":[],"next_cursor":"a+b="}')
    assert following == listing + "&after_cursor=a%2Bb%3D"
    again = find_next_page(following, b'{"events":[],"next_cursor":"c"}')
    assert again == listing + "&after_cursor=c"
    assert find_next_page(listing, b'{"events":[]}') is None
    assert find_next_page("https://clob.polymarket.com/markets", b'{"data":[],"next_cursor":"LTE="}') is None
    assert (
        find_next_page("https://clob.polymarket.com/markets", b'{"data":[],"next_cursor":"MTAw"}')
        == "https://clob.polymarket.com/markets?next_cursor=MTAw"
    )
    assert (
        find_next_page(f"{DATA}/v2/trades?limit=5", b'{"data":[],"pagination":{"next_cursor":"x","has_more":true}}')
        == f"{DATA}/v2/trades?limit=5&cursor=x"
    )
    assert find_next_page(f"{DATA}/v2/trades", b'{"data":[],"pagination":{"next_cursor":"x","has_more":false}}') is None
    assert find_next_page("https://clob.polymarket.com/time", b"5") is None


def test_truncated_answers_say_why_they_are_refused(nautilus: Path) -> None:
    """Transcribed answers whose markets lack their outcomes' names: tokens are never named by position."""
    for name in ("market_slug", "markets_list"):
        done = ask((f"{GAMMA}/markets", (nautilus / f"http_responses/{name}.json").read_bytes()))
        assert "do not pair" in done.refused[0][0]
    for name in ("event", "events_list"):
        done = ask((f"{GAMMA}/events", (nautilus / f"http_responses/{name}.json").read_bytes()))
        assert (done.refused, done.count("market")) == ([], 0)
    done = ask((f"{GAMMA}/tags", (nautilus / "crate_test_data/gamma_tags.json").read_bytes()))
    assert "no rule" in done.refused[0][0]


@pytest.mark.parametrize("text", ["soon", "2026-01-01"])
def test_times_without_zone_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        read_time(text)


def test_windows_are_named_by_their_first_second(prediction: Path) -> None:
    assert (
        name_window("BTC", "15m", 1_777_470_300)
        == name_window("btc", "15m", 1_777_471_199)
        == "btc-updown-15m-1777470300"
    )
    assert name_window("eth", "5m", 1_777_470_300, 1) == "eth-updown-5m-1777470600"
    with pytest.raises(DecodeError):
        name_window("btc", "4h", 0)
    with (prediction / "gamma/yongkangc/updown_markets.csv").open(newline="") as file:
        slugs = {
            text
            for row in csv.reader(file)
            for text in row
            if "-updown-" in text and "/" not in text and " " not in text
        }
    windows = [window for slug in slugs if (window := read_window(slug)) is not None]
    assert len(windows) == len(slugs) > 50
    assert all(name_window(w.asset, w.series, w.begin_s) in slugs for w in windows if w.series in COUNTED)
    assert read_window("bitcoin-up-or-down-june-8-3am-et") is None
    assert name_event_url("s") == f"{GAMMA}/events/slug/s"


# -- the CLOB over HTTP ---------------------------------------------------------------------------------------


def test_markets_of_the_clob_decode(nautilus: Path, prediction: Path) -> None:
    body = (nautilus / "http_responses/markets.json").read_bytes()
    told = json.loads(body)["data"]
    done = ask(("https://clob.polymarket.com/markets", body))
    assert done.refused == []
    assert done.count("outcome_price") == sum(bool(token["token_id"]) for market in told for token in market["tokens"])
    winners = {row["condition"]: row["winner"] for row in list_rows(done, "resolution") if row["winner"]}
    assert winners == {m["condition_id"]: t["outcome"] for m in told for t in m["tokens"] if t["winner"]}
    assert not any(row["is_resolved"] for row in list_rows(done, "resolution"))
    for path in (
        "http_responses/market.json",
        "crate_test_data/clob_market_closed_binary_accepting_true.json",
        "crate_test_data/clob_market_closed_binary_accepting_false.json",
    ):
        one = ask(("https://clob.polymarket.com/markets/0x1", (nautilus / path).read_bytes()))
        assert (one.refused, one.count("outcome_price")) == ([], 2)
    short = ask(
        (
            "https://clob.polymarket.com/clob-markets/0x1",
            (prediction / "gamma/brightkha/clob_market_btc5m_1790127600.json").read_bytes(),
        )
    )
    (row,) = list_rows(short, "prediction_market")
    assert (list(json.loads(row["outcomes"])), row["order_min"], row["tick"], row["fee_rate"]) == (
        ["Up", "Down"],
        5.0,
        0.01,
        0.07,
    )


def test_fetched_books_are_pictures_best_first(nautilus: Path) -> None:
    """Whatever order the answer has: transcribed ones are not in the venue's."""
    paths = [nautilus / "http_responses/book.json", nautilus / "crate_test_data/clob_book_response.json"]
    bodies = [path.read_bytes() for path in paths]
    done = ask(
        *((BOOK_URL, body) for body in bodies), ("https://clob.polymarket.com/books", b"[" + b",".join(bodies) + b"]")
    )
    assert done.refused == []
    assert done.count("book_snapshot") == 4
    for row in list_rows(done, "book_snapshot"):
        assert row["bid_prices"] == sorted(row["bid_prices"], reverse=True)
        assert row["ask_prices"] == sorted(row["ask_prices"])
        assert row["sequence"] * 1000 == row["exchange_us"]
    assert [prove_answer(read_book(body)) for body in bodies] == [None, None]  # they lack what is hashed


def test_a_fetched_book_that_was_changed_is_not_proven(sessions: dict[str, list[Recorded]]) -> None:
    full = next(
        f.payload for frames in sessions.values() for f in frames if f.kind == "http" and b'"bids":[{' in f.payload
    )
    book = read_book(full)
    assert prove_answer(book)
    book.bids[0].size += "1"
    assert prove_answer(book) is False
    assert list_best_first(book.bids)[-1][1] == book.bids[0].size


def test_the_clock_lists_the_oracles() -> None:
    done = ask(("https://clob.polymarket.com/time", b"1790000000"))
    listed = VENUE.read_listing("https://clob.polymarket.com/time", b"1790000000")
    assert listed == list_oracles()
    assert done.count("market") == len(listed) == 8 * 6
    with pytest.raises(msgspec.ValidationError):
        VENUE.read_listing("https://clob.polymarket.com/time", b'"now"')


# -- the Data API and Goldsky ---------------------------------------------------------------------------------


def test_fixtures_of_the_first_data_api_decode(nautilus: Path) -> None:
    done = ask(
        (f"{DATA}/trades", (nautilus / "http_responses/trades.json").read_bytes()),
        (f"{DATA}/positions?user=0x5", (nautilus / "crate_test_data/data_api_positions_response.json").read_bytes()),
    )
    assert done.refused == []
    assert (done.count("trade"), done.count("position")) == (4, 4)
    first = list_rows(done, "position")[0]
    assert (first["units"], first["amount"], first["average_price"]) == (150_500_000, 150.5, 0.55)
    assert first["coverage"].startswith("an index")
    assert {done.rows.streams[row[0]].market for row in done.rows.trades} == {"clob"}
    cut = ask((f"{DATA}/trades", (nautilus / "crate_test_data/data_api_trades_response.json").read_bytes()))
    assert cut.refused == []


def make_trade(**changed: Any) -> dict[str, Any]:
    return {"token_id": "11", "condition_id": MARKET, "side": "BUY", "size": 2.5, "price": 0.6, "timestamp": 1790000000,
            "transaction_hash": "0xt", "proxy_wallet": "0xAB", "outcome_index": 999} | changed  # fmt: skip


def test_trades_of_the_data_api_keep_their_multiplicity_over_pages_and_polls() -> None:
    def page(*trades: dict[str, Any]) -> dict[str, Any]:
        return {"data": list(trades), "pagination": {"next_cursor": None, "has_more": False}}

    url = f"{DATA}/v2/trades?condition={MARKET}"
    done = ask(
        (url, page(make_trade(), make_trade(side="SELL"))),
        (f"{url}&cursor=x", page(make_trade())),
        (url, page(make_trade())),
    )
    ids = [row[5] for row in done.rows.trades]
    assert ids == ["0xt:BUY:0.6:2.5:0", "0xt:SELL:0.6:2.5:0", "0xt:BUY:0.6:2.5:1", "0xt:BUY:0.6:2.5:0"]
    assert done.rows.trades[0][1] == 1790000000 * 10**6


@pytest.mark.parametrize("asked", ["taker_only=false", "takerOnly=False", "user=0xab"])
def test_fills_of_wallets_are_told_apart_from_those_of_markets(asked: str) -> None:
    done = ask((f"{DATA}/v2/trades?condition={MARKET}&{asked}", {"data": [make_trade()]}))
    (row,) = done.rows.trades
    assert (row[5], row[10]) == ("0xab:0xt:BUY:0.6:2.5:0", "wallet")
    assert done.rows.streams[row[0]].market == "data"


def test_wallets_of_the_data_api_are_exact_and_empty_answers_are_rows() -> None:
    position = {
        "proxy_wallet": "0xAB",
        "token_id": "11",
        "condition_id": MARKET,
        "current_size": 12.345678,
        "avg_price": 0.5,
        "total_size": 20,
        "realized_pnl": -1.5,
    }
    holder = {"token_id": "11", "holders": [{"proxy_wallet": "0xCD", "token_id": "11", "amount": "7.000001"}]}
    done = ask(
        (f"{DATA}/v2/positions?user=0xAB", {"data": [position], "pagination": {}}),
        (f"{DATA}/v2/holders?condition={MARKET}", {"data": [holder], "pagination": {}}),
        (f"{DATA}/v2/positions?user=0xEF", {"data": [], "pagination": {}}),
    )
    one, two, none = list_rows(done, "position")
    assert (one["wallet"], one["units"], one["realized_profit"], one["source"]) == (
        "0xab",
        12_345_678,
        -1.5,
        "data_api_positions",
    )
    assert (two["wallet"], two["units"], two["source"]) == ("0xcd", 7_000_001, "data_api_holders")
    assert (none["wallet"], none["units"], none["symbol"]) == (None, None, "0xEF")
    assert none["coverage"].startswith("empty")


def test_units_are_counted_exactly() -> None:
    assert count_units(Decimal("0.000001")) == (1, None)
    assert count_units(Decimal("1.0000005")) == (1_000_000, "rounded to six decimals")
    for amount in ("1e20", "NaN", "Infinity"):
        with pytest.raises(DecodeError):
            count_units(Decimal(amount))


def test_resolutions_of_the_data_api_are_no_labels_alone() -> None:
    listed = {"conditionId": MARKET, "slug": "s", "outcomes": '["Up","Down"]', "clobTokenIds": '["1","2"]'}
    said = {
        "condition_id": MARKET,
        "status": "resolved",
        "was_disputed": True,
        "payouts": ["1000000", "0"],
        "last_update_timestamp": 1790000000,
        "resolved_at": "1790000001",
    }
    done = ask(
        (f"{GAMMA}/markets/slug/s", listed),
        (f"{DATA}/v2/resolutions?condition={MARKET}", {"data": [said], "pagination": {}}),
    )
    (row,) = list_rows(done, "resolution")
    assert (row["winner"], row["is_resolved"], row["is_disputed"], row["resolved_at"]) == (
        "Up",
        False,
        True,
        1790000001 * 10**6,
    )
    unknown = list_rows(ask((f"{DATA}/v2/resolutions", {"data": [said], "pagination": {}})), "resolution")[0]
    assert (unknown["winner"], json.loads(unknown["payouts"])) == (None, {"0": 1.0, "1": 0.0})


def test_balances_of_goldsky_are_exact_and_pinned() -> None:
    meta = {"block": {"number": 77, "timestamp": 1790000000}, "hasIndexingErrors": False}
    condition = {"id": MARKET, "payouts": ["1", "0"]}
    balance = {
        "id": "0xab-11",
        "user": "0xAB",
        "balance": "1234567",
        "asset": {"id": "11", "condition": condition, "outcomeIndex": "0"},
    }
    pnl = {
        "id": "0xab-11",
        "user": "0xAB",
        "tokenId": "11",
        "amount": "5",
        "avgPrice": "510000",
        "realizedPnl": "-2000000",
        "totalBought": "9000000",
    }
    done = ask(
        (GOLDSKY.format("positions-subgraph"), {"data": {"_meta": meta, "userBalances": [balance]}}),
        (
            GOLDSKY.format("pnl-subgraph"),
            {"data": {"userPositions": [pnl], "_meta": meta | {"hasIndexingErrors": True}}},
        ),
        (GOLDSKY.format("positions-subgraph"), {"data": {"_meta": meta, "userBalances": []}}),
    )
    assert done.refused == []
    one, two, none = list_rows(done, "position")
    assert (one["units"], one["amount"], one["block"], one["exchange_us"]) == (
        1_234_567,
        1.234567,
        77,
        1790000000 * 10**6,
    )
    assert (two["units"], two["average_price"], two["realized_profit"], two["total_bought"]) == (5, 0.51, -2.0, 9.0)
    assert "not complete since 2026-04-28" in two["coverage"] and "errors" in two["coverage"]
    assert (none["wallet"], none["block"], none["coverage"].startswith("empty")) == (None, 77, True)
    (payout,) = list_rows(done, "resolution")
    assert (json.loads(payout["payouts"]), payout["is_resolved"]) == ({"0": 1.0, "1": 0.0}, False)


def test_errors_of_goldsky_come_with_status_200() -> None:
    done = ask(
        (GOLDSKY.format("pnl-subgraph"), {"errors": [{"message": "bad query"}]}), (GOLDSKY.format("x"), {"data": {}})
    )
    assert (done.control, len(done.refused)) == (1, 1)
    assert list_rows(done, "error")[0]["message"] == "pnl-subgraph: bad query"


@pytest.mark.parametrize(
    "url", [f"{DATA}/v2/leaderboard", f"{DATA}/x", f"{GAMMA}/series", "https://clob.polymarket.com/ok"]
)
def test_endpoints_of_no_rule_are_refused(url: str) -> None:
    assert len(ask((url, {"data": []})).refused) == 1


# -- subscribing ----------------------------------------------------------------------------------------------


def test_tokens_are_subscribed_in_the_form_of_the_first_and_of_later_messages() -> None:
    feed = FEEDS["clob"]
    token = VENUE.name_instrument("clob", "11")
    assert [VENUE.list_topics(feed, channel, token) for channel in feed.channels] == [("11",)] * 3
    first, later = (json.loads(VENUE.subscribe(feed, ("11", "12"), request)) for request in (1, 2))
    assert first == {"type": "market", "assets_ids": ["11", "12"], "custom_feature_enabled": True}
    assert later == {"operation": "subscribe", "assets_ids": ["11", "12"], "custom_feature_enabled": True}
    assert json.loads(VENUE.unsubscribe(feed, ("11",), 3))["operation"] == "unsubscribe"
    most = [str(10**77 + i) for i in range(feed.limits.topics_per_message_max)]
    assert len(VENUE.subscribe(feed, most, 1)) <= feed.limits.message_bytes_max


def test_an_oracle_is_subscribed_on_the_one_feed_that_has_it() -> None:
    topics = {
        instrument.venue_symbol: [
            topic for feed in VENUE.feeds for topic in VENUE.list_topics(feed, "oracle_price", instrument)
        ]
        for instrument in list_oracles()
        if instrument.base == "BTC"
    }
    assert topics == {
        "rtds_chainlink:btc/usd": ["crypto_prices_chainlink"],
        "rtds_chainlink_twap30:btc/usd": ["crypto_prices_twap_thirty"],
        "rtds_chainlink_twap60:btc/usd": ["crypto_prices_twap_sixty"],
        "rtds_binance:btcusdt": ["crypto_prices"],
        "polybolt_chainlink:btcusd": ['{"channel":"price.crypto","filter":{"symbol":"btcusd","provider":"chainlink"}}'],
        "polybolt_chainlink_twap60:btcusd": [
            '{"channel":"price.crypto.twap","filter":{"symbol":"btcusd","provider":"chainlink","window_seconds":60}}'
        ],
    }  # fmt: skip
    assert json.loads(VENUE.subscribe(FEEDS["rtds"], ["crypto_prices_chainlink"], 1)) == {
        "action": "subscribe",
        "subscriptions": [{"topic": "crypto_prices_chainlink", "type": "*", "filters": ""}],
    }
    asked = json.loads(VENUE.subscribe(FEEDS["polybolt"], topics["polybolt_chainlink:btcusd"], 4))
    assert asked == {
        "op": "subscribe",
        "rid": "4",
        "subscriptions": [{"channel": "price.crypto", "filter": {"symbol": "btcusd", "provider": "chainlink"}}],
    }


def test_names_of_the_tape_lead_back_to_the_instrument() -> None:
    for instrument in list_oracles():
        assert VENUE.name_instrument(instrument.market, instrument.venue_symbol) == instrument
    assert VENUE.name_instrument("clob", "123").symbol == "123"


def test_urls_lead_to_their_feed() -> None:
    assert [VENUE.find_feed(url) for url in (CLOB_URL, RTDS_URL, BOLT_URL, BOOK_URL, GAMMA, DATA, GOLDSKY.format("x"))] == [
        "clob", "rtds", "polybolt", "clob", "clob", "clob", "clob",
    ]  # fmt: skip
    assert VENUE.find_feed("https://api.binance.com/api") is None
    assert VENUE.fetch_book is not None
    assert VENUE.fetch_book("clob", "11") == ("https://clob.polymarket.com/book?token_id=11", 1)
