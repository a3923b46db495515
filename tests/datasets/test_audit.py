"""The look-ahead audit finds nothing in what is built, and what is put there."""

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake
from market_lake import Expected

from truetape.datasets import audit_canonical
from truetape.errors import ConfigError

Flawed = tuple[Path, list[Expected]]


def name(flawed: Flawed, flaw: str) -> str:
    return next(market.slug for market in flawed[1] if flaw in market.flaws)


def test_nothing_looks_ahead(flawed: Flawed) -> None:
    """In a market with holes in its books, and in one whose strike is told by a neighbour."""
    audit = audit_canonical(flawed[0], [name(flawed, "book_gap"), name(flawed, "late_strike")], cuts=2)
    assert audit.differences == ()
    assert (audit.markets, audit.cuts, audit.is_fine) == (2, 4, True)
    assert audit.cells > 2 * 900 * 40


def test_a_price_of_the_future_is_found(flawed: Flawed, tmp_path: Path) -> None:
    """One second's oracle price is replaced by the next one's."""
    lake = tmp_path / "lake"
    shutil.copytree(flawed[0], lake)
    market = name(flawed, "tie")
    table = DeltaTable(lake / "canonical").to_pyarrow_table().sort_by([("market_id", "ascending"), ("t", "ascending")])
    place = pc.index(pc.and_(pc.equal(table["market_id"], market), pc.equal(table["tau"], 700)), True).as_py()
    prices = table["oracle_mid"].to_pylist()
    prices[place] = prices[place + 1]
    position = table.column_names.index("oracle_mid")
    write_deltalake(
        lake / "canonical", table.set_column(position, "oracle_mid", [prices]), partition_by=["date", "venue"],
        mode="overwrite",
    )  # fmt: skip
    audit = audit_canonical(lake, [market], cuts=1)
    assert not audit.is_fine
    assert [(one.market_id, one.column) for one in audit.differences] == [(market, "oracle_mid")]


def test_what_is_not_there_cannot_be_audited(flawed: Flawed, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no table canonical"):
        audit_canonical(tmp_path / "empty")
    with pytest.raises(ConfigError, match="'nobody'"):
        audit_canonical(flawed[0], ["nobody"])
