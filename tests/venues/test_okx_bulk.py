"""OKX's public files: which there are, what a name says, and their lines as rows."""

import msgspec
import pytest

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import load_venue
from truetape.venues._contract import Bulk, Stretch

OKX = load_venue("okx")
NOW_NS = 1_795_262_000_000_000_000
FILES = "https://static.okx.com/cdn/okex/traderecords"
ROOT = f"{FILES}/trades"
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
    with pytest.raises(LookupError, match=r"no files of quote \(allowed: trade, candle\)"):
        bulk.list_files("all", "quote", Stretch("BTC-USDT", at_us, at_us))


def test_whole_months_of_bars_are_one_file_or_their_days(bulk: Bulk) -> None:
    begin_us = 1_767_196_800_000_000  # 2026-01-01 in Hong Kong
    stretch = Stretch("BTC-USDT-SWAP", begin_us, begin_us + 33 * 86_400_000_000 - 1, interval="1m")
    month, *days = bulk.list_files("all", "candle", stretch)
    assert month.url == f"{FILES}/candlesticks/monthly/202601/BTC-USDT-SWAP-candlesticks-2026-01.zip"
    assert month.parts[30].url == f"{FILES}/candlesticks/daily/20260131/BTC-USDT-SWAP-candlesticks-2026-01-31.zip"
    assert (len(month.parts), [day.name[-14:-4] for day in days]) == (31, ["2026-02-01", "2026-02-02"])
    assert (month.from_us, month.to_us + 1, month.interval) == (begin_us, days[0].from_us, "1m")
    with pytest.raises(LookupError, match=r"no files of bars of 5m \(allowed: 1m\)"):
        bulk.list_files("all", "candle", Stretch("BTC-USDT", begin_us, begin_us, interval="5m"))


BARS = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"


@pytest.mark.parametrize(("symbol", "base"), [("BTC-USDT-SWAP", 12.5), ("BTC-USDT", 1250.0)])
def test_bars_are_those_of_the_api(bulk: Bulk, symbol: str, base: float) -> None:
    name = f"{symbol}-candlesticks-2026-05-18.zip"
    body = f"{BARS}\n{symbol},100,103,99,101.5,1250,12.5,1262.5,1779033600000,1\n".encode()
    bulk.check_lines(f"{FILES}/candlesticks/daily/20260518/{name}", body)
    rows, symbols = decode(name, body)
    (row,) = rows.plain["candle"]
    told = ("1m", 1_779_033_600_000_000, 100.0, 103.0, 99.0, 101.5, base, 1262.5, None, None, True)
    assert row[1:] == (None, NOW_NS, 7, *told)
    assert symbols[row[0]] == symbol.replace("SWAP", "PERP")


@pytest.mark.parametrize(
    "line",
    [
        "ETH-USDT,100,103,99,101,1,1,1,1779033600000,1",
        "BTC-USDT,100,103,99,,1,1,1,1779033600000,1",
        "BTC-USDT,100,103,99,101,1,1,1,,1",
        "BTC-USDT,100,103,99,101,1,1,1,1779033600000,2",
        "BTC-USDT,100,103,99,101,1,1,1,soon,1",
        "BTC-USDT,100,inf,99,101,1,1,1,1779033600000,1",
        "BTC-USDT,100,103,99,101,1,1,1779033600000,1",
    ],
)
def test_bars_of_another_form_are_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        decode("BTC-USDT-candlesticks-2026-05-18.zip", f"{BARS}\n{line}\n".encode())


def test_columns_of_trades_are_none_of_bars(bulk: Bulk) -> None:
    with pytest.raises(DecodeError, match="allowed: instrument_name,open,high"):
        bulk.check_lines(f"{FILES}/candlesticks/daily/20260518/BTC-USDT-candlesticks-2026-05-18.zip", HEADER.encode())


@pytest.mark.parametrize(
    ("path", "symbol", "place"),
    [
        ("x/BTC-USDT-SWAP-trades-2025-09-01.zip", "BTC-USDT-SWAP", "daily/20250901"),
        ("BTC-USD-250926-trades-2025-09.csv", "BTC-USD-250926", "monthly/202509"),
        ("BTC-USDT-candlesticks-2025-09.zip", "BTC-USDT", "candlesticks/monthly/202509"),
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
