"""Tables: whole where there is room, and readable where there is not."""

import re

import pytest

from truetape.cli._output import print_rows

ROWS = [
    {
        "gap_id": "a8d112ec2f5db419",
        "venue": "binance",
        "seconds": 2.5,
        "kinds": ("trade", "quote"),
        "evidence": "e" * 60,
    }
]


@pytest.mark.parametrize(("columns", "left_out"), [(160, []), (80, ["evidence"]), (45, ["evidence", "gap_id"])])
def test_a_narrow_terminal_goes_without_the_spare_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, left_out: list[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    print_rows(ROWS, as_json=False, title="gaps", spare=("evidence", "gap_id", "venue"))

    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert ("left out here: " + ", ".join(left_out) + " (a wider" in said) == bool(left_out)
    assert [name for name in ("evidence", "gap_id") if f"┃ {name} " in said] == [
        name for name in ("evidence", "gap_id") if name not in left_out
    ]
    assert "│ trade, quote │" in said


def test_a_pipe_gets_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, as_json=False, spare=("evidence",))
    assert "e" * 60 in capsys.readouterr().out
