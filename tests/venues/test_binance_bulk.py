"""Binance's public files: which there are, what a name says, and their lines as rows."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import load_venue
from truetape.venues._contract import Bulk, Stretch

BINANCE = load_venue("binance")
NOW_NS = 1_795_262_000_000_000_000
ROOT = "https://data.binance.vision/data"


@pytest.fixture
def bulk() -> Bulk:
    assert BINANCE.bulk is not None
    return BINANCE.bulk


def to_us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def decode(path: str, text: str) -> tuple[Rows, dict[int, str]]:
    rows = Rows()
    decoder = BINANCE.make_decoder(Scribe("binance", rows))
    response = Response("spot", "binance/backfill", f"{ROOT}/{path}", 200, text.encode(), NOW_NS, 7)
    assert decoder.respond(response)
    return rows, {stream.index: stream.symbol for stream in rows.streams}


@pytest.mark.parametrize(
    ("path", "time", "at_us"),
    [
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "1735689600010866", 1735689600010866),
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-12-31.zip", "1735689599999", 1735689599999000),
    ],
)
def test_trades_of_spot_count_microseconds_since_2025(path: str, time: str, at_us: int) -> None:
    rows, symbols = decode(path, f"51175358,17.80180000,5.69000000,101.29224200,{time},True,True\n")
    (row,) = rows.trades
    assert row[1:] == (at_us, NOW_NS, 7, 51175358, None, "sell", 17.8018, 5.69, None, None)
    assert symbols[row[0]] == "BTC-USDT"


def test_trades_of_futures_have_a_header_and_contracts() -> None:
    text = "id,price,qty,base_qty,time,is_buyer_maker\n28457,9635.0,2,0.02,1591250192508,false\n"
    rows, symbols = decode("futures/cm/daily/trades/BTCUSD_PERP/BTCUSD_PERP-trades-2020-06-04.zip", text)
    (row,) = rows.trades
    assert row[6:] == ("buy", 9635.0, pytest.approx(200 / 9635), 2, None)
    assert symbols[row[0]] == "BTC-USD-PERP"


def test_aggregates_are_a_stream_of_their_own() -> None:
    text = "26129,0.01633102,4.70443515,27781,27782,1498793709153,true,True\n"
    rows, _ = decode("spot/monthly/aggTrades/ETHBTC/ETHBTC-aggTrades-2017-06.zip", text)
    assert rows.trades[0][4:] == (26129, None, "sell", 0.01633102, 4.70443515, None, "aggregate")
    assert [stream.market for stream in rows.streams] == ["spot-aggregate"]


def test_bars_funding_quotes_and_open_interest() -> None:
    bar = "1735689600000000,1,3,0.5,2,10,1735689659999999,20,5,4,8,0\n"
    rows, _ = decode("spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip", bar)
    assert rows.plain["candle"][0][4:] == ("1m", 1735689600000000, 1, 3, 0.5, 2, 10, 20, 4, 5, True)
    rows, _ = decode("spot/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2025-01.zip", bar)
    assert rows.plain["candle"][0][4] == "1M"
    charge = "calc_time,funding_interval_hours,last_funding_rate\n1704067200001,8,-0.0001\n"
    rows, _ = decode("futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-01.zip", charge)
    assert rows.plain["funding"][0][4:] == (-0.0001, 1704067200001000, 8, True)
    quote = (
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
        "3,0,0,42000.5,1.5,1704067200005,1704067200009\n"
    )
    rows, _ = decode("futures/um/daily/bookTicker/BTCUSDT/BTCUSDT-bookTicker-2024-01-01.zip", quote)
    assert rows.quotes[0][1] == 1704067200005000
    assert rows.quotes[0][4:] == (None, None, 42000.5, 1.5, 3)
    metric = (
        "create_time,symbol,sum_open_interest,sum_open_interest_value,a,b,c,d\n"
        "2024-01-01 00:05:00,BTCUSDT,98666.163,2236289208.1,,1.1,0.8,0.9\n"
    )
    rows, _ = decode("futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2024-01-01.zip", metric)
    (row,) = rows.plain["derivative"]
    assert (row[1], row[7], row[8]) == (1704067500000000, 98666.163, None)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "1,2,3,4,5,true\n"),
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "1,nan,3,4,5,True,True\n"),
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "1,2,3,4,5,maybe,True\n"),
        ("futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "1,2,3,4,5,true,true\n"),
        ("futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2024-01-01.zip", "noon,BTCUSDT,1,2,3,4,5,6\n"),
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "1,é\n"),
        ("spot/daily/depths/BTCUSDT/BTCUSDT-depths-2025-01-01.zip", ""),
        ("options/daily/trades/BTC/BTC-trades-2025-01-01.zip", "1\n"),
    ],
)
def test_lines_of_another_form_are_refused(bulk: Bulk, path: str, text: str) -> None:
    with pytest.raises((msgspec.DecodeError, DecodeError)):
        bulk.check_lines(f"{ROOT}/{path}", text.encode())
        decode(path, text)


def test_whole_months_are_asked_for_as_such(bulk: Bulk) -> None:
    stretch = Stretch("BTCUSDT", to_us("2025-01-30"), to_us("2025-03-03"), interval="1m")
    files = bulk.list_files("spot", "candle", stretch)
    assert [file.name for file in files] == [
        "BTCUSDT-1m-2025-01-30.zip", "BTCUSDT-1m-2025-01-31.zip", "BTCUSDT-1m-2025-02.zip",
        "BTCUSDT-1m-2025-03-01.zip", "BTCUSDT-1m-2025-03-02.zip", "BTCUSDT-1m-2025-03-03.zip",
    ]  # fmt: skip
    assert len(files[2].parts) == 28
    assert files[2].url == f"{ROOT}/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02.zip"
    assert (files[2].from_us, files[2].to_us) == (to_us("2025-02-01"), to_us("2025-03-01") - 1)
    funding = bulk.list_files("usdm", "funding", stretch)
    assert [file.name for file in funding] == [f"BTCUSDT-fundingRate-2025-0{n}.zip" for n in (1, 2, 3)]
    with pytest.raises(LookupError, match="allowed: trade, aggregate_trade, candle"):
        bulk.list_files("spot", "funding", stretch)


@pytest.mark.parametrize(
    ("path", "market", "found"),
    [
        ("/a/data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip", "", ("spot", "trade", "")),
        ("BTCUSDT-5m-2025-01.csv", "usdm", ("usdm", "candle", "5m")),
        ("BTCUSD_PERP-aggTrades-2025-01-01.zip", "", ("coinm", "aggregate_trade", "")),
        ("ETHUSDT-metrics-2025-01-01.zip", "", ("usdm", "open_interest", "")),
    ],
)
def test_a_name_tells_what_a_file_is(bulk: Bulk, path: str, market: str, found: Any) -> None:
    file = bulk.read_path(path, market)
    assert (file.backfill.market, file.backfill.channel, file.interval) == found


@pytest.mark.parametrize(
    ("path", "market", "why"),
    [
        ("BTCUSDT-trades-2025-01-01.zip", "", "name it with --feed"),
        ("BTCUSDT-fundingRate-2025-01.zip", "spot", "name it with --feed"),
        ("BTCUSDT-fundingRate-2025-01-01.zip", "usdm", "monthly only"),
        ("BTCUSDT-nonsense-2025-01-01.zip", "spot", "no kind of file"),
        ("BTCUSDT-trades-2025-13-01.zip", "spot", "is no day"),
        ("holiday.zip", "spot", "not a name"),
    ],
)
def test_a_name_that_says_too_little_is_refused(bulk: Bulk, path: str, market: str, why: str) -> None:
    with pytest.raises(LookupError, match=why):
        bulk.read_path(path, market)
