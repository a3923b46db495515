"""Deribit's frames decode to the rows that the recordings prove."""

import gzip
import json
import math
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import Recorded, list_recordings, read_frames
from replayed import Replayed, replay, replay_frames

from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Unit
from truetape.venues import load_venue

DERIBIT = load_venue("deribit")
FEED = DERIBIT.feeds[0]
USD = Unit(1.0, is_inverse=True)

UNSUPPORTED = {
    "/public/get_book_summary_by_instrument": 4,
    "/public/get_index": 1,
    "/public/getorderbook": 1,  # v1 calls, answered by v2 until 2020
    "/public/getsummary": 1,
    "/public/getlasttrades": 1,
}
"""Answers in the recordings to requests that we never make; all else decodes."""


def play(*frames: dict[str, Any] | bytes) -> Replayed:
    encoded = [f if isinstance(f, bytes) else msgspec.json.encode(f) for f in frames]
    return replay_frames("deribit", [Recorded("text", "", f, 1_000 + i) for i, f in enumerate(encoded)], "public")


def wrap(channel: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}


def read_messages(path: Path) -> list[dict[str, Any]]:
    return [json.loads(f.payload) for f in read_frames(path) if f.kind == "text"]


def list_data(path: Path, channel: str) -> list[Any]:
    """Read a channel's data with plain json."""
    said = [m["params"] for m in read_messages(path) if m.get("method") == "subscription"]
    return [p["data"] for p in said if p["channel"].startswith(f"{channel}.")]


def fixture(recordings: Path, name: str) -> bytes:
    path = recordings / "crypto/deribit/nautilus_fixtures.jsonl"
    return next(f.payload for f in read_frames(path) if f.where == name)


# -- every recording ------------------------------------------------------------------------------------------


def test_every_recording_decodes(recordings: Path) -> None:
    refused: Counter[str] = Counter()
    for path in list_recordings(recordings / "crypto", "deribit"):
        played = replay("deribit", path, "public")
        refused.update("/public/" + url.split("/public/")[1].partition("?")[0] for _, url in played.refused)
        messages = read_messages(path)
        assert played.control == sum("result" in m for m in messages), path.name
        trades = sum(len(data) for data in list_data(path, "trades"))
        assert played.count("trade") == trades, path.name
        for ours, theirs in (
            ("book_change", "book"),
            ("quote", "quote"),
            ("ticker", "ticker"),
            ("derivative", "ticker"),
        ):
            assert played.count(ours) == len(list_data(path, theirs)), (path.name, ours)
    assert refused == UNSUPPORTED


@pytest.mark.parametrize("name", ["cryptofeed_deribit_20210417.jsonl.gz", "cryptofeed_deribit_20210722.jsonl.gz"])
def test_recorded_books_form_unbroken_chains(recordings: Path, name: str) -> None:
    played = replay("deribit", recordings / "crypto/deribit" / name)
    books = played.group("book_change")
    assert len(books) == 10
    for rows in books.values():
        assert [row[5] for row in rows] == [BOOK_SNAPSHOT] + [BOOK_DIFF] * (len(rows) - 1)
        assert all(row[8] == before[7] for before, row in pairwise(rows))
        assert all(row[11] is None for row in rows), "options count base coin"


def test_recorded_levels_are_the_venues(recordings: Path) -> None:
    path = recordings / "crypto/deribit/cryptofeed_deribit_20210722.jsonl.gz"
    for row, data in zip(replay("deribit", path).pick("book_change"), list_data(path, "book"), strict=True):
        assert row[1] == data["timestamp"] * 1000
        assert row[9] == [(price, size) for _, price, size in data["bids"]]
        assert row[10] == [(price, size) for _, price, size in data["asks"]]


def test_the_gap_of_the_test_nets_dump_shows_in_the_ids(recordings: Path) -> None:
    rows = replay("deribit", recordings / "crypto/deribit/ssc2ce_deribit_dump.jsonl", "public").pick("book_change")
    assert rows[0][5] == BOOK_SNAPSHOT, "frames of 2020 have no type: the one without prev_change_id is the snapshot"
    assert [row[5] for row in rows[1:]] == [BOOK_DIFF] * 4
    breaks = [(before[7], row[8]) for before, row in pairwise(rows) if row[8] != before[7]]
    assert breaks == [(4095205462, 4095205463)]
    assert {row[11] for row in rows} == {USD}


def test_options_of_a_quiet_market_have_null_not_zero(recordings: Path) -> None:
    path = recordings / "crypto/deribit/cryptofeed_deribit_20210417.jsonl.gz"
    played = replay("deribit", path)
    data = list_data(path, "ticker")
    empty = [i for i, d in enumerate(data) if d["best_bid_amount"] == 0]
    assert empty
    for i, (ticker, state) in enumerate(zip(played.pick("ticker"), played.pick("derivative"), strict=True)):
        said = data[i]
        assert ticker[6] == (None if i in empty else said["best_bid_price"])
        assert ticker[9:12] == (said["stats"]["high"], said["stats"]["low"], said["stats"]["volume"])
        assert state[7:9] == (said["open_interest"], None), "options: base coin"
        greeks = said["greeks"]
        assert state[12:] == (said["mark_iv"], *(greeks[name] for name in ("delta", "gamma", "vega", "theta", "rho")))
        assert state[9] is None and state[11] is None


# -- oracle ---------------------------------------------------------------------------------------------------


def to_us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) * 1000


def test_tardis_agrees(recordings: Path) -> None:
    path = recordings / "crypto/_oracle/tardis_node_mappers.jsonl"
    cases = [case for line in path.read_text().splitlines() if (case := json.loads(line))["exchange"] == "deribit"]
    assert len(cases) == 18
    for case in cases:
        played = play(case["raw"])
        assert not played.refused
        expected: dict[str, list[dict[str, Any]]] = {}
        for row in case["normalized"]:
            expected.setdefault(row["type"], []).append(row)
        symbols = {s.venue_symbol for s in played.rows.streams}
        # Tardis writes the decimal d of a strike in upper case.
        assert {row["symbol"].replace("1D02", "1d02") for row in case["normalized"]} <= symbols
        compare_trades(played, expected)
        compare_books(played, expected, case["i"])
        compare_states(played, expected)


def compare_trades(played: Replayed, expected: dict[str, list[dict[str, Any]]]) -> None:
    ours = [(t[5], t[6], t[7], t[9], t[1]) for t in played.pick("trade")]
    theirs = expected.get("trade", [])
    assert ours == [(t["id"], t["side"], t["price"], t["amount"], to_us(t["timestamp"])) for t in theirs]
    forced = [(row[4], row[5], row[7]) for row in played.pick("liquidation")]
    assert forced == [(t["side"], t["price"], t["amount"]) for t in expected.get("liquidation", [])]


def compare_books(played: Replayed, expected: dict[str, list[dict[str, Any]]], case: int) -> None:
    for row, book in zip(played.pick("book_change"), expected.get("book_change", []), strict=True):
        assert row[9] == [(level["price"], level["amount"]) for level in book["bids"]]
        assert row[10] == [(level["price"], level["amount"]) for level in book["asks"]]
        # Case 13 is a change that follows an empty book, whose id is 0. Tardis takes it for a snapshot.
        assert (row[5] == BOOK_SNAPSHOT) == (book["isSnapshot"] and case != 13)


def compare_states(played: Replayed, expected: dict[str, list[dict[str, Any]]]) -> None:
    states = played.pick("derivative")
    for state, theirs in zip(states, expected.get("derivative_ticker", []), strict=False):
        interest = state[8] if state[8] is not None else state[7]
        ours = (state[4], state[5], state[6], interest, state[9])
        keys = ("markPrice", "indexPrice", "lastPrice", "openInterest", "fundingRate")
        assert ours == tuple(theirs[key] for key in keys)
    for state, theirs in zip(states, expected.get("option_summary", []), strict=False):
        ours = (state[4], state[6], state[7], *state[12:])
        keys = ("markPrice", "lastPrice", "openInterest", "markIV", "delta", "gamma", "vega", "theta", "rho")
        assert ours == tuple(theirs[key] for key in keys)
    for ticker, theirs in zip(played.pick("ticker"), expected.get("book_ticker", []), strict=False):
        assert (ticker[6], ticker[7]) == (theirs["bidPrice"], theirs["askPrice"])


# -- units, sides, flags --------------------------------------------------------------------------------------

TRADE = {
    "trade_seq": 7, "trade_id": "39355898", "timestamp": 1567296022565, "tick_direction": 2, "price": 9598.5,
    "instrument_name": "BTC-PERPETUAL", "index_price": 9600.8, "direction": "sell", "amount": 2000,
}  # fmt: skip


def test_usd_of_inverse_products_becomes_base(recordings: Path) -> None:
    played = replay("deribit", recordings / "crypto/deribit/tardis_node_deribit.jsonl", "public")
    trade = played.pick("trade")[0]
    assert trade[4:] == (20944815, "39355898", "sell", 9598.5, 2000 / 9598.5, 2000.0, None)
    quote = played.pick("quote")[0]
    assert quote[4:] == (9600.5, 162800 / 9600.5, 9601.0, 49710 / 9601, None)
    state = played.pick("derivative")[0]
    assert state[7:10] == (66128281 / 10094.1, 66128281.0, 0.0)


@pytest.mark.parametrize(
    ("symbol", "amount", "contracts"),
    [
        ("BTC-PERPETUAL", 2000 / 9598.5, 2000.0),
        ("ETH-25DEC26", 2000 / 9598.5, 2000.0),
        ("BTC_USDC-PERPETUAL", 2000.0, None),
        ("BTC_USDC-25DEC26", 2000.0, None),
        ("BTC-25DEC26-100000-C", 2000.0, None),
        ("BTC_USDC", 2000.0, None),
        ("BTC-CS-19MAY26-70000_75000", 2000.0, None),
        ("BTC-FS-25DEC26_PERP", None, 2000.0),  # a price difference: USD of it are no amount of base
    ],
)
def test_what_an_amount_counts_follows_from_the_product(
    symbol: str, amount: float | None, contracts: float | None
) -> None:
    row = play(wrap(f"trades.{symbol}.100ms", [{**TRADE, "instrument_name": symbol}])).pick("trade")[0]
    assert row[8:10] == (amount, contracts)


def test_a_channel_of_a_kind_carries_many_instruments() -> None:
    trades = [{**TRADE, "instrument_name": name} for name in ("BTC-PERPETUAL", "BTC-25DEC26")]
    played = play(wrap("trades.future.BTC.100ms", trades))
    assert {key[1] for key in played.group("trade")} == {"BTC-PERPETUAL", "BTC-25DEC26"}


@pytest.mark.parametrize(
    ("flag", "direction", "sides"),
    [
        ("T", "sell", ["sell"]),
        ("T", "buy", ["buy"]),
        ("M", "buy", ["sell"]),
        ("M", "sell", ["buy"]),
        ("MT", "buy", ["buy", "sell"]),
    ],
)
def test_a_liquidation_is_a_trade_and_a_row_for_each_side_forced(flag: str, direction: str, sides: list[str]) -> None:
    played = play(wrap("trades.BTC-PERPETUAL.100ms", [{**TRADE, "liquidation": flag, "direction": direction}]))
    assert [row[10] for row in played.pick("trade")] == ["liquidation"]
    rows = played.pick("liquidation")
    assert [row[4:] for row in rows] == [(side, 9598.5, 2000 / 9598.5, 2000.0, flag) for side in sides]


def test_prints_that_are_not_ordinary_are_flagged(recordings: Path) -> None:
    block = {**TRADE, "block_trade_id": "BLOCK-1", "combo_id": "x"}
    leg = {**TRADE, "combo_id": "BTC-FS-25DEC26_PERP", "combo_trade_id": "244343034"}
    played = play(wrap("trades.BTC-PERPETUAL.100ms", [block, leg, TRADE]), fixture(recordings, "ws_trades.json"))
    assert [row[10] for row in played.pick("trade")] == ["block", "combo", None, "combo", None]


def test_the_type_counts_where_there_is_one() -> None:
    base = {"timestamp": 1, "instrument_name": "X_USDC-PERPETUAL", "bids": [["new", 7.5, 34.0]], "asks": []}
    frames = [
        {**base, "type": "snapshot", "change_id": 9, "prev_change_id": 20},
        {**base, "type": "change", "change_id": 10, "prev_change_id": 0},
        {**base, "change_id": 11},
    ]
    rows = play(*(wrap("book.X_USDC-PERPETUAL.100ms", f) for f in frames)).pick("book_change")
    assert [(row[5], row[7], row[8]) for row in rows] == [
        (BOOK_SNAPSHOT, 9, None),
        (BOOK_DIFF, 10, 0),
        (BOOK_SNAPSHOT, 11, None),
    ]


def test_spreads_of_inverse_futures_have_no_base_amount() -> None:
    symbol = "BTC-FS-25DEC26_PERP"
    book = {"timestamp": 1, "change_id": 1, "type": "snapshot", "bids": [["new", -7.0, 300000.0]], "asks": []}
    quote = {
        "timestamp": 1, "best_bid_price": -7.0, "best_bid_amount": 300000.0, "best_ask_price": 5.0,
        "best_ask_amount": 10.0,
    }  # fmt: skip
    picture = {"timestamp": 1, "change_id": 1, "bids": [[-7.0, 300000.0]], "asks": []}
    played = play(
        wrap(f"book.{symbol}.100ms", book),
        wrap(f"quote.{symbol}", quote),
        wrap(f"book.{symbol}.none.10.100ms", picture),
    )
    unit = played.pick("book_change")[0][11]
    assert math.isnan(unit.size)
    assert played.pick("quote")[0][4:8] == (-7.0, None, 5.0, None)
    assert math.isnan(played.pick("book_snapshot")[0][6][0])


def test_an_empty_side_is_null(recordings: Path) -> None:
    quote = {
        "timestamp": 1,
        "best_bid_price": 0.0,
        "best_bid_amount": 0.0,
        "best_ask_price": 0.5,
        "best_ask_amount": 2.0,
    }
    linear, inverse = play(wrap("quote.BTC-25DEC26-9-C", quote), wrap("quote.BTC-PERPETUAL", quote)).pick("quote")
    assert linear[4:8] == (None, None, 0.5, 2.0)
    assert inverse[4:8] == (None, None, 0.5, 4.0)


def test_pictures_and_bars(recordings: Path) -> None:
    played = play(fixture(recordings, "ws_book_grouped_snapshot.json"), fixture(recordings, "ws_chart.json"))
    picture = played.pick("book_snapshot")[0]
    assert picture[4] == 136725664747
    assert picture[5][:2] == [89532.5, 89532.0] and picture[6][0] == 254900 / 89532.5
    assert [len(side) for side in picture[5:]] == [10, 10, 10, 10]
    bar = played.pick("candle")[0]
    assert bar[4:] == (
        "1m",
        1767200040000000,
        87490.0,
        87500.0,
        87465.0,
        87474.0,
        0.95978896,
        83970.0,
        None,
        None,
        None,
    )


def test_a_days_turnover_is_in_the_quote_currency(recordings: Path) -> None:
    frame = json.loads(fixture(recordings, "ws_ticker.json"))
    data = frame["params"]["data"]
    data["stats"]["volume_usd"] = 1.0
    rows = play(frame, wrap("ticker.BTC_USDC-PERPETUAL.100ms", data)).pick("ticker")
    assert [row[12] for row in rows] == [1.0, data["stats"]["volume_notional"]]


def test_spot_has_no_derivative_state(recordings: Path) -> None:
    data = json.loads(fixture(recordings, "ws_ticker.json"))["params"]["data"]
    data = {key: data[key] for key in data if key not in {"open_interest", "current_funding", "funding_8h"}}
    played = play(wrap("ticker.BTC_USDC.100ms", data))
    assert (played.count("ticker"), played.count("derivative")) == (1, 0)


# -- control --------------------------------------------------------------------------------------------------


def test_confirmations_are_counted_and_short_ones_complained_about() -> None:
    asked = ["trades.BTC-PERPETUAL.100ms", "trades.BTC-NONSENSE.100ms", "quote.BTC-PERPETUAL"]
    request = json.loads(DERIBIT.subscribe(FEED, asked, 3))
    assert request["params"] == {"channels": asked}
    played = play(
        {"jsonrpc": "2.0", "id": request["id"], "result": asked, "usIn": 1},
        {"jsonrpc": "2.0", "id": request["id"], "result": [asked[2], asked[0]], "usIn": 1},
        {"jsonrpc": "2.0", "id": 5, "result": ["some.other"]},  # an imported recording's own request
        {"jsonrpc": "2.0", "id": 2, "result": "ok"},
        {"jsonrpc": "2.0", "id": 1, "result": {"version": "1.2.26"}},
    )
    assert (played.control, len(played.rows.acks), played.refused) == (5, 5, [])
    errors = played.pick("error")
    assert [row[1:4] for row in errors] == [(None, 1_001, 1)]
    assert errors[0][7] == "accepted only 2 of 3 channels: quote.BTC-PERPETUAL, trades.BTC-PERPETUAL.100ms"


def test_the_venues_errors_are_recorded(recordings: Path) -> None:
    raw = {"code": 13778, "message": "raw_subscriptions_not_available_for_unauthorized", "data": {"param": "channels"}}
    played = play(fixture(recordings, "ws_error.json"), {"jsonrpc": "2.0", "id": 1, "error": raw})
    errors = [row[6:8] for row in played.pick("error")]
    assert errors == [
        (10028, "too_many_requests null"),
        (13778, 'raw_subscriptions_not_available_for_unauthorized {"param":"channels"}'),
    ]
    assert played.control == 2


def test_a_test_request_is_answered_and_nothing_else_is() -> None:
    assert DERIBIT.answer is not None
    request = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}'
    answer = DERIBIT.answer(request)
    assert answer is not None and json.loads(answer)["method"] == "public/test"
    beat = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}'
    assert DERIBIT.answer(beat) is None
    assert DERIBIT.answer(b'{"x":"test_request"' + b" " * 300 + b"}") is None
    assert play(request, beat).control == 2
    assert json.loads(FEED.greetings[0])["method"] == "public/set_heartbeat"


@pytest.mark.parametrize(
    "frame",
    [
        b"pong",
        b"[]",
        b'{"jsonrpc":"2.0","method":"surprise"}',
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"deribit_volatility_index.btc_usd","data":{}}}',
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"chart.trades.BTC-PERPETUAL.7","data":{}}}',
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.BTC-PERPETUAL","data":{"timestamp":"x"}}}',
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.raw","data":[{}]}}',
        b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"',
    ],
)
def test_what_is_not_understood_is_refused_without_a_row(frame: bytes) -> None:
    played = play(frame)
    assert len(played.refused) == 1
    assert not played.rows.trades and not played.rows.quotes


def test_order_of_fields_and_white_space_do_not_matter(recordings: Path) -> None:
    for path in list_recordings(recordings / "crypto", "deribit"):
        messages = [m for m in read_messages(path) if m.get("method") == "subscription"]
        other = [json.dumps(dict(sorted(m.items(), reverse=True)), indent=1).encode() for m in messages]
        ours, theirs = play(*(msgspec.json.encode(m) for m in messages)), play(*other)
        assert ours.rows.trades == theirs.rows.trades
        assert ours.rows.books == theirs.rows.books
        assert ours.rows.quotes == theirs.rows.quotes
        assert ours.rows.plain == theirs.rows.plain


# -- instruments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symbol", "kind", "base", "quote", "settle", "is_inverse"),
    [
        ("BTC-PERPETUAL", "BTC-USD-PERP", "perpetual", "BTC", "USD", "BTC", True),
        ("BTC_USDC-PERPETUAL", "BTC-USDC-PERP", "perpetual", "BTC", "USDC", "USDC", False),
        ("ETH-9MAR24", "ETH-USD-240309", "future", "ETH", "USD", "ETH", True),
        ("BTC_USDC-25DEC26", "BTC-USDC-261225", "future", "BTC", "USDC", "USDC", False),
        ("BTC-27MAR26-80000-C", "BTC-USD-260327-80000-C", "option", "BTC", "USD", "BTC", False),
        ("MATIC_USDC-9MAR24-1d02-P", "MATIC-USDC-240309-1.02-P", "option", "MATIC", "USDC", "USDC", False),
        ("ETH_BTC", "ETH-BTC", "spot", "ETH", "BTC", None, False),
        ("BTC-FS-30SEP22_PERP", "BTC-FS-30SEP22_PERP", "combo", "BTC", "USD", None, True),
        ("BTC-STRD-30SEP22-20000", "BTC-STRD-30SEP22-20000", "combo", "BTC", "USD", None, False),
        ("BTC-31FEB26", "BTC-31FEB26", "combo", "BTC", "USD", None, False),
        ("BTC", "BTC", "combo", None, None, None, False),
    ],
)
def test_names(
    name: str, symbol: str, kind: str, base: str | None, quote: str | None, settle: str | None, is_inverse: bool
) -> None:
    found = DERIBIT.name_instrument("all", name)
    assert (found.symbol, found.market_type, found.base, found.quote) == (symbol, kind, base, quote)
    assert (found.settle, found.is_inverse, found.venue_symbol) == (settle, is_inverse, name)


def test_expiry_and_strike_are_in_the_name() -> None:
    found = DERIBIT.name_instrument("all", "MATIC_USDC-9MAR24-1d02-P")
    assert found.strike == 1.02
    assert found.expiry_us == int(datetime(2024, 3, 9, 8, tzinfo=UTC).timestamp()) * 1_000_000


@given(st.text())
def test_any_name_makes_an_instrument(name: str) -> None:
    assert DERIBIT.name_instrument("all", name).venue_symbol == name


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("cryptofeed_deribit_20210417.jsonl.gz", 423 + 499),
        ("cryptofeed_deribit_20210722.jsonl.gz", 398 + 426 + 177 + 16),
        ("cryptoexchange_vcr_rest.jsonl.gz", 6),
    ],
)
def test_listings_agree_with_the_names(recordings: Path, name: str, listed: int) -> None:
    played = replay("deribit", recordings / "crypto/deribit" / name)
    found = played.rows.instruments.values()
    assert len(found) == played.count("market") == listed
    for instrument in found:
        named = DERIBIT.name_instrument("all", instrument.venue_symbol)
        for key in ("symbol", "market_type", "base", "quote", "settle", "is_inverse", "expiry_us", "strike"):
            assert getattr(instrument, key) == getattr(named, key), (instrument.venue_symbol, key)
        assert instrument.is_listed and instrument.contract_size
        assert instrument.market_type != "combo"


def test_listed_sizes(recordings: Path) -> None:
    played = replay("deribit", recordings / "crypto/deribit/cryptofeed_deribit_20210722.jsonl.gz")
    sizes = {key[2]: value.contract_size for key, value in played.rows.instruments.items()}
    assert sizes["BTC-PERPETUAL"] == 10.0 and sizes["ETH-PERPETUAL"] == 1.0 and sizes["BTC_USDC-PERPETUAL"] == 0.001


def test_combos_are_listed_as_combos(recordings: Path) -> None:
    for kind in ("future_combo", "option_combo"):
        body = fixture(recordings, f"http_get_instruments_{kind}.json")
        found = DERIBIT.read_listing(DERIBIT.listings[0].url, body)
        assert len(found) == len(json.loads(body)["result"])
        assert {(i.market_type, i.is_inverse) for i in found} == {("combo", kind == "future_combo")}


def test_an_error_in_place_of_a_listing_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        DERIBIT.read_listing(DERIBIT.listings[0].url, b'{"jsonrpc":"2.0","error":{"code":10028}}')


# -- subscriptions --------------------------------------------------------------------------------------------


def test_every_channel_has_a_topic_that_is_known() -> None:
    instrument = DERIBIT.name_instrument("all", "BTC-PERPETUAL")
    for channel in FEED.channels:
        (topic,) = DERIBIT.list_topics(FEED, channel, instrument)
        ((reason, _),) = play(wrap(topic, None)).refused
        assert reason.startswith("Expected"), topic
    assert DERIBIT.list_topics(FEED, "funding", instrument) == ()
    assert DERIBIT.list_topics(FEED, "derivative", DERIBIT.name_instrument("all", "BTC_USDC")) == ()


def test_messages_stay_within_limits() -> None:
    topics = [f"book.BTC_USDC-25DEC26-{100_000 + i}-C.100ms" for i in range(FEED.limits.topics_per_message_max)]
    for write, method in ((DERIBIT.subscribe, "public/subscribe"), (DERIBIT.unsubscribe, "public/unsubscribe")):
        message = write(FEED, topics, 999_999)
        assert len(message) <= FEED.limits.message_bytes_max
        assert json.loads(message)["method"] == method
        assert json.loads(message)["id"] < 2**53


def test_urls_find_their_feed(recordings: Path) -> None:
    assert DERIBIT.find_feed(FEED.url) == "public"
    assert DERIBIT.find_feed("wss://streams.deribit.com/ws/api/v2") == "public"
    assert DERIBIT.find_feed(DERIBIT.listings[0].url) == "public"
    assert DERIBIT.find_feed("wss://test.deribit.com/ws/api/v2") is None
    with gzip.open(recordings / "crypto/deribit/cryptofeed_deribit_20210417.jsonl.gz", "rt") as file:
        addresses = {row["addr"] for line in file if "addr" in (row := json.loads(line))}
    assert {DERIBIT.find_feed(url) for url in addresses} == {"public"}
