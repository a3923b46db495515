"""Markets are put together from whatever tables there are."""

from pathlib import Path

from gold import write_gold
from market_lake import at, write_market_lake

from truetape.lake import Lake
from truetape.quality import list_windows, read_markets

OPENS = 1_777_420_800


def test_a_market_from_its_raw_rows_alone(lake: Path) -> None:
    write_market_lake(lake, 2, duration_s=120)
    market, later = read_markets(Lake(lake))
    assert (market.slug, market.asset) == (f"btc-updown-2m-{OPENS}", "BTC")
    assert (market.series, market.venue_series) == ("120s", "btc-up-or-down-2m")
    assert (market.opens_at, market.ends_at, market.duration_s) == (at(OPENS), at(OPENS + 120), 120)
    assert [change.state for change in market.changes] == ["listed", "open", "ending", "ended", "proposed", "resolved"]
    assert market.changes[1].at == at(OPENS)
    assert (market.state, market.is_ended, market.truth, market.coverage) == ("resolved", True, None, ())
    assert later.opens_at == market.ends_at


def test_a_market_from_all_tables(lake: Path) -> None:
    write_market_lake(lake, 1, flaws={0: ("book_gap", "oracle_gap", "trade_gap")})
    write_gold(lake, 1, duration_s=900)
    (market,) = read_markets(Lake(lake))
    assert market.truth is not None and market.truth.label in ("Up", "Down")
    assert {c.stream: c.known for c in market.coverage} == dict.fromkeys(("oracle", "up", "down", "spot"), 900)
    assert {(g.symbol, g.reason) for g in market.gaps} == {
        (f"{market.slug}:Up", "disconnect"),
        (f"{market.slug}:Down", "disconnect"),
        ("BTC-USD:rtds_chainlink", "silence"),
        ("BTC-USD", "disconnect"),
    }


def test_markets_are_chosen(lake: Path) -> None:
    write_market_lake(lake, 2, duration_s=300)
    write_market_lake(lake, 1, duration_s=900, asset="ETH", flaws={0: ("pending",)})
    opened = Lake(lake)
    assert len(read_markets(opened)) == len(list_windows(opened)) == 3
    assert [m.asset for m in read_markets(opened, asset="eth")] == ["ETH"]
    assert len(read_markets(opened, series="5m")) == len(read_markets(opened, series="btc-up-or-down-5m")) == 2
    assert [m.asset for m in read_markets(opened, state="disputed")] == ["ETH"]
    assert read_markets(opened, slug="nothing") == []


def test_a_lake_without_markets(lake: Path) -> None:
    assert read_markets(Lake(lake)) == []
