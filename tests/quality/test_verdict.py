"""A market's grade has its reasons, a day's comes from its markets, and thresholds are what the limits say."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gold import Spoil, write_gold
from market_lake import write_market_lake

from truetape.lake import Lake
from truetape.quality import LIMITS, DayVerdict, MarketVerdict, judge_days, judge_market, read_markets

SECONDS = 120
FIRST = "btc-updown-2m-1777420800"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three markets without gold tables; tests copy it."""
    path = tmp_path_factory.mktemp("recorded") / "lake"
    write_market_lake(path, 3, duration_s=SECONDS)
    return path


@pytest.fixture
def raw(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "raw")


def judge(lake: Path) -> dict[str, MarketVerdict]:
    return {market.slug: judge_market(market) for market in read_markets(Lake(lake))}


def of_first(**own: Any) -> Spoil:
    return lambda row: row | own if row["market_id"] == FIRST else row


def first_seconds(count: int, **own: Any) -> Spoil:
    def spoil(row: dict[str, Any]) -> dict[str, Any]:
        return row | own if row["market_id"] == FIRST and SECONDS - row["tau"] < count else row

    return spoil


def test_good_markets_make_a_good_day(raw: Path) -> None:
    write_gold(raw)
    assert set(judge(raw).values()) == {MarketVerdict("good")}
    (day,) = judge_day(raw)
    assert (day.grade, day.markets, day.good, day.reasons) == ("good", 3, 3, ())
    assert (day.asset, str(day.day)) == ("BTC", "2026-04-29")


def judge_day(lake: Path) -> list[DayVerdict]:
    markets = read_markets(Lake(lake))
    return judge_days(markets, [judge_market(market) for market in markets])


TRUTHS = {
    "mismatch": (of_first(is_match=False, computed_outcome="Up", official_outcome="Down"), "bad", "computed Up but"),
    "unknown": (of_first(label="unknown", reason="disputed still"), "bad", "no label: disputed still"),
    "split": (of_first(label="split", official_outcome="split"), "degraded", "paid 0.5/0.5"),
    "disputed": (of_first(is_disputed=True), "degraded", "disputed"),
    "indeterminate": (
        of_first(computed_outcome="indeterminate", reason="no strike"), "degraded", "outcome not reproduced: no strike",
    ),
    "computed only": (
        of_first(official_outcome="unknown", label_source="computed"), "degraded", "label computed, no official",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TRUTHS)
def test_labels_decide(raw: Path, case: str) -> None:
    spoil, grade, says = TRUTHS[case]
    write_gold(raw, truth=spoil)
    verdict = judge(raw)[FIRST]
    assert (verdict.grade, says in verdict.reasons[0]) == (grade, True), verdict


CELLS = {
    "a second blind is good": (first_seconds(1, up_state="gap"), "good", None),
    "some blind": (first_seconds(6, up_state="gap"), "degraded", "up blind in 5.0% of seconds"),
    "many blind": (first_seconds(24, down_state="missing"), "bad", "down blind in 20.0% of seconds"),
    "stale oracle": (first_seconds(24, oracle_state="carried"), "degraded", "oracle observed in only 80.0% of seconds"),
    "dead oracle": (first_seconds(90, oracle_state="carried"), "bad", "oracle observed in only 25.0% of seconds"),
    "blind spot": (first_seconds(60, spot_state="gap"), "degraded", "spot blind in 50.0% of seconds"),
    "no spot recorded": (first_seconds(120, spot_state="missing"), "good", None),
    "free money": (first_seconds(1, sum_bids=1.1), "degraded", "bids or asks add up to free money in 0.8% of seconds"),
    "much free money": (first_seconds(9, sum_asks=0.9), "bad", "bids or asks add up to free money in 7.5% of seconds"),
}


@pytest.mark.parametrize("case", CELLS)
def test_coverage_decides(raw: Path, case: str) -> None:
    spoil, grade, says = CELLS[case]
    write_gold(raw, second=spoil)
    verdict = judge(raw)[FIRST]
    assert (verdict.grade, verdict.reasons) == (grade, (says,) if says else ())


def test_the_worst_reason_comes_first_and_decides(raw: Path) -> None:
    write_gold(raw, truth=of_first(is_disputed=True), second=first_seconds(60, up_state="gap"))
    assert judge(raw)[FIRST] == MarketVerdict("bad", ("up blind in 50.0% of seconds", "disputed"))
    (day,) = judge_day(raw)
    assert (day.grade, day.bad) == ("bad", 1)
    assert day.reasons == ("disputed: 1", "up blind: 1")


def test_one_degraded_of_three_makes_a_degraded_day(raw: Path) -> None:
    write_gold(raw, truth=of_first(is_disputed=True))
    (day,) = judge_day(raw)
    assert (day.grade, day.good, day.degraded) == ("degraded", 2, 1)


def test_without_gold_a_market_is_bad_and_says_what_to_do(raw: Path) -> None:
    verdict = judge(raw)[FIRST]
    assert verdict.grade == "bad"
    assert all("truetape build" in reason for reason in verdict.reasons)


def test_a_market_that_still_runs_is_unfinished(raw: Path) -> None:
    (market, *_) = read_markets(Lake(raw))
    running = msgspec.structs.replace(market, is_ended=False)
    assert judge_market(running).grade == "unfinished"
    (day,) = judge_days([running], [judge_market(running)])
    assert (day.grade, day.unfinished) == ("unfinished", 1)


def test_limits_can_be_others(raw: Path) -> None:
    write_gold(raw, second=first_seconds(24, down_state="gap"))
    (market, *_) = read_markets(Lake(raw))
    lenient = msgspec.structs.replace(LIMITS, blind_share_good_max=0.3)
    assert (judge_market(market).grade, judge_market(market, lenient).grade) == ("bad", "good")
