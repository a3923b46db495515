"""The ledger folds a gap's rows to its state, and counts what was observed."""

from pathlib import Path

from synthetic import at, gap, trade, write_rows

from truetape.lake import Lake
from truetape.quality import list_gaps, measure_coverage


def test_a_gaps_last_row_is_its_state(lake: Path) -> None:
    rows = [gap("a", 10, None, 1, "open"), gap("a", 10, 25, 2, "closed", missing=7), gap("b", 5, None, 3, "open")]
    write_rows(lake, "gap", rows[::-1])  # order in the file does not matter, order on the tape does
    b, a = list_gaps(Lake(lake))
    assert (a.gap_id, a.state, a.from_at, a.to_at, a.seconds, a.missing) == ("a", "closed", at(10), at(25), 15.0, 7)
    assert (b.gap_id, b.state, b.to_at, b.seconds) == ("b", "open", None, None)


def test_an_amended_gap_keeps_its_interval(lake: Path) -> None:
    """What repairs a gap is received long after it: its row's own times are when that was."""
    write_rows(lake, "gap", [gap("a", 10, 25, 1, "closed"), gap("a", 90, 90, 2, "repaired")])
    (found,) = list_gaps(Lake(lake))
    assert (found.state, found.from_at, found.to_at) == ("repaired", at(10), at(25))


def test_gaps_of_one_stream(lake: Path) -> None:
    write_rows(lake, "gap", [gap("a", 1, 2, 1, "closed"), gap("b", 1, 2, 1, "closed", channel="quote")])
    assert [g.gap_id for g in list_gaps(Lake(lake), "binance", "BTC-USDT", "quote")] == ["b"]


def test_coverage_counts_overlapping_gaps_once(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i, i, 100, lag=0) for i in range(101)])
    spans = [(10, 20, {}), (15, 30, {}), (50, 60, {"symbol": "", "channel": "*"}), (70, 80, {"channel": "quote"})]
    write_rows(lake, "gap", [gap(f"g{i}", a, b, i, "closed", **o) for i, (a, b, o) in enumerate(spans)])
    write_rows(lake, "gap", [gap("fixed", 85, 90, 9, "repaired")])
    streams = {c.channel: c for c in measure_coverage(Lake(lake))}
    trades = streams["trade"]
    assert (trades.rows, trades.gaps, trades.open_gaps) == (101, 3, 0)
    assert (trades.gap_seconds, trades.observed_seconds, trades.share) == (30.0, 70.0, 0.7)
    assert trades.holes == ((at(10), at(30)), (at(50), at(60)))
    assert (streams["quote"].rows, streams["quote"].share) == (0, 0.0)  # never seen, but its absence is declared


def test_an_open_gap_lasts_until_the_venue_was_last_heard(lake: Path) -> None:
    write_rows(lake, "trade", [trade(0, 1, 100, lag=0), trade(100, 2, 100, lag=0, symbol="ETH-USDT")])
    write_rows(lake, "gap", [gap("g", 40, None, 1, "open")])
    (btc,) = [c for c in measure_coverage(Lake(lake)) if c.symbol == "BTC-USDT"]
    assert (btc.open_gaps, btc.gap_seconds, btc.observed_seconds) == (1, 60.0, 40.0)
