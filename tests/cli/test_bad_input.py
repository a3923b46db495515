"""What a wrong word, number, file or folder gets from any command: one line, and the exit code for it."""

import gzip
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Done

SPAN = ("--from", "2026-01-01", "--to", "2026-01-02")
EARLY = ("--from", "2026-01-03")
TYPED = ("--type", "trade")
REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("demo", "--rate", "nan"), "'--rate': 'nan' is not a finite number"),
    (("sim", "--rate", "0"), "'--rate': 0.0 is not in the range x>0"),
    (("sim", "--speed", "inf"), "'--speed': 'inf' is not a finite number"),
    (("record", "--duration", "nan"), "'--duration': 'nan' is not a finite number"),
    (("replay", "--speed", "nan"), "'--speed': 'nan' is not a finite number"),
    (("replay", "--from", "-1"), "'--from': -1 is not in the range"),
    (("replay", "--from", "9", "--to", "5"), "--from 9 is not before --to 5"),
    (("coins", "ranks", "--hours", "1e300"), "'--hours': 1e+300 is not in the range"),
    (("lake", "vacuum", "--hours", "999999999999"), "'--hours': 999999999999 is not in the range"),
    (("tape", "cat", "--count", "-1"), "'--count': -1 is not in the range"),
    (("jobs", "history", "--limit", "0"), "'--limit': 0 is not in the range"),
    (("config", "show", "--config", "noise"), "noise: not text (byte 0 is not UTF-8)"),
    (
        ("backfill", "binance", "BTC-USDT", "trade", *SPAN, "--market", "moon"),
        "no past of market 'moon' (allowed: spot,",
    ),
    (("backfill", "binance", "BTC-USDT", "trade", *SPAN, "--interval", "1m"), "--interval: trade has none"),
    (("backfill", "binance", "BTC-USDT", "candle", *SPAN, "--interval", "7x"), "--interval '7x' (allowed: 1m,"),
    (("gaps", "repair", "--venue", "binanse"), "did you mean binance"),
    (("gaps", "repair", "--channel", "moon"), "channel: 'moon' is not known (allowed: trade,"),
    (("tardis", "machine", "deribit", "BTC-PERPETUAL", *TYPED, *SPAN[2:], *EARLY), "not 1 to 46080 whole minutes"),
    (("tardis", "machine", "deribit", "BTC-PERPETUAL", *TYPED, *SPAN, "--url", "moon"), "--url 'moon' (allowed: ws://"),
    (("tardis", "machine", "deribit", "BTC-PERPETUAL", *SPAN, "--type", "trades"), "did you mean trade?"),
    (
        ("tardis", "machine", "deribit", "BTC-PERPETUAL", *SPAN, "--type", "trade_bar_1m"),
        "no such messages (allowed: trade,",
    ),
    (("tardis", "machine", "a/b", "BTC-PERPETUAL", *TYPED, *SPAN), "exchange 'a/b': no such name"),
    (("tardis", "datasets", "deribit", "BTC-PERPETUAL", *TYPED, *SPAN), "did you mean trades?"),
    (("tardis", "datasets", "deribit", "", "--type", "trades", *SPAN), "symbol '': no such name"),
    (("tardis", "replay", "binance", "--channel", "trade", "--feed", "x", *SPAN), "--feed 'x': binance has none"),
    (("import", "hftbacktest", "text", "--venue", "binance"), "text: line 1: not `<time> <frame>`"),
    (("import", "hftbactest", "text"), "unknown recording format 'hftbactest' (allowed: hftbacktest,"),
    (("import", "bybit-bluk", "text"), "did you mean bybit-bulk?"),
    (("import", "hftbacktest", "nothing", "--venue", "binance"), "nothing: it is empty"),
    (("import", "plain", "text", "--venue", "binance"), "give the first frame's with --start"),
    (("sim", "--recording", "noise"), "recording noise: neither lines of"),
    (("sim", "--recording", "text"), "recording text: neither lines of"),
    (("sim", "--recording", "nothing"), "recording nothing: neither lines of"),
    (("sim", "--recording", "cut.gz"), "recording cut.gz: neither lines of"),
    (("backup", "--to", "text"), "text: it is a file"),
    (("backup", "--to", "s3://"), "'s3://' names no bucket"),
    (("backup", "--to", "tape/copy"), "tape/copy lies within tape"),
    (("backup", "--to", "lake"), "lake lies within lake"),
    (("deliver", "--sink", "lake:text"), "sink lake: text is a file"),
    (("deliver", "--sink", "csv:text"), "sink csv: text is a file"),
    (("record", "--sink", "lake:text", "--duration", "1"), "sink lake: text is a file"),
    (("export", "trade", "--to", "text/x.csv"), "there is a file where a folder is wanted"),
    (("export", "trade", "--to", "x.csv", "--start", "2026-01-02", "--end", "2026-01-01"), "is not before --end"),
    (("report", "--to", "text/x"), "there is a file where a folder is wanted"),
]
NEEDS_LAKE = ("build", "check", "gaps", "report", "lake ls", "lake compact", "lake vacuum", "dataset ls", "dataset pin x",
              "dataset unpin x", "coins top", "markets ls", "sql select", "export trade --to x.csv")  # fmt: skip
NEEDS_TAPE = (
    "deliver",
    "replay",
    "status",
    "tape ls",
    "tape cat",
    "tape verify",
    "verify",
    "backup --to copy",
    "prune",
)


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    """The folder that commands run in: a tape, its lake, and files that are something else."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    venue = "binance: {instruments: [BTC-USDT], channels: [trade], url: 'http://127.0.0.1:1'}"
    (tmp_path / "truetape.yaml").write_text(f"tape: tape\nsinks: ['lake:lake']\nvenues: {{{venue}}}\n")
    (tmp_path / "noise").write_bytes(b"\xff\x00\xfe" * 100)
    (tmp_path / "text").write_text("hello\nworld\n")
    (tmp_path / "nothing").write_bytes(b"")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b'1723161256166000000 {"a":1}\n' * 500)[:60])
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_it_is_one_line(folder: Path, refused: Callable[..., str], arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(*arguments)
    assert not (folder / "tape" / "copy").exists()


@pytest.mark.parametrize("command", NEEDS_LAKE)
def test_without_a_lake_it_says_what_makes_one(tmp_path: Path, refused: Callable[..., str], command: str) -> None:
    assert "no lake at data/lake: there is no such folder (`truetape record`" in refused(*command.split())
    (tmp_path / "file").write_text("hello")
    assert "no lake at file: it is a file" in refused(*command.split(), "--lake", "file")


@pytest.mark.parametrize("command", NEEDS_TAPE)
def test_without_a_tape_it_says_so(tmp_path: Path, refused: Callable[..., str], command: str) -> None:
    assert "data/tape is not a tape: there is no such folder" in refused(*command.split())
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "tape").write_text("hello")
    assert "data/tape is not a tape: it is a file" in refused(*command.split())


@pytest.mark.parametrize("command", ["build", "check", "lake ls", "lake compact", "dataset pin x", "verify", "deliver"])
def test_a_table_that_does_not_open_is_named(folder: Path, refused: Callable[..., str], command: str) -> None:
    for log in (folder / "lake" / "trade" / "_delta_log").glob("*.json"):
        log.write_text("{garbage")
    if command == "deliver":
        command = "deliver --sink lake:lake --tape other"
        shutil.copytree(folder / "tape", folder / "other")
        (folder / "lake" / "_views").rename(folder / "gone")
    assert "lake/trade does not open: " in refused(*command.split())


def test_an_environment_file_that_is_not_text_is_named(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe=1\n")
    assert ".env: cannot be read (not text)" in refused("config", "show")


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: a\nrecord:\n  tick_seconds: 1\n  tick_seconds: 2\n")
    assert "truetape.yaml, line 4: tick_seconds: given twice" in refused("config", "show")


def test_a_blank_tape_is_backed_up(folder: Path, truetape: Callable[..., Done]) -> None:
    from truetape.tape import open_writer

    open_writer(folder / "blank").close()
    (folder / "truetape.yaml").write_text("tape: blank\nsinks: []\n")
    done = truetape("backup", "--to", "copy")
    assert done.code == 0, done


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("place", ["tape", "lake", "lake/trade", "lake/trade/_delta_log", "truetape.yaml"])
@pytest.mark.parametrize("command", ["verify", "backup --to copy", "sql select"])
def test_what_may_not_be_read_is_named(folder: Path, truetape: Callable[..., Done], place: str, command: str) -> None:
    """Never taken for empty, nor left out of a backup."""
    (folder / place).chmod(0)
    try:
        done = truetape(*command.split())
    finally:
        (folder / place).chmod(0o700)
    needs_lake_only = command == "sql select"
    if needs_lake_only and place == "tape":
        return
    assert (done.code, done.err.count("\n")) == (2, 1), done
    assert re.search("ermission denied|not readable|does not open", done.err), done.err
