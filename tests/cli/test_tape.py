"""import, deliver, status, replay, tape: what goes onto a tape and what comes off."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

from truetape.tape import open_writer

SINK_KEYS = {"sink", "offset", "behind", "quarantined", "rows", "problem"}


def test_import_then_deliver_then_verify(truetape: Run, recording: Path, tmp_path: Path) -> None:
    imported = truetape(
        "import", "hftbacktest", recording, "--venue", "binance", "--feed", "usdm-public", "--tape", "t", "--json"
    )
    assert (imported.code, imported.json) == (0, [{"file": "btcusdt.txt", "frames": 199}])
    delivered = truetape(
        "deliver", "--tape", "t", "--sink", "lake:l", "--sink", "csv:c", "--sink", "sqlite:s.db", "--json"
    )
    assert delivered.code == 0
    assert [row["sink"] for row in delivered.json] == ["lake:l", "csv:c", "sqlite:s.db"]
    for row in delivered.json:
        assert row["frames"] == row["decoded"] + row["quarantined"] + row["control"]
        assert row["decoded"] == 199
    again = truetape("deliver", "--tape", "t", "--sink", "lake:l", "--json")
    assert again.json[0] == delivered.json[0]
    assert truetape("verify", "--tape", "t", "--lake", "l").out.startswith("balanced\n")


def test_status(truetape: Run, made: Path) -> None:
    done = truetape("status", "--tape", made / "tape", "--json", env={"TRUETAPE__SINKS": f"['lake:{made}/lake']"})
    assert done.code == 0
    assert {"tape", "first", "end", "segments", "bytes", "writer", "last_received_at", "sinks"} <= set(done.json)
    assert done.json["writer"] is None
    shown = truetape("status", "--tape", made / "tape")
    assert shown.code == 0
    assert "not being written" in shown.out


def test_replay_prints_rows_as_json_lines(truetape: Run, made: Path) -> None:
    done = truetape("replay", "--tape", made / "tape", "--kind", "trade", "--symbol", "BTC-USDT-PERP")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, len(rows)) == (0, 99)
    assert rows[0]["price"] == 60000.1
    assert {row["kind"] for row in rows} == {"trade"}


def test_replay_of_a_stretch(truetape: Run, made: Path) -> None:
    done = truetape("replay", "--tape", made / "tape", "--kind", "quote", "--from", 10, "--to", 20)
    offsets = [json.loads(line)["tape_offset"] for line in done.out.splitlines()]
    assert offsets
    assert all(10 <= offset < 20 for offset in offsets)


def test_tape_ls_cat_and_verify(truetape: Run, made: Path) -> None:
    listed = truetape("tape", "ls", "--tape", made / "tape", "--json")
    assert [set(row) >= {"first", "end", "count", "bytes", "sha256", "reason"} for row in listed.json] == [True]
    frames = [
        json.loads(line) for line in truetape("tape", "cat", "--tape", made / "tape", "--count", 3).out.splitlines()
    ]
    assert [frame["offset"] for frame in frames] == [0, 1, 2]
    assert json.loads(frames[1]["payload"])["stream"] == "btcusdt@trade"
    assert truetape("tape", "verify", "--tape", made / "tape").code == 0


def test_a_damaged_tape_is_a_finding(truetape: Run, recording: Path, tmp_path: Path) -> None:
    truetape("import", "hftbacktest", recording, "--venue", "binance", "--feed", "usdm-public", "--tape", "t")
    assert truetape("deliver", "--tape", "t", "--sink", "lake:l").code == 0
    (segment,) = (tmp_path / "t" / "segments").glob("*.arrows")
    frames = truetape("tape", "ls", "--tape", "t", "--json").json[0]["count"]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    done = truetape("tape", "verify", "--tape", "t", "--json")
    assert done.code == 1
    assert {"segments", "frames", "bytes", "problems"} <= set(done.json)
    assert {"segment", "byte", "offset", "reason"} == set(done.json["problems"][0])
    delivered = truetape("deliver", "--tape", "t", "--sink", "memory:", "--json")
    assert delivered.code == 1 and delivered.json[0]["frames"] < 199
    assert "problem: t: " in delivered.err and "are damaged (`truetape tape verify`" in delivered.err
    proof = truetape("verify", "--tape", "t", "--lake", "l", "--json")
    assert proof.code == 1 and not proof.json["balanced"]
    assert proof.json["problems"][0] in delivered.err
    repaired = truetape("tape", "repair", "--tape", "t", "--json")
    assert repaired.code == 1 and repaired.json[0]["frames"] == frames - delivered.json[0]["frames"]
    assert truetape("tape", "repair", "--tape", "t").out == "frames lost: nothing\n"
    assert truetape("deliver", "--tape", "t", "--sink", "lake:new").code == 0
    assert truetape("verify", "--tape", "t", "--lake", "new").code == 0
    assert truetape("verify", "--tape", "t", "--lake", "l").code == 1, "it has rows that the tape has not"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "--tape", "nowhere"), "no such folder"),
        (("deliver", "--tape", "{made}/tape", "--sink", "laek:x"), "'lake'"),
        (("deliver", "--tape", "{made}/tape", "--sink", "csv:x?zip=true"), "gzip"),
        (("deliver", "--tape", "{made}/tape", "--sink", "lake:/proc/nobody/may"), "/proc/nobody"),
        (("deliver", "--tape", "{made}/tape", "--sink", "csv:/proc/nobody/may"), "/proc/nobody"),
        (("import", "csv", "{recording}", "--venue", "binance", "--tape", "t"), "hftbacktest"),
        (("import", "hftbacktest", "{recording}", "--venue", "binnace", "--tape", "t"), "did you mean binance"),
        (("import", "hftbacktest", "{recording}", "--venue", "binance", "--feed", "usd", "--tape", "t"), "usdm-public"),
        (("import", "hftbacktest", "missing.gz", "--venue", "binance", "--tape", "t"), "missing.gz"),
        (("import", "plain", "{recording}", "--venue", "binance", "--tape", "t"), "time"),
        (("import", "plain", "{recording}", "--venue", "binance", "--start", "noon", "--tape", "t"), "ISO 8601"),
        (
            ("import", "tardis-raw", "{recording}", "--venue", "binance", "--feed", "usdm-public", "--tape", "t"),
            "line 1",
        ),
        (("import", "hftbacktest", "{recording}", "--venue", "binance", "--tape", "/proc/nobody/may"), "/proc/nobody"),
        (("replay", "--tape", "{made}/tape", "--kind", "trades"), "allowed: trade"),
        (("tape", "cat", "--tape", "{made}/lake"), "not a tape"),
        (("tape", "sl"), "sl"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(
    refused: Callable[..., str], made: Path, recording: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in refused(*(a.format(made=made, recording=recording) for a in arguments))


def test_a_foreign_folder_is_not_taken_for_a_tape(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert "letter.txt" in refused(
        "import", "hftbacktest", recording, "--venue", "binance", "--feed", "usdm-public", "--tape", "home"
    )
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_a_second_writer_is_refused(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    writer = open_writer(str(tmp_path / "t"))
    try:
        line = refused("import", "hftbacktest", recording, "--venue", "binance", "--feed", "usdm-public", "--tape", "t")
        assert "one writer at a time" in line
    finally:
        writer.close()
