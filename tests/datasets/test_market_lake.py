"""The lakes that other tests are made of say what they were told to say."""

from pathlib import Path

from market_lake import FLAWS, write_market_lake

from truetape.lake import Lake


def test_a_lake_holds_what_is_expected_of_it(tmp_path: Path) -> None:
    made = write_market_lake(tmp_path / "lake", 2, flaws={1: ("late_strike",)})
    lake = Lake(tmp_path / "lake")
    assert [market.ends_s - market.opens_s for market in made] == [900, 900]
    assert [market.computed for market in made] == [market.official for market in made]
    slugs = lake.sql("select distinct slug from prediction_market order by all").arrow()["slug"].to_pylist()
    assert slugs == [market.slug for market in made]
    at_strike = lake.sql(
        "select count(*) as found from oracle_price where epoch(exchange_at) = $s", {"s": made[1].opens_s}
    )
    assert at_strike.arrow()["found"].to_pylist() == [0]
    assert "late_strike" in FLAWS
