"""Coinbase's frames decode to the rows that the recordings prove."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorded import Recorded, list_recordings, read_frames
from replayed import Replayed, replay, replay_frames

from truetape.errors import DecodeError
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Response, Rows, Scribe
from truetape.venues import load_venue
from truetape.venues.coinbase.times import read_time

COINBASE = load_venue("coinbase")
EXCHANGE = "coinbase/cryptofeed_coinbase_20210417_a.jsonl.gz"
ADVANCED = "coinbase/cryptofeed_coinbase_20260809.jsonl.gz"


@pytest.fixture(scope="module")
def crypto(recordings: Path) -> Path:
    return recordings / "crypto"


@pytest.fixture(scope="module")
def exchange(crypto: Path) -> Replayed:
    return replay("coinbase", crypto / EXCHANGE)


@pytest.fixture(scope="module")
def advanced(crypto: Path) -> Replayed:
    return replay("coinbase", crypto / ADVANCED)


def read_texts(path: Path) -> list[dict[str, Any]]:
    return [json.loads(f.payload) for f in read_frames(path) if f.kind == "text"]


def play(payload: str, feed: str = "exchange") -> Replayed:
    return replay_frames("coinbase", [Recorded("text", "", payload.encode(), 5)], feed)


def test_all_recordings_are_listed(crypto: Path) -> None:
    assert {str(p.relative_to(crypto)) for p in list_recordings(crypto, "coinbase", "A")} == {EXCHANGE, ADVANCED}


def test_every_frame_of_the_exchange_feed_decodes(crypto: Path, exchange: Replayed) -> None:
    types = Counter(text["type"] for text in read_texts(crypto / EXCHANGE))
    assert exchange.refused == []
    assert exchange.control == types["subscriptions"] == len(exchange.rows.acks) == 3
    assert exchange.count("trade") == types["match"] + types["last_match"] == 79
    assert exchange.count("book_change") == types["snapshot"] + types["l2update"] == 6049
    assert exchange.count("ticker") == exchange.count("quote") == types["ticker"] == 79
    assert exchange.data == 79 + 6049 + 79 + 1
    assert {stream.feed for stream in exchange.rows.streams} == {"exchange"}


def test_every_frame_of_advanced_trade_decodes(crypto: Path, advanced: Replayed) -> None:
    texts = read_texts(crypto / ADVANCED)
    counts: Counter[str] = Counter()
    for text in texts:
        for event in text["events"]:
            for name in ("trades", "tickers", "candles"):
                counts[name] += len(event.get(name, []))
            counts["levels"] += len(event.get("updates", []))
            counts["books"] += "updates" in event
    assert advanced.refused == []
    assert advanced.count("trade") == counts["trades"] == 279
    assert advanced.count("ticker") == advanced.count("quote") == counts["tickers"]
    assert advanced.count("candle") == counts["candles"]
    assert advanced.count("book_change") == counts["books"]
    assert sum(len(row[9]) + len(row[10]) for row in advanced.rows.books) == counts["levels"]
    assert len(advanced.rows.acks) == 5
    assert (advanced.data, advanced.control) == (len(texts) - 30 + 1, 30)


def test_one_counter_numbers_all_frames_of_the_connection(advanced: Replayed) -> None:
    assert advanced.rows.counters == []
    assert {name: n.last for name, n in advanced.rows.numberings.items()} == {"COINBASE.ws.2": 1029}


def test_a_lost_frame_is_noticed_whatever_it_was(crypto: Path) -> None:
    frames = list(read_frames(crypto / ADVANCED))
    texts = [i for i, frame in enumerate(frames) if frame.kind == "text"]
    for lost in (texts[2], texts[500], texts[900]):  # an answer, a book, whatever
        played = replay_frames("coinbase", frames[:lost] + frames[lost + 1 :])
        number = texts.index(lost)
        assert [(c.last, c.number) for c in played.rows.counters] == [(number - 1, number + 1)]


def test_trade_ids_prove_that_nothing_is_missing(exchange: Replayed, advanced: Replayed) -> None:
    for played in (exchange, advanced):
        for key, rows in played.group("trade").items():
            numbers = [row[4] for row in rows]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), key


def test_quotes_of_the_exchange_feed_only_grow(exchange: Replayed) -> None:
    for key, rows in exchange.group("quote").items():
        assert all(a[8] < b[8] for a, b in pairwise(rows)), key


def test_a_match_names_the_maker_and_a_ticker_the_taker(crypto: Path, exchange: Replayed) -> None:
    """The ticker of a trade says the taker's side; our trade must say the same."""
    takers = {t["trade_id"]: t["side"] for t in read_texts(crypto / EXCHANGE) if t["type"] == "ticker"}
    paired = [(row[6], takers[row[4]]) for row in exchange.rows.trades if row[4] in takers]
    assert len(paired) >= 70
    assert all(ours == taker for ours, taker in paired)


def test_sides_of_advanced_trades_lie_at_the_quote(advanced: Replayed) -> None:
    """An aggressor buys at the ask: by the book as it was when the trade arrived."""
    books: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    names = {stream.index: stream.symbol for stream in advanced.rows.streams}
    events = sorted(
        [(row[3], 1, row) for row in advanced.rows.books] + [(row[3], 0, row) for row in advanced.rows.trades]
    )
    seen: Counter[tuple[str, str]] = Counter()
    for _, is_book, row in events:
        symbol = names[row[0]]
        if is_book:
            apply(books.setdefault(symbol, ({}, {})), row)
        elif symbol in books:
            bid, ask = max(books[symbol][0]), min(books[symbol][1])
            where = "ask" if row[7] >= ask else "bid" if row[7] <= bid else ""
            seen[row[6], where] += 1
    assert seen["buy", "ask"] + seen["sell", "bid"] > 5 * (seen["buy", "bid"] + seen["sell", "ask"]), seen


def apply(book: tuple[dict[float, float], dict[float, float]], row: Any) -> None:
    for side, levels in zip(book, (row[9], row[10]), strict=True):
        if row[5] == BOOK_SNAPSHOT:
            side.clear()
        for price, size in levels:
            side.pop(price, None)
            if size:
                side[price] = size


def test_books_are_not_crossed(advanced: Replayed, exchange: Replayed) -> None:
    for played in (advanced, exchange):
        for key, rows in played.group("book_change").items():
            book: tuple[dict[float, float], dict[float, float]] = ({}, {})
            assert rows[0][5] == BOOK_SNAPSHOT, key
            for i, row in enumerate(rows):
                apply(book, row)
                if i % 20 == 0:
                    assert max(book[0]) < min(book[1]), (key, row[:4])


def test_times_are_the_event_s_own(crypto: Path, advanced: Replayed) -> None:
    text = next(t for t in read_texts(crypto / ADVANCED) if t["channel"] == "l2_data")
    row = advanced.rows.books[0]
    assert row[5] == BOOK_SNAPSHOT
    assert row[1] == read_time(text["events"][0]["updates"][0]["event_time"]) == 1786309548170326
    assert advanced.rows.trades[-1][1] is not None


def test_respaced_and_reordered_frames_give_the_same_rows(crypto: Path) -> None:
    for name in (EXCHANGE, ADVANCED):
        frames = [f for f in read_frames(crypto / name) if f.kind in {"connect", "text"}][:400]
        spaced = [
            f._replace(payload=json.dumps(dict(reversed(json.loads(f.payload).items()))).encode())
            if f.kind == "text"
            else f
            for f in frames
        ]
        plain, other = replay_frames("coinbase", frames), replay_frames("coinbase", spaced)
        assert other.refused == []
        for channel in ("trade", "book_change", "quote", "ticker", "candle"):
            assert other.pick(channel) == plain.pick(channel)


# -- single frames ----------------------------------------------------------------------------------------

REFUSED = {
    "crypto_msg_parser_coinbase_pro.jsonl": [
        ("message of type 'open' has no rule", 1),  # order by order: not recorded
        ("message of type None has no rule", 1),  # a REST book without its address: see the test of REST books
    ],
    "tardis_node_coinbase.jsonl": [("Expected `float`, got `str` - at `$.bids[1][1]`", 1)],  # a size of "0.-10000"
    # Another venue, with another protocol.
    "tardis_node_coinbase-international.jsonl": [("message of channel", 8)],
}


def test_single_frames_decode_or_are_refused_for_a_reason(crypto: Path) -> None:
    seen = set()
    for path in list_recordings(crypto, "coinbase", "B"):
        refused = replay("coinbase", path, "exchange").refused
        allowed = REFUSED.get(path.name, [])
        for reason, count in allowed:
            assert sum(reason in text for text, _ in refused) == count, (path.name, refused)
        assert len(refused) == sum(count for _, count in allowed), (path.name, refused)
        seen.add(path.name)
    assert set(REFUSED) <= seen


def test_frames_of_the_documentation_decode(crypto: Path) -> None:
    frames = [
        f._replace(where="") for f in read_frames(crypto / "coinbase/nautilus_fixtures.jsonl") if f.kind == "text"
    ]
    played = replay_frames("coinbase", frames, "advanced")
    assert (played.refused, played.data, played.control) == ([], 5, 2)


def test_raw_replay_lines_decode(recordings: Path) -> None:
    frames = [
        f for f in read_frames(recordings / "crypto/tardis/tardis_node_replay_raw.ndjson") if f.where == "coinbase"
    ]
    played = replay_frames("coinbase", [f._replace(where="") for f in frames], "exchange")
    assert played.refused == []
    assert len(played.rows.trades) == len(frames) > 0


def test_values_agree_with_the_oracles(crypto: Path) -> None:
    """Exceptions: the first oracle keeps the maker's side; the second fills an unknown time with the one before, leaves
    out a malformed level where we refuse the frame, and takes a missing size as null like we do."""
    for line in (crypto / "_oracle/crypto_msg_parser_coinbase_pro.expected.jsonl").read_text().splitlines():
        row = json.loads(line)
        expected, played = row["expected"], play(row["raw"])
        for trade in played.rows.trades:
            assert trade[8] == expected["trade.quantity_base"]
            assert {trade[6], expected["trade.side"]} == {"buy", "sell"}
        for book in played.rows.books:
            assert (len(book[9]), len(book[10])) == (expected["orderbook.bids.len()"], expected["orderbook.asks.len()"])
            assert book[9][0] == (expected["orderbook.bids[0].price"], expected["orderbook.bids[0].quantity_base"])
    for line in (crypto / "_oracle/tardis_node_mappers.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["exchange"] == "coinbase":
            played = play(json.dumps(row["raw"]))
            for wanted in row["normalized"] if not played.refused else []:
                compare(wanted, played)


def compare(wanted: dict[str, Any], played: Replayed) -> None:
    if wanted["type"] == "trade":
        (row,) = played.rows.trades
        assert (row[7], row[8], row[6]) == (wanted["price"], wanted["amount"], wanted["side"])
    elif wanted["type"] == "book_change":
        (row,) = played.rows.books
        assert (row[5] == BOOK_SNAPSHOT) == wanted["isSnapshot"]
        for levels, name in ((row[9], "bids"), (row[10], "asks")):
            assert levels == [(level["price"], level["amount"]) for level in wanted[name]]
    else:
        (row,) = played.rows.quotes
        names = ("bidPrice", "bidAmount", "askPrice", "askAmount")
        assert row[4:8] == tuple(wanted[name] for name in names)


def test_a_time_of_year_one_is_no_time() -> None:
    frame = '{"type":"l2update","product_id":"BTC-EUR","changes":[["buy","9202.70","0.58"]],"time":"%s"}'
    assert play(frame % "0001-01-01T00:00:00.000000Z").rows.books[0][1] is None
    row = play(frame % "2021-04-17T16:43:37.075687Z").rows.books[0]
    assert (row[1], row[5], row[9], row[10]) == (1618677817075687, BOOK_DIFF, [(9202.7, 0.58)], [])


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-08-09T21:05:38.50436Z", 1786309538504360),
        ("2026-08-09T21:05:48.228568804Z", 1786309548228568),
        ("2026-08-09T21:05:48Z", 1786309548000000),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_times_have_any_number_of_decimals(text: str, time: int | None) -> None:
    assert read_time(text) == time


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-08-09T21:05:48.5+02:00", "2026-08-09T21:05:48.5", "2026-08-09T21:05:48.x5Z"]
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="is not ISO"):
        read_time(text)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("pong", "malformed"),
        ("{}", "message of type None has no rule"),
        ('{"type":"match","side":"up"}', "Invalid enum value 'up'"),
        ('{"channel":"l2_data","timestamp":"","sequence_num":0,"events":[{}]}', "at `$.events[0]`"),
        ('{"channel":"status","events":[]}', "message of channel 'status' has no rule"),
    ],
)
def test_what_is_not_coinbase_is_refused_with_a_reason(payload: str, reason: str) -> None:
    assert reason in play(payload).refused[0][0]


def test_errors_and_heartbeats_are_control() -> None:
    error = play('{"type":"error","message":"Failed to subscribe","reason":"level2 needs a key"}')
    assert error.control == 1
    assert error.pick("error")[0][7] == "Failed to subscribe: level2 needs a key"
    beat = '{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}'
    assert play(beat).control == 1


def test_the_greeting_s_confirmation_is_not_counted() -> None:
    frame = '{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48Z","sequence_num":0,"events":[{"subscriptions":%s}]}'
    assert play(frame % '{"heartbeats":["heartbeats"]}', "advanced").rows.acks == []
    both = play(frame % '{"heartbeats":["heartbeats"],"level2":["BTC-USD"]}', "advanced")
    assert (len(both.rows.acks), {name: n.last for name, n in both.rows.numberings.items()}) == (1, {"file": 0})


# -- REST and instruments ---------------------------------------------------------------------------------


def test_listings_are_read_whole(crypto: Path, advanced: Replayed, exchange: Replayed) -> None:
    assert (advanced.count("market"), exchange.count("market")) == (920, 162)
    for path in (ADVANCED, EXCHANGE, "coinbase/cryptoexchange_vcr_rest.jsonl.gz"):
        for frame in read_frames(crypto / path):
            if frame.kind != "http" or not frame.where.endswith("/products"):
                continue
            instruments = COINBASE.read_listing(frame.where, frame.payload)
            body = json.loads(frame.payload)
            assert len(instruments) == len(body if isinstance(body, list) else body["products"])
            for instrument in instruments:
                named = COINBASE.name_instrument(instrument.market, instrument.venue_symbol)
                assert (named.symbol, named.base, named.quote) == (instrument.symbol, instrument.base, instrument.quote)
                assert instrument.is_listed


def test_futures_have_contract_sizes(crypto: Path) -> None:
    fixtures = {f.where: f.payload for f in read_frames(crypto / "coinbase/nautilus_fixtures.jsonl")}
    url = "https://api.coinbase.com/api/v3/brokerage/market/products?product_type=FUTURE"
    rows = Rows()
    decoder = COINBASE.make_decoder(Scribe("coinbase", rows))
    on_message = decoder.open("advanced", "one")
    assert decoder.respond(Response("advanced", "http", url, 200, fixtures["http_products_future.json"], 1, 0))
    frame = fixtures["ws_market_trades.json"].replace(b"BTC-USD", b"BIT-24APR26-CDE")
    assert on_message(frame, 2, 1)
    assert [(row[8], row[9]) for row in rows.trades] == [(0.05 * 0.01, 0.05), (0.0015 * 0.01, 0.0015)]
    assert rows.streams[-1].symbol == "BIT-24APR26-CDE"


def test_rest_books_are_pictures(crypto: Path) -> None:
    frames = list(read_frames(crypto / "coinbase/cryptoexchange_vcr_rest.jsonl.gz"))
    played = replay_frames("coinbase", frames, "exchange")
    (row,) = played.pick("book_snapshot")
    assert row[4] == 9341561528
    assert row[5][0] == 5362.39 > row[5][1]
    assert row[7][0] < row[7][1]
    lost = '{"bids": [["0.1135", "35", 1]], "asks": [["0.1137", "10113.4", 4]], "sequence": 406959136}'
    url = "https://api.exchange.coinbase.com/products/XLM-USD/book?level=2"
    again = replay_frames("coinbase", [Recorded("http", url, lost.encode(), 0)])
    assert again.pick("book_snapshot")[0][4:] == (406959136, [0.1135], [35.0], [0.1137], [10113.4])


def test_other_endpoints_are_refused() -> None:
    decoder = COINBASE.make_decoder(Scribe("coinbase", Rows()))
    with pytest.raises(DecodeError, match="has no rule"):
        decoder.respond(Response("exchange", "http", "https://api.exchange.coinbase.com/time", 200, b"{}", 0, 0))
    with pytest.raises(msgspec.ValidationError):
        COINBASE.read_listing("https://api.exchange.coinbase.com/products", b"{}")


# -- feeds and requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "feed"),
    [
        ("wss://advanced-trade-ws.coinbase.com", "advanced"),
        ("https://api.coinbase.com/api/v3/brokerage/market/products", "advanced"),
        ("wss://ws-feed.exchange.coinbase.com", "exchange"),
        ("wss://ws-feed.pro.coinbase.com", "exchange"),
        ("https://api.gdax.com/products", "exchange"),
        ("wss://ws-md.international.coinbase.com", None),
        ("https://example.org", None),
    ],
)
def test_addresses_tell_feeds(url: str, feed: str | None) -> None:
    assert COINBASE.find_feed(url) == feed


def test_topics_and_requests() -> None:
    feeds = {feed.name: feed for feed in COINBASE.feeds}
    spot, old = (COINBASE.name_instrument(market, "BTC-USD") for market in ("spot", "exchange"))
    assert COINBASE.list_topics(feeds["advanced"], "book_change", spot) == ("level2:BTC-USD",)
    assert COINBASE.list_topics(feeds["exchange"], "book_change", old) == ("level2_batch:BTC-USD",)
    assert COINBASE.list_topics(feeds["exchange"], "candle", old) == ()
    assert COINBASE.list_topics(feeds["exchange"], "trade", spot) == ()
    asked = json.loads(COINBASE.subscribe(feeds["advanced"], ["level2:BTC-USD", "level2:ETH-USD"], 1))
    assert asked == {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "level2"}
    with pytest.raises(ValueError, match="one channel a message"):
        COINBASE.subscribe(feeds["advanced"], ["level2:BTC-USD", "ticker:BTC-USD"], 1)
    mixed = json.loads(COINBASE.unsubscribe(feeds["exchange"], ["matches:A-B", "ticker:A-B"], 1))
    assert mixed["type"] == "unsubscribe"
    assert mixed["channels"] == [{"name": n, "product_ids": ["A-B"]} for n in ("matches", "ticker")]


def test_our_requests_have_the_recorded_form(crypto: Path) -> None:
    feed = next(feed for feed in COINBASE.feeds if feed.name == "advanced")
    sent = [json.loads(f.payload) for f in read_frames(crypto / ADVANCED) if f.kind == "send"]
    for request in sent:
        topics = [f"{request['channel']}:{product}" for product in request["product_ids"]]
        assert json.loads(COINBASE.subscribe(feed, topics, 1)) == request
    greeting = json.loads(feed.greetings[0])
    assert greeting.keys() == sent[0].keys()
    assert greeting["channel"] == "heartbeats"
