"""What `record` shows: a live table, log lines, the summary."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from truetape.cli._live import Lines, LiveTable, Rates, summarize
from truetape.config import LogSettings, Settings
from truetape.decode.status import StreamStatus
from truetape.flow.live import LiveStatus
from truetape.flow.message import TapeStatus, ViewStatus

SECOND = 1_000_000_000


def make_stream(rows: int = 10, symbol: str = "BTC-USDT", gap: str = "") -> StreamStatus:
    return StreamStatus("binance", symbol, "trade", rows, 100 * SECOND, gap, int(bool(gap)), 61786.1, 12.0)


def make_status(*streams: StreamStatus, troubles: tuple[str, ...] = ()) -> LiveStatus:
    tape = TapeStatus(1000, 990, 0, 0, [], list(troubles))
    counts = {"frames": 1000, "decoded": 990, "quarantined": 0, "control": 10, "rows.trade": 980}
    return LiveStatus(tape, ViewStatus(950, 1000, counts, list(streams)))


def draw(status: LiveStatus) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(LiveTable(console).draw(status, 0, 101 * SECOND))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_streams_gaps_and_troubles() -> None:
    text = draw(
        make_status(make_stream(), make_stream(symbol="ETH-USDT", gap="disconnect"), troubles=("binance: slow",))
    )
    for part in ("BTC-USDT", "61,786.1", "12 ms", "1.0 s", "disconnect", "1,000 frames", "50 behind", "binance: slow"):
        assert part in text


def test_the_table_is_bounded() -> None:
    text = draw(make_status(*(make_stream(symbol=f"S{n}-USDT") for n in range(60))))
    assert "and 20 more streams" in text


def test_a_table_before_anything_happened() -> None:
    assert "truetape" in draw(LiveStatus())


def test_rates_are_measured_between_two_looks() -> None:
    rates = Rates()
    assert rates.measure(make_stream(0), 0) == 0.0
    assert rates.measure(make_stream(100), SECOND) == 100.0
    assert rates.measure(make_stream(101), SECOND + 1) == 100.0


def test_lines_are_json_when_asked_and_troubles_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(LogSettings(format="json"))
    status = make_status(make_stream(), troubles=("binance: waits 2 s",))
    lines.show(status)
    lines.show(status)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in said].count("trouble") == 1
    (recording,) = [line for line in said if line["event"] == "recording"]
    assert (recording["frames"], recording["durable"], recording["streams"]) == (1000, 990, 1)


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(LogSettings(format="json", level="warning")).show(make_status(make_stream(), troubles=("binance: slow",)))
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["trouble"]


def test_the_summary_names_what_is_still_blind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    summarize(make_status(make_stream(gap="disconnect")), Settings(tape="t"))
    text = capsys.readouterr().out
    assert "sealed t: 1,000 frames" in text
    assert "980 trade" in text
    assert "still in a gap: binance BTC-USDT trade (disconnect)" in text
