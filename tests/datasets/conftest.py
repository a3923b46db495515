"""Lakes of markets for tests of datasets."""

from pathlib import Path

import pytest
from market_lake import FLAWS, Expected, write_market_lake

ORDER = ("no_strike", None, "no_settlement", None, "late_strike", "tie", "disputed", "pending", "split", "wrong", "late",
         "contradicted", "book_gap", "oracle_gap", "trade_gap", "late_books", "silent_down", "undeclared")  # fmt: skip
assert set(FLAWS) == {flaw for flaw in ORDER if flaw}


@pytest.fixture(scope="session")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Expected]]:
    """A built lake with one market of every flaw; not to be written to."""
    from truetape.transform import build

    lake = tmp_path_factory.mktemp("flawed") / "lake"
    made = write_market_lake(lake, len(ORDER), flaws={n: (flaw,) for n, flaw in enumerate(ORDER) if flaw})
    build(lake, ["canonical", "truth"])
    return lake, made
