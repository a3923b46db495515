"""Which markets there are, by their metadata."""

from pathlib import Path
from typing import Any

import pytest
from synthetic import at, write_rows

from truetape.transform.market import Desk


def version(slug: str, **other: Any) -> dict[str, Any]:
    seen = at(-1000)
    row = {
        "venue": "polymarket", "symbol": slug, "venue_symbol": slug, "received_at": seen, "available_at": seen,
        "tape_offset": 1, "slug": slug, "condition": f"c-{slug}", "outcomes": '{"Up":"1","Down":"2"}',
        "opens_at": at(0), "ends_at": at(900),
    }  # fmt: skip
    return row | other


def describe(lake: Path, *rows: dict[str, Any], underlying: str = "coinbase") -> list[dict[str, Any]]:
    write_rows(lake, "prediction_market", list(rows))
    (lake / "_build").mkdir()
    with Desk(lake, lake / "_build", underlying, "200MB", at(10_000)) as desk:
        found = desk.fingerprint_markets(frozenset(), is_whole=False)
        described: list[dict[str, Any]] = desk.describe_markets(list(found)).to_pylist()
        return described


@pytest.mark.parametrize(
    ("slug", "other", "asset"),
    [
        ("eth-updown-15m-1777470300", {}, "ETH"),
        ("bitcoin-up-or-down-april-29-2pm-et", {"ends_at": at(3600)}, "BTC"),
        ("whatever", {"resolution_source": "https://data.chain.link/streams/sol-usd-twap-60s-streams"}, "SOL"),
        ("KXBTC15M-26APR130415-15", {"outcomes": '{"Yes":"1","No":"2"}', "venue": "kalshi"}, "BTC"),
    ],
)
def test_an_asset_is_told_by_the_stream_or_the_name(lake: Path, slug: str, other: dict[str, Any], asset: str) -> None:
    (market,) = describe(lake, version(slug, **other))
    up = "Yes" if other.get("venue") == "kalshi" else "Up"
    assert (market["asset"], market["up_symbol"]) == (asset, f"{slug}:{up}")


def test_other_markets_are_none_of_ours(lake: Path) -> None:
    """Without a window, without an asset, with other outcomes."""
    rows = [
        version("btc-updown-15m-1", opens_at=None), version("who-will-win"),
        version("btc-updown-15m-2", outcomes='{"Red":"1","Blue":"2"}'),
        version("btc-updown-15m-3", ends_at=at(-5)),
    ]  # fmt: skip
    assert describe(lake, *rows) == []


def test_a_later_version_may_know_less(lake: Path) -> None:
    later = {"tape_offset": 2, "available_at": at(5), "opens_at": None, "ends_at": at(300)}
    (market,) = describe(lake, version("btc-updown-5m-1"), version("btc-updown-5m-1", **later))
    assert (market["duration_s"], market["series"], market["opens_us"]) == (300, "5m", round(at(0).timestamp() * 1e6))


def test_markets_that_follow_each_other_know_it(lake: Path) -> None:
    rows = [version(f"btc-updown-15m-{n}", opens_at=at(900 * n), ends_at=at(900 * n + 900)) for n in range(3)]
    rows.append(version("btc-updown-5m-9", opens_at=at(900), ends_at=at(1200)))
    found = {market["slug"]: market["next_slug"] for market in describe(lake, *rows)}
    assert found == {
        "btc-updown-15m-0": "btc-updown-15m-1", "btc-updown-15m-1": "btc-updown-15m-2", "btc-updown-15m-2": None,
        "btc-updown-5m-9": None,
    }  # fmt: skip
