"""Which markets Polymarket is asked for, and how its answers are read for following them."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from truetape.errors import DecodeError
from truetape.venues import load_venue
from truetape.venues._contract import Wanted
from truetape.venues.polymarket.market import Market
from truetape.venues.polymarket.series import (
    DISCOVERY,
    ask_urls,
    is_wanted,
    list_urls,
    make_version,
    name_windows,
    read_versions,
)

NOW_S = 1_777_470_301
URL = "https://gamma-api.polymarket.com/events/slug/x"


def query(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def make_event(slug: str = "btc-updown-15m-1777470300", **changes: Any) -> bytes:
    market = {
        "id": "12",
        "conditionId": "0xc",
        "slug": slug,
        "outcomes": '["Down", "Up"]',
        "outcomePrices": '["0", "1"]',
        "clobTokenIds": '["222", "111"]',
        "endDate": "2026-04-29T14:00:00Z",
        "active": True,
        **changes.pop("market", {}),
    }
    return json.dumps({"slug": slug, "version": "v1", "markets": [market], **changes}).encode()


def read(body: bytes) -> Any:
    (version,), refused = read_versions(URL, body)
    assert refused == []
    return version


def test_counted_windows_are_named_now_and_next() -> None:
    wanted = Wanted(series=("15m", "1h"), assets=("BTC", "ETH"))
    assert name_windows(wanted, NOW_S) == (
        ("btc-updown-15m-1777470300", 1777470300, 1777471200),
        ("btc-updown-15m-1777471200", 1777471200, 1777472100),
        ("eth-updown-15m-1777470300", 1777470300, 1777471200),
        ("eth-updown-15m-1777471200", 1777471200, 1777472100),
    )
    assert len(name_windows(Wanted(series=("5m",)), NOW_S)) == 2 * len(DISCOVERY.assets)


def test_other_series_are_listed_by_both_spellings_and_time() -> None:
    urls = list_urls(Wanted(series=("15m", "1h", "daily"), assets=("BTC", "XRP")), NOW_S)
    assert [query(url)["series_slug"][0] for url in urls] == [
        "btc-up-or-down-hourly", "bitcoin-up-or-down-hourly", "xrp-up-or-down-hourly",
        "btc-up-or-down-daily", "bitcoin-up-or-down-daily", "xrp-up-or-down-daily",
    ]  # fmt: skip
    assert query(urls[0])["end_date_min"] == ["2026-04-29T13:45:01Z"]
    assert query(urls[0])["end_date_max"] == ["2026-04-30T15:45:01Z"]


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (Wanted(tags=("up-or-down",), volume_min=5), ["tag_slug=up-or-down&closed=false&volume_min=5"]),
        (Wanted(categories=("Crypto",)), ["closed=false"]),
        (Wanted(volume_min=10, status="all"), ["closed=false&volume_min=10", "closed=true&volume_min=10"]),
        (Wanted(ids=("0xab", "12")), ["condition_ids=0xab&closed=false", "id=12&closed=false"]),
    ],
)
def test_filters_become_listings(wanted: Wanted, asked: list[str]) -> None:
    assert [urlsplit(url).query.removesuffix("&limit=100") for url in list_urls(wanted, NOW_S)] == asked


def test_a_slug_may_be_an_events_or_a_markets() -> None:
    urls = list_urls(Wanted(slugs=("who-wins",)), NOW_S)
    assert [urlsplit(url).path for url in urls] == ["/events/slug/who-wins", "/markets/slug/who-wins"]


def test_few_are_asked_for_one_by_one_and_many_in_batches() -> None:
    assert ask_urls(["a", "b"]) == (
        (("https://gamma-api.polymarket.com/events/slug/a",), ("a",)),
        (("https://gamma-api.polymarket.com/events/slug/b",), ("b",)),
    )
    batches = ask_urls([f"s{number}" for number in range(120)])
    assert [len(slugs) for _, slugs in batches] == [50, 50, 20]
    urls, slugs = batches[0]
    assert [query(url)["closed"] for url in urls] == [["false"], ["true"]]
    assert query(urls[0])["slug"] == list(slugs)
    assert max(len(url) for urls, _ in batches for url in urls) < 4000


def test_outcomes_are_told_by_name_and_phases_by_the_venues_word() -> None:
    version = read(make_event())
    assert {name: one.venue_symbol for name, one in version.instruments.items()} == {"Up": "111", "Down": "222"}
    assert (version.asset, version.series, version.phase, version.id) == ("BTC", "15m", "trading", "12")
    assert version.opens_us == version.ends_us - 900 * 10**6
    assert read(make_event(market={"umaResolutionStatus": "proposed"})).phase == "proposed"
    assert read(make_event(market={"umaResolutionStatus": "disputed", "closed": True})).phase == "disputed"
    assert read(make_event(market={"closed": True})).phase == "closed"
    done = read(make_event(market={"closed": True, "umaResolutionStatus": "resolved"}))
    assert (done.phase, done.payouts, done.is_priced) == ("resolved", {"Down": 0.0, "Up": 1.0}, False)
    near = {"closed": True, "umaResolutionStatus": "resolved", "outcomePrices": '["0.01", "0.99"]'}
    assert read(make_event(market=near)).phase == "closed"
    assert read(make_event(eventMetadata={"priceToBeat": 1, "finalPrice": 2})).is_priced


@pytest.mark.parametrize(
    ("slug", "series", "told"),
    [
        ("eth-updown-5m-1766993400", None, ("ETH", "5m")),
        ("btc-updown-4h-1777464000", None, ("BTC", "4h")),
        ("bitcoin-up-or-down-january-23-1pm-et", "btc-up-or-down-hourly", ("BTC", "1h")),
        ("solana-up-or-down-july-7-2026-12am-et", None, ("SOL", "1h")),
        ("bitcoin-up-or-down-on-january-23", None, ("BTC", "daily")),
        ("some-name", "solana-up-or-down-daily", ("SOL", "daily")),
        ("bitcoin-up-or-down-january-23", None, ("", "")),
        ("will-it-rain", "weather", ("", "")),
    ],
)
def test_series_and_asset_are_told_by_slug_or_series(slug: str, series: str | None, told: tuple[str, str]) -> None:
    version = make_version(Market(slug, "0xc", {}, {}, series=series))
    assert (version.asset, version.series) == told


def test_what_is_wanted_is_of_a_series_or_passes_all_filters() -> None:
    version = read(make_event(tags=[{"slug": "crypto"}], market={"volumeNum": 100.0, "category": "Crypto"}))
    assert is_wanted(Wanted(series=("15m",)), version)
    assert is_wanted(Wanted(series=("15m",), assets=("BTC",)), version)
    assert not is_wanted(Wanted(series=("15m",), assets=("ETH",)), version)
    assert not is_wanted(Wanted(series=("5m",)), version)
    assert is_wanted(Wanted(tags=("crypto", "x"), categories=("Crypto",), volume_min=100), version)
    assert not is_wanted(Wanted(tags=("crypto",), volume_min=101), version)
    assert not is_wanted(Wanted(tags=("crypto",), status="closed"), version)
    assert is_wanted(Wanted(ids=("0xc",), slugs=(version.slug,)), version)
    assert not is_wanted(Wanted(ids=("0xd",)), version)


def test_unknown_versions_are_refused_one_by_one() -> None:
    known, strange = json.loads(make_event("a")), json.loads(make_event("b", version="v9"))
    versions, refused = read_versions(URL, json.dumps({"events": [known, strange]}).encode())
    assert [version.slug for version in versions] == ["a"]
    assert "v9" in refused[0]
    assert read_versions(URL, json.dumps(strange).encode())[0] == []
    assert read_versions("https://gamma-api.polymarket.com/events?slug=a", b"[]") == ([], [])
    with pytest.raises(DecodeError):
        read_versions(URL, b'{"error": "no"}')


def test_recorded_markets_are_of_their_series(recordings: Path) -> None:
    found = set()
    for path in sorted((recordings / "prediction/gamma/vinayak_active_btc15m").glob("*.json")):
        market = json.loads(path.read_text())["raw_market"]
        version = read(json.dumps(market).encode())
        found.add((version.asset, version.series, sorted(version.instruments)[0]))
        assert version.ends_us - version.opens_us == 900 * 10**6
    assert found == {("BTC", "15m", "Down")}


def test_the_venue_declares_all_of_it() -> None:
    assert load_venue("polymarket").discovery is DISCOVERY
    assert DISCOVERY.tells(URL)
    assert not DISCOVERY.tells("https://clob.polymarket.com/book?token_id=1")
