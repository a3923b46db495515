"""OKX's public files: which there are, what a name says, and their lines as rows."""

import msgspec
import pytest

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import load_venue
from truetape.venues._contract import Bulk, Stretch

OKX = load_venue("okx")
NOW_NS = 1_795_262_000_000_000_000
ROOT = "https://static.okx.com/cdn/okex/traderecords/trades"
HEADER = "instrument_name,trade_id,side,price,size,created_time"
OLD = "trade_id/交易id,side/交易方向,size/数量,price/价格,created_time/成交时间"


@pytest.fixture
def bulk() -> Bulk:
    assert OKX.bulk is not None
    return OKX.bulk


def decode(name: str, body: bytes) -> tuple[Rows, dict[int, str]]:
    rows = Rows()
    decoder = OKX.make_decoder(Scribe("okx", rows))
    url = f"{ROOT}/daily/20250601/{name}"
    assert decoder.respond(Response("public", "okx/backfill", url, 200, body, NOW_NS, 7))
    return rows, {stream.index: stream.symbol for stream in rows.streams}


@pytest.mark.parametrize("tail", [("", ""), (",source", ",0")])
def test_contracts_become_coins(tail: tuple[str, str]) -> None:
    text = f"{HEADER}{tail[0]}\r\nBTC-USDT-SWAP,1566502282,sell,104503.0,30.14,1748707200008{tail[1]}\r\n"
    rows, symbols = decode("BTC-USDT-SWAP-trades-2025-06-01.zip", text.encode())
    (row,) = rows.trades
    told = (1_748_707_200_008_000, NOW_NS, 7, 1566502282, None, "sell", 104503.0, pytest.approx(0.3014), 30.14, None)
    assert row[1:] == told
    assert symbols[row[0]] == "BTC-USDT-PERP"


@pytest.mark.parametrize("encoding", ["gbk", "utf-8", "utf-8-sig"])
def test_older_files_have_the_size_first_and_chinese_words(bulk: Bulk, encoding: str) -> None:
    body = f"{OLD}\n719977054,buy,0.00527188,84760.0,1745034103856\n".encode(encoding)
    bulk.check_lines(f"{ROOT}/daily/20250419/BTC-USDT-trades-2025-04-19.zip", body)
    (row,) = decode("BTC-USDT-trades-2025-04-19.zip", body)[0].trades
    assert row[4:10] == (719977054, None, "buy", 84760.0, 0.00527188, None)


def test_numbers_may_have_exponents() -> None:
    (row,) = decode("BTC-USDT-trades-2025-06-01.zip", b"BTC-USDT,747835547,buy,104554.2,1.912e-05,1748707200531\n")[
        0
    ].trades
    assert row[8] == 1.912e-05


@pytest.mark.parametrize(
    "text",
    [
        "ETH-USDT,1,buy,1,1,1748707200531\n",
        "BTC-USDT,1,BUY,1,1,1748707200531\n",
        "BTC-USDT,1.5,buy,1,1,1748707200531\n",
        "BTC-USDT,1,buy,1,inf,1748707200531\n",
        "BTC-USDT,1,buy\n",
        "BTC-USDT,1,buy,1,1,1748707200531\n1,buy,1,1,1748707200531\n",
        "é\n",
    ],
)
def test_lines_of_another_form_are_refused(text: str) -> None:
    with pytest.raises((DecodeError, msgspec.ValidationError)):
        decode("BTC-USDT-trades-2025-06-01.zip", text.encode())


@pytest.mark.parametrize(
    "header", ["instrument_name,trade_id,side,size,price,created_time", "", "1,buy,1,1,1748707200531"]
)
def test_columns_that_nobody_knows_are_refused(bulk: Bulk, header: str) -> None:
    with pytest.raises(DecodeError, match="its columns are"):
        bulk.check_lines(f"{ROOT}/daily/20250601/BTC-USDT-trades-2025-06-01.zip", f"{header}\n".encode())


def test_days_begin_in_hong_kong(bulk: Bulk) -> None:
    at_us = 1_767_225_600_000_000  # 2026-01-01 in UTC
    early, late = (
        bulk.list_files("all", "trade", Stretch("BTC-USDT", at, at)) for at in (at_us - 1, at_us + 16 * 3_600_000_000)
    )
    assert early[0].url == f"{ROOT}/daily/20260101/BTC-USDT-trades-2026-01-01.zip"
    assert [file.name for file in late] == ["BTC-USDT-trades-2026-01-02.zip"]
    assert (early[0].from_us, late[0].from_us) == (at_us - 8 * 3_600_000_000, at_us + 16 * 3_600_000_000)
    with pytest.raises(LookupError, match=r"no files of candle \(allowed: trade\)"):
        bulk.list_files("all", "candle", Stretch("BTC-USDT", at_us, at_us))


@pytest.mark.parametrize(
    ("path", "symbol", "place"),
    [
        ("x/BTC-USDT-SWAP-trades-2025-09-01.zip", "BTC-USDT-SWAP", "daily/20250901"),
        ("BTC-USD-250926-trades-2025-09.csv", "BTC-USD-250926", "monthly/202509"),
    ],
)
def test_a_name_tells_what_a_file_is(bulk: Bulk, path: str, symbol: str, place: str) -> None:
    file = bulk.read_path(path, "")
    assert (file.venue_symbol, f"/{place}/" in file.url) == (symbol, True)


@pytest.mark.parametrize(
    ("path", "market", "why"),
    [
        ("BTC-USDT-SWAP-aggtrades-2025-09-01.zip", "", "not a name"),
        ("BTC-USDT-trades-2025-02-30.zip", "", "is no day"),
        ("BTC-USDT-trades-2025-02-03.zip", "spot", "market 'spot'"),
    ],
)
def test_a_name_that_says_too_little_is_refused(bulk: Bulk, path: str, market: str, why: str) -> None:
    with pytest.raises(LookupError, match=why):
        bulk.read_path(path, market)
