"""tardis-machine's messages: recorded and documented ones decode to the right rows, a disconnect cuts its exchange off."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from decoded import decode_tape
from truetape.errors import ConfigError, DecodeError
from truetape.events.rows import Rows, Scribe
from truetape.tape import open_writer
from truetape.tape.foreign import import_recording
from truetape.venues import load_venue
from truetape.venues.tardis.machine import FEED, name_url, name_wanted

VENUE = load_venue("tardis")


def carry(folder: Path, lines: list[bytes]) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """Import lines and decode the tape."""
    folder.mkdir(exist_ok=True)
    path = folder / "lines.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    writer = open_writer(folder / "tape")
    import_recording("tardis-normalized", [path], "tardis", writer, feed="machine")
    writer.close()
    return decode_tape(folder / "tape")


def read_lines(recordings: Path, name: str) -> list[bytes]:
    path = recordings / "crypto" / "tardis" / name
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.splitlines()


@pytest.mark.parametrize(
    "name", ["tardis_node_combine_normalized.ndjson.gz", "tardis_node_replay_normalized_2019.ndjson"]
)
def test_recorded_messages_decode_to_as_many_rows(tmp_path: Path, recordings: Path, name: str) -> None:
    lines = read_lines(recordings, name)
    told = [json.loads(line) for line in lines]
    rows, counts = carry(tmp_path, lines)
    assert counts["quarantined"] == 0
    wanted = Counter(one["type"] for one in told)
    levels = sum(len(one["bids"]) + len(one["asks"]) for one in told if one["type"] == "book_change")
    stored = counts.get("rows.book_change", 0)
    assert stored == levels
    assert counts.get("rows.trade", 0) == wanted["trade"]
    assert counts.get("rows.derivative", 0) == wanted["derivative_ticker"]
    sides = Counter(row["side"] for row in rows["trade"])
    given = Counter(one["side"] for one in told if one["type"] == "trade")
    assert sum(sides.values()) + counts.get("duplicates.trade", 0) == sum(given.values())
    assert {row["venue"] for row in rows["trade"]} == {"tardis"}


def test_the_mappers_own_expectations_decode(recordings: Path) -> None:
    """Everything that the vendor's library made of recorded frames, of every exchange."""
    rows = Rows()
    take = VENUE.make_decoder(Scribe("tardis", rows)).open("machine", "c")
    told: Counter[str] = Counter()
    for line in (recordings / "crypto" / "_oracle" / "tardis_node_mappers.jsonl").read_bytes().splitlines():
        made = json.loads(line)["normalized"]
        for message in made if isinstance(made, list) else ():  # some tests look at parts of messages only
            told[message["type"]] += 1
            take(json.dumps(message).encode(), 1_000, sum(told.values()))
    assert told["trade"] == len(rows.trades) > 50
    assert told["book_change"] == len(rows.books) > 80
    assert told["book_ticker"] == len(rows.quotes) > 50
    assert told["liquidation"] == len(rows.plain["liquidation"]) == 9
    assert told["option_summary"] == len(rows.plain["ticker"]) > 10
    assert told["derivative_ticker"] + told["option_summary"] == len(rows.plain["derivative"]) > 60


def test_documented_messages_decode(recordings: Path) -> None:
    rows = Rows()
    take = VENUE.make_decoder(Scribe("tardis", rows)).open("machine", "c")
    folder = recordings / "crypto" / "tardis"
    for kind in ("trade", "book_change", "book_snapshot", "derivative_ticker", "option_summary", "disconnect"):
        body = (folder / f"nautilus_machine_{kind}.json").read_bytes()
        assert take(body, 7_000, 3) == (kind != "disconnect")
    (trade,), (book,), (snapshot,) = rows.trades, rows.books, rows.plain["book_snapshot"]
    assert rows.streams[trade[0]].symbol == "XBTUSD@bitmex"
    # Nobody told us what bitmex counts: the number is kept, the amount is not known.
    assert trade[1:] == (
        1571826769669000, 7_000, 3, None, "282a0445-0e3a-abeb-f403-11003204ea1b", "sell", 7996.0, None, 50.0, None
    )  # fmt: skip
    assert book[9:11] == ([], [(7985.0, 283318.0)]) and book[1] is None
    assert snapshot[5] == [7633.5, 7633.0]
    assert [cut.prefix for cut in rows.cuts] == ["deribit:"]
    option = rows.plain["derivative"][-1]
    assert option[4:6] == (0.0372, 63500.0) and option[12:14] == (0.565, 0.25)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"type": "trade_bar"}, "not known"), ({"price": "1"}, "float"), ({"side": "up"}, "side|enum"),
     ({"timestamp": "now"}, "not a time"), ({"symbol": ""}, "no symbol")],
)  # fmt: skip
def test_what_is_no_message_is_refused(change: dict[str, object], words: str) -> None:
    message = {
        "type": "trade", "symbol": "BTCUSDT", "exchange": "binance", "id": "1", "price": 1.0, "amount": 2.0,
        "side": "buy", "timestamp": "2026-01-05T00:00:00.001Z", "localTimestamp": "2026-01-05T00:00:00.002Z",
    }  # fmt: skip
    take = VENUE.make_decoder(Scribe("tardis", Rows())).open("machine", "c")
    assert take(json.dumps(message).encode(), 1, 1)
    with pytest.raises((DecodeError, ValueError), match=words):
        take(json.dumps(message | change).encode(), 1, 2)


def write(kind: str, exchange: str, second: int, **more: object) -> bytes:
    moment = f"2026-01-05T00:00:{second:02d}.000Z"
    head = {"type": kind, "exchange": exchange, "localTimestamp": moment}
    if kind == "trade":
        head |= {"symbol": "BTCUSDT", "timestamp": moment, "price": 1, "amount": 1, "side": "buy", "id": str(second)}
    if kind == "book_change":
        head |= {"symbol": "BTCUSDT", "timestamp": moment, "bids": [{"price": 1, "amount": 1}], "asks": []}
    return json.dumps(head | more).encode()


@pytest.mark.parametrize("symbols", [None, ["BTCUSDT"], ["ETHUSDT"]])
def test_a_disconnect_is_a_gap_of_its_exchange_until_it_is_back(tmp_path: Path, symbols: list[str] | None) -> None:
    lines = [
        write("book_change", "binance", 1, isSnapshot=True), write("trade", "binance", 2), write("trade", "bybit", 3),
        write("disconnect", "binance", 4, **({"symbols": symbols} if symbols else {})),
        write("trade", "bybit", 5), write("trade", "binance", 6),
        write("book_change", "binance", 7, isSnapshot=False), write("book_change", "binance", 8, isSnapshot=True),
    ]  # fmt: skip
    rows, _ = carry(tmp_path, lines)
    own = {row["gap_id"] for row in rows["gap"] if "the server said" in row["evidence"]}
    lost = [row for row in rows["gap"] if row["gap_id"] in own and row["state"] == "closed"]
    if symbols == ["ETHUSDT"]:
        assert lost == []
        return
    spans = {gap["channel"]: (gap["from_at"].second, gap["to_at"].second) for gap in lost}
    assert spans == {"trade": (2, 6), "book_change": (2, 8)}
    assert {gap["symbol"] for gap in lost} == {"BTCUSDT@binance"}


def test_the_address_asks_each_exchange_once() -> None:
    instruments = name_wanted(["binance-futures:btcusdt", "binance-futures:ethusdt", "deribit:BTC-PERPETUAL"])
    topics = [t for one in instruments for c in ("trade", "quote") for t in VENUE.list_topics(FEED, c, one)]
    url = name_url(FEED, topics)
    options = json.loads(parse_qs(urlsplit(url).query)["options"][0])
    assert url.startswith("ws://127.0.0.1:8001/ws-stream-normalized?options=")
    assert options == [
        {"exchange": "binance-futures", "symbols": ["btcusdt", "ethusdt"], "dataTypes": ["trade", "quote"],
         "withDisconnectMessages": True},
        {"exchange": "deribit", "symbols": ["BTC-PERPETUAL"], "dataTypes": ["trade", "quote"],
         "withDisconnectMessages": True},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["BTC-USDT", "binance:", ":BTCUSDT", "binance:*"])
def test_names_are_exchange_and_symbol(name: str) -> None:
    with pytest.raises(ConfigError, match="is not exchange:symbol"):
        name_wanted([name])
