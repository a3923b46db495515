"""Binance's and Binance US's frames decode to the rows that the recordings prove."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorded import Recorded, list_recordings, read_frames
from replayed import Replayed, replay, replay_frames

from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_FETCHED, Response, Rows, Scribe, Unit
from truetape.events.wish import Reconnect
from truetape.venues import load_venue

BINANCE = load_venue("binance")
US = load_venue("binance_us")

TAPES = (
    "binance/cryptofeed_binance_20210404.jsonl.gz",
    "binance/cryptofeed_binance_20210417.jsonl.gz",
    "binance/cryptofeed_binance_20210814.jsonl.gz",
    "binance/cryptofeed_binance_20211012.jsonl.gz",
    "binance/cryptofeed_binance_delivery_20210722.jsonl.gz",
    "binance/cryptofeed_binance_futures_20210417.jsonl.gz",
    "binance/cryptofeed_binance_futures_20210722.jsonl.gz",
    "binance/hftbacktest_coinm_btcusd_perp_20240808.gz",
    "binance/hftbacktest_coinm_btcusd_perp_20240809.gz",
    "binance/hftbacktest_coinm_ethusd_perp_20240808.gz",
    "binance/hftbacktest_coinm_ethusd_perp_20240809.gz",
    "binance/hftbacktest_spot_btcusdt_20230405.dat.gz",
    "binance/hftbacktest_spot_btcusdt_20240808.gz",
    "binance/hftbacktest_spot_btcusdt_20240809.gz",
    "binance/hftbacktest_usdm_btcusdt_20230404.dat.gz",
    "binance/hftbacktest_usdm_btcusdt_20230405.dat.gz",
    "binance/hftbacktest_usdm_btcusdt_20240718.gz",
    "binance/hftbacktest_usdm_btcusdt_20240719.gz",
    "binance/hftbacktest_usdm_btcusdt_20240808.gz",
    "binance/hftbacktest_usdm_ethusdt_20240808.gz",
    "binance_us/cryptofeed_binance_us_20210405.jsonl.gz",
    "binance_us/cryptofeed_binance_us_20210814.jsonl.gz",
    "binance_us/cryptofeed_binance_us_20211012.jsonl.gz",
)
"""Every recording of tier A."""

CHANNELS = {
    "trade": "trade",
    "aggTrade": "trade",
    "depthUpdate": "book_change",
    "bookTicker": "quote",
    "kline": "candle",
    "markPriceUpdate": "derivative",
}


def name_market(name: str) -> str:
    """Tell the feed by the file's name, where the recording has no addresses."""
    words = {"coinm": "coinm", "delivery": "coinm", "usdm": "usdm", "futures": "usdm"}
    return next((market for word, market in words.items() if word in name), "spot")


@pytest.fixture(scope="module")
def crypto(recordings: Path) -> Path:
    return recordings / "crypto"


@pytest.fixture(scope="module", params=TAPES, ids=lambda name: name.split("/")[1].split(".")[0])
def tape(request: pytest.FixtureRequest, crypto: Path) -> tuple[list[Recorded], Replayed]:
    path = crypto / request.param
    frames = list(read_frames(path))
    return frames, replay_frames(request.param.split("/")[0], frames, name_market(path.name))


def test_all_recordings_are_listed(crypto: Path) -> None:
    found = [p for venue in ("binance", "binance_us") for p in list_recordings(crypto, venue, "A")]
    assert {str(p.relative_to(crypto)) for p in found} == set(TAPES)


def test_every_frame_decodes(tape: tuple[list[Recorded], Replayed]) -> None:
    recorded, played = tape
    frames = [f for f in recorded if f.kind in {"text", "http"}]
    assert played.refused == []
    assert (played.data, played.control) == (len(frames), 0)


def test_rows_equal_an_independent_count(tape: tuple[list[Recorded], Replayed]) -> None:
    frames, played = tape
    expected: Counter[str] = Counter()
    levels = 0
    for frame in frames:
        if frame.kind == "connect":
            continue
        body = msgspec.json.decode(frame.payload)  # plain, without our structs
        if frame.kind == "http":
            expected["market" if "symbols" in body else "book_change"] += len(body.get("symbols", [0]))
            levels += len(body.get("bids", [])) + len(body.get("asks", []))
            continue
        data = body["data"]
        expected[CHANNELS[data.get("e", "bookTicker")]] += 1
        if data.get("e") == "depthUpdate":
            levels += len(data["b"]) + len(data["a"])
    for channel, count in expected.items():
        assert played.count(channel) == count, channel
    assert sum(len(row[9]) + len(row[10]) for row in played.rows.books) == levels


def test_trade_ids_prove_that_nothing_is_missing(tape: tuple[list[Recorded], Replayed]) -> None:
    _, played = tape
    for (market, symbol), rows in played.group("trade").items():
        numbers = [row[4] for row in rows]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), (market, symbol)


def test_book_ids_follow_the_declared_rule(tape: tuple[list[Recorded], Replayed]) -> None:
    _, played = tape
    for (market, symbol), rows in played.group("book_change").items():
        diffs = [row for row in rows if row[5] == BOOK_DIFF]
        for before, row in pairwise(diffs):
            follows = row[6] == before[7] + 1 if market == "spot" else row[8] == before[7]
            assert follows, (market, symbol, row[:9])


def test_snapshots_splice_into_the_changes(tape: tuple[list[Recorded], Replayed]) -> None:
    _, played = tape
    for (market, symbol), rows in played.group("book_change").items():
        for snapshot in (row[7] for row in rows if row[5] == BOOK_FETCHED):
            later = [
                r for r in rows if r[5] == BOOK_DIFF and (r[7] > snapshot if market == "spot" else r[7] >= snapshot)
            ]
            if not later:
                continue
            first, last, previous = later[0][6:9]
            joins = (
                first <= snapshot + 1 <= last if market == "spot" else first <= snapshot <= last or previous == snapshot
            )
            assert joins, (market, symbol, snapshot, later[0][:9])


def test_quote_sequences_only_grow(tape: tuple[list[Recorded], Replayed]) -> None:
    _, played = tape
    for key, rows in played.group("quote").items():
        numbers = [row[8] for row in rows]
        assert all(a < b for a, b in pairwise(numbers)), key


def test_candles_equal_the_trades_of_their_minute(crypto: Path) -> None:
    """Bars that began within the recording, as of their own event time. The few that differ were made within the
    millisecond of a trade."""
    played = replay("binance", crypto / TAPES[0])
    trades = played.group("trade")
    compared = equal = 0
    for (_, symbol), candles in played.group("candle").items():
        rows = trades["spot-aggregate", symbol]
        for candle in candles:
            made_at, open_at = candle[1], candle[5]
            if open_at < rows[0][1]:
                continue
            inside = [r for r in rows if open_at <= r[1] <= made_at and r[1] < open_at + 60_000_000]
            prices = [r[7] for r in inside]
            bought = sum(r[8] for r in inside if r[6] == "buy")
            bar = (prices[0], max(prices), min(prices), prices[-1], sum(r[8] for r in inside))
            compared += 1
            equal += (*bar, bought) == pytest.approx((*candle[6:11], candle[12]), rel=1e-9)
    assert (compared, equal) == (53, 47)


def test_the_book_agrees_with_the_quotes(crypto: Path) -> None:
    """Best bid and ask of the book, after each change, are those of the quote with the same id."""
    played = replay("binance", crypto / "binance/hftbacktest_usdm_btcusdt_20240718.gz", "usdm")
    quotes = {row[8]: row for row in played.rows.quotes}
    ((_, rows),) = played.group("book_change").items()
    snapshot = next(row for row in rows if row[5] == BOOK_FETCHED)
    bids, asks = dict(snapshot[9]), dict(snapshot[10])
    compared = 0
    for row in rows:
        if row[5] != BOOK_DIFF or row[7] < snapshot[7]:
            continue
        for side, changes in ((bids, row[9]), (asks, row[10])):
            for price, size in changes:
                side.pop(price, None)
                if size:
                    side[price] = size
        quote = quotes.get(row[7])
        if quote is not None:
            assert (max(bids), min(asks)) == (quote[4], quote[6])
            assert (bids[max(bids)], asks[min(asks)]) == (quote[5], quote[7])
            compared += 1
    assert compared > 100


# -- what does not decode, and why ------------------------------------------------------------------------

REFUSED = {
    "crypto_msg_parser_binance.jsonl": [
        # Streams of the options platform that closed in 2021.
        ("stream 'TRADE' of BTCUSDT_C has no rule", 1),
        ("stream 'TICKER' of BTCUSDT has no rule", 1),
        # REST bodies without their address among the frames: test_rest_bodies_among_the_frames plays them.
        ("message is of no known form", 9),
    ],
    "tardis_node_binance-delivery.jsonl": [
        # The index of a pair is no instrument's state.
        ("stream 'indexPrice' of BTCUSD has no rule", 1),
    ],
    "tardis_node_binance-european-options.jsonl": [
        # Binance's options are not recorded: neither of their two platforms.
        ("is an option: options of Binance have no rule", 6),
        ("stream 'optionTrade' of", 2),
        ("stream 'optionMarkPrice' of", 2),
        ("stream 'optionTicker' of", 1),
        ("stream 'optionOpenInterest' of", 1),
        ("stream 'depth100' of", 1),
        ("stream 'index' of", 2),
        ("Expected `object`, got `array`", 3),
    ],
    "gct_rest_mock.jsonl": [
        # The recorder lost the name of the field `m`, which became "".
        ("Object missing required field `m`", 4),
        # Endpoints nobody asks: averages, ratios, indices, the clock.
        ("endpoint '", 42),
    ],
}


@pytest.mark.parametrize("venue", ["binance", "binance_us"])
def test_single_frames_decode_or_are_refused_for_a_reason(crypto: Path, venue: str) -> None:
    seen = []
    for path in list_recordings(crypto, venue, "B"):
        frames = mark_markets(crypto) if "crypto_msg_parser" in path.name else None
        refused = []
        if frames is None:
            feeds = {"delivery": "coinm", "futures": "usdm", "options": "usdm-public"}
            feed = next((f for word, f in feeds.items() if word in path.name), "spot")
            refused = replay(venue, path, feed).refused
        else:
            for feed, frame in frames:
                refused += replay_frames(venue, [frame], feed).refused
        allowed = REFUSED.get(path.name, [])
        seen.append(path.name)
        for reason, count in allowed:
            assert sum(reason in text for text, _ in refused) == count, (path.name, reason, refused)
        assert len(refused) == sum(count for _, count in allowed), (path.name, refused)
    assert venue != "binance" or set(REFUSED) <= set(seen)


MARKET_OF = {
    "Spot": "spot",
    "LinearFuture": "usdm",
    "LinearSwap": "usdm",
    "InverseFuture": "coinm",
    "InverseSwap": "coinm",
}


def mark_markets(crypto: Path) -> Iterator[tuple[str, Recorded]]:
    for row in read_oracle(crypto):
        yield MARKET_OF[row["market_type"]], Recorded("text", "", row["raw"].encode(), 0)


def read_oracle(crypto: Path) -> Iterator[dict[str, Any]]:
    path = crypto / "_oracle/crypto_msg_parser_binance.expected.jsonl"
    yield from map(json.loads, path.read_text().splitlines())


# -- oracles ----------------------------------------------------------------------------------------------


def test_values_agree_with_the_oracle(crypto: Path) -> None:
    compared: Counter[str] = Counter()
    for row in read_oracle(crypto):
        expected = row["expected"]
        played = replay_frames("binance", [Recorded("text", "", row["raw"].encode(), 0)], MARKET_OF[row["market_type"]])
        for name, value in say_values(row["kind"], played).items():
            if name in expected:
                wanted = expected[name]
                assert value == (pytest.approx(wanted, rel=1e-12) if isinstance(wanted, float) else wanted), (name, row)
                compared[row["kind"]] += 1
    assert compared == {"trade": 13, "funding_rate": 18, "l2_event": 59, "l2_topk": 60, "bbo": 30, "candlestick": 45}


def say_values(kind: str, played: Replayed) -> dict[str, Any]:
    """Name our values as the oracle does. Not compared: its quantity_contract of linear contracts, which repeats the
    base amount (ours is null there), and timestamps of futures books and quotes, which are `E` (ours: `T`)."""
    said: dict[str, Any] = {}
    for trade in played.rows.trades:
        said |= {"trade.quantity_base": trade[8], "trade.side": trade[6], "trade.price": trade[7]}
        said |= {"trade.quantity_contract": trade[9]} if trade[9] is not None else {}
    for i, row in enumerate(played.pick("funding")):
        said |= {f"funding_rates[{i}].funding_rate": row[4], f"funding_rates[{i}].funding_time": row[5] // 1000}
        said |= {f"funding_rates[{i}].timestamp": row[1] // 1000}
    for book in played.rows.books:
        said |= {"orderbook.seq_id": book[7]}
        said |= {"orderbook.prev_seq_id": book[8]} if book[8] is not None else {}
        for side, levels in (("bids", book[9]), ("asks", book[10])):
            said[f"orderbook.{side}.len()"] = len(levels)
            for i, (price, size) in enumerate(levels):
                said[f"orderbook.{side}[{i}].price"] = price
                unit = book[11]
                said[f"orderbook.{side}[{i}].quantity_base"] = size * unit.size / price if unit else size
    for row in played.pick("book_snapshot"):
        said["orderbook.seq_id"] = row[4]
        for side, prices, amounts in (("bids", row[5], row[6]), ("asks", row[7], row[8])):
            said[f"orderbook.{side}.len()"] = len(prices)
            for i, (price, amount) in enumerate(zip(prices, amounts, strict=True)):
                said |= {f"orderbook.{side}[{i}].price": price, f"orderbook.{side}[{i}].quantity_base": amount}
    for row in played.rows.quotes:
        said |= {"bbo_msg.id": row[8], "bbo_msg.bid_price": row[4], "bbo_msg.ask_price": row[6]}
        said |= {"bbo_msg.bid_quantity_base": row[5], "bbo_msg.ask_quantity_base": row[7]}
        said["bbo_msg.symbol"] = played.rows.streams[row[0]].venue_symbol
    for row in played.pick("candle"):
        names = ("open", "high", "low", "close", "volume", "quote_volume")
        said |= {f"candlestick_msg.{name}": value for name, value in zip(names, row[6:12], strict=True)}
        said |= {"candlestick_msg.period": row[4], "candlestick_msg.begin_time": row[5] // 1_000_000}
        said["candlestick_msg.timestamp"] = row[1] // 1000
    return said


def test_values_agree_with_the_second_oracle(crypto: Path) -> None:
    """Exceptions: it keeps contracts as amounts (ours: base), the limit price of liquidations (ours: the average),
    push times of quotes and books (ours: matching time), and leaves out trades that are not MARKET (ours: flagged)."""
    compared: Counter[str] = Counter()
    for line in (crypto / "_oracle/tardis_node_mappers.jsonl").read_text().splitlines():
        row = json.loads(line)
        feed = {"binance": "spot", "binance-futures": "usdm", "binance-delivery": "coinm"}.get(row["exchange"])
        if feed is None:
            continue
        played = replay_frames("binance", [Recorded("text", "", json.dumps(row["raw"]).encode(), 0)], feed)
        for wanted in row["normalized"]:
            compared[wanted["type"]] += 1
            compare_normalized(wanted, played, feed)
    assert compared == {"trade": 5, "book_ticker": 3, "book_change": 9, "derivative_ticker": 8, "liquidation": 2}


def compare_normalized(wanted: dict[str, Any], played: Replayed, feed: str) -> None:
    is_inverse = feed == "coinm"
    if wanted["type"] == "trade":
        (row,) = played.rows.trades
        assert (row[7], row[6], str(row[4])) == (wanted["price"], wanted["side"], wanted["id"])
        assert row[9 if is_inverse else 8] == wanted["amount"]
    elif wanted["type"] == "book_ticker":
        (row,) = played.rows.quotes
        assert (row[4], row[6]) == (wanted["bidPrice"], wanted["askPrice"])
        if not is_inverse:
            assert (row[5], row[7]) == (wanted["bidAmount"], wanted["askAmount"])
    elif wanted["type"] == "liquidation":
        (row,) = played.pick("liquidation")
        assert (row[4], row[7] if is_inverse else row[6]) == (wanted["side"], wanted["amount"])
    elif wanted["type"] == "derivative_ticker" and played.count("derivative"):
        (row,) = played.pick("derivative")
        for value, name in ((row[4], "markPrice"), (row[5], "indexPrice"), (row[9], "fundingRate")):
            assert value is None or value == wanted[name], name
        if row[7] is not None or row[8] is not None:
            assert wanted["openInterest"] in {row[7], row[8]}
    elif wanted["type"] == "book_change":
        (row,) = played.rows.books
        for levels, name in ((row[9], "bids"), (row[10], "asks")):
            # The oracle merges buffered changes into snapshots: its other levels are not this frame's.
            ours = dict(levels)
            theirs = {level["price"]: level["amount"] for level in wanted[name]}
            assert ours.keys() <= theirs.keys() if wanted["isSnapshot"] else ours == theirs


# -- forms of frames --------------------------------------------------------------------------------------


def strip_offsets(played: Replayed) -> list[Any]:
    return [played.rows.trades, played.rows.books, played.rows.quotes, played.pick("candle"), played.pick("derivative")]


@pytest.mark.parametrize(
    "name",
    ["cryptofeed_binance_20210404.jsonl.gz", "hftbacktest_usdm_btcusdt_20230404.dat.gz",
     "hftbacktest_coinm_btcusd_perp_20240808.gz", "hftbacktest_spot_btcusdt_20240808.gz"],
)  # fmt: skip
def test_bare_and_respaced_frames_give_the_same_rows(crypto: Path, name: str) -> None:
    feed = name_market(name)
    frames = [f for f in read_frames(crypto / "binance" / name) if f.kind == "text"][:2000]
    frames = [f._replace(where="") for f in frames]
    wrapped = replay_frames("binance", frames, feed)
    assert wrapped.data == len(frames)
    bare = [f._replace(payload=json.dumps(json.loads(f.payload)["data"]).encode()) for f in frames]
    spaced = [f._replace(payload=json.dumps(json.loads(f.payload), indent=1).encode()) for f in frames]
    turned = [
        f._replace(payload=json.dumps({"data": (j := json.loads(f.payload))["data"], "stream": j["stream"]}).encode())
        for f in frames
    ]
    for other in (bare, spaced, turned):
        assert strip_offsets(replay_frames("binance", other, feed)) == strip_offsets(wrapped)


def play(payload: bytes | str, feed: str = "spot", received_ns: int = 5) -> Replayed:
    data = payload.encode() if isinstance(payload, str) else payload
    return replay_frames("binance", [Recorded("text", "", data, received_ns)], feed)


def test_answers_are_control() -> None:
    played = play('{"result":null,"id":7}')
    assert (played.control, len(played.rows.acks)) == (1, 1)
    refused = play('{"code":2,"msg":"Invalid request: unknown variant","id":1}')
    assert refused.control == 1
    assert refused.pick("error")[0][4:8] == ("file", "spot", 2, "Invalid request: unknown variant")
    other = play('{"error":{"code":3,"msg":"Invalid JSON"},"id":null}')
    assert other.pick("error")[0][6:8] == (3, "Invalid JSON")


@pytest.mark.parametrize("payload", [
    '{"e":"serverShutdown","E":1770123456789}',
    '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
])  # fmt: skip
def test_an_announced_shutdown_asks_for_another_connection(payload: str) -> None:
    played = play(payload)
    assert played.control == 1
    assert played.rows.wishes == [Reconnect("binance", "spot", "file", "venue announced a shutdown")]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("pong", "malformed"),
        ("", "truncated"),
        ("[1]", "Expected `object`, got `int`"),
        ('{"stream":"btcusdt@trade","data":{"e":"trade"}}', "missing required field `t` - at `$.data`"),
        ('{"stream":"btcusdt@trade","data":{"t":1,"p":"x","q":"1","T":1,"m":true}}', "at `$.data.p`"),
        ('{"stream":"btcusdt@avgPrice","data":{}}', "stream 'avgPrice' of BTCUSDT has no rule"),
        ('{"e":"executionReport"}', "event 'executionReport' has no rule"),
        ('{"e":"trade","t":1}', "names no instrument"),
        ("{}", "no known form"),
        (
            '{"stream":"btcusdt@trade","data":{"t":99999999999999999999,"p":"1","q":"1","T":1,"m":true}}',
            "at `$.data.t`",
        ),
        ('{"stream":"btcusdt@trade","data":{"t":1,"p":"NaN","q":"1","T":1,"m":true}}', "at `$.data.p`"),
    ],
)
def test_what_is_not_binance_is_refused_with_a_reason(payload: str, reason: str) -> None:
    played = play(payload)
    assert played.rows.trades == []
    assert reason in played.refused[0][0]


def test_microseconds_are_told_from_milliseconds() -> None:
    body = '{"stream":"btcusdt@trade","data":{"t":1,"p":"2","q":"3","T":%d,"m":false}}'
    assert play(body % 1723161256300).rows.trades[0][1] == 1723161256300000
    assert play(body % 1723161256300123).rows.trades[0][1] == 1723161256300123


# -- meaning ----------------------------------------------------------------------------------------------


def test_the_buyer_as_maker_means_the_aggressor_sold(crypto: Path) -> None:
    """Trades lie at the quote their side says, by the last quote before them."""
    played = replay("binance", crypto / "binance/hftbacktest_spot_btcusdt_20240808.gz", "spot")
    quotes = played.rows.quotes
    right = wrong = at = 0
    for trade in played.rows.trades:
        while at + 1 < len(quotes) and quotes[at + 1][3] < trade[3]:
            at += 1
        if quotes[at][3] > trade[3]:
            continue
        price = quotes[at][6 if trade[6] == "buy" else 4]
        right += trade[7] == price
        wrong += trade[7] == quotes[at][4 if trade[6] == "buy" else 6]
    assert right > 5 * wrong, (right, wrong)


def test_an_insurance_fund_trade_is_flagged_and_counted(crypto: Path) -> None:
    played = replay("binance", crypto / "binance/hftbacktest_usdm_btcusdt_20230405.dat.gz", "usdm")
    assert Counter(row[10] for row in played.rows.trades) == {None: 10737, "insurance": 1}


def test_funding_moves_on_after_its_instant(crypto: Path) -> None:
    played = replay("binance", crypto / "binance/hftbacktest_usdm_btcusdt_20230405.dat.gz", "usdm")
    midnight = 1680652800_000_000
    rows = [row[1:] for row in played.pick("funding")]
    instants = [row[4] for row in rows]
    assert set(instants) == {midnight, midnight + 8 * 3600_000_000}
    assert instants == sorted(instants)
    assert {row[5] for row in rows if row[4] > midnight} == {8.0}, "the interval was watched"
    assert not any(row[6] for row in rows), "rates of the stream are estimates until the venue's history has them"
    derivative = played.pick("derivative")
    assert {row[9] for row in derivative} == {row[4] for row in played.pick("funding")}


def test_contracts_of_coin_margined_futures_become_base_amounts(crypto: Path) -> None:
    for symbol, size in (("btcusd", 100.0), ("ethusd", 10.0)):
        played = replay("binance", crypto / f"binance/hftbacktest_coinm_{symbol}_perp_20240808.gz", "coinm")
        row = played.rows.trades[0]
        assert row[8] == row[9] * size / row[7]
        assert {book[11] for book in played.rows.books} == {Unit(size, True)}
        quote = played.rows.quotes[0]
        assert quote[5] * quote[4] / size == pytest.approx(round(quote[5] * quote[4] / size), abs=1e-6)


def test_a_listing_that_comes_later_changes_the_contract_size() -> None:
    rows = Rows()
    decoder = BINANCE.make_decoder(Scribe("binance", rows))
    on_message = decoder.open("coinm", "one")
    frame = b'{"stream":"xrpusd_perp@trade","data":{"e":"trade","t":%d,"p":"0.5","q":"3","T":1,"m":false,"X":"MARKET"}}'
    assert on_message(frame % 1, 1, 0)
    symbol = {"symbol": "XRPUSD_PERP", "baseAsset": "XRP", "quoteAsset": "USD", "contractSize": 20}
    body = json.dumps({"symbols": [symbol]}).encode()
    url = "https://dapi.binance.com/dapi/v1/exchangeInfo"
    assert decoder.respond(Response("coinm", "http", url, 200, body, 2, 1))
    assert on_message(frame % 2, 3, 2)
    assert [row[8] for row in rows.trades] == [60.0, 120.0]
    assert len({row[0] for row in rows.trades}) == 1, "the stream stays"


def test_forced_orders_of_both_markets_come_on_one_stream() -> None:
    order = '{"e":"forceOrder","E":2,"o":{"s":"%s","S":"SELL","q":"9","p":"10","ap":"20","X":"FILLED","z":"4","T":1}}'
    frames = [order % "BTCUSDT", order % "BTCUSD_PERP"]
    payload = f'{{"stream":"!forceOrder@arr","data":{frames[0]}}}'
    row = play(payload, "usdm-market").pick("liquidation")[0]
    assert row[1:2] + row[4:] == (1000, "sell", 20.0, 4.0, None, "FILLED")
    played = play(f"[{','.join(frames)}]", "usdm-market")
    assert played.pick("liquidation")[1][4:] == ("sell", 20.0, 20.0, 4.0, "FILLED")
    assert [played.rows.streams[r[0]].symbol for r in played.pick("liquidation")] == ["BTC-USDT-PERP", "BTC-USD-PERP"]


def test_an_empty_side_of_a_quote_is_null() -> None:
    body = '{"stream":"abcusdt@bookTicker","data":{"u":1,"s":"ABCUSDT","b":"0.000","B":"0.0","a":"2","A":"3"}}'
    assert play(body).rows.quotes[0][4:] == (None, None, 2.0, 3.0, 1)


def test_block_trades_have_a_stream_of_their_own() -> None:
    body = '{"e":"blockTrade","E":1,"s":"BTCUSDT","t":5,"p":"2","q":"3","T":1,"m":true}'
    played = play(body)
    assert played.rows.trades[0][10] == "block"
    assert played.rows.streams[0].market == "spot-block"


# -- REST -------------------------------------------------------------------------------------------------


def respond(url: str, body: Any, feed: str = "spot", received_ns: int = 0) -> Replayed:
    played = Replayed()
    decoder = BINANCE.make_decoder(Scribe("binance", played.rows))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    played.data += decoder.respond(Response(feed, "http", url, 200, raw, received_ns, 1))
    return played


def test_rest_bodies_among_the_frames(crypto: Path) -> None:
    """The nine bodies decode once their address says what they are."""
    paths = {"spot": "https://api.binance.com/api/v3", "usdm": "https://fapi.binance.com/fapi/v1",
             "coinm": "https://dapi.binance.com/dapi/v1"}  # fmt: skip
    books = interests = 0
    for row in read_oracle(crypto):
        body = json.loads(row["raw"])
        if "stream" in body:
            continue
        base = paths[MARKET_OF[row["market_type"]]]
        if "openInterest" in body:
            (state,) = respond(f"{base}/openInterest", row["raw"].encode()).pick("derivative")
            column = 8 if base == paths["coinm"] else 7
            assert state[column] == float(body["openInterest"])
            interests += 1
        else:
            (book,) = respond(f"{base}/depth?symbol=BTCUSDT", row["raw"].encode()).rows.books
            assert (book[5], book[7], len(book[9]), len(book[10])) == (BOOK_FETCHED, body["lastUpdateId"], 3, 3)
            books += 1
    assert (books, interests) == (5, 4)


def test_usdm_answers_go_where_the_day_says() -> None:
    url = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
    body = {"lastUpdateId": 5, "E": 2, "T": 1, "bids": [["1", "2"]], "asks": []}
    switch = 1776902400 * 10**9  # 2026-04-23
    for at, feed in ((switch - 1, "usdm"), (switch, "usdm-public")):
        assert respond(url, body, received_ns=at).rows.streams[0].feed == feed


def test_a_book_without_symbol_is_refused() -> None:
    with pytest.raises(DecodeError, match="neither answer nor address names a symbol"):
        respond("https://api.binance.com/api/v3/depth", {"lastUpdateId": 1, "bids": [], "asks": []})


def test_settled_funding_comes_from_the_history() -> None:
    url = "https://fapi.binance.com/fapi/v1/fundingRate?symbol=BTCUSDT"
    body = [{"symbol": "BTCUSDT", "fundingRate": "-0.0002", "fundingTime": 1600128000000}]
    assert respond(url, body).pick("funding")[0][4:] == (-0.0002, 1600128000000000, None, True)


def test_rest_trades_share_the_stream_and_ids() -> None:
    url = "https://api.binance.com/api/v3/historicalTrades?symbol=BTCUSDC"
    body = [{"id": 4, "price": "9919.9", "qty": "0.05", "time": 1566442254040, "isBuyerMaker": False}]
    played = respond(url, body)
    assert played.rows.trades[0][1:] == (1566442254040000, 0, 1, 4, None, "buy", 9919.9, 0.05, None, None)
    assert played.rows.streams[0].feed == "spot"


def test_an_error_body_is_an_error_row() -> None:
    played = respond("https://fapi.binance.com/fapi/v1/depth", {"code": -1121, "msg": "Invalid symbol."})
    assert played.data == 0
    assert played.pick("error")[0][6:8] == (-1121, "Invalid symbol.")


# -- instruments ------------------------------------------------------------------------------------------


def test_names_agree_with_every_listing(crypto: Path) -> None:
    """The name alone says what the listing says."""
    listed = 0
    for name, venue in (("binance", BINANCE), ("binance_us", US)):
        wrong = set()
        for path in list_recordings(crypto, name, "AB"):
            for frame in read_frames(path):
                if frame.kind != "http" or "exchangeInfo" not in frame.where:
                    continue
                instruments = venue.read_listing(frame.where, frame.payload)
                assert len(instruments) == len(json.loads(frame.payload)["symbols"])
                for instrument in instruments:
                    named = venue.name_instrument(instrument.market, instrument.venue_symbol)
                    wrong |= {instrument.venue_symbol} if named.symbol != instrument.symbol else set()
                    assert named.market_type == instrument.market_type
                    assert named.is_inverse == instrument.is_inverse
                    if named.contract_size != instrument.contract_size:
                        wrong.add((instrument.venue_symbol, named.contract_size, instrument.contract_size))
                    listed += 1
        assert wrong == set()
    assert listed > 6000


@pytest.mark.parametrize(
    ("market", "symbol", "name"),
    [
        ("spot", "BTCUSDT", "BTC-USDT"),
        ("spot", "BUSDTRY", "BUSD-TRY"),
        ("spot", "WHAT", "WHAT"),
        ("usdm", "BTCUSDT", "BTC-USDT-PERP"),
        ("usdm", "BTCUSDT_260327", "BTC-USDT-260327"),
        ("usdm", "1000SHIBUSDC", "1000SHIB-USDC-PERP"),
        ("usdm", "BTCUSDT_269999", "BTC-USDT-PERP"),
        ("coinm", "BTCUSD_PERP", "BTC-USD-PERP"),
        ("coinm", "BTCUSD_260327", "BTC-USD-260327"),
        ("coinm", "", ""),
    ],
)
def test_instruments_are_named_by_rule(market: str, symbol: str, name: str) -> None:
    assert BINANCE.name_instrument(market, symbol).symbol == name


def test_a_listing_of_another_shape_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        BINANCE.read_listing("https://api.binance.com/api/v3/exchangeInfo", b'{"symbols":[{}]}')


# -- feeds and requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "feed"),
    [
        ("wss://stream.binance.com:9443/stream?streams=btcusdt@trade", "spot"),
        ("wss://data-stream.binance.vision/ws/btcusdt@trade", "spot"),
        ("https://api1.binance.com/api/v3/depth", "spot"),
        ("https://www.binance.com/api/v1/depth?symbol=DOTUSDT&limit=1000", "spot"),
        ("wss://fstream.binance.com/stream?streams=x", "usdm"),
        ("wss://fstream.binance.com/ws/btcusdt@trade", "usdm"),
        ("wss://fstream.binance.com/public/stream?streams=x", "usdm-public"),
        ("wss://fstream.binance.com/market/ws", "usdm-market"),
        ("wss://dstream.binance.com/stream", "coinm"),
        ("https://dapi.binance.com/dapi/v1/exchangeInfo", "coinm"),
        ("https://fapi.binance.com/fapi/v1/exchangeInfo", "usdm-public"),
        ("wss://stream.binance.us:9443/stream", None),
        ("https://example.org/", None),
    ],
)
def test_addresses_tell_feeds(url: str, feed: str | None) -> None:
    assert BINANCE.find_feed(url) == feed
    assert US.find_feed(url) == ("spot" if "binance.us" in url else None)


def test_topics_and_requests() -> None:
    feeds = {feed.name: feed for feed in BINANCE.feeds}
    spot = BINANCE.name_instrument("spot", "BTCUSDT")
    perpetual = BINANCE.name_instrument("usdm", "BTCUSDT")
    assert BINANCE.list_topics(feeds["spot"], "book_change", spot) == ("btcusdt@depth@100ms",)
    assert BINANCE.list_topics(feeds["usdm-market"], "funding", perpetual) == ("btcusdt@markPrice@1s",)
    assert BINANCE.list_topics(feeds["usdm-market"], "trade", perpetual) == ()
    assert BINANCE.list_topics(feeds["spot"], "trade", perpetual) == ()
    asked = json.loads(BINANCE.subscribe(feeds["spot"], ["a@trade", "b@trade"], 3))
    assert asked == {"method": "SUBSCRIBE", "params": ["a@trade", "b@trade"], "id": 3}
    assert json.loads(BINANCE.unsubscribe(feeds["spot"], ["a@trade"], 4))["method"] == "UNSUBSCRIBE"


def test_every_topic_decodes_on_its_feed() -> None:
    """What is subscribed has a handler: a stream without one would be quarantined frame by frame."""
    for venue in (BINANCE, US):
        for feed in venue.feeds:
            symbol = "BTCUSD_PERP" if feed.market == "coinm" else "BTCUSDT"
            for channel in feed.channels:
                (topic,) = venue.list_topics(feed, channel, venue.name_instrument(feed.market, symbol))
                on_message = venue.make_decoder(Scribe(venue.name, Rows())).open(feed.name, "x")
                with pytest.raises(msgspec.ValidationError, match="missing required field"):
                    on_message(f'{{"stream":"{topic}","data":{{}}}}'.encode(), 0, 0)


def test_books_are_fetched_from_the_market_s_own_address() -> None:
    assert BINANCE.fetch_book is not None
    for feed in BINANCE.feeds:
        url, weight = BINANCE.fetch_book(feed.name, "BTCUSDT")
        assert weight > 0
        found = BINANCE.find_feed(url)
        assert next(f.market for f in BINANCE.feeds if f.name == found) == feed.market


def test_the_old_path_ends_where_the_new_ones_begin() -> None:
    dates = {feed.name: feed.dates for feed in BINANCE.feeds}
    assert dates["usdm"][1] == dates["usdm-public"][0] == dates["usdm-market"][0] == date(2026, 4, 23)
