"""Bybit's public files: which there are, what a name says, and their lines as rows."""

import msgspec
import pytest

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import load_venue
from truetape.venues._contract import Bulk, Stretch

BYBIT = load_venue("bybit")
NOW_NS = 1_795_262_000_000_000_000
ROOT = "https://public.bybit.com"
CONTRACTS = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
UUID = "7df520b4-f4a1-5eb9-86c2-3ac7ebac1832"


@pytest.fixture
def bulk() -> Bulk:
    assert BYBIT.bulk is not None
    return BYBIT.bulk


def decode(feed: str, path: str, text: str) -> tuple[Rows, dict[int, str]]:
    rows = Rows()
    decoder = BYBIT.make_decoder(Scribe("bybit", rows))
    assert decoder.respond(Response(feed, "bybit/backfill", f"{ROOT}/{path}", 200, text.encode(), NOW_NS, 7))
    return rows, {stream.index: stream.symbol for stream in rows.streams}


def test_linear_contracts_have_the_ids_of_the_stream_and_finer_times() -> None:
    text = f"{CONTRACTS},RPI\n1767225600.6864,SOLUSDT,Buy,0.2,124.650,PlusTick,{UUID},2.493e+09,0.2,24.93,1\n"
    rows, symbols = decode("linear", "trading/SOLUSDT/SOLUSDT2026-01-01.csv.gz", text)
    (row,) = rows.trades
    assert row[1:] == (1_767_225_600_686_400, NOW_NS, 7, None, UUID, "buy", 124.65, 0.2, None, "rpi")
    assert symbols[row[0]] == "SOL-USDT-PERP"


def test_inverse_contracts_are_dollars_and_old_times_whole_seconds() -> None:
    text = f"1668728606,BTCUSD,Sell,611,16661.00,ZeroMinusTick,{UUID},3.6e+06,611,0.0366\n"
    rows, symbols = decode("inverse", "trading/BTCUSD/BTCUSD2022-11-17.csv.gz", text)
    (row,) = rows.trades
    assert (row[1], *row[6:]) == (1_668_728_606_000_000, "sell", 16661.0, pytest.approx(611 / 16661), 611, None)
    assert symbols[row[0]] == "BTC-USD-PERP"


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("id,timestamp,price,volume,side,rpi\n1,1767225600884,124.67,0.1,buy,0\n", None),
        ("id,timestamp,price,volume,side\n1,1767225600884,124.67,0.1,buy\n", None),
        ("1,1767225600884,124.67,0.1,buy,1\n", "rpi"),
    ],
)
def test_spot_numbers_the_lines_of_a_file(text: str, flag: str | None) -> None:
    rows, _ = decode("spot", "spot/SOLUSDT/SOLUSDT_2026-01-01.csv.gz", text)
    (row,) = rows.trades
    assert row[1:] == (1_767_225_600_884_000, NOW_NS, 7, None, "2026-01-01/1", "buy", 124.67, 0.1, None, flag)


@pytest.mark.parametrize(
    ("feed", "path", "text"),
    [
        ("linear", "trading/SOLUSDT/SOLUSDT2026-01-01.csv.gz", f"1767225600,BTCUSDT,Buy,1,2,PlusTick,{UUID},1,1,1\n"),
        ("linear", "trading/SOLUSDT/SOLUSDT2026-01-01.csv.gz", f"1.7e9,SOLUSDT,Buy,1,2,PlusTick,{UUID},1,1,1\n"),
        ("linear", "trading/SOLUSDT/SOLUSDT2026-01-01.csv.gz", f"1767225600,SOLUSDT,buy,1,2,PlusTick,{UUID},1,1,1\n"),
        ("linear", "trading/SOLUSDT/SOLUSDT2026-01-01.csv.gz", "1767225600,SOLUSDT\n"),
        ("spot", "spot/SOLUSDT/SOLUSDT_2026-01-01.csv.gz", "1,1767225600884,124.67,nan,buy\n"),
        ("spot", "spot/SOLUSDT/SOLUSDT_2026-01-01.csv.gz", "1,1767225600884,124.67,1,Buy\n"),
    ],
)
def test_lines_of_another_form_are_refused(feed: str, path: str, text: str) -> None:
    with pytest.raises((DecodeError, msgspec.ValidationError)):
        decode(feed, path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("trading/SOLUSDT/SOLUSDT2026-01-01.csv.gz", "id,timestamp,price,volume,side\n"),
        ("spot/SOLUSDT/SOLUSDT_2026-01-01.csv.gz", f"{CONTRACTS}\n"),
        ("spot/SOLUSDT/SOLUSDT_2026-01-01.csv.gz", "1,1767225600884,124.67,0.1,buy\n"),
        ("spot/SOLUSDT/SOLUSDT_2026-01-01.csv.gz", ""),
    ],
)
def test_columns_that_nobody_knows_are_refused(bulk: Bulk, path: str, text: str) -> None:
    with pytest.raises(DecodeError, match="its columns are"):
        bulk.check_lines(f"{ROOT}/{path}", text.encode())


def test_spot_is_asked_for_by_the_month_and_then_by_its_days(bulk: Bulk) -> None:
    stretch = Stretch("BTCUSDT", 1_767_139_200_000_000, 1_767_312_000_000_000)  # 2025-12-31 to 2026-01-02
    months = bulk.list_files("spot", "trade", stretch)
    assert [file.name for file in months] == ["BTCUSDT-2025-12.csv.gz", "BTCUSDT-2026-01.csv.gz"]
    assert [part.name for part in months[1].parts] == ["BTCUSDT_2026-01-01.csv.gz", "BTCUSDT_2026-01-02.csv.gz"]
    days = bulk.list_files("linear", "trade", stretch)
    assert days[0].url == f"{ROOT}/trading/BTCUSDT/BTCUSDT2025-12-31.csv.gz"
    assert (len(days), days[0].to_us - days[0].from_us) == (3, 86_400_000_000 - 1)
    with pytest.raises(LookupError, match="no files of option trade"):
        bulk.list_files("option", "trade", stretch)


@pytest.mark.parametrize(
    ("path", "market", "found"),
    [
        ("x/BTCUSDT2025-01-01.csv.gz", "", ("linear", "BTCUSDT")),
        ("x/BTCUSD2025-01-01.csv", "", ("inverse", "BTCUSD")),
        ("x/BTCUSDH242024-01-01.csv.gz", "", ("inverse", "BTCUSDH24")),
        ("x/BTC-14MAR252025-03-01.csv.gz", "", ("linear", "BTC-14MAR25")),
        ("x/BTCUSD2025-01-01.csv.gz", "linear", ("linear", "BTCUSD")),
        ("BTCUSDT_2025-01-01.csv.gz", "", ("spot", "BTCUSDT")),
        ("BTCUSDT-2022-11.csv.gz", "", ("spot", "BTCUSDT")),
    ],
)
def test_a_name_tells_what_a_file_is(bulk: Bulk, path: str, market: str, found: tuple[str, str]) -> None:
    file = bulk.read_path(path, market)
    assert (file.backfill.market, file.venue_symbol) == found


@pytest.mark.parametrize(
    ("path", "market", "why"),
    [
        ("BTCUSDT.csv.gz", "", "not a name"),
        ("BTCUSDT2025-02-30.csv.gz", "", "is no day"),
        ("BTCUSDT2025-01-01.csv.gz", "spot", "of a file of contracts"),
    ],
)
def test_a_name_that_says_too_little_is_refused(bulk: Bulk, path: str, market: str, why: str) -> None:
    with pytest.raises(LookupError, match=why):
        bulk.read_path(path, market)
