"""Which markets Kalshi is asked for, and how its answers are read for following them."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from truetape.venues import load_venue
from truetape.venues._contract import Wanted
from truetape.venues.kalshi.series import (
    AHEAD_S,
    DISCOVERY,
    REST_URL,
    ask_urls,
    is_wanted,
    list_urls,
    name_windows,
    read_versions,
)

NOW_S = 1_777_470_301
WINDOW = "KXBTC15M-26APR130415-15"


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items() if name != "limit"}


def read(**changes: Any) -> Any:
    market = {
        "ticker": WINDOW,
        "event_ticker": "KXBTC15M-26APR130415",
        "status": "active",
        "open_time": "2026-04-13T08:00:00Z",
        "close_time": "2026-04-13T08:15:00Z",
        "floor_strike": 70000.5,
        **changes,
    }
    (version,), refused = read_versions(f"{REST_URL}/markets", json.dumps({"markets": [market]}).encode())
    assert refused == []
    return version


def test_series_are_listed_by_the_time_they_close() -> None:
    urls = list_urls(Wanted(series=("15m",), assets=("BTC", "XRP")), NOW_S)
    assert [query(url) for url in urls] == [
        {"series_ticker": f"KX{asset}15M", "min_close_ts": str(NOW_S), "max_close_ts": str(NOW_S + AHEAD_S)}
        for asset in ("BTC", "XRP")
    ]
    assert name_windows(Wanted(series=("15m",)), NOW_S) == ()
    assert DISCOVERY.list_s == 60


def test_filters_become_listings() -> None:
    assert [query(url) for url in list_urls(Wanted(tags=("KXFED",)), NOW_S)] == [
        {"series_ticker": "KXFED", "status": "open"},
        {"series_ticker": "KXFED", "status": "unopened"},
    ]
    urls = list_urls(Wanted(slugs=("KXFED-27",)), NOW_S)
    assert [query(url) for url in urls] == [{"tickers": "KXFED-27"}, {"event_ticker": "KXFED-27"}]


def test_categories_and_volume_are_told_by_events() -> None:
    nested = {"with_nested_markets": "true"}
    for wanted in (Wanted(categories=("Crypto",)), Wanted(volume_min=10.0)):
        urls = list_urls(wanted, NOW_S)
        assert [query(url) for url in urls] == [nested | {"status": "open"}, nested | {"status": "unopened"}]
        assert all(DISCOVERY.tells(url) for url in urls)
    both = list_urls(Wanted(categories=("Crypto",), tags=("KXFED",), status="closed"), NOW_S)
    assert [query(url)["series_ticker"] for url in both] == ["KXFED", "KXFED"]
    assert {urlsplit(url).path for url in both} == {urlsplit(f"{REST_URL}/events").path}


def test_an_event_gives_its_markets_their_category() -> None:
    market = {
        "ticker": "KXFED-27-T3", "event_ticker": "KXFED-27", "status": "active", "open_time": "2026-04-13T08:00:00Z",
        "close_time": "2027-04-13T08:15:00Z", "volume_fp": "1250.50",
    }  # fmt: skip
    event = {"event_ticker": "KXFED-27", "series_ticker": "KXFED", "category": "Economics", "markets": [market]}
    (version,), _ = read_versions(f"{REST_URL}/events", json.dumps({"events": [event], "cursor": ""}).encode())
    assert (version.category, version.volume, version.tags) == ("Economics", 1250.5, ("KXFED",))
    assert is_wanted(Wanted(categories=("Economics", "World"), volume_min=1250.5), version)
    assert not is_wanted(Wanted(categories=("Crypto",)), version)
    assert not is_wanted(Wanted(categories=("Economics",), volume_min=1251.0), version)
    assert not is_wanted(Wanted(volume_min=1.0), read())  # nobody said how much was traded


def test_thresholds_of_the_hour_are_a_series_without_a_window() -> None:
    (url,) = list_urls(Wanted(series=("1h",), assets=("BTC",)), NOW_S)
    assert query(url)["series_ticker"] == "KXBTCD"
    version = read(ticker="KXBTCD-26APR1305-T79499.99", event_ticker="KXBTCD-26APR1305", floor_strike=79499.99)
    assert (version.asset, version.series, version.opens_us) == ("BTC", "1h", None)
    assert is_wanted(Wanted(series=("1h",)), version)
    assert not is_wanted(Wanted(series=("15m",)), version)


def test_markets_are_asked_for_by_ticker() -> None:
    assert ask_urls(["A"]) == (((f"{REST_URL}/markets/A",), ("A",)),)
    batches = ask_urls([f"T{number}" for number in range(60)])
    assert [len(tickers) for _, tickers in batches] == [50, 10]
    assert query(batches[1][0][0])["tickers"].split(",") == list(batches[1][1])


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({}, "trading"),
        ({"status": "initialized"}, "trading"),
        ({"status": "closed"}, "closed"),
        ({"status": "determined", "result": "yes"}, "proposed"),
        ({"status": "disputed", "result": "yes"}, "disputed"),
        ({"status": "amended", "result": "no"}, "disputed"),
        ({"status": "finalized", "result": "no"}, "resolved"),
        ({"status": "finalized", "result": "scalar", "settlement_value_dollars": "0.3"}, "closed"),
    ],
)
def test_phases_are_the_venues_status(changes: dict[str, Any], phase: str) -> None:
    assert read(**changes).phase == phase


def test_a_final_market_has_payouts_and_prices() -> None:
    version = read(status="finalized", result="no", expiration_value="69999.1")
    assert (version.payouts, version.is_priced) == ({"Yes": 0.0, "No": 1.0}, True)
    assert {name: one.venue_symbol for name, one in version.instruments.items()} == {
        "Yes": f"{WINDOW}:Yes",
        "No": f"{WINDOW}:No",
    }
    assert (version.ends_us - version.opens_us, version.asset, version.series) == (900 * 10**6, "BTC", "15m")
    other = read(ticker="KXFED-27-T3", event_ticker="KXFED-27")
    assert (other.opens_us, other.series) == (None, "")


def test_what_is_wanted_is_of_a_series_or_passes_all_filters() -> None:
    version = read()
    assert is_wanted(Wanted(series=("15m",), assets=("BTC",)), version)
    assert not is_wanted(Wanted(series=("15m",), assets=("ETH",)), version)
    assert is_wanted(Wanted(tags=("KXBTC15M",), ids=(WINDOW,), slugs=("KXBTC15M-26APR130415",)), version)
    assert not is_wanted(Wanted(tags=("KXBTC15M",), status="closed"), version)


def test_the_venue_declares_all_of_it() -> None:
    assert load_venue("kalshi").discovery is DISCOVERY
    assert DISCOVERY.tells(f"{REST_URL}/markets/{WINDOW}")
    assert not DISCOVERY.tells(f"{REST_URL}/markets/{WINDOW}/orderbook")
