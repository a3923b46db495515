"""Chainlink's reports and signatures reproduce what was recorded of them."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.events.schema import ORACLE_PRICE
from truetape.venues import chainlink, load_venue
from truetape.venues.chainlink.report import SCALE, decode_report, make_float, write_exact

VENUE = load_venue("chainlink")
BTC = chainlink.FEED_IDS["BTC-USD"]
PAGE = chainlink.name_page_url(BTC)
OWN = [column.name for column in ORACLE_PRICE.own]


@pytest.fixture(scope="module")
def example(recordings: Path) -> dict[str, Any]:
    return json.loads((recordings / "prediction/chainlink/v3_full_report_example.json").read_text())


@pytest.fixture(scope="module")
def envelope(example: dict[str, Any]) -> dict[str, Any]:
    known = example["decoded_by_us"]
    names = ("validFromTimestamp", "observationsTimestamp")
    return {"feedID": known["feedId"], **{n: known[n] for n in names}, "fullReport": example["fullReport"]}


def make_word(value: int) -> str:
    return f"{value % 2**256:064x}"


def make_report(feed_id: str = BTC, price: int = 1, *, second: int = 1_780_000_000, version: int = 3) -> dict[str, Any]:
    feed_id = f"0x{version:04x}{feed_id[6:]}"
    blob = [feed_id[2:], *map(make_word, (second, second, 1, 2, second + 86_400, price, price - 1, price + 1))]
    head = [make_word(0)] * 3 + [make_word(n) for n in (7 * 32, 17 * 32, 19 * 32, 5)]
    signatures = [make_word(1), make_word(11)] * 2
    report = "0x" + "".join([*head, make_word(9 * 32), *blob, *signatures])
    return {"feedID": feed_id, "validFromTimestamp": second, "observationsTimestamp": second, "fullReport": report}


def ask(url: str, body: object, decoder: Any = None, rows: Rows | None = None) -> Rows:
    rows = rows or Rows()
    decoder = decoder or VENUE.make_decoder(Scribe("chainlink", rows))
    feed = VENUE.find_feed(url) or ""
    assert decoder.respond(Response(feed, "http", url, 200, json.dumps(body).encode(), 7, 3)) == ("errors" not in body)  # type: ignore[operator]
    return rows


def read(rows: Rows) -> list[dict[str, Any]]:
    """Return oracle prices by column name, with time and symbol."""
    return [
        {"at": row[1], "symbol": rows.streams[row[0]].symbol, "market": rows.streams[row[0]].market}
        | dict(zip(OWN, row[4:], strict=True))
        for row in rows.plain.get("oracle_price", [])
    ]


# -- signatures -------------------------------------------------------------------------------------------


def test_recorded_signatures_reproduce(recordings: Path) -> None:
    vectors = json.loads((recordings / "prediction/chainlink/hmac_vectors.json").read_text())
    assert len(vectors) == 3
    for v in vectors:
        body = v["body"].encode()
        headers = chainlink.sign(v["method"], v["path"], body, v["clientId"], v["userSecret"], v["timestamp"])
        assert headers == {
            "Authorization": v["clientId"],
            "X-Authorization-Timestamp": str(v["timestamp"]),
            "X-Authorization-Signature-SHA256": v["want"],
        }


# -- reports ----------------------------------------------------------------------------------------------


def test_the_recorded_report_decodes(example: dict[str, Any]) -> None:
    known, report = example["decoded_by_us"], decode_report(example["fullReport"])
    assert report.feed_id == known["feedId"]
    assert (report.valid_from_s, report.observed_s) == (known["validFromTimestamp"], known["observationsTimestamp"])
    assert (report.native_fee, report.link_fee, report.expires_s) == (
        known["nativeFee"], known["linkFee"], known["expiresAt"],
    )  # fmt: skip
    prices = (report.price, report.bid, report.ask)
    assert prices == tuple(int(known[name]) for name in ("benchmarkPrice", "bid", "ask"))
    assert report.bid < report.price < report.ask
    assert write_exact(report.price) == "0.6954102420437865"


def test_every_cut_or_longer_report_is_refused(example: dict[str, Any]) -> None:
    text = example["fullReport"]
    for end in range(0, len(text), 61):
        with pytest.raises(DecodeError):
            decode_report(text[:end])
    for wrong in ("", "0x", text[2:], text[:-2] + "zz", text + "0", "0xé" + text[3:]):
        with pytest.raises(DecodeError, match="at `fullReport`"):
            decode_report(wrong)


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (3, 7 * 32 + 1, "begins outside"),
        (3, 2**200, "begins outside"),
        (4, 100 * 32, "begins outside"),
        (7, 2**64, "ends outside"),
        (7, 10 * 32, "blob of version 3 has 320 bytes"),
        (7, 0, "report version 0"),
        (17, 2, "in halves"),
        (9, 2**32, "word 1 of the blob is larger"),
        (11, 2**192, "word 3 of the blob is larger"),
        (14, 2**191, "word 6 of the blob is larger"),
        (14, -(2**191) - 1, "word 6 of the blob is larger"),
    ],
)
def test_words_that_cannot_be_are_refused(word: int, value: int, reason: str) -> None:
    text = make_report()["fullReport"]
    at = 2 + word * 64
    with pytest.raises(DecodeError, match=reason):
        decode_report(text[:at] + make_word(value) + text[at + 64 :])


@pytest.mark.parametrize("version", [1, 2, 4, 8, 13])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(DecodeError, match=rf"report version {version} has no rule \(allowed: 3\)"):
        decode_report(make_report(version=version)["fullReport"])


@given(st.integers(min_value=-(2**191) + 1, max_value=2**191 - 2))
def test_prices_are_exact_and_nearest(price: int) -> None:
    report = decode_report(make_report(price=price)["fullReport"])
    assert (report.bid, report.price, report.ask) == (price - 1, price, price + 1)
    assert Fraction(write_exact(price)) == Fraction(price, SCALE)
    assert make_float(price) == float(Fraction(price, SCALE)) == float(write_exact(price))


# -- rows -------------------------------------------------------------------------------------------------


def test_socket_frames_are_oracle_prices(envelope: dict[str, Any]) -> None:
    rows = Rows()
    on_message = VENUE.make_decoder(Scribe("chainlink", rows)).open("streams", "line")
    assert on_message(json.dumps({"report": make_report(price=64126 * SCALE + 5)}).encode(), 9, 4)
    assert on_message(json.dumps({"report": envelope}).encode(), 10, 5)
    first, second = read(rows)
    assert rows.plain["oracle_price"][0][2:4] == (9, 4)
    assert first == {
        "at": 1_780_000_000_000_000, "symbol": "BTC-USD", "market": "streams", "source": "chainlink_streams", "feed_id": BTC,
        "window_s": None, "price": 64126.0, "bid": 64126.0, "ask": 64126.0, "exact_price": "64126.000000000000000005",
        "published_at": None, "is_snapshot": False,
    }  # fmt: skip
    assert (second["symbol"], second["price"], second["bid"]) == (
        envelope["feedID"],
        0.6954102420437865,
        0.6953316218950656,
    )


@pytest.mark.parametrize(
    ("url", "is_list", "is_snapshot"),
    [
        (chainlink.name_latest_url(BTC), False, False),
        (chainlink.name_report_url(BTC, 1_780_000_000), False, True),
        (chainlink.name_bulk_url([BTC], 1_780_000_000), True, True),
        (chainlink.name_history_url(BTC, 1_780_000_000, 10), True, True),
    ],
)
def test_answers_of_the_api_are_oracle_prices(url: str, is_list: bool, is_snapshot: bool) -> None:
    report = make_report(price=3 * SCALE)
    rows = read(ask(url, {"reports": [report, report]} if is_list else {"report": report}))
    assert len(rows) == (2 if is_list else 1)
    assert {(row["price"], row["is_snapshot"], row["source"]) for row in rows} == {
        (3.0, is_snapshot, "chainlink_streams")
    }


def test_an_envelope_that_lies_is_refused() -> None:
    for field, value in (
        ("observationsTimestamp", 5),
        ("validFromTimestamp", 5),
        ("feedID", chainlink.FEED_IDS["ETH-USD"]),
    ):
        with pytest.raises(DecodeError, match="not those of the report"):
            ask(chainlink.name_latest_url(BTC), {"report": make_report() | {field: value}})


def test_feeds_are_listed() -> None:
    url = VENUE.listings[0].url
    body = {"feeds": [{"feedID": feed_id} for feed_id in [*chainlink.FEED_IDS.values(), "0x0004" + "AB" * 30]]}
    listed = VENUE.read_listing(url, json.dumps(body).encode())
    assert [i.symbol for i in listed] == ["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "0x0004" + "ab" * 30]
    assert all(i.is_listed and i.market_type == "oracle" for i in listed)
    assert len(ask(url, body).plain["market"]) == 5
    with pytest.raises(DecodeError, match=r"\$.feeds\[0\].feedID"):
        VENUE.read_listing(url, b'{"feeds":[{"feedID":"0x12"}]}')


# -- the page ---------------------------------------------------------------------------------------------


def nodes(*points: tuple[object, str]) -> dict[str, Any]:
    return {"data": {"liveStreamReports": {"nodes": [{"validFromTimestamp": t, "price": p} for t, p in points]}}}


def test_the_page_tells_each_point_once_and_oldest_first() -> None:
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("chainlink", rows))
    first = nodes(
        ("2026-02-24T10:00:01+00:00", "67307510000000000000000"), ("2026-02-24T10:00:00+00:00", "67307" + "0" * 18)
    )
    node = first["data"]["liveStreamReports"]["nodes"][0]
    node |= {"bid": "67307500000000000000000", "ask": "67307520000000000000000"}
    ask(PAGE, first, decoder, rows)
    old, new = read(rows)
    assert (old["at"], old["price"], old["bid"], old["is_snapshot"]) == (1771927200000000, 67307.0, None, True)
    assert (new["at"], new["exact_price"], new["is_snapshot"]) == (1771927201000000, "67307.51", False)
    assert (new["bid"], new["ask"], new["symbol"], new["market"]) == (67307.5, 67307.52, "BTC-USD", "page")
    assert (new["source"], new["feed_id"]) == ("chainlink_page", BTC)
    again = nodes((1771927202, "1" + "0" * 18), (1771927201, "67307510000000000000000"))
    ask(PAGE, again, decoder, rows)
    assert [(row["at"], row["is_snapshot"]) for row in read(rows)[2:]] == [(1771927202000000, False)]


def test_what_the_page_told_survives_a_checkpoint_and_is_bounded() -> None:
    rows = ask(PAGE, nodes(*((second, "5") for second in range(700))))
    restored = Rows()
    restored.memory.update(msgspec.msgpack.decode(msgspec.msgpack.encode(rows.memory)))
    assert len(restored.memory["chainlink"][BTC]) == 600
    assert read(ask(PAGE, nodes((699, "5"), (650, "5")), rows=restored)) == []
    assert len(read(ask(PAGE, nodes((699, "6")), rows=restored))) == 1


def test_errors_of_the_page_are_errors() -> None:
    rows = ask(PAGE, {"errors": [{"message": "rate limited"}], "data": None})
    assert rows.plain["error"][0][6:8] == (200, "rate limited")


@pytest.mark.parametrize(
    ("url", "body", "reason"),
    [
        (PAGE, {"data": None}, "neither reports nor errors"),
        (PAGE, nodes((1, "1.5")), "is not an integer"),
        (PAGE, nodes((1, "9" * 59)), "is not an integer"),
        (PAGE, nodes(("yesterday", "1")), "is not ISO"),
        (PAGE, nodes(("2026-02-24T10:00:00", "1")), "is not in UTC"),
        (chainlink.PAGE_URL + "?variables=%7B%22feedId%22:%22btc%22%7D", nodes((1, "1")), "feed id 'btc'"),
        (chainlink.REST_URL + "/api/v9/reports", {}, "has no rule"),
    ],
)
def test_other_answers_are_refused(url: str, body: object, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        ask(url, body)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        ask(PAGE.partition("?")[0], nodes((1, "1")))  # no feed is asked for
    on_message = VENUE.make_decoder(Scribe("chainlink", Rows())).open("streams", "line")
    for payload in (b"pong", b"{}", b'{"report":{"feedID":1}}'):
        with pytest.raises(msgspec.DecodeError):
            on_message(payload, 1, 1)
    with pytest.raises(DecodeError, match="has no socket"):
        VENUE.make_decoder(Scribe("chainlink", Rows())).open("page", "line")


# -- addresses --------------------------------------------------------------------------------------------


def test_addresses() -> None:
    feed = VENUE.feeds[0]
    assert parse_qs(urlsplit(feed.url).query)["feedIDs"] == [",".join(chainlink.FEED_IDS.values())]
    assert json.loads(parse_qs(urlsplit(PAGE).query)["variables"][0]) == {"feedId": BTC}
    assert [VENUE.find_feed(url) for url in (feed.url, chainlink.REST_URL, PAGE, "https://example.org")] == [
        "streams", "streams", "page", None,
    ]  # fmt: skip
    btc = VENUE.name_instrument("streams", BTC.upper().replace("0X", "0x"))
    assert (btc.symbol, btc.base, btc.quote) == ("BTC-USD", "BTC", "USD")
    assert VENUE.list_topics(feed, "oracle_price", btc) == (BTC,)
    assert VENUE.list_topics(feed, "trade", btc) == ()
    assert VENUE.subscribe(feed, [BTC], 1) == VENUE.unsubscribe(feed, [BTC], 2) == b""
    assert feed.needs_key
