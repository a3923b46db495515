"""Every check of prediction markets: silent about good markets, finds what it is for, not applicable to nothing."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pytest
from deltalake import write_deltalake
from gold import Spoil, write_gold
from market_lake import Shape, at, make_row, write_kind, write_market_lake

from truetape.lake import Lake
from truetape.quality import CheckResult, run_checks
from truetape.transform import build

SECONDS = 120
FIRST, SECOND, THIRD = (f"btc-updown-2m-{1_777_420_800 + i * SECONDS}" for i in range(3))
NAMES = (
    "outcome_reproduced", "canonical_coverage", "oracle_spacing", "book_sums", "strike_agrees", "chain_rule",
    "handover", "labels_complete", "look_ahead",
)  # fmt: skip


def check(lake: Path, name: str) -> CheckResult:
    (result,) = run_checks(Lake(lake), [name]).results
    return result


def prove(lake: Path, **counts: int) -> None:
    none = dict.fromkeys(("broken", "unjudged", "pictures", "fetched", "confirmed", "mirrored", "mirror_broken"), 0)
    row = none | {"batches": 100, "proven": 100} | counts
    shape = Shape(duration_s=SECONDS)
    made = make_row(
        "book_proof", shape, f"{FIRST}:Up", None, shape.start_s + 120.0, minute_at=at(shape.start_s + 60), **row
    )
    made.pop("kind")
    write_kind(lake, "book_proof", [made], f"proof{sorted(counts.items())}")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three markets without gold tables; tests copy it."""
    path = tmp_path_factory.mktemp("recorded") / "lake"
    write_market_lake(path, 3, duration_s=SECONDS)
    return path


@pytest.fixture
def raw(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "raw")


def of(market: str, **own: Any) -> Spoil:
    """Spoil one market's rows."""
    return lambda row: row | own if row["market_id"] == market else row


def at_second(market: str, seconds: range, **own: Any) -> Spoil:
    """Spoil some seconds of a market; no values: drop them."""

    def spoil(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["market_id"] != market or SECONDS - row["tau"] not in seconds:
            return row
        return row | own if own else None

    return spoil


@pytest.mark.parametrize("name", NAMES)
def test_good_markets_pass(raw: Path, name: str) -> None:
    write_gold(raw)
    result = check(raw, name)
    assert (result.findings, result.verdict) == ((), "passed")
    assert result.examined > 0


@pytest.mark.parametrize("name", [*NAMES, "books_proven", "look_ahead_rebuilt"])
def test_nothing_to_examine_is_no_pass(lake: Path, name: str) -> None:
    result = check(lake, name)
    assert (result.verdict, result.examined) == ("not applicable", 0)


TRUTHS: dict[str, tuple[str, Spoil, str]] = {
    "wrong side": (
        "outcome_reproduced",
        lambda row: row | {"official_outcome": {"Up": "Down", "Down": "Up"}[row["official_outcome"]]},
        "officially",
    ),
    "not from its prices": ("outcome_reproduced", of(FIRST, strike=1e9), "does not follow from strike and settlement"),
    "another strike": ("strike_agrees", of(SECOND, strike=61_000.0), "bps from the venue's priceToBeat"),
    "another final price": ("strike_agrees", of(SECOND, venue_final=61_000.0), "bps from the venue's finalPrice"),
    "a broken chain": ("chain_rule", of(FIRST, venue_final=61_000.0), "is not the next priceToBeat"),
    "a broken chain of ours": ("chain_rule", of(SECOND, strike=61_000.0), f"is not the next strike 61000.0 ({SECOND})"),
    "a word for a label": ("labels_complete", of(FIRST, label="yes"), "label 'yes' is none"),
    "no reason": ("labels_complete", of(FIRST, label="unknown"), "no label and no reason why"),
    "no source": ("labels_complete", of(FIRST, label_source="none"), "without a source"),
    "not the source's": ("labels_complete", of(FIRST, official_outcome="split"), "is not the official outcome split"),
}


@pytest.mark.parametrize("case", TRUTHS)
def test_wrong_truth_is_found(raw: Path, case: str) -> None:
    name, spoil, says = TRUTHS[case]
    write_gold(raw, truth=spoil)
    result = check(raw, name)
    assert result.verdict == "failed"
    assert says in result.findings[0].what, result.findings
    assert run_checks(Lake(raw), [name]).exit_code == 1


CELLS: dict[str, tuple[str, Spoil, str, int]] = {
    "missing seconds": ("canonical_coverage", at_second(SECOND, range(5)), "115 rows where its 120 seconds belong", 5),
    "no such state": ("canonical_coverage", at_second(SECOND, range(3), up_state="fine"), "up is in no known state", 3),
    "a price in a gap": (
        "canonical_coverage", at_second(SECOND, range(3), oracle_state="gap"), "oracle has a price though", 3,
    ),
    "known without price": ("canonical_coverage", at_second(SECOND, range(2), spot_price=None), "spot is known but", 2),
    "not marked as carried": (
        "canonical_coverage", at_second(FIRST, range(4), oracle_state="carried"), "oracle is carried but not marked", 4,
    ),
    "free money in bids": ("book_sums", at_second(FIRST, range(9), up_bid=0.99), "bids add up to more than 1", 9),
    "free money in asks": (
        "book_sums", at_second(FIRST, range(9), up_bid=0.001, up_ask=0.002), "asks add up to less than 1", 9,
    ),
    "no probability": ("book_sums", at_second(FIRST, range(1), up_ask=1.2), "a price outside 0 to 1", 1),
    "a miscounted sum": ("book_sums", at_second(FIRST, range(1), sum_bids=0.5), "is not the sum of its parts", 1),
    "tomorrow's price": (
        "look_ahead", lambda row: row | {"t": row["t"] - timedelta(seconds=5)}, "before it was received", 120,
    ),
    "a price of nobody": ("look_ahead", at_second(FIRST, range(2), oracle_mid=1.0), "that no recorded row has", 2),
    "younger than its second": ("look_ahead", at_second(FIRST, range(2), up_age_ms=-1.0), "age below zero", 2),
    "seconds lost at the boundary": (
        "handover", at_second(SECOND, range(7), up_state="missing"), "seconds missing in the first 60 s", 7,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_wrong_cells_are_found(raw: Path, case: str) -> None:
    name, spoil, says, count = CELLS[case]
    write_gold(raw, second=spoil)
    result = check(raw, name)
    assert result.verdict == "failed"
    found = [finding for finding in result.findings if says in finding.what]
    assert found[0].count == count


def test_a_duplicated_second_is_found(raw: Path) -> None:
    def repeat(row: dict[str, Any]) -> dict[str, Any]:
        moved = row["market_id"] == FIRST and row["tau"] == SECONDS - 1
        return row | {"t": row["t"] - timedelta(seconds=1)} if moved else row

    write_gold(raw, second=repeat)
    assert [f.what for f in check(raw, "canonical_coverage").findings] == ["seconds stored twice"]


def test_a_moment_of_free_money_is_a_warning(raw: Path) -> None:
    write_gold(raw, second=at_second(FIRST, range(1), up_bid=0.99, up_ask=0.995))
    assert {f.severity for f in check(raw, "book_sums").findings} == {"warning", "error"}  # the sum no longer fits
    assert [f.severity for f in check(raw, "book_sums").findings if "more than 1" in f.what] == ["warning"]


def test_an_aged_strike_may_differ(raw: Path) -> None:
    write_gold(raw, truth=of(SECOND, strike=60_100.0, strike_age_ms=1000.0))
    assert check(raw, "strike_agrees").verdict == "warned"
    assert "observed 1 s from the boundary" in check(raw, "strike_agrees").findings[0].what


def test_an_unknown_label_is_legal_and_told_when_it_is_due(raw: Path) -> None:
    write_gold(raw, truth=of(FIRST, label="unknown", official_outcome="unknown", reason="disputed"))
    assert check(raw, "labels_complete").verdict == "passed"
    later = make_row("trade", Shape(), "BTC-USD", None, Shape().start_s + 9000.0, price=1.0, trade_id="9", side="buy")
    later.pop("kind")
    write_kind(raw, "trade", [later], "later")
    result = check(raw, "labels_complete")
    assert [(f.severity, f.symbol, f.what) for f in result.findings] == [("warning", FIRST, "no label: disputed")]


def test_an_ended_market_without_truth_is_found(raw: Path) -> None:
    write_gold(raw, truth=lambda row: None if row["market_id"] == SECOND else row)
    later = make_row("trade", Shape(), "BTC-USD", None, Shape().start_s + 9000.0, price=1.0, trade_id="9", side="buy")
    later.pop("kind")
    write_kind(raw, "trade", [later], "later")
    assert [f.symbol for f in check(raw, "labels_complete").findings if "no row of it" in f.what] == [SECOND]


def test_an_oracle_that_skips_seconds_must_be_declared(lake: Path) -> None:
    write_market_lake(lake, 1, flaws={0: ("undeclared",)})
    (found,) = check(lake, "oracle_spacing").findings
    assert (found.severity, found.what) == ("error", "no observation for up to 7 s and no gap says so")


def test_a_declared_hole_of_the_oracle_is_no_finding(lake: Path) -> None:
    write_market_lake(lake, 1, flaws={0: ("oracle_gap",)})
    assert check(lake, "oracle_spacing").verdict == "passed"


def test_books_that_come_late_are_found(lake: Path) -> None:
    write_market_lake(lake, 2, duration_s=SECONDS, flaws={1: ("late_books",)})
    (found,) = check(lake, "handover").findings
    assert (found.severity, found.symbol, found.what) == (
        "error",
        SECOND,
        "first book 30 s after it opened, due 60 s before",
    )


def test_a_market_never_subscribed_is_found(lake: Path) -> None:
    write_market_lake(lake, 1, duration_s=SECONDS)
    shape = Shape(duration_s=SECONDS)
    told = make_row(
        "prediction_market", shape, SECOND, None, shape.start_s + 1.0, slug=SECOND, condition="0x", outcomes="{}",
        opens_at=at(shape.opens(1)), ends_at=at(shape.opens(2)), series="btc-up-or-down-2m",
    )  # fmt: skip
    told.pop("kind")
    write_kind(lake, "prediction_market", [told], "told")
    (found,) = check(lake, "handover").findings
    assert (found.severity, found.symbol, "never received" in found.what) == ("error", SECOND, True)


def test_proven_books_pass(lake: Path) -> None:
    prove(lake)
    result = check(lake, "books_proven")
    assert (result.verdict, result.examined, result.total) == ("passed", 100, 100)


def test_a_broken_book_must_be_declared(lake: Path) -> None:
    prove(lake, proven=97, broken=3)
    (found,) = check(lake, "books_proven").findings
    assert (found.severity, found.count) == ("error", 3)
    shape = Shape(duration_s=SECONDS)
    gap = make_row(
        "gap", shape, f"{FIRST}:Up", None, shape.start_s + 70.0, gap_id="g", channel="book_change", state="closed",
        reason="checksum", evidence="{}", from_at=at(shape.start_s + 65), to_at=at(shape.start_s + 70),
    )  # fmt: skip
    gap.pop("kind")
    write_kind(lake, "gap", [gap], "gap")
    assert check(lake, "books_proven").verdict == "passed"


def test_too_many_unjudged_batches_are_told(lake: Path) -> None:
    prove(lake, proven=80, unjudged=20)
    assert [f.what for f in check(lake, "books_proven").findings] == ["20.0% of book batches could not be judged"]


def test_books_that_do_not_mirror_each_other_are_told(lake: Path) -> None:
    prove(lake, mirrored=50, mirror_broken=2)
    (found,) = check(lake, "books_proven").findings
    assert (found.severity, found.count) == ("warning", 2)
    assert found.what == "not the mirror of the other outcome's book, of 50 comparisons"


def test_a_table_that_its_past_does_not_give_is_found(raw: Path) -> None:
    """The models build the table; then one cell is as if somebody had known better."""
    build(raw, ["canonical", "truth"])
    assert check(raw, "look_ahead_rebuilt").verdict == "passed"
    (rows,) = [Lake(raw).sql("select * from canonical order by market_id, t").arrow()]
    spoiled = pa.compute.add(rows["oracle_mid"], 1.0)
    rows = rows.set_column(rows.schema.get_field_index("oracle_mid"), "oracle_mid", spoiled)
    write_deltalake(raw / "canonical", rows, mode="overwrite", partition_by=["date", "venue"])
    result = check(raw, "look_ahead_rebuilt")
    assert result.verdict == "failed"
    assert result.findings[0].what.startswith("oracle_mid is ")


def test_what_builds_models_runs_when_asked(lake: Path) -> None:
    def names(**options: bool) -> set[str]:
        return {result.name for result in run_checks(Lake(lake), **options).results}

    assert names(deep=True) - names() == {"look_ahead_rebuilt"}


def test_the_first_seconds_of_a_recording_are_no_hand_over(raw: Path) -> None:
    write_gold(raw, second=at_second(FIRST, range(7), up_state="missing"))
    assert check(raw, "handover").verdict == "passed"


def test_a_declared_gap_at_a_boundary_is_a_warning(raw: Path) -> None:
    write_gold(raw, second=at_second(FIRST, range(110, 120), up_state="gap"))
    (found,) = check(raw, "handover").findings
    assert (found.severity, found.symbol, found.what) == ("warning", FIRST, "seconds in a gap in the last 60 s")
