"""A small tape and its lake, and a way to run the command line as a user does."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Done, Run

from truetape.cli import main

START_NS = 1_767_225_600_000_000_000  # 2026-01-01
SEQUENCE_HOLE = 40
"""The trade with this id is missing from the made recording."""


def make_lines() -> Iterator[str]:
    """Binance USD-M frames as hftbacktest's collector writes them: trades and quotes of one symbol, one trade missing."""
    for number in range(100):
        at = START_NS + number * 100_000_000
        ms = at // 1_000_000
        if number != SEQUENCE_HOLE:
            trade = {"e": "trade", "E": ms, "T": ms, "s": "BTCUSDT", "t": number, "p": f"{60_000 + number}.10",
                     "q": "0.500", "X": "MARKET", "m": bool(number % 2)}  # fmt: skip
            yield f"{at} " + json.dumps({"stream": "btcusdt@trade", "data": trade}, separators=(",", ":"))
        quote = {"e": "bookTicker", "u": 1000 + number, "s": "BTCUSDT", "b": f"{60_000 + number}.00", "B": "1.000",
                 "a": f"{60_000 + number}.20", "A": "2.000", "T": ms, "E": ms}  # fmt: skip
        yield f"{at + 1000} " + json.dumps({"stream": "btcusdt@bookTicker", "data": quote}, separators=(",", ":"))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of ten seconds."""
    path = tmp_path_factory.mktemp("recording") / "btcusdt.txt"
    path.write_text("\n".join(make_lines()) + "\n")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> Path:
    """A folder with `tape` and `lake`; tests only read it."""
    from truetape.flow import deliver, import_files

    folder = tmp_path_factory.mktemp("made")
    import_files("hftbacktest", [recording], "binance", str(folder / "tape"), feed="usdm-public")
    deliver(str(folder / "tape"), (f"lake:{folder}/lake",))
    return folder


@pytest.fixture
def truetape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in an empty folder, in this process; `env` sets variables."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, env: dict[str, str] | None = None) -> Done:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["truetape", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def refused(truetape: Run) -> Callable[..., str]:
    """Run a command that must be refused: exit code 2 and one line, which is returned."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> str:
        done = truetape(*arguments, env=env)
        assert done.code == 2, done
        assert done.err.count("\n") == 1, done.err
        assert done.err.startswith("truetape: ")
        assert "Traceback" not in done.err
        return done.err

    return run
