"""markets ls and show: everything of a market, on a lake with and without gold tables."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run
from gold import write_gold
from market_lake import write_market_lake

SLUG = "btc-updown-2m-1777420800"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of three markets; tests only read it."""
    lake = tmp_path_factory.mktemp("raw") / "lake"
    write_market_lake(lake, 3, duration_s=120)
    return lake


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with gold tables, and a market that is disputed."""
    lake = tmp_path_factory.mktemp("whole") / "lake"
    write_market_lake(lake, 3, duration_s=120, flaws={2: ("disputed",)})
    write_gold(lake, flaws={2: ("disputed",)})
    return lake


def test_markets_are_listed(truetape: Run, whole: Path) -> None:
    done = truetape("markets", "ls", "--lake", whole, "--json")
    assert (done.code, done.err) == (0, "")
    assert [row["verdict"] for row in done.json] == ["good", "good", "degraded"]
    first = done.json[0]
    assert (first["market"], first["asset"], first["seconds"], first["state"]) == (SLUG, "BTC", 120, "resolved")
    assert first["label"] == first["official"] == first["computed"]
    assert (first["oracle"], first["up"], first["down"], first["gaps"]) == (1.0, 1.0, 1.0, 0)
    assert done.json[2]["reasons"] == "disputed"


def test_markets_are_listed_as_a_table(truetape: Run, whole: Path) -> None:
    assert SLUG in truetape("markets", "ls", "--lake", whole).out
    assert "markets: nothing" in truetape("markets", "ls", "--lake", whole, "--asset", "DOGE").out
    assert truetape("markets", "ls", "--lake", whole, "--state", "open", "--json").json == []
    assert len(truetape("markets", "ls", "--lake", whole, "--asset", "btc", "--series", "120s", "--json").json) == 3


def test_one_market_is_shown(truetape: Run, whole: Path) -> None:
    done = truetape("markets", "show", SLUG, "--lake", whole)
    assert done.code == 0
    for part in (
        "2026-04-29 00:00:00 to 2026-04-29 00:02:00 UTC, 120 s", "verdict     good", "priceToBeat", "finalPrice",
        "rtds_chainlink at 2026-04-29 00:00:00 (at the boundary)", "gamma at", "(official)", "resolved",
        "life, by rows of market_state", "coverage, in seconds", "gaps that touch it and are not repaired: nothing",
    ):  # fmt: skip
        assert part in done.out, (part, done.out)


def test_one_market_as_json(truetape: Run, whole: Path) -> None:
    shown = truetape("markets", "show", SLUG, "--lake", whole, "--json").json
    assert (shown["slug"], shown["verdict"]) == (SLUG, {"grade": "good", "reasons": []})
    assert shown["changes"][0]["state"] == "listed"
    assert shown["truth"]["strike_source"] == "rtds_chainlink"
    assert {c["stream"]: c["observed"] for c in shown["coverage"]}["up"] == 120


def test_a_lake_without_gold_says_what_to_build(truetape: Run, raw: Path) -> None:
    done = truetape("markets", "ls", "--lake", raw, "--json")
    assert (done.code, len(done.json)) == (0, 3)
    assert done.json[0]["state"] == "resolved"
    assert "no table truth and no table canonical yet; truetape build makes it" in done.err
    shown = truetape("markets", "show", SLUG, "--lake", raw)
    assert (shown.code, "life, by rows of market_state" in shown.out) == (0, True)
    assert "truetape build" in shown.err


def test_an_unknown_market_is_refused(refused: Callable[..., str], raw: Path, tmp_path: Path) -> None:
    assert f"nearest: {SLUG}" in refused("markets", "show", "btc-updown-2m-17774208", "--lake", raw)
    (tmp_path / "none").mkdir()
    assert "the lake knows no markets" in refused("markets", "show", "x", "--lake", tmp_path / "none")
