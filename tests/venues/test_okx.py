"""OKX against what was recorded of it; expected values are read from the frames with plain json."""

import json
import zlib
from collections import Counter
from contextlib import suppress
from datetime import datetime
from heapq import nlargest, nsmallest
from math import isnan
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import list_recordings, read_frames
from replayed import Replayed, replay, replay_frames

from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Response, Rows, Scribe, Unit
from truetape.events.wish import Reconnect
from truetape.venues import load_venue

VENUE = load_venue("okx")
SWAP = {"channel": "", "instId": "BTC-USDT-SWAP"}

V3 = "cryptofeed_okex_20210417.jsonl.gz"
V5_2021 = "cryptofeed_okex_20210722.jsonl.gz"
V5_2022 = "cryptofeed_okx_20220513.jsonl.gz"

FEEDS = dict.fromkeys(
    ("crypto_msg_parser_okx_v3.jsonl", *(f"tardis_node_okex{kind}.jsonl" for kind in ("", "-futures", "-options", "-swap"))),
    "public_v3",
) | {"tardis_node_okex-spreads.jsonl": "public"}  # fmt: skip
"""Raw frames do not say where they came from; the name of the file does."""

REFUSED = {
    # Single bodies of v3 endpoints of 2019 and 2020, which nobody can ask for any more; its listings are read.
    "cryptoexchange_vcr_okex_rest.jsonl.gz": {"/api/spot/v3/instruments/": 3},
    "cryptoexchange_vcr_okexswap_rest.jsonl.gz": {"/api/futures/v3/instruments/": 3, "/api/swap/v3/instruments/": 5},
    # Spreads are pairs of instruments, not instruments.
    "tardis_node_okex-spreads.jsonl": {"channel 'sprd-": 3},
    # Two frames were wrapped with their receive time by the recorder; they are unwrapped and read below.
    "tardis_node_okex-futures.jsonl": {"Expected `str`, got `object` - at `$.message`": 2},
}


def start(feed: str = "public") -> tuple[Rows, object]:
    rows = Rows()
    return rows, VENUE.make_decoder(Scribe("okx", rows)).open(feed, "line")


def encode(frame: object) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def push(channel: str, *data: object, name: str = "BTC-USDT-SWAP", **more: object) -> bytes:
    return encode({"arg": {"channel": channel, "instId": name}, **more, "data": list(data)})


def inflate(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data)


def deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def load(path: Path) -> list[dict]:
    frames = [f for f in read_frames(path) if f.kind in ("text", "binary")]
    return [json.loads(inflate(f.payload) if f.kind == "binary" else f.payload) for f in frames]


@pytest.fixture(scope="module")
def played(recordings: Path) -> dict[str, Replayed]:
    return {name: replay("okx", recordings / "crypto/okx" / name) for name in (V3, V5_2021, V5_2022)}


def test_every_recording_decodes(recordings: Path) -> None:
    for path in list_recordings(recordings / "crypto", "okx"):
        done = replay("okx", path, FEEDS.get(path.name, ""))
        expected = REFUSED.get(path.name, {})
        for start_of_reason, count in expected.items():
            assert sum(reason.startswith(start_of_reason) for reason, _ in done.refused) == count, path.name
        assert len(done.refused) == sum(expected.values()), (path.name, done.refused)
        frames = [f for f in read_frames(path) if f.kind in ("text", "binary", "http")]
        assert done.data + done.control + len(done.refused) == len(frames)


def test_wrapped_frames_of_2026_decode_unwrapped(recordings: Path) -> None:
    lines = (recordings / "crypto/okx/tardis_node_okex-futures.jsonl").read_text().splitlines()
    rows, decode = start()
    for line in lines[-2:]:
        assert decode(encode(json.loads(line)["message"]), 5, 6)
    index, funding = rows.plain["derivative"]
    assert rows.streams[index[0]].symbol == "BTC-USD"
    assert index[1:8] == (1785870839964000, 5, 6, None, 64280.0, None, None)
    assert funding[9:12] == (-0.0004270396398519, None, 1785888000000000)
    assert [r[4:] for r in rows.plain["funding"]] == [
        (-0.0004270396398519, 1785888000000000, 8.0, False),
        (-0.0001996513270201, 1785859200000000, 8.0, True),
    ]
    assert rows.streams[funding[0]].symbol == "BTC-USD_UM_XPERP-310404"


def test_fixtures_decode_but_for_one(recordings: Path) -> None:
    fixtures = [f for f in read_frames(recordings / "crypto/okx/nautilus_fixtures.jsonl") if f.kind == "text"]
    done = replay_frames("okx", fixtures, "public")
    # Its envelope was cut off by hand.
    assert [payload[:1] for _, payload in done.refused] == ["["]
    assert done.data == len(fixtures) - 1


# -- checksums ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [(V3, 6974), (V5_2021, 4372), (V5_2022, 290)])
def test_every_checksum_reproduces(played: dict[str, Replayed], name: str, count: int) -> None:
    done = played[name]
    books: dict[tuple[int, str], tuple[dict, dict]] = {}
    proven = 0
    for row in done.rows.books:
        key = (row[0], row[4])
        if row[5] == BOOK_SNAPSHOT:
            books[key] = ({}, {})
        for side, levels in zip(books[key], row[9:11], strict=True):
            for price, size in levels:
                number = float(price)
                if float(size):
                    side[number] = (price, size)
                else:
                    side.pop(number, None)
        bids, asks = books[key]
        best_bids = [bids[p] for p in nlargest(25, bids)]
        best_asks = [asks[p] for p in nsmallest(25, asks)]
        stream = done.rows.streams[row[0]]
        assert VENUE.proof.prove(best_bids, best_asks, VENUE.name_instrument("all", stream.venue_symbol)) == row[12]
        proven += 1
    assert proven == done.count("book_change") == count


def test_checksum_goes_on_with_the_longer_side() -> None:
    instrument = VENUE.name_instrument("all", "BTC-USDT")
    bids, asks = [("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")]
    made = VENUE.proof.prove(bids, asks, instrument)
    assert made % 2**32 == zlib.crc32(b"3366.1:7:3366.8:9:3368:8:3372:8")
    assert -(2**31) <= made < 2**31
    assert VENUE.proof.prove([], [], instrument) == 0
    assert VENUE.proof.prove(bids * 30, asks * 30, instrument) == VENUE.proof.prove(
        bids * 25, (asks * 9)[:25], instrument
    )


LEVELS = {"asks": [["41006.8", "0.60", "0", "1"]], "bids": [["41006.7", "0.40", "0", "2"], ["41000", "0", "0", "0"]]}


@pytest.mark.parametrize("checksum", [{}, {"checksum": 0}])
def test_books_without_a_checksum_are_numbers(checksum: dict) -> None:
    rows, decode = start()
    more = {"ts": "1704067200000", "seqId": 11, "prevSeqId": -1, **checksum}
    decode(push("books", {**LEVELS, **more}, name="BTC-USDT", action="snapshot"), 5, 6)
    decode(push("books", {**LEVELS, **more, "prevSeqId": 11}, name="BTC-USDT", action="update"), 5, 7)
    decode(push("books", {"asks": [], "bids": [], **more, "prevSeqId": 11}, name="BTC-USDT", action="update"), 5, 8)
    levels = ([(41006.7, 0.4), (41000.0, 0.0)], [(41006.8, 0.6)])
    at = 1704067200000000
    assert rows.books == [
        (0, at, 5, 6, "line", BOOK_SNAPSHOT, None, 11, None, *levels, None, None),
        (0, at, 5, 7, "line", BOOK_DIFF, None, 11, 11, *levels, None, None),
        (0, at, 5, 8, "line", BOOK_DIFF, None, 11, 11, [], [], None, None),
    ]


def test_books_change_between_text_and_numbers_with_the_checksum() -> None:
    rows, decode = start()
    for checksum in (0, -7, 8, 0, 9):
        book = {**LEVELS, "ts": "1", "checksum": checksum}
        decode(push("books", book, action="update"), 5, 6)
    assert [row[12] for row in rows.books] == [None, -7, 8, None, 9]
    assert [row[10] for row in rows.books] == [
        [("41006.8", "0.60")] if row[12] else [(41006.8, 0.6)] for row in rows.books
    ]
    assert {row[11] for row in rows.books} == {Unit(0.01, False)}


def test_two_channels_never_mix_in_one_book() -> None:
    rows, decode = start()
    book = {**LEVELS, "ts": "1"}
    decode(push("books", book, action="snapshot"), 5, 6)
    with pytest.raises(DecodeError, match="books-l2-tbt beside books"):
        decode(push("books-l2-tbt", book, action="snapshot"), 5, 6)
    assert len(rows.books) == 1
    msgspec.msgpack.encode(rows.memory)


# -- trades, sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [(V3, 75), (V5_2021, 108), (V5_2022, 74)])
def test_trades_are_the_takers_and_their_ids_step_by_one(
    played: dict[str, Replayed], recordings: Path, name: str, count: int
) -> None:
    done = played[name]
    expected = []
    for frame in load(recordings / "crypto/okx" / name):
        if frame.get("table", "").endswith("/trade"):
            expected += [
                (t["instrument_id"], int(t["trade_id"]), t["side"], float(t["price"]), float(t.get("size") or t["qty"]))
                for t in frame["data"]
            ]
        elif frame.get("arg", {}).get("channel") == "trades" and "data" in frame:
            expected += [
                (t["instId"], int(t["tradeId"]), t["side"], float(t["px"]), float(t["sz"])) for t in frame["data"]
            ]
    streams = done.rows.streams
    got = [(streams[r[0]].venue_symbol, r[4], r[6], r[7], r[8] if r[9] is None else r[9]) for r in done.rows.trades]
    assert got == expected
    assert len(got) == count
    seen: dict[str, set[int]] = {}
    for venue_symbol, number, *_ in got:
        seen.setdefault(venue_symbol, set()).add(number)
    assert all(max(ids) - min(ids) + 1 == len(ids) for ids in seen.values())


def test_contracts_become_coins_by_the_listing(played: dict[str, Replayed]) -> None:
    proven = Counter()
    for done in played.values():
        for row in done.rows.trades:
            stream = done.rows.streams[row[0]]
            listed = done.rows.instruments[("okx", "all", stream.venue_symbol)]
            proven[listed.market_type, listed.is_inverse] += 1
            if listed.market_type == "spot":
                assert row[9] is None
            elif listed.is_inverse:
                assert row[8] == pytest.approx(row[9] * listed.contract_size / row[7])
            else:
                assert row[8] == pytest.approx(row[9] * listed.contract_size)
    assert set(proven) == {("spot", False), ("perpetual", False), ("perpetual", True), ("future", True),
                           ("future", False), ("option", False)}  # fmt: skip


def test_a_contract_of_unknown_size_has_no_amount() -> None:
    rows, decode = start()
    trade = {"instId": "DOGE-USDT-SWAP", "tradeId": "1", "px": "0.1", "sz": "3", "side": "buy", "ts": "1"}
    decode(push("trades", trade, name="DOGE-USDT-SWAP"), 5, 6)
    decode(push("books", {**LEVELS, "ts": "1"}, name="DOGE-USDT-SWAP", action="snapshot"), 5, 6)
    assert rows.trades[0][8:10] == (None, 3.0)
    assert isnan(rows.books[0][11].size)


def test_a_listing_reaches_open_connections() -> None:
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("okx", rows))
    decode, old = decoder.open("public", "line"), decoder.open("public_v3", "old line")
    name = "DOGE-USDT-SWAP"
    trade = {"instId": name, "tradeId": "1", "px": "0.1", "sz": "3", "side": "buy", "ts": "1"}
    old_trade = {
        "instrument_id": name, "trade_id": "1", "price": "0.1", "size": "3", "side": "buy",
        "timestamp": "2021-01-01T00:00:00.001Z",
    }  # fmt: skip
    item = {
        "instId": name, "instType": "SWAP", "state": "live", "tickSz": "0.00001", "lotSz": "0.1", "ctVal": "1000",
        "ctMult": "1", "ctType": "linear", "uly": "DOGE-USDT", "settleCcy": "USDT", "expTime": "", "stk": "",
    }  # fmt: skip

    def decode_both() -> None:
        decode(push("trades", trade, name=name), 5, 6)
        old(encode({"table": "swap/trade", "data": [old_trade]}), 5, 6)

    decode_both()
    url = "https://www.okx.com/api/v5/public/instruments?instType=SWAP"
    body = encode({"code": "0", "msg": "", "data": [item]})
    assert decoder.respond(Response("public", "http", url, 200, body, 7, 8))
    decode_both()
    item["ctVal"] = "100"
    decode(encode({"arg": {"channel": "instruments", "instType": "SWAP"}, "data": [item]}), 9, 10)
    decode_both()
    assert [row[8] for row in rows.trades] == [None, None, 3000.0, 3000.0, 300.0, 300.0]
    assert rows.trades[1][1] == 1609459200001000
    assert [r[8] for r in rows.plain["market"]] == [1000.0, 100.0]
    assert len({row[0] for row in rows.trades}) == 1


# -- the other channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [V5_2021, V5_2022])
def test_tickers(played: dict[str, Replayed], recordings: Path, name: str) -> None:
    done = played[name]
    frames = [f for f in load(recordings / "crypto/okx" / name) if f["arg"]["channel"] == "tickers" and "data" in f]
    tickers = [t for f in frames for t in f["data"]]
    for row, t in zip(done.pick("ticker"), tickers, strict=True):
        assert done.rows.streams[row[0]].venue_symbol == t["instId"]
        assert row[1] == int(t["ts"]) * 1000
        names = ("last", "bidPx", "askPx", "open24h", "high24h", "low24h")
        assert [row[i] for i in (4, 6, 7, 8, 9, 10)] == [float(t[n]) if t[n] else None for n in names]
        is_spot = t["instType"] == "SPOT"
        assert row[11] == float(t["vol24h"] if is_spot else t["volCcy24h"])
        assert row[12] == (float(t["volCcy24h"]) if is_spot else None)


def test_quotes_and_pictures() -> None:
    rows, decode = start()
    data = {"asks": [["8476.98", "415", "0", "13"]], "bids": [], "ts": "1597026383085", "seqId": 12}
    decode(push("bbo-tbt", data), 5, 6)
    assert rows.quotes == [(0, 1597026383085000, 5, 6, None, None, 8476.98, 4.15, 12)]
    picture = {"asks": [["20", "10", "0", "1"]], "bids": [["10", "1", "0", "1"], ["5", "2", "0", "1"]], "ts": "1"}
    decode(push("books5", {**picture, "seqId": 13}, name="ETH-USD-SWAP"), 5, 6)
    assert rows.plain["book_snapshot"][0][1:] == (1000, 5, 6, 13, [10.0, 5.0], [1.0, 4.0], [20.0], [5.0])


def test_state_of_derivatives() -> None:
    rows, decode = start()
    decode(push("mark-price", {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "42310.6", "ts": "1"}), 5, 6)
    decode(push("open-interest", {"instId": "BTC-USDT-SWAP", "oi": "500", "oiCcy": "5.0", "ts": "2"}), 5, 7)
    assert [row[1:] for row in rows.plain["derivative"]] == [
        (1000, 5, 6, 42310.6, *(None,) * 13),
        (2000, 5, 7, None, None, None, 5.0, 500.0, *(None,) * 9),
    ]


def test_funding_is_told_when_it_changes() -> None:
    rows, decode = start()
    said = {
        "instId": "BTC-USDT-SWAP", "fundingRate": "0.0001", "nextFundingRate": "", "fundingTime": "1744588800000",
        "nextFundingTime": "1744603200000", "ts": "1744580000000", "settState": "processing",
        "settFundingRate": "0.5", "prevFundingTime": "1744560000000",
    }  # fmt: skip
    for rate, state in (("0.0001", "processing"), ("0.0001", "processing"), ("0.0002", "settled"), ("", "settled")):
        decode(push("funding-rate", {**said, "fundingRate": rate, "settState": state}), 5, 6)
    assert len(rows.plain["derivative"]) == 4
    assert rows.plain["derivative"][0][9:12] == (0.0001, None, 1744588800000000)
    assert [r[4:] for r in rows.plain["funding"]] == [
        (0.0001, 1744588800000000, 4.0, False),
        (0.0002, 1744588800000000, 4.0, False),
        (0.5, 1744560000000000, 8.0, True),
    ]
    msgspec.msgpack.encode(rows.memory)


def test_liquidations_come_by_type_and_name_the_order() -> None:
    rows, decode = start()
    forced = {"side": "sell", "posSide": "long", "bkPx": "25000", "bkLoss": "0", "sz": "2", "ts": "3", "ccy": ""}
    data = [
        {"instId": name, "instType": "SWAP", "details": [forced], "uly": name[:-5]}
        for name in ("BTC-USDT-SWAP", "BTC-USD-SWAP")
    ]
    decode(encode({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": data}), 5, 6)
    assert [(rows.streams[r[0]].symbol, *r[1:]) for r in rows.plain["liquidation"]] == [
        ("BTC-USDT-PERP", 3000, 5, 6, "sell", 25000.0, 0.02, 2.0, None),
        ("BTC-USD-PERP", 3000, 5, 6, "sell", 25000.0, 0.008, 2.0, None),
    ]


def test_candles_count_coins() -> None:
    rows, decode = start("business")
    bar = ["1747094040000", "102806.1", "102820.4", "102806.1", "102820.4", "1040.37", "10.4037", "1069603.34", "1"]
    decode(push("candle1m", bar), 5, 6)
    decode(push("candle1Dutc", [*bar[:5], "7", "8", "9", "0"], name="BTC-USDT"), 5, 7)
    decode(push("candle1H", bar[:7], name="BTC-USDT"), 5, 8)
    prices = (1747094040000000, 102806.1, 102820.4, 102806.1, 102820.4)
    assert [r[1:] for r in rows.plain["candle"]] == [
        (None, 5, 6, "1m", *prices, 10.4037, 1069603.34, None, None, True),
        (None, 5, 7, "1d", *prices, 7.0, 9.0, None, None, False),
        (None, 5, 8, "1h", *prices, 1040.37, None, None, None, None),
    ]
    with pytest.raises(DecodeError, match="bar of 7 or 9"):
        decode(push("candle1m", bar[:5]), 5, 6)


# -- control, order, bad input ------------------------------------------------------------------------------


def test_answers_are_control() -> None:
    rows, decode = start()
    trade = {"tradeId": "1", "px": "1", "sz": "1", "side": "buy", "ts": "1"}
    assert decode(push("trades", trade, name="BTC-USDT"), 5, 5)
    arg = '"arg":{"channel":"trades","instId":"BTC-USDT"}'
    assert not decode(f'{{"event":"subscribe",{arg},"connId":"a4d3ae55"}}'.encode(), 5, 6)
    assert not decode(f'{{{arg},"connId":"a4d3ae55","event":"unsubscribe"}}'.encode(), 5, 7)
    assert not decode(b"pong", 5, 8)
    assert not decode(b'{"event":"channel-conn-count","channel":"trades","connCount":"2","connId":"a"}', 5, 9)
    assert [a.offset for a in rows.acks] == [6, 7]
    assert "error" not in rows.plain
    assert not decode(b'{"event":"error","code":"60018","msg":"wrong URL or channel","connId":"a"}', 5, 10)
    assert not decode(b'{"event":"notice","code":"64008","msg":"upgrade soon","connId":"a"}', 5, 11)
    assert [r[6:8] for r in rows.plain["error"]] == [(60018, "wrong URL or channel"), (64008, "upgrade soon")]
    assert rows.wishes == [Reconnect("okx", "public", "line", "notice 64008: upgrade soon")]


def test_order_of_fields_and_spaces_do_not_matter() -> None:
    frame = {
        "arg": {"channel": "trades", "instId": "BTC-USDT"},
        "data": [{"tradeId": "1", "px": "1", "sz": "1", "side": "buy", "ts": "1"}],
    }
    rows, decode = start()
    for text in (encode(frame), json.dumps(frame).encode(), encode(dict(reversed(frame.items())))):
        for _ in range(2):
            assert decode(text, 5, 6)
    assert len(rows.trades) == 6
    assert len(set(rows.trades)) == 1


@pytest.mark.parametrize("feed", ["public", "public_v3"])
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x01",
        b"[]",
        b"{}",
        b"PONG",
        b'{"event":"surprise"}',
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"}}',
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"tradeId":"x"}]}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"reset","data":[]}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["1"]],"bids":[],"ts":"1"}]}',
        b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"last":"x"}]}',
        b'{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"markPx":"x","ts":"1"}]}',
        b'{"arg":{"channel":"weather","instId":"BTC-USDT"},"data":[]}',
        b'{"table":"spot/weather","data":[]}',
        b'{"table":"spot/depth","data":[]}',
        b'{"table":"spot/candle7s","data":[]}',
        b'{"table":"spot/trade","data":[{"instrument_id":"A-B","trade_id":"1","side":"buy","price":"1","timestamp":'
        b'"2021-01-01T00:00:00Z"}]}',
        b'{"table":"spot/ticker","data":[{"instrument_id":"A-B","timestamp":"2021-01-01T00:00:00Z"}]}',
        b'{"table":"spot/candle60s","data":[{"instrument_id":"A-B","candle":["2021-01-01T00:00:00Z"]}]}',
    ],
)
def test_a_wrong_shape_is_refused(feed: str, frame: bytes) -> None:
    rows, decode = start(feed)
    with pytest.raises((DecodeError, msgspec.DecodeError)):
        decode(frame, 5, 6)
    assert not rows.trades and not rows.books and not rows.quotes and not any(rows.plain.values())


# -- v3 -----------------------------------------------------------------------------------------------------


def test_inflating_has_a_limit() -> None:
    rows, decode = start("public_v3")
    assert not decode(deflate(b'{"event":"subscribe","channel":"spot/trade:BTC-USDT"}'), 5, 6)
    assert not decode(deflate(b"pong"), 5, 6)
    assert not decode(b"pong", 5, 6)
    assert not decode(deflate(b'{"event":"error","message":"no such channel","errorCode":30040}'), 5, 6)
    assert rows.plain["error"][0][6:8] == (30040, "no such channel")
    with pytest.raises(DecodeError, match="larger than 16 MiB"):
        decode(deflate(b" " * (16 * 1024 * 1024 + 1)), 5, 6)
    with pytest.raises(DecodeError, match="cut short"):
        decode(deflate(b'{"event":"subscribe","channel":"spot/trade:BTC-USDT"}')[:-3], 5, 6)
    with pytest.raises(DecodeError, match="neither JSON nor"):
        decode(b"\xff\xff\xff\xff", 5, 6)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for feed in ("public", "public_v3"):
        _, decode = start(feed)
        with suppress(DecodeError, msgspec.DecodeError):
            decode(data, 5, 6)


def test_v3_derivatives_have_open_interest(played: dict[str, Replayed], recordings: Path) -> None:
    done = played[V3]
    tickers = [
        (t["instrument_id"], float(t["open_interest"]), t)
        for f in load(recordings / "crypto/okx" / V3)
        if f.get("table", "").endswith("/ticker") and not f["table"].startswith("spot")
        for t in f["data"]
    ]
    rows = done.pick("derivative")
    assert [(done.rows.streams[r[0]].venue_symbol, r[8]) for r in rows] == [t[:2] for t in tickers]
    for row, (name, contracts, t) in zip(rows, tickers, strict=True):
        listed = done.rows.instruments[("okx", "all", name)]
        size = listed.contract_size / float(t["last"]) if listed.is_inverse else listed.contract_size
        assert row[7] == pytest.approx(contracts * size)


def test_an_independent_parser_agrees(recordings: Path) -> None:
    """Where it does not: it takes an option contract for a whole coin, a tenth in every listing of the time."""
    lines = (recordings / "crypto/_oracle/crypto_msg_parser_okx_v3.expected.jsonl").read_text().splitlines()
    compared = 0
    for case in map(json.loads, lines):
        rows, decode = start("public_v3")
        assert decode(case["raw"].encode(), 5, 6)
        want = case["expected"]
        factor = 0.1 if case["market_type"] == "EuropeanOption" else 1.0
        if case["kind"] == "trade":
            (row,) = rows.trades
            assert row[6] == want["trade.side"]
            assert row[8] == pytest.approx(want["trade.quantity_base"] * factor)
            assert row[9] == want["trade.quantity_contract"]
        elif case["kind"] == "funding_rate":
            (row,) = rows.plain["funding"]
            assert row[4:] == (
                want["funding_rates[0].funding_rate"],
                want["funding_rates[0].funding_time"] * 1000,
                8.0,
                False,
            )
            assert rows.plain["derivative"][0][10] == want["funding_rates[0].estimated_rate"]
        elif case["kind"] == "l2_topk":
            (row,) = rows.plain["book_snapshot"]
            for side, column in (("bids", 5), ("asks", 7)):
                assert len(row[column]) == want[f"orderbook.{side}.len()"]
                for i in (0, 4):
                    assert row[column][i] == want[f"orderbook.{side}[{i}].price"]
                    assert row[column + 1][i] == pytest.approx(want[f"orderbook.{side}[{i}].quantity_base"])
        elif case["kind"] == "l2_event":
            (row,) = rows.books
            assert row[1] == want["orderbook.timestamp"] * 1000
            for levels, side in ((row[9], "bids"), (row[10], "asks")):
                assert len(levels) == want[f"orderbook.{side}.len()"]
                if levels:
                    price, size = map(float, levels[0])
                    assert price == want[f"orderbook.{side}[0].price"]
                    unit = row[11] or Unit(1.0, False)
                    amount = size * unit.size / price if unit.is_inverse else size * unit.size
                    assert amount == pytest.approx(want[f"orderbook.{side}[0].quantity_base"] * factor)
        else:
            assert case["kind"] == "candlestick"
            assert rows.plain["candle"][0][4:11] == ("1m", 1643675400000000, *(0.050209,) * 4, 722.597549)
        compared += 1
    assert compared == 16


@pytest.mark.parametrize("exchange", ["okex", "okex-futures", "okex-swap", "okex-options"])
def test_an_independent_mapper_agrees(recordings: Path, exchange: str) -> None:
    """Where it does not: it counts contracts, and makes quotes of tickers, whose sizes we have no column for."""
    lines = (recordings / "crypto/_oracle/tardis_node_mappers.jsonl").read_text().splitlines()
    compared = 0
    for case in map(json.loads, lines):
        if case["exchange"] != exchange or "message" in case["raw"]:
            continue
        rows, decode = start("public_v3")
        assert decode(encode(case["raw"]), 5, 6)
        for want in case["normalized"]:
            at = round(msgspec.convert(want["timestamp"], datetime).timestamp() * 1_000_000)
            if want["type"] == "trade":
                (row,) = rows.trades
                assert (row[1], str(row[4]), row[6], row[7]) == (at, want["id"], want["side"], want["price"])
                assert (row[8] if row[9] is None else row[9]) == want["amount"]
            elif want["type"] == "book_change":
                (row,) = rows.books
                assert (row[1], row[5] == BOOK_SNAPSHOT) == (at, want["isSnapshot"])
                for levels, wanted in ((row[9], want["bids"]), (row[10], want["asks"])):
                    assert [tuple(map(float, level)) for level in levels] == [(w["price"], w["amount"]) for w in wanted]
            elif want["type"] == "book_ticker":
                (row,) = rows.plain["ticker"]
                assert (row[1], row[6], row[7]) == (at, want["bidPrice"], want["askPrice"])
            elif want["type"] == "derivative_ticker":
                if "derivative" not in rows.plain:  # a ticker without open interest
                    assert want["openInterest"] is None
                    assert rows.plain["ticker"][0][4] == want["lastPrice"]
                    continue
                (row,) = rows.plain["derivative"]
                # The mapper remembers the frames before: what the frame itself lacks is null here.
                names = ("markPrice", "lastPrice", "openInterest", "fundingRate", "predictedFundingRate")
                pairs = [(row[i], want[n]) for i, n in zip((4, 6, 8, 9, 10), names, strict=True) if row[i] is not None]
                assert pairs and all(got == wanted for got, wanted in pairs)
                assert row[1] in (None, at)
            else:
                (row,) = rows.plain["derivative"]
                names = ("markPrice", "delta", "gamma", "vega", "theta")
                got = [row[4], *row[13:17]]
                # It takes zero for nothing.
                assert [None if g == 0 else g for g in got] == [want[n] for n in names]
                assert row[12] == pytest.approx(want["markIV"] * 100)
            compared += 1
    assert compared >= {"okex": 6, "okex-futures": 12, "okex-swap": 4, "okex-options": 8}[exchange]


# -- HTTP ---------------------------------------------------------------------------------------------------


def test_listings_tell_every_instrument(recordings: Path) -> None:
    expected = {
        V3: [127, 104, 499, 232, 278, 176],
        V5_2021: [475, 135, 104, 214, 206],
        V5_2022: [513, 166, 104, 346, 350],
    }
    for name, counts in expected.items():
        bodies = {f.where: f.payload for f in read_frames(recordings / "crypto/okx" / name) if f.kind == "http"}
        listings = {url: VENUE.read_listing(url, body) for url, body in bodies.items()}
        assert sorted(map(len, listings.values())) == sorted(counts)
        for instruments in listings.values():
            for listed in instruments:
                named = VENUE.name_instrument("all", listed.venue_symbol)
                for key in ("symbol", "market_type", "base", "quote", "strike", "is_inverse"):
                    assert getattr(named, key) == getattr(listed, key), (listed.venue_symbol, key)
                assert named.contract_size in (None, listed.contract_size), listed.venue_symbol
                assert listed.is_listed and listed.price_step
                if name != V3:
                    assert named.expiry_us == listed.expiry_us
                    assert (named.settle or listed.settle) == listed.settle


def test_listings_of_later_years(recordings: Path) -> None:
    sizes = {}
    for f in read_frames(recordings / "crypto/okx/nautilus_fixtures.jsonl"):
        if f.where.startswith("http_get_instruments"):
            for listed in VENUE.read_listing("https://www.okx.com/api/v5/public/instruments", f.payload):
                sizes[listed.venue_symbol] = (listed.contract_size, listed.is_inverse)
    assert sizes["BTC-USD-241217-92000-C"] == (0.01, False)  # a tenth of what it was until 2022
    assert sizes["BTC-USD-SWAP"] == (100.0, True)
    assert sizes["BTC-USD"] == (None, False)
    with pytest.raises(DecodeError, match="code 50011"):
        VENUE.read_listing("https://www.okx.com/api/v5/public/instruments", b'{"code":"50011","msg":"slow","data":[]}')


def test_other_bodies(recordings: Path) -> None:
    root = "https://www.okx.com/api/v5"
    urls = {
        "http_get_candlesticks_full.json": f"{root}/market/candles?instId=BTC-USDT-SWAP&bar=1m",
        "http_get_candlesticks.json": f"{root}/market/history-candles?instId=BTC-USDT&bar=1H",
        "http_get_funding_rate_history.json": f"{root}/public/funding-rate-history?instId=BTC-USDT-SWAP",
        "http_get_trades.json": f"{root}/market/trades?instId=BTC-USDT",
    }
    fixtures = [f for f in read_frames(recordings / "crypto/okx/nautilus_fixtures.jsonl") if f.where in urls]
    full = [f._replace(where=urls[f.where]) for f in fixtures if f.where != "http_get_candlesticks.json"]
    done = replay_frames("okx", full)
    assert done.refused == []
    assert [(r[4], r[5], r[10], r[14]) for r in done.pick("candle")] == [
        ("1m", 1747093980000000, 71.6404, True), ("1m", 1747094040000000, 10.4037, True),
    ]  # fmt: skip
    assert [r[4:] for r in done.pick("funding")] == [
        (-0.00002, 1704038400000000, None, True), (0.00015, 1704067200000000, None, True),
    ]  # fmt: skip
    assert [r[4] for r in done.rows.trades] == [734864332, 734864333]


def test_errors_come_with_status_200() -> None:
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("okx", rows))
    url = "https://www.okx.com/api/v5/market/trades?instId=BTC-USDT"
    body = b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}'
    assert not decoder.respond(Response("public", "http", url, 200, body, 5, 6))
    assert rows.plain["error"][0][6:8] == (51001, "Instrument ID does not exist")


# -- names, topics, places ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symbol", "size"),
    [
        ("BTC-USDT", "BTC-USDT", None),
        ("BTC-USDT-SWAP", "BTC-USDT-PERP", 0.01),
        ("SHIB-USDT-SWAP", "SHIB-USDT-PERP", None),
        ("BTC-USDC-SWAP", "BTC-USDC-PERP", None),
        ("BTC-USD-SWAP", "BTC-USD-PERP", 100.0),
        ("UNI-USD-SWAP", "UNI-USD-PERP", 10.0),
        ("BTC-USD-220527", "BTC-USD-220527", 100.0),
        ("BTC-USDT-220527", "BTC-USDT-220527", 0.01),
        ("BTC-USD-210924-66000-C", "BTC-USD-210924-66000-C", 0.1),
        ("BTC-USD-260327-80000-C", "BTC-USD-260327-80000-C", None),
        ("EOS-USD-210625-8.00-C", "EOS-USD-210625-8.00-C", 100.0),
        ("BTC-USD-229999", "BTC-USD-229999", None),
        ("BTC-USD_UM-SWAP", "BTC-USD_UM-SWAP", None),
        ("BTC-USD_UM_XPERP-310404", "BTC-USD_UM_XPERP-310404", None),
        ("nonsense", "nonsense", None),
    ],
)
def test_names(name: str, symbol: str, size: float | None) -> None:
    instrument = VENUE.name_instrument("all", name)
    assert (instrument.symbol, instrument.venue_symbol, instrument.contract_size) == (symbol, name, size)


@pytest.mark.parametrize(
    ("url", "feed"),
    [
        ("wss://ws.okx.com:8443/ws/v5/public", "public"),
        ("wss://ws.okex.com:8443/ws/v5/public", "public"),
        ("wss://wseea.okx.com:8443/ws/v5/business", "business"),
        ("wss://real.okex.com:8443/ws/v3", "public_v3"),
        ("https://www.okx.com/api/v5/public/instruments?instType=SPOT", "public"),
        ("https://www.okex.com/api/option/v3/instruments/BTC-USD", "public_v3"),
        ("wss://ws.okx.com:8443/ws/v5/private", None),
    ],
)
def test_places(url: str, feed: str | None) -> None:
    assert VENUE.find_feed(url) == feed


def test_topics_become_arguments(recordings: Path) -> None:
    public, business, old = VENUE.feeds
    spot, swap = VENUE.name_instrument("all", "BTC-USDT"), VENUE.name_instrument("all", "UNI-USD-SWAP")
    option = VENUE.name_instrument("all", "BTC-USD-260327-80000-C")
    sent = [json.loads(f.payload) for f in read_frames(recordings / "crypto/okx" / V5_2022) if f.kind == "send"]
    for channel in ("trade", "book_change", "ticker"):
        for instrument in (spot, swap):
            message = json.loads(VENUE.subscribe(public, VENUE.list_topics(public, channel, instrument), 3))
            assert any(message["args"][0] in request["args"] for request in sent), channel
            assert message["op"] == "subscribe"
    assert VENUE.list_topics(public, "candle", spot) == ()
    assert VENUE.list_topics(business, "candle", spot) == ("candle1m:BTC-USDT",)
    assert VENUE.list_topics(old, "trade", spot) == ()
    assert VENUE.list_topics(public, "quote", spot) == ("bbo-tbt:BTC-USDT",)
    assert VENUE.list_topics(public, "book_snapshot", spot) == ("books5:BTC-USDT",)
    assert VENUE.list_topics(public, "derivative", spot) == ()
    assert VENUE.list_topics(public, "liquidation", spot) == ()
    assert VENUE.list_topics(public, "funding", option) == ()
    assert VENUE.list_topics(public, "derivative", option) == tuple(
        f"{channel}:BTC-USD-260327-80000-C" for channel in ("mark-price", "open-interest")
    )
    assert len(VENUE.list_topics(public, "derivative", swap)) == 3
    message = json.loads(VENUE.unsubscribe(public, VENUE.list_topics(public, "liquidation", swap), 4))
    assert message == {
        "id": "4",
        "op": "unsubscribe",
        "args": [{"channel": "liquidation-orders", "instType": "SWAP"}],
    }


def test_rules_and_feeds_fit_together() -> None:
    names = {feed.name for feed in VENUE.feeds}
    assert all(set(rule.feeds) <= names for rule in VENUE.continuity)
    assert {feed.name for feed in VENUE.feeds if feed.dates[1] is None} == {"public", "business"}
    assert {feed.market for feed in VENUE.feeds} == {listing.market for listing in VENUE.listings} == {"all"}


def test_an_unknown_feed_is_refused() -> None:
    with pytest.raises(DecodeError, match="feed 'moon' is not one of"):
        start("moon")
