"""How far long commands are: bars on a terminal, plain lines elsewhere, and nothing of either in what they print."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from truetape import clock
from truetape.cli._progress import show_progress

START_S = 1_767_225_600


def test_plain_lines_are_rare_and_say_how_far(capsys: pytest.CaptureFixture[str]) -> None:
    with clock.compress(START_S, 1) as _, show_progress() as report:
        report("bytes read", 1, 10)
    assert capsys.readouterr().err == ""
    with clock.compress(START_S, 1e9), show_progress() as report:  # ten seconds are over at once
        report("bytes read", 2_500, 10_000)
        report("pages answered", 1_234, 0)
    assert capsys.readouterr().err == "bytes read: 2,500 of 10,000 (25 %)\npages answered: 1,234\n"


def run_on_terminal(*arguments: object, cwd: Path) -> tuple[str, str]:
    """Run a command whose standard error is a terminal; return what it printed, and what the terminal got."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "truetape.cli", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=slave, env=environment) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # the terminal is closed
                break
            if not chunk:
                break
            seen += chunk
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    os.close(master)
    assert process.returncode == 0, seen
    return printed, seen.decode(errors="replace")


def test_a_terminal_gets_bars_and_a_pipe_the_answer(tmp_path: Path, recording: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: t\nsinks: ['lake:l']\n")
    printed, seen = run_on_terminal(
        "import", "hftbacktest", recording, "--venue", "binance", "--feed", "usdm-public", "--json", cwd=tmp_path
    )
    assert json.loads(printed) == [{"file": recording.name, "frames": 199}]
    assert "bytes read" in seen
    assert "100%" in seen
    printed, seen = run_on_terminal("deliver", "--json", cwd=tmp_path)
    assert json.loads(printed)[0]["sink"] == "lake:l"
    assert "frames into lake:l" in seen


def test_published_files_are_shown_too(tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: t\nsinks: ['lake:l']\n")
    path = tmp_path / "BTCUSDT_2026-01-01.csv"
    path.write_text("id,timestamp,price,volume,side\n1,1767225600884,124.67,0.1,buy\n")
    printed, seen = run_on_terminal("import", "bybit-bulk", path, "--json", cwd=tmp_path)
    assert [(one["status"], one["rows"]) for one in json.loads(printed)] == [("taken", 1)]
    assert all(what in seen for what in ("bytes read", "frames into lake:l", "files"))
