"""Every check finds what it is for, says nothing about a good lake, and says when there was nothing to look at."""

import math
from pathlib import Path
from typing import Any

import pytest
from synthetic import at, gap, trade, write_rows

from truetape.errors import ConfigError
from truetape.lake import Lake
from truetape.quality import CheckResult, list_checks, run_checks


def row(seconds: float, number: int, **own: Any) -> dict[str, Any]:
    base = trade(seconds, number, 0)
    common = ("venue", "symbol", "venue_symbol", "exchange_at", "received_at", "available_at", "tape_offset")
    return {name: base[name] for name in common} | own


def quote(seconds: float, number: int, bid: float = 99.5, ask: float = 100.5, **other: Any) -> dict[str, Any]:
    return row(seconds, number, bid_price=bid, bid_amount=1.0, ask_price=ask, ask_amount=1.0, **other)


def candle(seconds: float, number: int, prices: tuple[float, float, float, float], **other: Any) -> dict[str, Any]:
    names = dict(zip(("open", "high", "low", "close"), prices, strict=True))
    return row(seconds + 60, number, interval="1m", open_at=at(seconds), is_closed=True, **names, **other)


def check(lake: Path, name: str) -> CheckResult:
    (result,) = run_checks(Lake(lake), [name]).results
    return result


def good_trades() -> list[dict[str, Any]]:
    return [trade(i * 0.5, i, 100 + i % 3, 0.5) for i in range(1, 500)]


def spoil_quarantine() -> tuple[str, list[dict[str, Any]]]:
    return "quarantine", [
        row(1, 9, connection="c", feed="spot", reason="Expected `str`", path="$.p", excerpt="{", bytes=9)
    ]


def spoil_drift() -> tuple[str, list[dict[str, Any]]]:
    return "drift", [row(1, 9, feed="spot", message="trade", change="appeared", path="$.x", was="", now="str")]


SPOILED = {
    "book_crossed": ("quote", [quote(1, 9000, 101, 100), quote(2, 9001, 101, 100)], "failed", 2, 9000),
    "trade_ids": ("trade", [trade(260, 503, 100), trade(261, 504, 100)], "failed", 3, 503),
    "duplicates": ("trade", [trade(1, 2, 102, 0.5, tape_offset=7777)], "failed", 1, 7777),
    "prices": ("trade", [trade(250, 500, math.nan), trade(250, 501, 100, -1.0)], "failed", 2, 500),
    "candles_agree": ("candle", [candle(180, 9000, (100, 500, 100, 101))], "failed", 1, 9000),
    "quarantine": (*spoil_quarantine(), "failed", 1, 9),
    "drift": (*spoil_drift(), "warned", 1, 9),
    "gaps_open": ("gap", [gap("g", 100, None, 9, "open")], "warned", 1, None),
    "timestamps": ("quote", [quote(200, 9000, available_at=at(3))], "failed", 1, 9000),
}


@pytest.fixture
def good(lake: Path) -> Path:
    write_rows(lake, "trade", good_trades())
    write_rows(lake, "quote", [quote(i * 0.5, 1000 + i) for i in range(200)])
    made = [candle(s, 2000 + s, (100 + s * 2 % 3, 102, 100, 100 + (s * 2 + 119) % 3)) for s in (60, 120)]
    write_rows(lake, "candle", [c | {"volume": 60.0, "trades": 120} for c in made])
    return lake


@pytest.mark.parametrize("name", SPOILED)
def test_a_check_says_nothing_about_a_good_lake(good: Path, name: str) -> None:
    result = check(good, name)
    assert result.findings == ()
    assert result.verdict == ("not applicable" if name == "gaps_open" else "passed")
    assert result.doc.endswith(".")


@pytest.mark.parametrize("name", [check.name for check in list_checks()])
def test_a_check_of_nothing_is_empty(lake: Path, name: str) -> None:
    assert check(lake, name).verdict == "not applicable"


@pytest.mark.parametrize("name", SPOILED)
def test_a_check_finds_what_it_is_for(good: Path, name: str) -> None:
    kind, rows, verdict, count, offset = SPOILED[name]
    if kind == "candle":
        rows = [rows[0] | {"volume": 60.0, "trades": 120}]
    write_rows(good, kind, rows)
    result = check(good, name)
    assert result.verdict == verdict
    assert [(f.count, f.tape_offset) for f in result.findings if f.severity == "error" or verdict == "warned"] == [
        (count, offset)
    ]
    assert run_checks(Lake(good), [name]).exit_code == (verdict == "failed")


def test_missing_ids_in_a_declared_gap_are_no_finding(good: Path) -> None:
    write_rows(good, "trade", [trade(260, 503, 100)])
    write_rows(good, "gap", [gap("g", 249.5, 260.0, 9, "closed", reason="sequence")])
    assert check(good, "trade_ids").verdict == "passed"


def test_a_repaired_gap_covers_nothing(good: Path) -> None:
    write_rows(good, "trade", [trade(260, 503, 100)])
    write_rows(good, "gap", [gap("g", 249.5, 260.0, 9, "repaired")])
    assert check(good, "trade_ids").verdict == "failed"


def test_ids_of_a_venue_whose_ids_do_not_step_are_not_examined(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i, i * 7, 100, venue="bybit") for i in range(1, 9)])
    assert check(lake, "trade_ids").verdict == "not applicable"


def test_a_candle_over_a_gap_is_not_compared(good: Path) -> None:
    write_rows(good, "candle", [candle(180, 9000, (1, 500, 1, 1))])
    write_rows(good, "gap", [gap("g", 190, 195, 9, "closed")])
    assert check(good, "candles_agree").verdict == "passed"


def test_sums_of_trades_stand_in_for_trades_that_were_not_recorded(lake: Path) -> None:
    write_rows(lake, "trade", [t | {"flag": "aggregate"} for t in good_trades()])
    told = candle(60, 9000, (100, 102, 100, 102)) | {"volume": 60.0, "trades": 777}
    write_rows(lake, "candle", [told])
    assert check(lake, "candles_agree").verdict == "passed"
    write_rows(lake, "candle", [told | {"tape_offset": 9001, "volume": 61.0}])
    assert check(lake, "candles_agree").verdict == "failed"


def test_silence_that_nobody_declared(lake: Path) -> None:
    rows = [trade(i * 0.1 + (90 if i > 300 else 0), i, 100) for i in range(600)]
    write_rows(lake, "trade", rows)
    (found,) = check(lake, "timestamps").findings
    assert (found.severity, found.what) == ("warning", "trade silent up to 90 s and no gap says so")
    write_rows(lake, "gap", [gap("g", 30, 120, 9, "closed")])
    assert check(lake, "timestamps").verdict == "passed"


def test_an_unknown_check_is_refused(lake: Path) -> None:
    with pytest.raises(ConfigError, match=r"check 'colour': unknown \(allowed: book_crossed, "):
        run_checks(Lake(lake), ["colour"])
