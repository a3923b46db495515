"""Kraken's frames decode to the rows that the recordings prove."""

import json
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import Recorded, list_recordings, read_frames
from replayed import Replayed, replay_frames

from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, BookRow, Response, Rows, Scribe, Unit
from truetape.venues import load_venue

KRAKEN = load_venue("kraken")
SPOT, SPOT_V1, FUTURES = KRAKEN.feeds
USD = Unit(1.0, is_inverse=True)

SPOT_TAPE = "crypto/kraken/cryptofeed_kraken_20210417.jsonl.gz"
FUTURES_TAPE = "crypto/kraken/cryptofeed_kraken_futures_20210417.jsonl.gz"

UNSUPPORTED = {
    "/0/public/Assets": 116,
    "/0/public/Depth": 1,
    "/0/public/Ticker": 1,
    "/0/public/Trades": 1,
    "/derivatives/api/v3/tickers": 3,
    "/derivatives/api/v3/orderbook": 1,
    "bodies of REST order books, recorded without their URL": 3,
}
"""Answers in the recordings to requests that we never make; all else decodes."""


def guess_feed(payload: bytes) -> str:
    """Files of single frames mix the three generations."""
    if payload.startswith(b"[") or b'"event"' in payload:
        return "spot-v1"
    return "futures" if b'"feed"' in payload else "spot"


def play(*frames: Any, feed: str = "") -> Replayed:
    """Play frames of no recorded connection, each to its generation's feed."""
    encoded = [f if isinstance(f, bytes) else msgspec.json.encode(f) for f in frames]
    return play_frames((Recorded("text", feed or guess_feed(f), f, 1_000 + i) for i, f in enumerate(encoded)))


def play_frames(frames: Iterator[Recorded]) -> Replayed:
    urls = {feed.name: feed.url for feed in KRAKEN.feeds}
    opened = [Recorded("connect", name, url.encode(), 0) for name, url in urls.items()]
    return replay_frames("kraken", [*opened, *frames])


@cache
def play_file(path: Path) -> Replayed:
    frames = list(read_frames(path))
    if any(f.kind == "connect" for f in frames):
        return replay_frames("kraken", frames)
    return play_frames(f if f.kind == "http" else f._replace(where=guess_feed(f.payload)) for f in frames)


@cache
def list_messages(path: Path) -> list[Any]:
    return [json.loads(f.payload) for f in read_frames(path) if f.kind == "text"]


def fixture(recordings: Path, name: str) -> bytes:
    path = recordings / "crypto/kraken/nautilus_fixtures.jsonl"
    return next(f.payload for f in read_frames(path) if f.where == name)


# -- every recording ------------------------------------------------------------------------------------------


def test_every_recording_decodes(recordings: Path) -> None:
    refused: Counter[str] = Counter()
    for path in list_recordings(recordings / "crypto", "kraken"):
        for reason, where in play_file(path).refused:
            if where.startswith("http"):
                refused["/" + where.split("/", 3)[3].partition("?")[0]] += 1
            else:
                assert '"result":' in where and ('"bids"' in where), reason
                refused["bodies of REST order books, recorded without their URL"] += 1
    assert refused == UNSUPPORTED


def test_the_past_of_futures_bears_the_ids_of_the_stream(recordings: Path) -> None:
    path = recordings / "crypto/kraken/cryptoexchange_vcr_futures_rest.jsonl.gz"
    (told,) = [json.loads(f.payload)["history"] for f in read_frames(path) if "/v3/history" in f.where]
    rows = [row for row in play_file(path).rows.trades if row[5] is not None]
    assert [row[5] for row in rows] == [fill["uid"] for fill in reversed(told)]
    assert [row[9] for row in rows] == [fill["size"] for fill in reversed(told)]  # US dollars
    assert len(rows) == 100


def test_spot_v1_rows_are_as_many_as_plain_json_counts(recordings: Path) -> None:
    messages = list_messages(recordings / SPOT_TAPE)
    names = Counter(m[-2] for m in messages if isinstance(m, list))
    played = play_file(recordings / SPOT_TAPE)
    assert played.count("book_change") == names["book-1000"] == 4279
    assert played.count("ticker") == names["ticker"] == 18
    assert played.count("trade") == sum(len(m[1]) for m in messages if isinstance(m, list) and m[-2] == "trade")
    events = Counter(m["event"] for m in messages if isinstance(m, dict))
    assert played.control == sum(events.values())
    assert len(played.rows.acks) == events["subscriptionStatus"] == 30
    kinds = Counter(row[5] for row in played.pick("book_change"))
    assert kinds == {BOOK_SNAPSHOT: 10, BOOK_DIFF: 4269}


def test_spot_v1_levels_keep_the_venues_digits(recordings: Path) -> None:
    said = [m for m in list_messages(recordings / SPOT_TAPE) if isinstance(m, list) and m[-2] == "book-1000"]
    for row, message in zip(play_file(recordings / SPOT_TAPE).pick("book_change"), said, strict=True):
        sides = {key: value for part in message[1:-2] for key, value in part.items()}
        bids, asks = sides.get("b", sides.get("bs", [])), sides.get("a", sides.get("as", []))
        assert row[9] == [tuple(level[:2]) for level in bids]
        assert row[10] == [tuple(level[:2]) for level in asks]
        assert row[12] == (int(sides["c"]) if "c" in sides else None)
        times = [level[2] for level in bids + asks]
        assert row[1] == int(max(times).replace(".", ""))


# -- checksums ------------------------------------------------------------------------------------------------


class Book:
    """A plain book that is cut as the venue cuts it."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: tuple[dict[float, tuple[str, str]], ...] = ({}, {})
        self.prices: tuple[list[float], ...] = ([], [])

    def apply(self, row: BookRow) -> None:
        for side, prices, levels, is_bid in zip(self.sides, self.prices, row[9:11], (True, False), strict=True):
            if row[5] == BOOK_SNAPSHOT:
                side.clear()
                prices.clear()
            for level in levels:
                price = float(level[0])
                if price in side:
                    prices.remove(price)
                    del side[price]
                if float(level[1]):
                    insort(prices, price)
                    side[price] = level
            while len(prices) > self.depth:
                del side[prices.pop(0 if is_bid else -1)]

    def best(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids, asks = self.sides
        return [bids[p] for p in self.prices[0][:-11:-1]], [asks[p] for p in self.prices[1][:10]]


def test_all_recorded_checksums_reproduce(recordings: Path) -> None:
    assert KRAKEN.proof is not None
    played = play_file(recordings / SPOT_TAPE)
    books: dict[int, Book] = {}
    proved = 0
    for row in played.pick("book_change"):
        depth = played.rows.find_depth(row[0])
        assert depth == KRAKEN.depth_max == 1000
        book = books.setdefault(row[0], Book(depth))
        book.apply(row)
        if row[12] is not None:
            symbol = played.rows.streams[row[0]].venue_symbol
            assert KRAKEN.proof.prove(*book.best(), KRAKEN.name_instrument("spot-v1", symbol)) == row[12]
            proved += 1
        bids, asks = book.prices
        assert not bids or not asks or bids[-1] < asks[0]
    assert proved == 4269


V2_BIDS = [
    ("45283.5", "0.10000000"), ("45283.4", "1.54582015"), ("45282.1", "0.10000000"), ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"), ("45279.0", "0.07990000"), ("45277.6", "0.03310103"), ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"), ("45276.6", "0.15445238"),
]  # fmt: skip
V2_ASKS = [
    ("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109"), ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"), ("45291.8", "1.54553491"), ("45294.7", "0.04454749"), ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"), ("45299.5", "0.18772827"),
]  # fmt: skip
V2_CHECKSUM = 3310070434
"""The book that the venue's guide to the checksum of v2 works through."""


def write_v2(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]], kind: str = "snapshot", space: str = ""
) -> bytes:
    def write(levels: list[tuple[str, str]]) -> str:
        return ",".join(f'{{"price":{space}{price},{space}"qty":{space}{size}}}' for price, size in levels)

    data = f'"symbol":"BTC/USD","bids":[{write(bids)}],"asks":[{write(asks)}],"checksum":{V2_CHECKSUM}'
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{{data},"timestamp":"2023-10-06T17:35:55.440295Z"}}]}}'.encode()
    )


@pytest.mark.parametrize("space", ["", " "])
def test_the_checksum_of_v2_reproduces_from_the_frame(space: str) -> None:
    assert KRAKEN.proof is not None
    played = play(write_v2(V2_BIDS, V2_ASKS, space=space))
    row = played.pick("book_change")[0]
    assert row[9:11] == (V2_BIDS, V2_ASKS)
    assert row[1] == 1696613755440295
    assert KRAKEN.proof.prove(row[9], row[10], KRAKEN.name_instrument("spot", "BTC/USD")) == row[12] == V2_CHECKSUM


def test_digits_that_v2_leaves_out_are_filled_up_from_the_listing() -> None:
    assert KRAKEN.proof is not None
    short = [[(str(float(p)), f"{float(q):.8f}".rstrip("0")) for p, q in side] for side in (V2_BIDS, V2_ASKS)]
    named = KRAKEN.name_instrument("spot", "BTC/USD")
    listed = msgspec.structs.replace(named, price_decimals=1, amount_decimals=8)
    assert KRAKEN.proof.prove(short[0], short[1], listed) == V2_CHECKSUM
    assert KRAKEN.proof.prove(short[0], short[1], named) != V2_CHECKSUM
    assert KRAKEN.proof.prove(V2_BIDS, V2_ASKS, listed) == V2_CHECKSUM
    whole = [("45283", "1"), *V2_BIDS[1:]]
    digits = [("45283.0", "1.00000000"), *V2_BIDS[1:]]
    assert KRAKEN.proof.prove(whole, V2_ASKS, listed) == KRAKEN.proof.prove(digits, V2_ASKS, named)


def test_numbers_of_unusual_shape_decode_as_well() -> None:
    levels = [("1e-8", "2.5E+3"), ("45283.40", "0")]
    plain = [("0.00000001", "2500"), ("45283.40", "0")]
    assert play(write_v2(levels, [], "update")).pick("book_change")[0][9:11] == (plain, [])
    ((reason, _),) = play(write_v2([("45283.4", '"one"')], [], "update")).refused
    assert reason == '"one" is not a number - at `$.data[...]`'


# -- spot v1 --------------------------------------------------------------------------------------------------


def test_v1_frames_of_five_elements_and_of_2019() -> None:
    both = b'[741,{"a":[["413.9","27.7","1561939258.527125"]]},{"b":[["400.0","3.3","1561939258.526326","r"]],"c":"7"},"book-10","BCH/USD"]'
    old = b'[923,{"as":[["0.102987","3.0","1561939199.992830"]],"bs":[]},null,"book-25","ADA/CAD"]'
    played = play(both, old)
    first, second = played.pick("book_change")
    assert first[5:] == (BOOK_DIFF, None, None, None, [("400.0", "3.3")], [("413.9", "27.7")], None, 7)
    assert second[5:] == (BOOK_SNAPSHOT, None, None, None, [], [("0.102987", "3.0")], None, None)
    assert [s.venue_symbol for s in played.rows.streams] == ["BCH/USD", "ADA/CAD"]
    assert [played.rows.find_depth(row[0]) for row in (first, second)] == [10, 25]


def test_v1_quotes_and_candles(recordings: Path) -> None:
    played = play(
        b'[341,["31760.00000","31760.10000","1654031976.197239","0.02167307","6.46761464"],"spread","XBT/USD"]',
        b'[545,["0.000000000","0.000000000","0.000000","0.00000000","0.00000000"],"spread","LINK/ETH"]',
        b'[343,["1675209613.118218","1675209660.000000","1.0","4.0","0.5","2.0","1.5","0.39",7],"ohlc-1","XBT/USD"]',
    )
    quote, empty = played.pick("quote")
    assert quote[1:2] + quote[4:] == (1654031976197239, 31760.0, 0.02167307, 31760.1, 6.46761464, None)
    assert empty[1:2] + empty[4:] == (None, None, None, None, None, None)
    bar = played.pick("candle")[0]
    assert bar[1] == 1675209613118218
    assert bar[4:] == ("1m", 1675209600000000, 1.0, 4.0, 0.5, 2.0, 0.39, None, None, 7, None)


def test_v1_ticker_takes_the_24_hours(recordings: Path) -> None:
    said = [m for m in list_messages(recordings / SPOT_TAPE) if isinstance(m, list) and m[-2] == "ticker"]
    for row, (_, data, _, _) in zip(play_file(recordings / SPOT_TAPE).pick("ticker"), said, strict=True):
        expected = [data["c"][0], data["c"][1], data["b"][0], data["a"][0], data["o"][1], data["h"][1], data["l"][1]]
        assert list(row[4:12]) == [float(text) for text in [*expected, data["v"][1]]]


def test_a_connection_id_above_int64_is_no_obstacle() -> None:
    v1 = b'{"connectionID":18239578009413566319,"event":"systemStatus","status":"online","version":"1.8.3"}'
    v2 = b'{"channel":"status","type":"update","data":[{"connection_id":13935949241502919679,"system":"online"}]}'
    assert play(v1, v2).control == 2


def test_v1_refusals_are_recorded() -> None:
    refused = b'{"errorMessage":"Currency pair not supported FOO/BAR","event":"subscriptionStatus","status":"error"}'
    played = play(refused, b'{"event":"pong"}', b'{"event":"heartbeat"}')
    assert [row[7] for row in played.pick("error")] == ["Currency pair not supported FOO/BAR"]
    assert (played.control, len(played.rows.acks)) == (3, 1)


# -- spot v2 --------------------------------------------------------------------------------------------------


def test_v2_trades_come_in_order_of_their_ids(recordings: Path) -> None:
    frame = json.loads(fixture(recordings, "ws_trade_update.json"))
    trades = frame["data"]
    rows = play({**frame, "type": "snapshot", "data": trades[::-1]}).pick("trade")
    assert [row[4] for row in rows] == [t["trade_id"] for t in trades]
    assert [row[6:9] for row in rows] == [(t["side"], t["price"], t["qty"]) for t in trades]
    assert rows[0][1] == 1696613755440295


def test_v2_ticker_is_quote_and_ticker(recordings: Path) -> None:
    frame = json.loads(fixture(recordings, "ws_ticker_snapshot.json"))
    played = play(frame)
    assert played.pick("quote")[0][4:] == (105944.2, 2.5, 105944.3, 3.2, None)
    own = (105899.4, None, 105944.2, 105944.3, None, 106613.1, 104711.0, 163.28908096, None)
    assert played.pick("ticker")[0][4:] == own
    nothing = {"symbol": "ANETx/USD", "bid": 0, "bid_qty": 0, "ask": 0, "ask_qty": 0}
    played = play({**frame, "data": [{**nothing, "timestamp": "1970-01-01T00:00:00.000000Z"}]})
    quote = played.pick("quote")[0]
    assert (quote[1], *quote[4:8]) == (None, None, None, None, None)


def test_v2_candles(recordings: Path) -> None:
    frame = json.loads(fixture(recordings, "ws_ohlc_update.json"))
    bar = play(frame).pick("candle")[0]
    open_us = int(datetime(2023, 10, 4, 16, 25, tzinfo=UTC).timestamp()) * 1_000_000
    own = ("1m", open_us, 106038.2, 106044.3, 106038.1, 106040.1, 30927.68066226, None, None, 12, None)
    assert bar[4:] == own
    frame["data"][0]["interval"] = 7
    assert play(frame).refused[0][0] == "interval of 7 minutes is not known - at `$.data[...].interval`"


def test_v2_confirmations_tell_the_depth(recordings: Path) -> None:
    said = {"method": "subscribe", "result": {"channel": "book", "symbol": "BTC/USD", "depth": 25}, "success": True}
    played = play(
        said, fixture(recordings, "ws_subscribe_response.json"), fixture(recordings, "ws_pong.json"), b'{"channel":"heartbeat"}',
        {"method": "subscribe", "error": "Currency pair not supported FOO/BAR", "success": False},
        {"method": "subscribe", "success": False},
    )  # fmt: skip
    assert (played.control, len(played.rows.acks)) == (6, 3)
    stream = next(s for s in played.rows.streams if s.channel == "book_change")
    assert (stream.symbol, played.rows.find_depth(stream.index)) == ("BTC-USD", 25)
    errors = [row[7] for row in played.pick("error")]
    assert errors == ["Currency pair not supported FOO/BAR", "refused without a reason"]


def test_v2_pairs_of_the_instrument_channel_are_learned() -> None:
    pair = {
        "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "status": "online", "price_precision": 1,
        "qty_precision": 8, "price_increment": 0.1, "qty_increment": 1e-8,
    }  # fmt: skip
    frame = {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": [pair]}}
    played = play(frame, frame)
    assert played.count("market") == 1
    found = played.rows.instruments["kraken", "spot", "BTC/USD"]
    assert (found.price_decimals, found.amount_decimals, found.price_step, found.is_listed) == (1, 8, 0.1, True)


def test_v2_white_space_and_order_do_not_matter(recordings: Path) -> None:
    names = ("ws_trade_update", "ws_ticker_snapshot", "ws_ohlc_update", "ws_book_update")
    frames = [json.loads(fixture(recordings, f"{name}.json")) for name in names]
    ours = play(*(msgspec.json.encode(f) for f in frames))
    theirs = play(*(json.dumps(dict(reversed(f.items())), indent=1).encode() for f in frames))
    assert (ours.rows.trades, ours.rows.books, ours.rows.quotes) == (
        theirs.rows.trades, theirs.rows.books, theirs.rows.quotes,
    )  # fmt: skip
    assert ours.rows.plain == theirs.rows.plain


# -- futures --------------------------------------------------------------------------------------------------


def test_futures_rows_are_as_many_as_plain_json_counts(recordings: Path) -> None:
    messages = [m for m in list_messages(recordings / FUTURES_TAPE) if "event" not in m]
    feeds = Counter(m["feed"] for m in messages)
    played = play_file(recordings / FUTURES_TAPE)
    assert played.count("book_change") == feeds["book"] + feeds["book_snapshot"] == 6538
    assert played.count("ticker") == feeds["ticker_lite"] == 541
    assert played.count("trade") == feeds["trade"] + sum(len(m.get("trades", [])) for m in messages) == 1003
    assert (played.control, len(played.rows.acks), played.refused) == (31, 30, [])
    assert {row[11] for row in played.pick("book_change")} == {USD}


def test_futures_numbers_step_by_one(recordings: Path) -> None:
    played = play_file(recordings / FUTURES_TAPE)
    for rows in played.group("book_change").values():
        assert rows[0][5] == BOOK_SNAPSHOT
        assert all(row[6] == row[7] == before[7] + 1 for before, row in pairwise(rows))
    for rows in played.group("trade").values():
        assert all(row[4] == before[4] + 1 for before, row in pairwise(rows))


def test_futures_changes_are_the_venues(recordings: Path) -> None:
    said = [m for m in list_messages(recordings / FUTURES_TAPE) if m.get("feed") == "book" and "event" not in m]
    rows = [row for row in play_file(recordings / FUTURES_TAPE).pick("book_change") if row[5] == BOOK_DIFF]
    for row, message in zip(rows, said, strict=True):
        level = [(message["price"], message["qty"])]
        assert row[9:11] == ((level, []) if message["side"] == "buy" else ([], level))
        assert row[1] == message["timestamp"] * 1000


TRADE = {
    "feed": "trade", "product_id": "PI_XBTUSD", "uid": "05af78ac", "side": "sell", "type": "fill", "seq": 653355,
    "time": 1612266317519, "qty": 15000, "price": 34969.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("product", "amount", "contracts"),
    [
        ("PI_XBTUSD", 15000 / 34969.5, 15000.0),
        ("FI_XBTUSD_260327", 15000 / 34969.5, 15000.0),
        ("PF_XBTUSD", 15000.0, None),
        ("PV_XRPXBT", 15000.0, None),
    ],
)
def test_what_a_futures_size_counts(product: str, amount: float, contracts: float | None) -> None:
    row = play({**TRADE, "product_id": product}).pick("trade")[0]
    assert row[4:] == (653355, "05af78ac", "sell", 34969.5, amount, contracts, None)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_futures_liquidation_is_the_takers(side: str) -> None:
    played = play({**TRADE, "type": "liquidation", "side": side}, {**TRADE, "type": "block"})
    assert [row[10] for row in played.pick("trade")] == ["liquidation", "block"]
    assert [row[4:] for row in played.pick("liquidation")] == [(side, 34969.5, 15000 / 34969.5, 15000.0, "liquidation")]


def test_a_listing_that_comes_later_changes_sizes() -> None:
    rows = Rows()
    decoder = KRAKEN.make_decoder(Scribe("kraken", rows))
    take = decoder.open("futures", "c")
    frame = msgspec.json.encode({**TRADE, "product_id": "PF_XBTUSD"})
    contract = {
        "symbol": "PF_XBTUSD",
        "type": "flexible_futures",
        "tradeable": True,
        "tickSize": 1,
        "contractSize": 0.01,
    }
    body = msgspec.json.encode({"result": "success", "instruments": [contract]})
    answer = Response("futures", "http", KRAKEN.listings[1].url, 200, body, 2, 2)
    take(frame, 1, 1)
    assert decoder.respond(answer)
    take(frame, 3, 3)
    decoder.respond(answer)
    take(frame, 4, 4)
    assert [row[8:10] for row in rows.trades] == [(15000.0, None), (150.0, 15000.0), (150.0, 15000.0)]
    assert len(rows.plain["market"]) == 1


def test_futures_ticker_is_quote_ticker_state_and_funding(recordings: Path) -> None:
    ticker = fixture(recordings, "ws_futures_ticker.json")
    played = play(ticker, ticker)
    assert played.pick("quote")[0][4:] == (21978.5, 2536 / 21978.5, 21987.0, 13948 / 21987, None)
    own = (21983.5, None, 21978.5, 21987.0, 21968.5, 22123.0, 21456.0, None, 31403908.0)
    assert played.pick("ticker")[0][4:] == own
    mark = 21979.68641534714
    rates = (-1.380384722222e-6, -8.047629166667e-6, 1676394000000000)
    state = (mark, 21984.54, 21983.5, 30072580 / mark, 30072580.0, *rates, *[None] * 6)
    assert played.pick("derivative")[0][4:] == state
    assert [row[4:] for row in played.pick("funding")] == [(rates[0], rates[2], None, False)], "said once, not twice"
    linear = json.loads(ticker) | {"product_id": "PF_XBTUSD", "volumeQuote": 5.0}
    played = play(linear)
    assert played.pick("ticker")[0][11:] == (31403908.0, 5.0)
    assert played.pick("derivative")[0][7:9] == (30072580.0, None)


def test_futures_refusals_are_recorded() -> None:
    played = play(
        {"event": "error", "message": "Invalid product id"}, {"event": "subscribed_failed", "feed": "book"},
        {"event": "alert", "message": "Bad websocket message"}, {"event": "unsubscribed", "feed": "book"},
        {"event": "info", "version": 1}, {"feed": "heartbeat", "time": 1},
        feed="futures",
    )  # fmt: skip
    errors = [row[7] for row in played.pick("error")]
    assert errors == ["error: Invalid product id", "subscribed_failed: book", "alert: Bad websocket message"]
    assert (played.control, len(played.rows.acks)) == (6, 1)


def test_futures_order_of_fields_does_not_matter(recordings: Path) -> None:
    messages = [m for m in list_messages(recordings / FUTURES_TAPE) if "event" not in m][:800]
    ours = play(*(msgspec.json.encode(m) for m in messages), feed="futures")
    theirs = play(*(json.dumps(dict(reversed(m.items())), indent=1).encode() for m in messages), feed="futures")
    assert (ours.rows.trades, ours.rows.books, ours.rows.plain) == (
        theirs.rows.trades, theirs.rows.books, theirs.rows.plain,
    )  # fmt: skip


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "frame"),
    [
        ("spot", b"pong"),
        ("spot", b'{"channel":"level3","type":"update","data":[]}'),
        ("spot", b'{"method":"surprise","success":true}'),
        ("spot", b'{"channel":"book","type":"other","data":[]}'),
        ("spot", b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":1}],"asks":[]}]}'),
        ("spot", b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"}]}'),
        ("spot-v1", b"[]"),
        ("spot-v1", b"[1,2,3,4,5,6]"),
        ("spot-v1", b'[1,{},"book","XBT/USD"]'),
        ("spot-v1", b'[1,{},"book-ten","XBT/USD"]'),
        ("spot-v1", b'[1,{},"ohlc-7","XBT/USD"]'),
        ("spot-v1", b'[1,[["1","1","1.0","x","l",""]],"trade","XBT/USD"]'),
        ("spot-v1", b'{"event":"surprise"}'),
        ("futures", b'{"feed":"surprise"}'),
        ("futures", b'{"event":"surprise"}'),
        ("futures", b'{"feed":"book","product_id":"PI_XBTUSD","side":"hold","seq":1,"price":1,"qty":1}'),
        ("futures", b"\xff\xfe"),
    ],
)
def test_what_is_not_understood_is_refused_without_a_row(feed: str, frame: bytes) -> None:
    decoder = KRAKEN.make_decoder(Scribe("kraken", rows := Rows()))
    with pytest.raises((DecodeError, msgspec.DecodeError)):
        decoder.open(feed, "c")(frame, 0, 0)
    assert not rows.trades and not rows.books and not rows.quotes


# -- oracles --------------------------------------------------------------------------------------------------


def to_us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def read_oracle(recordings: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (recordings / "crypto/_oracle" / name).read_text().splitlines()]


def test_tardis_agrees(recordings: Path) -> None:
    cases = [
        c
        for c in read_oracle(recordings, "tardis_node_mappers.jsonl")
        if c["exchange"] in {"kraken", "cryptofacilities"}
    ]
    assert len(cases) == 28
    for case in cases:
        played = play(case["raw"])
        expected: dict[str, list[dict[str, Any]]] = {}
        for row in case["normalized"]:
            expected.setdefault(row["type"], []).append(row)
        compare_trades(played, expected, case)
        compare_books(played, expected)
        compare_states(played, expected)


def compare_trades(played: Replayed, expected: dict[str, list[dict[str, Any]]], case: dict[str, Any]) -> None:
    ours = [(t[6], t[7], t[8] if t[9] is None else t[9], t[1]) for t in played.pick("trade")]
    theirs = [(t["side"], t["price"], t["amount"], to_us(t["timestamp"])) for t in expected.get("trade", [])]
    if (
        isinstance(case["raw"], dict)
        and case["raw"].get("type") == "snapshot"
        and case["raw"].get("channel") == "trade"
    ):
        assert (len(ours), theirs) == (1, [])  # Tardis drops the last trades that a subscription begins with
    else:
        assert ours == theirs
    forced = [(row[4], row[5], row[7]) for row in played.pick("liquidation")]
    assert forced == [(t["side"], t["price"], t["amount"]) for t in expected.get("liquidation", [])]


def compare_books(played: Replayed, expected: dict[str, list[dict[str, Any]]]) -> None:
    for row, book in zip(played.pick("book_change"), expected.get("book_change", []), strict=True):
        levels = [[(float(price), float(size)) for price, size in side] for side in row[9:11]]
        assert levels == [[(level["price"], level["amount"]) for level in book[side]] for side in ("bids", "asks")]
        assert (row[5] == BOOK_SNAPSHOT) == book["isSnapshot"]
        if row[1] is not None:  # where the venue gives no time Tardis puts its own
            assert row[1] == to_us(book["timestamp"])
        symbol = played.rows.streams[row[0]].venue_symbol
        # A frame of 2019 with null in third place: Tardis reads the channel's name as the pair's.
        assert symbol == ("ADA/CAD" if book["symbol"] == "book-1000" else book["symbol"])


def compare_states(played: Replayed, expected: dict[str, list[dict[str, Any]]]) -> None:
    # Funding is left out: Tardis takes the absolute rate, in currency per contract.
    for state, theirs in zip(played.pick("derivative"), expected.get("derivative_ticker", []), strict=False):
        interest = state[8] if state[8] is not None else state[7]
        keys = ("markPrice", "indexPrice", "lastPrice", "openInterest")
        assert (*state[4:7], interest) == tuple(theirs[key] for key in keys)
        funding_at = theirs["fundingTimestamp"]
        assert state[11] == (to_us(funding_at) if funding_at else None)
    for quote, theirs in zip(played.pick("quote"), expected.get("book_ticker", []), strict=False):
        # Tardis keeps the zeros of an empty side.
        assert (quote[4] or 0, quote[6] or 0) == (theirs["bidPrice"], theirs["askPrice"])
        assert quote[1] == to_us(theirs["timestamp"])


def test_crypto_msg_parser_agrees(recordings: Path) -> None:
    checked = 0
    for case in read_oracle(recordings, "crypto_msg_parser_kraken.expected.jsonl"):
        expected = case["expected"]
        if not expected:
            continue
        played = play(case["raw"].encode())
        found = describe(played, case["kind"])
        for key, value in expected.items():
            if key in found:
                assert found[key] == (pytest.approx(value) if isinstance(value, float) else value), (case["test"], key)
                checked += 1
    assert checked == 126


def describe(played: Replayed, kind: str) -> dict[str, Any]:
    """Say in the oracle's words what we decoded."""
    found: dict[str, Any] = {}
    if kind == "trade":
        trades = played.pick("trade")
        last = trades[-1]  # the oracle keeps a snapshot's order, newest first
        found = {"trades.len()": len(trades), "trade.price": last[7], "trade.quantity_base": last[8]}
        found |= {"trade.side": last[6], "trade.timestamp": last[1] // 1000, "trade.quantity_contract": last[9]}
        found |= {"trade.quantity_quote": last[9]}
    elif kind == "l2_event":
        row = played.pick("book_change")[0]
        found = {"orderbook.timestamp": row[1] // 1000, "orderbook.seq_id": row[7]}
        for name, levels in (("bids", row[9]), ("asks", row[10])):
            found[f"orderbook.{name}.len()"] = len(levels)
            for i, (price, size) in enumerate((float(p), float(q)) for p, q in levels):
                base = size / price if row[11] else size
                found[f"orderbook.{name}[{i}].price"] = price
                found[f"orderbook.{name}[{i}].quantity_base"] = base
                found[f"orderbook.{name}[{i}].quantity_quote"] = base * price
                found[f"orderbook.{name}[{i}].quantity_contract"] = size
    elif kind == "bbo":
        row = played.pick("quote")[0]
        keys = ("bid_price", "bid_quantity_base", "ask_price", "ask_quantity_base")
        found = dict(zip((f"bbo_msg.{key}" for key in keys), row[4:8], strict=True)) | {
            "bbo_msg.timestamp": row[1] // 1000
        }
    elif kind == "candlestick":
        row = played.pick("candle")[0]
        keys = ("open", "high", "low", "close", "volume")
        found = dict(zip((f"candlestick_msg.{key}" for key in keys), row[6:11], strict=True))
        found |= {"candlestick_msg.begin_time": row[5] // 1_000_000, "candlestick_msg.timestamp": row[1] // 1000}
    return found


# -- instruments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "name", "symbol", "kind", "base", "quote", "settle", "is_inverse"),
    [
        ("spot", "BTC/USD", "BTC-USD", "spot", "BTC", "USD", None, False),
        ("spot-v1", "XBT/USD", "BTC-USD", "spot", "BTC", "USD", None, False),
        ("spot-v1", "XDG/XBT", "DOGE-BTC", "spot", "DOGE", "BTC", None, False),
        ("spot", "odd", "odd", "spot", None, None, None, False),
        ("futures", "PI_XBTUSD", "BTC-USD-PERP", "perpetual", "BTC", "USD", "BTC", True),
        ("futures", "pi_xbtusd", "BTC-USD-PERP", "perpetual", "BTC", "USD", "BTC", True),
        ("futures", "PF_XBTUSD", "BTC-USD-PERP-LINEAR", "perpetual", "BTC", "USD", "USD", False),
        ("futures", "PF_USDCUSD", "USDC-USD-PERP-LINEAR", "perpetual", "USDC", "USD", "USD", False),
        ("futures", "FI_ETHUSD_210625", "ETH-USD-210625", "future", "ETH", "USD", "ETH", True),
        ("futures", "FF_ETHUSD_260327", "ETH-USD-260327-LINEAR", "future", "ETH", "USD", "USD", False),
        ("futures", "PV_XRPXBT", "XRP-BTC-PERP", "perpetual", "XRP", "BTC", "BTC", False),
        ("futures", "in_xbtusd", "in_xbtusd", "index", None, None, None, False),
    ],
)
def test_names(
    market: str,
    name: str,
    symbol: str,
    kind: str,
    base: str | None,
    quote: str | None,
    settle: str | None,
    is_inverse: bool,
) -> None:
    found = KRAKEN.name_instrument(market, name)
    assert (found.symbol, found.market_type, found.base, found.quote) == (symbol, kind, base, quote)
    assert (found.settle, found.is_inverse, found.venue_symbol, found.market) == (settle, is_inverse, name, market)


@given(st.sampled_from(["spot", "spot-v1", "futures"]), st.text())
def test_any_name_makes_an_instrument(market: str, name: str) -> None:
    assert KRAKEN.name_instrument(market, name).venue_symbol == name


def test_pairs_are_listed_under_their_names_of_v2(recordings: Path) -> None:
    played = play_file(recordings / SPOT_TAPE)
    found = played.rows.instruments
    assert len(found) == played.count("market") == 304 - 11, "all but the dark pools"
    bitcoin = found["kraken", "spot", "BTC/USD"]
    assert (bitcoin.symbol, bitcoin.price_decimals, bitcoin.amount_decimals) == ("BTC-USD", 1, 8)
    assert (bitcoin.price_step, bitcoin.amount_step, bitcoin.is_listed) == (0.1, 1e-8, True)
    assert found["kraken", "spot", "DOGE/USD"].symbol == "DOGE-USD"
    assert not [key for key in found if "XBT" in key[2]]


def test_pairs_of_listings_without_names_are_joined(recordings: Path) -> None:
    played = play_file(recordings / "crypto/kraken/cryptoexchange_vcr_rest.jsonl.gz")
    found = {key[2] for key in played.rows.instruments}
    assert len(found) == 58 - 11
    assert {"BTC/EUR", "USDT/USD", "DASH/BTC", "DOGE/BTC", "ETH/CAD"} <= found


def test_new_listings_tell_tick_and_state(recordings: Path) -> None:
    url = KRAKEN.listings[0].url
    (pair,) = KRAKEN.read_listing(url, fixture(recordings, "http_asset_pairs.json"))
    assert (pair.venue_symbol, pair.symbol, pair.price_step, pair.status) == ("BTC/USDT", "BTC-USDT", 0.1, "online")
    (share,) = KRAKEN.read_listing(url, fixture(recordings, "http_asset_pairs_tokenized.json"))
    assert share.symbol == "AAPLx-USD"


def test_contracts_are_listed_without_indices(recordings: Path) -> None:
    played = play_file(recordings / FUTURES_TAPE)
    found = {key[2]: value for key, value in played.rows.instruments.items()}
    assert len(found) == 17 and all(name == name.upper() for name in found)
    assert all(i.is_inverse and i.contract_size == 1.0 for i in found.values())
    expiry = datetime(2021, 6, 25, 15, tzinfo=UTC)
    dated = found["FI_XBTUSD_210625"]
    assert (dated.symbol, dated.expiry_us) == ("BTC-USD-210625", int(expiry.timestamp()) * 1_000_000)
    old = play_file(recordings / "crypto/kraken/cryptoexchange_vcr_futures_rest.jsonl.gz").rows.instruments
    assert len(old) == 17
    assert not old["kraken", "futures", "PV_XRPXBT"].is_inverse


def test_linear_contracts_are_listed(recordings: Path) -> None:
    found = KRAKEN.read_listing(KRAKEN.listings[1].url, fixture(recordings, "http_futures_instruments.json"))
    by_name = {i.venue_symbol: i for i in found}
    assert (by_name["PI_XBTUSD"].is_inverse, by_name["PI_XBTUSD"].amount_step) == (True, 1.0)
    linear = by_name["PF_ETHUSD"]
    assert (linear.is_inverse, linear.symbol, linear.amount_step) == (False, "ETH-USD-PERP-LINEAR", 0.001)
    assert len({i.symbol for i in found}) == len(found), "an inverse and a linear contract never share a name"


def test_other_answers_are_refused() -> None:
    with pytest.raises(DecodeError, match="nothing is known of the answer to /0/public/Time"):
        KRAKEN.read_listing("https://api.kraken.com/0/public/Time", b"{}")
    with pytest.raises(msgspec.ValidationError):
        KRAKEN.read_listing(KRAKEN.listings[0].url, b'{"error":["EGeneral:Internal error"]}')


# -- subscriptions --------------------------------------------------------------------------------------------


def test_every_channel_of_every_feed_can_be_asked_for() -> None:
    names = {"spot": "BTC/USD", "spot-v1": "XBT/USD", "futures": "PI_XBTUSD"}
    for feed in KRAKEN.feeds:
        instrument = KRAKEN.name_instrument(feed.market, names[feed.name])
        for channel in feed.channels:
            (topic,) = KRAKEN.list_topics(feed, channel, instrument)
            message = KRAKEN.subscribe(feed, [topic], 7)
            assert names[feed.name].encode() in message
            assert len(message) <= feed.limits.message_bytes_max
            assert KRAKEN.unsubscribe(feed, [topic], 8).replace(b"unsubscribe", b"subscribe").count(b"subscribe") >= 1
        assert KRAKEN.list_topics(feed, "book_snapshot", instrument) == ()
        assert KRAKEN.group_topic(feed, topic), "one message holds one channel"
    dated = KRAKEN.name_instrument("futures", "FI_XBTUSD_260327")
    assert KRAKEN.list_topics(FUTURES, "funding", dated) == ()


def test_messages_are_the_documented_ones() -> None:
    assert json.loads(KRAKEN.subscribe(SPOT, ["book:BTC/USD"], 7)) == {
        "method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 1000}, "req_id": 7,
    }  # fmt: skip
    assert json.loads(KRAKEN.unsubscribe(SPOT, ["ticker:BTC/USD"], 8))["params"]["event_trigger"] == "bbo"
    assert json.loads(KRAKEN.subscribe(SPOT_V1, ["book:XBT/USD"], 7)) == {
        "event": "subscribe", "reqid": 7, "pair": ["XBT/USD"], "subscription": {"name": "book", "depth": 1000},
    }  # fmt: skip
    assert json.loads(KRAKEN.subscribe(FUTURES, ["ticker:PI_XBTUSD"], 7)) == {
        "event": "subscribe", "feed": "ticker", "product_ids": ["PI_XBTUSD"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "feed"),
    [
        ("wss://ws.kraken.com", "spot-v1"),
        ("wss://ws.kraken.com/", "spot-v1"),
        ("wss://ws.kraken.com/v2", "spot"),
        ("wss://futures.kraken.com/ws/v1", "futures"),
        ("wss://www.cryptofacilities.com/ws/v1", "futures"),
        ("https://api.kraken.com/0/public/AssetPairs", "spot"),
        ("https://www.cryptofacilities.com/derivatives/api/v3/instruments", "futures"),
        ("wss://stream.binance.com/ws", None),
    ],
)
def test_urls_find_their_feed(url: str, feed: str | None) -> None:
    assert KRAKEN.find_feed(url) == feed


def test_only_feeds_that_are_served_stay_open() -> None:
    assert [feed.name for feed in KRAKEN.feeds if feed.dates[1] is None] == ["spot", "futures"]
