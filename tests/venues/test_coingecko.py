"""CoinGecko's recorded answers become the rows they should, once; its complaints are heard in every form."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import read_frames
from replayed import replay

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.events.schema import CANDLE, COIN, COIN_TOTAL
from truetape.venues.coingecko import PLANS, VENUE, ask_bars, ask_chart, ask_ranks, find_complaint, join_spans

ROOT = PLANS["DEMO"].root
HOUR_NS = 3600 * 10**9
DAY_MS = 86_400_000
NOW_NS = 20_000 * 24 * HOUR_NS
OWN = {kind.name: [column.name for column in kind.own] for kind in (CANDLE, COIN, COIN_TOTAL)}


def answer(url: str, body: object, decoder: Any = None, now_ns: int = NOW_NS) -> tuple[Rows, Any, bool]:
    if decoder is None:
        decoder = VENUE.make_decoder(Scribe("coingecko", Rows()))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    is_data = decoder.respond(Response("rest", "http", url, 200, raw, now_ns, 3))
    return decoder._scribe.rows, decoder, is_data


def read(rows: Rows, kind: str) -> list[dict[str, Any]]:
    found = []
    for row in rows.plain.get(kind, []):
        assert len(row) == 4 + len(OWN[kind])
        named = dict(zip(OWN[kind], row[4:], strict=True))
        found.append({"symbol": rows.streams[row[0]].symbol, "exchange_us": row[1], **named})
    return found


def test_recordings_give_exactly_their_rows(recordings: Path) -> None:
    path = recordings / "crypto/coingecko/coingecko_ruby_vcr_2021_a.jsonl.gz"
    played = replay("coingecko", path)
    lists = [json.loads(f.payload) for f in read_frames(path) if f.kind == "http" and "/coins/list" in f.where]
    first, second = ({(coin["id"], coin["symbol"].upper()) for coin in coins} for coins in lists)

    assert played.refused == []
    assert played.count("market") == len(first) + len(second - first)
    assert len(first) == 7248
    # One snapshot; charts without their last point, and what the second chart of a day adds.
    rows = read(played.rows, "coin")
    assert sum(row["source"] == "snapshot" for row in rows) == 1
    assert sum(row["interval"] == "1h" for row in rows) == 722 - 1
    days = [
        json.loads(f.payload)["prices"][:-1] for f in read_frames(path) if f.kind == "http" and "days=1&" in f.where
    ]
    last = max(at for at, _ in days[0])
    assert sum(row["interval"] == "5m" for row in rows) == len(days[0]) + sum(at > last for at, _ in days[1])
    assert played.count("coin_total") == 61
    bars = read(played.rows, "candle")
    assert len(bars) == 42
    assert {bar["interval"] for bar in bars} == {"4h"}


def test_a_snapshot_says_rank_and_caps_and_when(recordings: Path) -> None:
    played = replay("coingecko", recordings / "crypto/coingecko/coingecko_ruby_vcr_2021_a.jsonl.gz")
    row = next(row for row in read(played.rows, "coin") if row["source"] == "snapshot")
    assert (row["symbol"], row["ticker"], row["name"], row["rank"]) == ("bitcoin-USD", "BTC", "Bitcoin", 1)
    assert (row["price"], row["market_cap"], row["volume_24h"]) == (49053, 917825524991, 61679663434)
    assert row["exchange_us"] == 1_621_094_383_867_000
    total = next(row for row in read(played.rows, "coin_total") if row["currency"] == "USD")
    assert (total["coins"], total["markets"], total["change_24h"]) == (7362, 616, -0.9554088490358789)


def test_documented_answers_decode_where_their_address_tells_enough(recordings: Path) -> None:
    lines = (recordings / "crypto/coingecko/oas_examples_demo.jsonl").read_text().splitlines()
    documented = {entry["url"]: entry["body"].encode() for entry in map(json.loads, lines)}
    for url in ("/coins/markets", "/coins/{id}/market_chart", "/coins/{id}/ohlc"):
        with pytest.raises(DecodeError, match="does not say"):
            answer(url, documented[url])
    asked = {"/coins/markets": "vs_currency=usd", "/coins/{id}/market_chart": "vs_currency=usd&days=1",
             "/coins/{id}/ohlc": "vs_currency=usd&days=1", "/coins/list": "", "/global": ""}  # fmt: skip
    rows = Rows()
    decoder = VENUE.make_decoder(Scribe("coingecko", rows))
    for url, query in asked.items():
        assert answer(f"{url}?{query}", documented[url], decoder, 1_790_000_000 * 10**9)[2]
    listed = len(json.loads(documented["/coins/list"]))
    totals = len(json.loads(documented["/global"])["data"]["total_market_cap"])
    assert {kind: len(found) for kind, found in rows.plain.items()} == {
        "coin": 1 + 2 - 1, "candle": 2, "market": listed, "coin_total": totals,
    }  # fmt: skip


def test_a_bar_is_open_until_the_time_it_carries() -> None:
    now_ms = NOW_NS // 10**6
    bars = [[now_ms - 1_800_000, 1, 3, 0.5, 2], [now_ms, 2, 2, 2, 2], [now_ms + 1_800_000, 2, 9, 2, 8]]
    url = f"{ROOT}/coins/bitcoin/ohlc?vs_currency=usd&days=1"
    rows, decoder, is_data = answer(url, bars)
    found = read(rows, "candle")
    assert is_data
    assert [bar["is_closed"] for bar in found] == [True, True, False]
    assert [bar["exchange_us"] for bar in found] == [(now_ms - 1_800_000) * 1000, now_ms * 1000, None]
    assert found[1]["open_at"] == (now_ms - 1_800_000) * 1000
    # Half an hour later the open bar has closed; what is known is not told again.
    answer(url, [*bars[1:], [now_ms + 3_600_000, 8, 8, 8, 8]], decoder, NOW_NS + HOUR_NS // 2)
    again = read(rows, "candle")[3:]
    assert [(bar["open_at"] // 1000 - now_ms, bar["is_closed"]) for bar in again] == [(0, True), (1_800_000, False)]


@pytest.mark.parametrize(
    ("days", "given", "interval"),
    [("1", "", "30m"), ("7", "", "4h"), ("30", "", "4h"), ("90", "", "4d"), ("max", "", "4d"),
     ("7", "hourly", "1h"), ("30", "daily", "1d")],
)  # fmt: skip
def test_bars_are_as_long_as_their_span_says(days: str, given: str, interval: str) -> None:
    url = f"{ROOT}/coins/bitcoin/ohlc?vs_currency=usd&days={days}" + (f"&interval={given}" if given else "")
    rows, _, _ = answer(url, [[DAY_MS, 1, 1, 1, 1]])
    assert read(rows, "candle")[0]["interval"] == interval


def make_chart(*times: int) -> dict[str, list[list[float]]]:
    return {name: [[at, at + n] for at in times] for n, name in enumerate(("prices", "market_caps", "total_volumes"))}


def test_the_point_of_now_is_no_point_of_the_chart() -> None:
    url = f"{ROOT}/coins/bitcoin/market_chart?vs_currency=eur&days=365&interval=daily"
    rows, decoder, _ = answer(url, make_chart(DAY_MS, 2 * DAY_MS, 2 * DAY_MS + 5000))
    found = read(rows, "coin")
    assert [(row["exchange_us"] // 1000, row["interval"], row["symbol"]) for row in found] == [
        (DAY_MS, "1d", "bitcoin-EUR"), (2 * DAY_MS, "1d", "bitcoin-EUR"),
    ]  # fmt: skip
    assert (found[0]["price"], found[0]["market_cap"], found[0]["volume_24h"]) == (DAY_MS, DAY_MS + 1, DAY_MS + 2)
    answer(url, make_chart(2 * DAY_MS, 3 * DAY_MS, 3 * DAY_MS + 5000), decoder)
    assert [row["exchange_us"] // 1000 for row in read(rows, "coin")[2:]] == [3 * DAY_MS]


def test_a_chart_of_the_past_has_no_point_of_now_and_may_come_late() -> None:
    recent = f"{ROOT}/coins/bitcoin/market_chart?vs_currency=usd&days=2"
    rows, decoder, _ = answer(recent, make_chart(NOW_NS // 10**6 - 10, NOW_NS // 10**6))
    past = f"{ROOT}/coins/bitcoin/market_chart/range?vs_currency=usd&from=86400&to=864000"
    answer(past, make_chart(DAY_MS, 2 * DAY_MS, 3 * DAY_MS), decoder)
    assert [(row["interval"], row["exchange_us"] // 1000) for row in read(rows, "coin")[1:]] == [
        ("1h", DAY_MS), ("1h", 2 * DAY_MS), ("1h", 3 * DAY_MS),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"status": {"error_code": 429, "error_message": "too many"}}, 429, "too many"),
        ({"error": {"status": {"error_code": 10002, "error_message": "no key"}}}, 10002, "no key"),
        ({"error": "coin not found"}, None, "coin not found"),
        ({"status": 500, "error": "Internal Server Error"}, 500, "Internal Server Error"),
    ],
)
def test_a_complaint_is_heard_in_every_form_even_with_status_200(body: object, code: int | None, text: str) -> None:
    found = find_complaint(json.dumps(body).encode())
    assert found is not None
    assert (found.code, found.text, found.is_about_key) == (code, text, code == 10002)
    rows, _, is_data = answer(f"{ROOT}/coins/list", body)
    assert not is_data
    assert rows.plain["error"][0][6:8] == (code, text)


@pytest.mark.parametrize("body", [b"[]", b'{"data":{}}', b'{"status":{"error_code":0}}', b'{"error":5}', b""])
def test_what_is_no_complaint_is_none(body: bytes) -> None:
    assert find_complaint(body) is None


def test_what_is_not_kept_is_control_and_a_stream_is_refused() -> None:
    assert answer(f"{ROOT}/simple/price?ids=bitcoin", {"bitcoin": {"usd": 1}})[2] is False
    with pytest.raises(DecodeError, match="streams nothing"):
        VENUE.make_decoder(Scribe("coingecko", Rows())).open("rest", "x")
    with pytest.raises(DecodeError, match="neither a number nor max"):
        answer(f"{ROOT}/coins/bitcoin/ohlc?vs_currency=usd&days=few", [])


def test_what_is_asked_is_what_the_plan_has() -> None:
    demo, pro = PLANS["DEMO"], PLANS["PRO"]
    assert ask_bars(demo, "bitcoin", "usd", 10, "daily").url.endswith("/bitcoin/ohlc?vs_currency=usd&days=14")
    assert ask_bars(demo, "bitcoin", "usd", 999, "daily").url.endswith("days=365")
    assert ask_bars(pro, "bitcoin", "usd", 1, "hourly").url.endswith("days=1&interval=hourly")
    assert ask_chart(demo, "bitcoin", "usd", 1, "hourly").url.endswith("days=2")
    assert ask_chart(demo, "bitcoin", "usd", 1000, "daily").url.endswith("days=365&interval=daily")
    assert "page=3" in ask_ranks(pro, "usd", 3).url
    assert pro.credentials.sign is not None
    assert pro.credentials.sign({"PRO": "x"}, "GET", "", b"", 0) == {"x-cg-pro-api-key": "x"}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair)))))
def test_joined_spans_cover_the_same(spans: list[tuple[int, int]]) -> None:
    joined = join_spans(spans)
    for at in range(75):
        assert any(a <= at <= b for a, b in joined) == any(a <= at <= b for a, b in spans)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(joined))
