"""How the past is asked for: what holds of every venue, and the pages of each."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from truetape.errors import DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.venues import list_venues, load_venue
from truetape.venues._contract import Backfill, Stretch

ALL = [(name, one) for name in list_venues() for one in load_venue(name).backfills]
NAMES = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT", "deribit": "BTC-PERPETUAL", "coinbase": "BTC-USD",
         "kraken": "BTC/USD"}  # fmt: skip
START_US = 1_795_262_000_000_000
MINUTE_US = 60_000_000


def find(venue: str, channel: str, market: str) -> Backfill:
    return next(one for name, one in ALL if (name, one.channel, one.market) == (venue, channel, market))


def stretch(venue: str, **more: Any) -> Stretch:
    return Stretch(**{
        "venue_symbol": NAMES[venue], "from_us": START_US, "to_us": START_US + 600 * MINUTE_US, "interval": "1m", **more
    })  # fmt: skip


def query(url: str | None) -> dict[str, str]:
    assert url is not None
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize(("venue", "backfill"), ALL, ids=lambda one: one if isinstance(one, str) else one.channel)
@pytest.mark.parametrize("ids", [{}, {"low": 5, "high": 9}, {"high": 9}, {"low": 5}], ids=str)
def test_every_first_page_has_an_address(venue: str, backfill: Backfill, ids: dict[str, int]) -> None:
    name = {"coinm": "BTCUSD_PERP", "futures": "PI_XBTUSD"}.get(backfill.market, NAMES[venue])
    wanted = stretch(venue, venue_symbol=name, interval="5m", **ids)
    url = backfill.begin(wanted)
    assert url.startswith("https://")
    assert ("PI_XBTUSD" if backfill.market == "futures" else "XBTUSD" if venue == "kraken" else name[:6]) in url
    assert not backfill.intervals or "5m" in backfill.intervals
    assert "None" not in url
    known = load_venue(venue)
    assert backfill.feed in {feed.name for feed in known.feeds}
    assert backfill.market in {feed.market for feed in known.feeds}
    with pytest.raises((DecodeError, ValueError)):
        backfill.follow(wanted, url, b"<html>")


def tell(count: int, first: int = 100, step_ms: int = 1000) -> list[dict[str, Any]]:
    return [{"id": first + n, "time": START_US // 1000 + n * step_ms} for n in range(count)]


def test_binance_asks_trades_by_id_forward_backward_and_by_time() -> None:
    one, wanted = find("binance", "trade", "spot"), stretch("binance", low=101, high=1500)
    first = one.begin(wanted)
    assert query(first)["fromId"] == "100"
    second = one.follow(wanted, first, json.dumps(tell(1000)).encode())
    assert query(second)["fromId"] == "1100"
    assert one.follow(wanted, second or "", json.dumps(tell(1000, 1100)).encode()) is None
    back = stretch("binance", high=5000)
    first = one.begin(back)
    assert query(first)["fromId"] == "4001"
    older = one.follow(back, first, json.dumps(tell(1000, 4001)).encode())
    assert query(older)["fromId"] == "3001"
    assert one.follow(back, older or "", json.dumps(tell(1000, 3500)).encode()) is None  # nothing older is told
    seek = one.begin(stretch("binance"))
    assert urlsplit(seek).path == "/api/v3/aggTrades"
    later = one.follow(stretch("binance"), seek, b"[]")
    assert int(query(later)["startTime"]) == int(query(seek)["endTime"]) + 1
    found = one.follow(stretch("binance"), seek, json.dumps([{"a": 1, "f": 77, "T": START_US // 1000}]).encode())
    assert query(found)["fromId"] == "76"


def test_okx_asks_backwards_from_the_row_after() -> None:
    one, wanted = find("okx", "trade", "all"), stretch("okx", low=101, high=500)
    first = one.begin(wanted)
    assert query(first)["after"] == "502"
    rows = [{"tradeId": str(n), "ts": str(START_US // 1000)} for n in range(501, 401, -1)]
    second = one.follow(wanted, first, json.dumps({"code": "0", "data": rows}).encode())
    assert query(second)["after"] == "402"
    rows = [{"tradeId": "99", "ts": str(START_US // 1000)}]
    assert one.follow(wanted, second or "", json.dumps({"code": "0", "data": rows}).encode()) is None
    with pytest.raises(LookupError, match="51001: Instrument ID"):
        one.follow(wanted, first, json.dumps({"code": "51001", "msg": "Instrument ID does not exist"}).encode())
    with pytest.raises(DecodeError, match="50011"):
        one.follow(wanted, first, json.dumps({"code": "50011", "msg": "Too Many Requests"}).encode())


def test_bybit_tells_its_newest_trades_and_pages_of_bars() -> None:
    trades, bars = find("bybit", "trade", "linear"), find("bybit", "candle", "linear")
    body = {"retCode": 0, "result": {"list": [[str(START_US // 1000 + n * 60_000)] for n in range(1000, 0, -1)]}}
    assert trades.follow(stretch("bybit"), "", json.dumps(body).encode()) is None
    following = bars.follow(stretch("bybit"), bars.begin(stretch("bybit")), json.dumps(body).encode())
    assert int(query(following)["end"]) == START_US // 1000 + 60_000 - 1
    with pytest.raises(LookupError, match="symbol invalid"):
        trades.follow(stretch("bybit"), "", b'{"retCode": 10001, "retMsg": "symbol invalid"}')


def test_deribit_goes_on_where_a_page_ends() -> None:
    one, wanted = (
        find("deribit", "trade", load_venue("deribit").feeds[0].market),
        stretch("deribit", low=101, high=5000),
    )
    first = one.begin(wanted)
    assert (query(first)["start_seq"], query(first)["end_seq"]) == ("100", "5001")
    told = {"result": {"trades": [{"trade_seq": 1099, "timestamp": START_US // 1000}], "has_more": True}}
    assert query(one.follow(wanted, first, json.dumps(told).encode()))["start_seq"] == "1100"
    bars = find("deribit", "candle", one.market)
    long = stretch("deribit", to_us=START_US + 6000 * MINUTE_US)
    second = bars.follow(long, bars.begin(long), b'{"result": {"ticks": []}}')
    assert query(second)["end_timestamp"] == str(long.to_us // 1000)
    assert bars.follow(long, second or "", b'{"result": {"ticks": []}}') is None


def test_coinbase_asks_by_id_and_by_time() -> None:
    exchange, advanced = find("coinbase", "trade", "exchange"), find("coinbase", "trade", "spot")
    wanted = stretch("coinbase", low=101, high=5000)
    rows = [{"trade_id": 5001 - n, "time": "2026-11-21T12:13:20.5Z"} for n in range(1000)]
    assert query(exchange.begin(wanted))["after"] == "5002"
    assert query(exchange.follow(wanted, exchange.begin(wanted), json.dumps(rows).encode()))["after"] == "4002"
    following = advanced.follow(wanted, advanced.begin(wanted), json.dumps({"trades": rows}).encode())
    assert query(following)["end"] == "1795263201"


def decode(venue: str, feed: str, url: str, body: Any) -> Rows:
    rows = Rows()
    decoder = load_venue(venue).make_decoder(Scribe(venue, rows))
    assert decoder.respond(Response(feed, f"{venue}/backfill", url, 200, json.dumps(body).encode(), 10**18, 7))
    return rows


def test_deribits_and_coinbases_past_decode() -> None:
    bars = {"ticks": [60_000], "open": [1.0], "high": [3.0], "low": [0.5], "close": [2.0], "volume": [4.0], "cost": [8.0],
            "status": "ok"}  # fmt: skip
    url = "https://www.deribit.com/api/v2/public/get_tradingview_chart_data?instrument_name=BTC-PERPETUAL&resolution="
    (row,) = decode("deribit", "public", url + "60", {"result": bars}).plain["candle"]
    assert row[4:] == ("1h", 60_000_000, 1.0, 3.0, 0.5, 2.0, 4.0, 8.0, None, None, None)
    with pytest.raises(DecodeError, match="resolution '7'"):
        decode("deribit", "public", url + "7", {"result": bars})
    trade = {"trade_id": 9, "price": "2", "size": "3", "side": "buy", "time": "2026-11-21T12:13:20.5Z"}
    url = "https://api.exchange.coinbase.com/products/BTC-USD/trades?after=10"
    (row,) = decode("coinbase", "exchange", url, [trade]).trades
    assert row[4:9] == (9, None, "sell", 2.0, 3.0)  # the side is the maker's
    url = "https://api.coinbase.com/api/v3/brokerage/market/products/BTC-USD/ticker?limit=10"
    (row,) = decode("coinbase", "advanced", url, {"trades": [trade | {"trade_id": "9", "side": "SELL"}]}).trades
    assert row[4:9] == (9, None, "buy", 2.0, 3.0)


def test_kraken_goes_on_from_the_last_trade() -> None:
    one, wanted = find("kraken", "trade", load_venue("kraken").backfills[0].market), stretch("kraken", low=5, high=2000)
    first = one.begin(wanted)
    assert (query(first)["pair"], query(first)["since"]) == ("XBTUSD", str((START_US - MINUTE_US) * 1000))
    rows = [["1.5", "0.2", START_US / 1e6 + n, "b", "l", "", 1000 + n] for n in range(1000)]
    second = one.follow(wanted, first, json.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": "77"}}).encode())
    assert query(second)["since"] == "77"
    rows[-1][-1] = 2001
    body = {"error": [], "result": {"XXBTZUSD": rows, "last": "88"}}
    assert one.follow(wanted, second or "", json.dumps(body).encode()) is None
    with pytest.raises(LookupError, match="Unknown asset pair"):
        one.follow(wanted, first, b'{"error": ["EQuery:Unknown asset pair"]}')


def test_krakens_past_decodes_where_a_listing_names_the_pair() -> None:
    rows = Rows()
    scribe, venue = Scribe("kraken", rows), load_venue("kraken")
    market = venue.backfills[0].market
    url = "https://api.kraken.com/0/public/Trades?pair=XBTUSD&since=1"
    body = {
        "error": [],
        "result": {"XXBTZUSD": [["30243.4", "0.5", 1688669597.8277369, "b", "m", "", 61]], "last": "9"},
    }
    response = Response(market, "kraken/backfill", url, 200, json.dumps(body).encode(), 10**18, 7)
    with pytest.raises(DecodeError, match="XBTUSD"):
        venue.make_decoder(scribe).respond(response)
    scribe.learn(venue.name_instrument(market, "BTC/USD"), 1, 1)
    assert venue.make_decoder(scribe).respond(response)
    (row,) = rows.trades
    assert row[1:] == (1_688_669_597_827_737, 10**18, 7, 61, None, "buy", 30243.4, 0.5, None, None)


@pytest.mark.parametrize(("market", "body"), [("spot", b'{"candles":[]}'), ("exchange", b"[]")])
def test_coinbase_asks_for_candles_stretch_by_stretch(market: str, body: bytes) -> None:
    one, wanted = find("coinbase", "candle", market), stretch("coinbase")
    pages = [one.begin(wanted)]
    while following := one.follow(wanted, pages[-1], body):
        pages.append(following)
    assert len(pages) == 3  # 601 bars, 300 a page, whether or not there are any
    assert len({query(page)["start"] for page in pages}) == 3
    assert {query(page)["granularity"] for page in pages} == {"ONE_MINUTE" if market == "spot" else "60"}
