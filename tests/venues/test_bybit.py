"""Bybit against what was recorded of it; expected values are read from the frames with plain json."""

import json
from collections import Counter
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from recorded import list_recordings, read_frames
from replayed import replay, replay_frames

from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Response, Rows, Scribe, Unit
from truetape.venues import load_venue

VENUE = load_venue("bybit")
LISTING = "https://api.bybit.com/v5/market/instruments-info?category={}&limit=1000"

FEEDS = {
    "tardis_node_bybit-options.jsonl": "option",
    "tardis_node_bybit-spot.jsonl": "spot_v1",
    "tardis_node_bybit.jsonl": "inverse_v2",
    "gct_ws_ticker.jsonl": "linear",
}
"""Raw frames do not say where they came from; the name of the file does."""

REFUSED = {
    # Bodies of the API of 2019: one each, nobody can ask for them any more; the listing among them is read.
    "cryptoexchange_vcr_rest.jsonl.gz": {"/v2/public/tickers": 2, "/v2/public/orderBook/L2": 1},
    # Frames of many connections in one file: BTCUSDT has a book of 25 levels, and one frame of 200.
    "tardis_node_bybit.jsonl": {"BTCUSDT:": 1},
}


def start(feed: str = "linear", market: str = "") -> tuple[Rows, object]:
    rows = Rows()
    return rows, VENUE.make_decoder(Scribe("bybit", rows)).open(feed, "line")


def encode(frame: object) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def load(path: Path) -> list[dict]:
    return [json.loads(f.payload) for f in read_frames(path) if f.kind == "text"]


def test_every_recording_decodes(recordings: Path) -> None:
    for path in list_recordings(recordings / "crypto", "bybit"):
        played = replay("bybit", path, FEEDS.get(path.name, ""))
        expected = REFUSED.get(path.name, {})
        assert Counter(reason.partition(" ")[0] for reason, _ in played.refused) == expected, path.name
        frames = [f for f in read_frames(path) if f.kind in ("text", "http")]
        assert played.data + played.control + len(played.refused) == len(frames)


def test_fixtures_decode_but_for_two(recordings: Path) -> None:
    refused = []
    for name in ("nautilus_fixtures.jsonl", "nautilus_py_resources.jsonl.gz"):
        frames = [
            f for f in read_frames(recordings / "crypto/bybit" / name)
            if Path(f.where).name.startswith("ws_") and not Path(f.where).name.startswith("ws_ticker_option")
        ]  # fmt: skip
        refused += replay_frames("bybit", frames, "linear").refused
    # Written for a test, not recorded: a delta of depth 1, and a topic that Bybit does not have.
    assert sorted(reason for reason, _ in refused) == [
        "depth 1 sends snapshots only - at `$.type`",
        "topic 'trade.linear.BTCUSDT' is not one of publicTrade, orderbook, tickers, kline, allLiquidation, liquidation"
        " - at `$.topic`",
    ]


# -- v5 -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear(recordings: Path) -> Path:
    return recordings / "crypto/bybit/cryptofeed_bybit_20260809_linear.jsonl.gz"


def test_trades_are_the_takers(linear: Path) -> None:
    played = replay("bybit", linear)
    expected = [
        (t["s"], t["T"] * 1000, t["i"], t["S"].lower(), float(t["p"]), float(t["v"]))
        for frame in load(linear)
        if frame.get("topic", "").startswith("publicTrade")
        for t in frame["data"]
    ]
    streams = played.rows.streams
    got = [(streams[r[0]].venue_symbol, r[1], r[5], r[6], r[7], r[8]) for r in played.rows.trades]
    assert got == expected
    assert len(got) == 327
    assert all(r[4] is None and r[9] is None and r[10] is None for r in played.rows.trades)
    assert {streams[r[0]].symbol for r in played.rows.trades} <= {
        f"{b}-USDT-PERP" for b in ("BTC", "ETH", "SOL", "DOGE")
    }


def test_book_ids_step_by_one_from_a_snapshot(linear: Path) -> None:
    played = replay("bybit", linear)
    frames = [f for f in load(linear) if f.get("topic", "").startswith("orderbook")]
    assert len(played.rows.books) == len(frames) == 1598
    last: dict[int, int] = {}
    for row, frame in zip(played.rows.books, frames, strict=True):
        data = frame["data"]
        assert row[5] == (BOOK_SNAPSHOT if frame["type"] == "snapshot" else BOOK_DIFF)
        assert row[1] == frame["cts"] * 1000
        assert row[6] == row[7] == data["u"]
        assert row[9] == [(float(p), float(s)) for p, s in data["b"]]
        assert row[10] == [(float(p), float(s)) for p, s in data["a"]]
        if row[5] == BOOK_DIFF:
            assert row[6] == last[row[0]] + 1
        last[row[0]] = row[7]
    assert len(last) == 4


def test_tickers_are_merged_from_their_deltas(linear: Path) -> None:
    played = replay("bybit", linear)
    state: dict[str, dict] = {}
    tickers, derivatives = [], []
    for frame in load(linear):
        if not frame.get("topic", "").startswith("tickers"):
            continue
        data = frame["data"]
        now = state.setdefault(data["symbol"], {})
        now.update(data)
        shown = {"lastPrice", "bid1Price", "ask1Price", "prevPrice24h", "highPrice24h", "lowPrice24h", "volume24h"}
        if data.keys() & (shown | {"turnover24h"}):
            tickers.append(
                tuple(float(now[k]) for k in ("lastPrice", "bid1Price", "ask1Price", "volume24h", "turnover24h"))
            )
        if data.keys() & {"markPrice", "indexPrice", "openInterest", "openInterestValue", "fundingRate"}:
            keys = ("markPrice", "indexPrice", "lastPrice", "openInterest", "fundingRate")
            derivatives.append((*(float(now[k]) for k in keys), int(now["nextFundingTime"]) * 1000))
    assert [(r[4], r[6], r[7], r[11], r[12]) for r in played.pick("ticker")] == tickers
    assert [(*r[4:8], r[9], r[11]) for r in played.pick("derivative")] == derivatives
    assert all(r[8] is None for r in played.pick("derivative"))
    assert len(played.pick("funding")) == 6
    assert all(r[6] == 8.0 and r[7] is False for r in played.pick("funding"))


def test_candles_count_what_trades_count(linear: Path) -> None:
    played = replay("bybit", linear)
    frames = [f for f in load(linear) if f.get("topic", "").startswith("kline")]
    assert len(played.pick("candle")) == sum(len(f["data"]) for f in frames)
    pushes: dict[tuple, list[tuple[int, float]]] = {}
    for frame in frames:
        for bar in frame["data"]:
            symbol = frame["topic"].split(".")[2]
            pushes.setdefault((symbol, bar["start"]), []).append((bar["timestamp"], float(bar["volume"])))
    proven = 0
    for (symbol, start_ms), steps in pushes.items():
        trades = [r for r in played.rows.trades if played.rows.streams[r[0]].venue_symbol == symbol]
        if not trades:
            continue
        for (t0, v0), (t1, v1) in pairwise(steps):
            if t0 * 1000 <= trades[0][1] or t1 >= start_ms + 60_000:
                continue
            # A push may miss the trades of the last quarter of a second; the next one has them.
            early = sum(r[8] for r in trades if t0 * 1000 < r[1] <= (t1 - 250) * 1000)
            late = sum(r[8] for r in trades if (t0 - 250) * 1000 < r[1] <= t1 * 1000)
            between = sum(r[8] for r in trades if t0 * 1000 < r[1] <= t1 * 1000)
            assert early - 1e-6 <= v1 - v0 <= late + 1e-6, (symbol, t0, t1)
            proven += between > 0 and between == pytest.approx(v1 - v0)
    assert proven >= 40


def test_quotes_repeat_with_their_id(recordings: Path) -> None:
    path = recordings / "crypto/bybit/cryptofeed_bybit_20250613.jsonl.gz"
    played = replay("bybit", path)
    assert played.count("quote") == 337
    assert played.count("book_change") == 0
    last: dict[int, int] = {}
    repeats = 0
    for row in played.rows.quotes:
        repeats += last.get(row[0]) == row[8]
        assert row[8] >= last.get(row[0], 0)
        last[row[0]] = row[8]
        assert row[4] < row[6]
    assert repeats == 61
    frames = [f for f in load(path) if "topic" in f]
    assert [(r[4], r[5], r[6], r[7]) for r in played.rows.quotes] == [
        (*map(float, f["data"]["b"][0]), *map(float, f["data"]["a"][0])) for f in frames
    ]
    feeds = {(s.feed, s.symbol) for s in played.rows.streams}
    assert ("linear", "BAND-USDT-PERP") in feeds
    assert ("spot", "OP-USDC") in feeds


def test_one_name_is_two_instruments(recordings: Path) -> None:
    trade = {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "2", "p": "10", "i": "x", "BT": True, "RPI": False}
    symbols = []
    for feed in ("spot", "linear"):
        rows, decode = start(feed)
        assert decode(encode({"topic": "publicTrade.BTCUSDT", "data": [trade]}), 5, 6)
        symbols.append(rows.streams[0].symbol)
        assert rows.trades == [(0, 1000, 5, 6, None, "x", "buy", 10.0, 2.0, None, "block")]
    assert symbols == ["BTC-USDT", "BTC-USDT-PERP"]


def test_inverse_sizes_are_dollars() -> None:
    rows, decode = start("inverse")
    trade = {"T": 1, "s": "BTCUSD", "S": "Sell", "v": "500", "p": "50000", "i": "x", "BT": False, "RPI": True}
    decode(encode({"topic": "publicTrade.BTCUSD", "data": [trade]}), 5, 6)
    assert rows.trades[0][6:] == ("sell", 50000.0, 0.01, 500.0, "rpi")
    book = {"s": "BTCUSD", "b": [["50000", "100"]], "a": [], "u": 7, "seq": 1}
    decode(encode({"topic": "orderbook.200.BTCUSD", "type": "delta", "ts": 2, "data": book, "cts": 1}), 5, 6)
    assert rows.books[0][5:] == (BOOK_DIFF, 7, 7, None, [(50000.0, 100.0)], [], Unit(1.0, True), None)
    decode(encode({"topic": "orderbook.1.BTCUSD", "type": "snapshot", "ts": 2, "data": book}), 5, 6)
    assert rows.quotes[0][1:] == (2000, 5, 6, 50000.0, 0.002, None, None, 7)
    bar = {
        "start": 60000, "end": 119999, "interval": "1", "open": "1", "close": "2", "high": "3", "low": "0.5",
        "volume": "1000", "turnover": "0.02", "confirm": True, "timestamp": 3,
    }  # fmt: skip
    decode(encode({"topic": "kline.1.BTCUSD", "data": [bar], "ts": 4, "type": "snapshot"}), 5, 6)
    candle = rows.plain["candle"][0]
    assert candle[1:] == (4000, 5, 6, "1m", 60_000_000, 1.0, 3.0, 0.5, 2.0, 0.02, 1000.0, None, None, True)


def test_restart_of_the_service_replaces_the_book() -> None:
    rows, decode = start()
    book = {"s": "BTCUSDT", "b": [], "a": [], "u": 1, "seq": 1}
    decode(encode({"topic": "orderbook.50.BTCUSDT", "type": "delta", "ts": 2, "data": book}), 5, 6)
    assert rows.books[0][5] == BOOK_SNAPSHOT


def test_a_liquidated_long_is_closed_by_selling(recordings: Path) -> None:
    rows, decode = start()
    forced = [
        {"T": 1, "s": "ROSEUSDT", "S": "Buy", "v": "20000", "p": "0.04499"},
        {"T": 2, "s": "ROSEUSDT", "S": "Sell", "v": "1", "p": "0.05"},
    ]
    decode(encode({"topic": "allLiquidation.ROSEUSDT", "type": "snapshot", "ts": 3, "data": forced}), 5, 6)
    assert [r[1:] for r in rows.plain["liquidation"]] == [
        (1000, 5, 6, "sell", 0.04499, 20000.0, None, None),
        (2000, 5, 6, "buy", 0.05, 1.0, None, None),
    ]
    old = [f for f in read_frames(recordings / "crypto/bybit/nautilus_py_resources.jsonl.gz") if "ws_liq" in f.where]
    played = replay_frames("bybit", old, "linear")
    assert [r[4:7] for r in played.pick("liquidation")] == [("sell", 0.03803, 1637.0)]
    rows, decode = start("inverse")
    decode(encode({"topic": "allLiquidation.BTCUSD", "type": "snapshot", "ts": 3, "data": [forced[1]]}), 5, 6)
    assert rows.plain["liquidation"][0][4:] == ("buy", 0.05, 20.0, 1.0, None)


# -- control, order, bad input ------------------------------------------------------------------------------


def test_answers_are_control() -> None:
    rows, decode = start()
    assert not decode(b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"subscribe"}', 5, 6)
    assert not decode(b'{"success":true,"ret_msg":"subscribe","conn_id":"c","op":"subscribe"}', 5, 7)
    assert not decode(b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}', 5, 8)
    assert not decode(b'{"args":["1660363633128"],"op":"pong"}', 5, 9)
    assert [a.offset for a in rows.acks] == [6, 7]
    assert "error" not in rows.plain
    assert not decode(b'{"success":false,"ret_msg":"Invalid topic: x","conn_id":"c","op":"subscribe"}', 5, 10)
    assert len(rows.acks) == 2
    assert rows.plain["error"][0][4:8] == ("line", "linear", None, "Invalid topic: x")


def test_order_of_fields_and_spaces_do_not_matter() -> None:
    trade = {"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "2", "p": "10", "i": "x", "BT": False}
    rows, decode = start()
    for frame in (
        encode({"topic": "publicTrade.BTCUSDT", "data": [trade]}),
        encode({"data": [trade], "ts": 1, "topic": "publicTrade.BTCUSDT"}),
        json.dumps({"id": "q", "data": [trade], "topic": "publicTrade.BTCUSDT"}, indent=2).encode(),
    ):
        assert decode(frame, 5, 6)
    assert len(rows.trades) == 3
    assert len(set(rows.trades)) == 1
    assert len(rows.streams) == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x01",
        b"[]",
        b"{}",
        b"pong",
        b'{"op":"auth","success":true}',
        b'{"topic":"publicTrade.BTCUSDT"}',
        b'{"topic":"publicTrade.BTCUSDT","data":[{"T":1}]}',
        b'{"topic":"publicTrade.BTCUSDT","data":[{"T":1,"s":"B","S":"Hold","v":"1","p":"1","i":"x","BT":false}]}',
        b'{"topic":"orderbook.rpi.BTCUSDT","type":"snapshot","ts":1,"data":{"b":[],"a":[],"u":1}}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"b":[["1"]],"a":[],"u":1}}',
        b'{"topic":"orderbook.1.BTCUSDT","type":"delta","ts":1,"data":{"b":[],"a":[],"u":1}}',
        b'{"topic":"tickers.BTCUSDT","type":"delta","ts":1,"data":{"lastPrice":"abc"}}',
        b'{"topic":"tickers.BTCUSDT","type":"delta","ts":1,"data":{"lastPrice":[]}}',
        b'{"topic":"kline.7.BTCUSDT","ts":1,"data":[{"start":1,"interval":"7","open":"1","high":"1","low":"1",'
        b'"close":"1","volume":"1","turnover":"1","confirm":false}]}',
        b'{"topic":"news.BTCUSDT"}',
    ],
)
def test_a_wrong_shape_is_refused(frame: bytes) -> None:
    rows, decode = start()
    with pytest.raises((DecodeError, msgspec.DecodeError)):
        decode(frame, 5, 6)
    assert not rows.trades and not rows.books and not rows.quotes


def test_two_depths_never_mix_in_one_book() -> None:
    rows, decode = start()
    book = {"s": "BTCUSDT", "b": [], "a": [], "u": 5, "seq": 1}
    decode(encode({"topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": 2, "data": book}), 5, 6)
    deeper = encode({"topic": "orderbook.200.BTCUSDT", "type": "snapshot", "ts": 2, "data": book})
    for _ in range(2):
        with pytest.raises(DecodeError, match="depth 200 beside 50"):
            decode(deeper, 5, 6)
    assert len(rows.books) == 1
    msgspec.msgpack.encode(rows.memory)
    again = VENUE.make_decoder(Scribe("bybit", rows)).open("linear", "next line")
    assert again(deeper, 5, 6)


def test_memory_carries_a_ticker_over_a_restart() -> None:
    rows, decode = start()
    full = {"symbol": "BTCUSDT", "lastPrice": "10", "bid1Price": "9", "markPrice": "11", "fundingRate": ""}
    decode(encode({"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": 1, "data": full}), 5, 6)
    kept = Rows()
    kept.restore_streams(rows.streams)
    kept.memory.update(msgspec.msgpack.decode(msgspec.msgpack.encode(rows.memory)))
    decode = VENUE.make_decoder(Scribe("bybit", kept)).open("linear", "line")
    decode(encode({"topic": "tickers.BTCUSDT", "type": "delta", "ts": 2, "data": {"bid1Price": "9.5"}}), 5, 6)
    assert kept.plain["ticker"][0][4:8] == (10.0, None, 9.5, None)
    assert "derivative" not in kept.plain
    assert "funding" not in kept.plain


# -- before v5 ----------------------------------------------------------------------------------------------


def test_v2_books_hold_together(recordings: Path) -> None:
    path = recordings / "crypto/bybit/cryptofeed_bybit_20210417.jsonl.gz"
    played = replay("bybit", path)
    frames = load(path)
    assert played.count("book_change") == sum("orderBookL2_25" in f.get("topic", "") for f in frames) == 4278
    assert (
        played.count("trade") == sum(len(f["data"]) for f in frames if f.get("topic", "").startswith("trade.")) == 251
    )
    assert played.control == len(played.rows.acks) == 20
    books: dict[int, tuple[dict, dict]] = {}
    last: dict[int, int] = {}
    for row in played.rows.books:
        assert row[7] > last.get(row[0], 0)
        last[row[0]] = row[7]
        if row[5] == BOOK_SNAPSHOT:
            books[row[0]] = ({}, {})
        for side, levels in zip(books[row[0]], row[9:11], strict=True):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    assert side.pop(price, None) is not None
        bids, asks = books[row[0]]
        assert len(bids) <= 25 and len(asks) <= 25
        assert max(bids) < min(asks)
    assert len(books) == 10


def test_v2_inverse_is_dollars_and_linear_is_coin(recordings: Path) -> None:
    played = replay("bybit", recordings / "crypto/bybit/cryptofeed_bybit_20210417.jsonl.gz")
    for (market, _), rows in played.group("trade").items():
        for row in rows:
            if market == "inverse":
                assert row[8] == pytest.approx(row[9] / row[7])
            else:
                assert row[9] is None
    units = {(played.rows.streams[r[0]].feed, r[11]) for r in played.rows.books}
    assert units == {("inverse_v2", Unit(1.0, True)), ("linear_v2", None)}
    market = {r[0]: r for r in played.pick("market")}
    assert len(market) == 15
    quarter = next(s for s in played.rows.streams if s.venue_symbol == "BTCUSDM21")
    assert quarter.symbol == "BTC-USD-210625"


def read_oracle(recordings: Path, exchange: str) -> list[dict]:
    lines = (recordings / "crypto/_oracle/tardis_node_mappers.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["exchange"] == exchange]


@pytest.mark.parametrize(
    ("exchange", "feed"), [("bybit", "inverse_v2"), ("bybit-options", "option"), ("bybit-spot", "spot_v1")]
)
def test_an_independent_mapper_agrees(recordings: Path, exchange: str, feed: str) -> None:
    """Where it does not: it keeps USD sizes, and its option tickers come with other columns than ours."""
    compared = 0
    for case in read_oracle(recordings, exchange):
        linear = feed == "inverse_v2" and "USDT" in json.dumps(case["raw"])
        rows, decode = start("linear_v2" if linear else feed)
        decode(encode(case["raw"]), 5, 6)
        for want in case["normalized"]:
            at = msgspec.convert(want["timestamp"], datetime).timestamp()
            if want["type"] == "trade":
                (row,) = rows.trades
                assert (row[5], row[6], row[7]) == (want["id"], want["side"], want["price"])
                assert want["amount"] == (row[8] if row[9] is None else row[9])
            elif want["type"] == "book_change":
                (row,) = rows.books
                assert (row[5] == BOOK_SNAPSHOT) is want["isSnapshot"]
                for levels, wanted in ((row[9], want["bids"]), (row[10], want["asks"])):
                    assert levels == [(w["price"], w["amount"]) for w in wanted]
            elif want["type"] == "book_ticker":
                (row,) = rows.quotes
                assert row[4:8] == (want["bidPrice"], want["bidAmount"], want["askPrice"], want["askAmount"])
            elif want["type"] == "derivative_ticker":
                if "derivative" not in rows.plain:  # the frame has the last price alone
                    assert rows.plain["ticker"][0][4] == want["lastPrice"]
                    continue
                (row,) = rows.plain["derivative"]
                names = ("markPrice", "indexPrice", "lastPrice", "fundingRate", "predictedFundingRate")
                got = (row[4], row[5], row[6], row[9], row[10])
                # The mapper remembers the ticker before: what the frame itself lacks is null here.
                assert all(g is None or g == pytest.approx(want[n]) for g, n in zip(got, names, strict=True))
                interest = row[7] if row[8] is None else row[8]
                assert interest is None or interest == want["openInterest"]
                continue  # its time is of the frame before, too
            else:
                (row,) = rows.plain["derivative"]
                (ticker,) = rows.plain["ticker"]
                assert (ticker[4], ticker[6], ticker[7]) == (
                    want["lastPrice"],
                    want["bestBidPrice"],
                    want["bestAskPrice"],
                )
                assert (row[4], row[7], row[13]) == (want["markPrice"], want["openInterest"], want["delta"])
                assert row[12] == pytest.approx(want["markIV"] * 100)
            assert row[1] == round(at * 1_000_000)
            compared += 1
    assert compared >= {"bybit": 11, "bybit-options": 6, "bybit-spot": 3}[exchange]


# -- HTTP ---------------------------------------------------------------------------------------------------


def test_tickers_over_http(recordings: Path) -> None:
    path = recordings / "crypto/bybit/gct_rest_mock_v5.jsonl"
    played = replay("bybit", path)
    bodies = [json.loads(f.payload) for f in read_frames(path)]
    assert played.count("ticker") == sum(len(b["result"]["list"]) for b in bodies)
    inverse = next(r for r in played.pick("derivative") if played.rows.streams[r[0]].market == "inverse")
    first = bodies[1]["result"]["list"][0]
    assert inverse[7] == float(first["openInterestValue"])
    assert inverse[8] == float(first["openInterest"])


def test_other_bodies(recordings: Path) -> None:
    urls = {
        "http_get_funding_history.json": "https://api.bybit.com/v5/market/funding/history?category=linear",
        "http_get_klines_linear.json": "https://api.bybit.com/v5/market/kline?category=linear&interval=D",
        "http_get_orderbook.json": "https://api.bybit.com/v5/market/orderbook?category=linear",
        "http_get_trades_recent.json": "https://api.bybit.com/v5/market/recent-trade?category=linear",
    }
    fixtures = read_frames(recordings / "crypto/bybit/nautilus_fixtures.jsonl")
    frames = [f._replace(where=urls[f.where]) for f in fixtures if f.where in urls]
    played = replay_frames("bybit", frames)
    assert played.refused == []
    assert [r[4:] for r in played.pick("funding")] == [
        (0.00015, 1709856000000000, None, True), (0.0001, 1709884800000000, None, True),
    ]  # fmt: skip
    assert [r[4:12] for r in played.pick("candle")] == [
        ("1d", 1709891679000000, 27450.0, 27460.0, 27440.0, 27455.0, 123.45, 3390000.0)
    ]
    assert [r[6] for r in played.rows.books] == [1234567]
    assert [r[4:9] for r in played.rows.trades] == [
        (None, "a905d5c3-1ed0-4f37-83e4-9c73a2fe2f01", "buy", 27450.5, 0.005)
    ]


def test_errors_come_with_status_200() -> None:
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("bybit", rows))
    body = b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"time":1}'
    url = "https://api.bybit.com/v5/market/tickers?category=spot"
    assert not decoder.respond(Response("spot", "http", url, 200, body, 5, 6))
    assert rows.plain["error"][0][6:8] == (10006, "Too many visits!")
    with pytest.raises(DecodeError, match="is not one of"):
        decoder.respond(Response("spot", "http", url.replace("tickers", "x"), 200, b'{"retCode":0}', 5, 6))


def test_listing_tells_every_contract(recordings: Path, linear: Path) -> None:
    body = next(f for f in read_frames(linear) if f.kind == "http")
    instruments = VENUE.read_listing(body.where, body.payload)
    items = json.loads(body.payload)["result"]["list"]
    assert len(instruments) == len(items) == 800
    for instrument, item in zip(instruments, items, strict=True):
        named = VENUE.name_instrument("linear", item["symbol"])
        assert instrument.symbol == named.symbol
        assert instrument.is_listed and not named.is_listed
        assert (named.base, named.quote) == (item["baseCoin"], item["quoteCoin"])
        assert (named.market_type == "future") == (item["contractType"] == "LinearFutures")
        assert named.expiry_us == instrument.expiry_us == (int(item["deliveryTime"]) * 1000 or None)
        assert instrument.contract_size == 1.0
        assert instrument.price_step == float(item["priceFilter"]["tickSize"])
        assert instrument.amount_step == float(item["lotSizeFilter"]["qtyStep"])


@pytest.mark.parametrize("market", ["spot", "inverse", "option"])
def test_other_listings(recordings: Path, market: str) -> None:
    count = 0
    for fixture in read_frames(recordings / "crypto/bybit/nautilus_fixtures.jsonl"):
        if fixture.where.startswith(f"http_get_instruments_{market}"):
            for instrument in VENUE.read_listing(LISTING.format(market), fixture.payload):
                assert instrument.market == market
                assert instrument.is_inverse is (market == "inverse")
                assert instrument.base and instrument.quote and instrument.price_step and instrument.amount_step
                count += 1
    assert count >= 2


def test_listing_pages_lead_to_the_next_and_reach_open_connections() -> None:
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("bybit", rows))
    decode = decoder.open("spot", "line")
    trade = {"T": 1, "s": "ABCXYZ", "S": "Buy", "v": "2", "p": "10", "i": "x", "BT": False}
    decode(encode({"topic": "publicTrade.ABCXYZ", "data": [trade]}), 5, 6)
    assert rows.streams[0].symbol == "ABCXYZ"
    item = {
        "symbol": "DEFXYZ", "status": "Trading", "baseCoin": "DEF", "quoteCoin": "XYZ",
        "priceFilter": {"tickSize": "0.1"}, "lotSizeFilter": {"basePrecision": "0.01"},
    }  # fmt: skip
    body = encode({"retCode": 0, "retMsg": "OK", "result": {"list": [item], "nextPageCursor": "a%3D1"}})
    url = LISTING.format("spot")
    assert decoder.respond(Response("spot", "http", url, 200, body, 5, 6))
    assert VENUE.find_next_page(url, body) == f"{url}&cursor=a%3D1"
    assert VENUE.find_next_page(f"{url}&cursor=a%3D1", body.replace(b"a%3D1", b"b")) == f"{url}&cursor=b"
    assert VENUE.find_next_page(url, body.replace(b"a%3D1", b"")) is None
    assert not rows.wishes  # whoever asks for listings asks for all pages
    decode(encode({"topic": "publicTrade.DEFXYZ", "data": [{**trade, "s": "DEFXYZ"}]}), 5, 6)
    assert rows.streams[-1].symbol == "DEF-XYZ"


# -- names, topics, places ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "name", "symbol"),
    [
        ("spot", "BTCUSDT", "BTC-USDT"),
        ("spot", "ETHBTC", "ETH-BTC"),
        ("spot", "USDCUSDT", "USDC-USDT"),
        ("spot", "WHAT", "WHAT"),
        ("linear", "BTCUSDT", "BTC-USDT-PERP"),
        ("linear", "BTCPERP", "BTC-USDC-PERP"),
        ("linear", "1000BONKPERP", "1000BONK-USDC-PERP"),
        ("linear", "BTCUSDT-25DEC26", "BTC-USDT-261225"),
        ("linear", "BTC-27DEC24", "BTC-USDC-241227"),
        ("linear", "BTCUSDT-99XXX26", "BTCUSDT-99XXX26"),
        ("inverse", "BTCUSD", "BTC-USD-PERP"),
        ("inverse", "BTCUSDM21", "BTC-USD-210625"),
        ("inverse", "BTCUSDU21", "BTC-USD-210924"),
        ("inverse", "BTCUSDZ24", "BTC-USD-241227"),
        ("inverse", "WHAT", "WHAT"),
        ("option", "BTC-28APR23-29500-C", "BTC-USD-230428-29500-C"),
        ("option", "SOL-26JUN26-16.5-P-USDT", "SOL-USDT-260626-16.5-P"),
        ("option", "BTC-31FEB23-29500-C", "BTC-31FEB23-29500-C"),
    ],
)
def test_names(market: str, name: str, symbol: str) -> None:
    instrument = VENUE.name_instrument(market, name)
    assert (instrument.symbol, instrument.venue_symbol, instrument.market) == (symbol, name, market)


@pytest.mark.parametrize(
    ("url", "feed"),
    [
        ("wss://stream.bybit.com/v5/public/spot", "spot"),
        ("wss://stream.bybit.kz/v5/public/linear", "linear"),
        ("wss://stream.bybit.com/v5/public/inverse", "inverse"),
        ("wss://stream.bybit.com/realtime_public", "linear_v2"),
        ("wss://stream.bybit.com/realtime", "inverse_v2"),
        ("wss://stream.bybit.com/spot/quote/ws/v2", "spot_v1"),
        ("https://api.bybit.com/v2/public/symbols", "inverse_v2"),
        ("https://api.bytick.com/v5/market/tickers?category=linear", "linear"),
        ("https://api.bybit.com/v5/market/instruments-info?&category=linear&status=Trading&limit=1000", "linear"),
        ("https://api.bybit.com/v5/market/tickers?category=moon", None),
        ("wss://stream.bybit.com/v5/private", None),
    ],
)
def test_places(url: str, feed: str | None) -> None:
    assert VENUE.find_feed(url) == feed


def test_topics_are_what_was_recorded(linear: Path) -> None:
    feeds = {feed.name: feed for feed in VENUE.feeds}
    sent = {t for f in read_frames(linear) if f.kind == "send" for t in json.loads(f.payload)["args"]}
    bitcoin = VENUE.name_instrument("linear", "BTCUSDT")
    for channel in ("trade", "book_change", "ticker", "derivative", "funding", "candle", "liquidation"):
        (topic,) = VENUE.list_topics(feeds["linear"], channel, bitcoin)
        assert topic in sent, channel
    assert VENUE.list_topics(feeds["linear"], "quote", bitcoin) == ("orderbook.1.BTCUSDT",)
    assert VENUE.list_topics(feeds["spot"], "derivative", bitcoin) == ()
    assert VENUE.list_topics(feeds["linear_v2"], "trade", bitcoin) == ()
    dated = VENUE.name_instrument("linear", "BTCUSDT-25DEC26")
    assert VENUE.list_topics(feeds["linear"], "funding", dated) == ()
    option = VENUE.name_instrument("option", "BTC-28APR23-29500-C")
    assert VENUE.list_topics(feeds["option"], "trade", option) == ("publicTrade.BTC",)
    assert VENUE.list_topics(feeds["option"], "derivative", option) == ("tickers.BTC-28APR23-29500-C",)


def test_requests_are_json() -> None:
    feed = VENUE.feeds[0]
    message = json.loads(VENUE.subscribe(feed, ["publicTrade.BTCUSDT"], 7))
    assert message == {"op": "subscribe", "args": ["publicTrade.BTCUSDT"], "req_id": "7"}
    assert json.loads(VENUE.unsubscribe(feed, ["a"], 8))["op"] == "unsubscribe"
    assert feed.limits.topics_per_message_max == 10


def test_rules_and_feeds_fit_together() -> None:
    names = {feed.name for feed in VENUE.feeds}
    assert all(set(rule.feeds) <= names for rule in VENUE.continuity)
    open_ended = {feed.name for feed in VENUE.feeds if feed.dates[1] is None}
    assert open_ended == {"spot", "linear", "inverse", "option"}
    assert set(VENUE.default_markets) < {listing.market for listing in VENUE.listings} <= open_ended
    assert all(feed.dates[0] < (feed.dates[1] or date.max) for feed in VENUE.feeds)


def test_an_unknown_feed_is_refused() -> None:
    with pytest.raises(DecodeError, match="feed 'moon' is not one of"):
        start("moon")


def test_a_listing_that_is_refused_says_why() -> None:
    body = b'{"retCode":10001,"retMsg":"params error","result":{},"time":1}'
    with pytest.raises(DecodeError, match="the listing answered 10001: params error"):
        VENUE.read_listing("https://api.bybit.com/v5/market/instruments-info?category=option", body)
