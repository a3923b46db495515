"""sql, export, gaps, verify, lake, check, build, report: what a lake is asked."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from command_line import Run

VERDICT = {
    "balanced", "frames", "decoded", "quarantined", "control", "rows", "stored", "duplicates", "gaps", "lake_sha256",
}  # fmt: skip


def test_verify_prints_what_scripts_rely_on(truetape: Run, made: Path) -> None:
    done = truetape("verify", "--tape", made / "tape", "--lake", made / "lake", "--json")
    verdict = done.json
    assert done.code == 0
    assert set(verdict) >= VERDICT
    assert verdict["balanced"] is True
    assert verdict["frames"] == verdict["decoded"] + verdict["quarantined"] + verdict["control"]
    assert (verdict["rows"]["trade"], verdict["stored"]["trade"], verdict["rows"]["quote"]) == (99, 99, 100)
    assert verdict["gaps"] > 0
    assert len(verdict["lake_sha256"]) == 64


def test_verify_of_a_lake_that_is_behind_is_a_finding(truetape: Run, recording: Path, tmp_path: Path) -> None:
    for _ in range(2):
        truetape("import", "hftbacktest", recording, "--venue", "binance", "--feed", "usdm-public", "--tape", "t")
        if not (tmp_path / "l").exists():
            truetape("deliver", "--tape", "t", "--sink", "lake:l")
    done = truetape("verify", "--tape", "t", "--lake", "l", "--json")
    assert (done.code, done.json["balanced"]) == (1, False)
    assert "truetape deliver" in done.json["problems"][0]


def test_two_lakes_of_one_tape_have_one_hash(truetape: Run, made: Path) -> None:
    truetape("deliver", "--tape", made / "tape", "--sink", "lake:again")
    hashes = [
        truetape("verify", "--tape", made / "tape", "--lake", lake, "--json").json["lake_sha256"]
        for lake in (made / "lake", "again")
    ]
    assert hashes[0] == hashes[1]


def test_sql(truetape: Run, made: Path) -> None:
    done = truetape(
        "sql",
        "--lake",
        made / "lake",
        "--json",
        "select symbol, count(*) as n, max(price) as top from trade group by 1",
    )
    assert (done.code, done.json) == (0, [{"symbol": "BTC-USDT-PERP", "n": 99, "top": 60099.1}])
    shown = truetape("sql", "--lake", made / "lake", "select trade_id from trade order by tape_offset limit 1")
    assert "trade_id" in shown.out


def test_the_missing_trade_is_in_the_ledger(truetape: Run, made: Path) -> None:
    gaps = truetape("gaps", "--lake", made / "lake", "--json").json
    (hole,) = [gap for gap in gaps if gap["reason"] == "sequence"]
    assert (hole["channel"], hole["missing"], hole["state"]) == ("trade", 1, "closed")
    assert set(hole) >= {"gap_id", "venue", "symbol", "channel", "from_at", "to_at", "reason", "state", "evidence"}


def test_open_gaps_are_findings(truetape: Run, made: Path) -> None:
    gaps = truetape("gaps", "--lake", made / "lake", "--open", "--json")
    assert gaps.code == (1 if gaps.json else 0)
    assert all(gap["state"] == "open" for gap in gaps.json)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".jsonl", ".arrow"])
def test_export(truetape: Run, made: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"trades{ending}"
    done = truetape("export", "trade", "--lake", made / "lake", "--symbol", "BTC-USDT-PERP", "--to", target)
    assert (done.code, done.out.strip()) == (0, f"{target}: 99 rows")
    match ending:
        case ".parquet":
            count = pyarrow.parquet.read_table(target).num_rows
        case ".csv":
            count = len(list(csv.DictReader(target.read_text().splitlines())))
        case ".csv.gz":
            count = len(list(csv.DictReader(gzip.decompress(target.read_bytes()).decode().splitlines())))
        case ".jsonl":
            count = len([json.loads(line) for line in target.read_text().splitlines()])
        case _:
            with pyarrow.ipc.open_file(str(target)) as file:
                count = file.read_all().num_rows
    assert count == 99


def test_lake_ls_compact_and_vacuum(truetape: Run, made: Path) -> None:
    truetape("deliver", "--tape", made / "tape", "--sink", "lake:own")
    listed = truetape("lake", "ls", "--lake", "own", "--json")
    assert {row["kind"]: row["rows"] for row in listed.json}["trade"] == 99
    assert truetape("lake", "compact", "--lake", "own").code == 0
    assert truetape("lake", "vacuum", "--lake", "own").code == 0


def test_build_and_check_and_report(truetape: Run, made: Path, tmp_path: Path) -> None:
    truetape("deliver", "--tape", made / "tape", "--sink", "lake:own")
    built = truetape("build", "--lake", "own", "--interval", "1s", "--json")
    assert built.code == 0
    (bars,) = [model for model in built.json if model["name"] == "bars"]
    assert (bars["name"], bars["rows"]) == ("bars", 10)
    checked = truetape("check", "--lake", "own", "--json")
    results = {result["name"]: result for result in checked.json["results"]}
    assert checked.code == (1 if any(f["severity"] == "error" for r in results.values() for f in r["findings"]) else 0)
    assert results["trade_ids"]["findings"] == []  # the hole is declared
    named = truetape("check", "--lake", "own", "duplicates")
    assert (named.code, "duplicates" in named.out) == (0, True)
    written = truetape("report", "--lake", "own", "--to", "page")
    assert written.code == 0
    assert Path(written.out.strip()).is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sql", "--lake", "nowhere", "select 1"), "no lake at nowhere"),
        (("gaps", "--lake", "nowhere"), "nowhere"),
        (("lake", "ls", "--lake", "nowhere"), "nowhere"),
        (("export", "trade", "--lake", "nowhere", "--to", "x.csv"), "nowhere"),
        (("verify", "--tape", "{made}/tape", "--lake", "nowhere"), "nowhere"),
        (("check", "--lake", "nowhere"), "nowhere"),
        (("build", "--lake", "nowhere"), "nowhere"),
        (("report", "--lake", "nowhere"), "nowhere"),
        (("sql", "--lake", "{made}/lake", "selec 1"), "Parser Error"),
        (("sql", "--lake", "{made}/lake", "select * from trades"), "trades"),
        (("sql", "--lake", "{made}/lake", "select nothing from trade"), "nothing"),
        (("export", "trades", "--lake", "{made}/lake", "--to", "x.csv"), "nearest is 'trade'"),
        (("export", "trade", "--lake", "{made}/lake", "--to", "x.xlsx"), "allowed: .parquet"),
        (("export", "trade", "--lake", "{made}/lake", "--symbol", "NO-SUCH", "--to", "x.csv"), "no rows"),
        (("export", "trade", "--lake", "{made}/lake", "--start", "noon", "--to", "x.csv"), "start: 'noon'"),
        (("export", "trade", "--lake", "{made}/lake", "--to", "/proc/nobody/x.csv"), "/proc/nobody"),
        (("lake", "vacuum", "--lake", "{made}/lake", "--hours", "0"), "time travel"),
        (("check", "--lake", "{made}/lake", "duplicate"), "duplicates"),
        (("build", "--lake", "{made}/lake", "bar"), "bars"),
        (("build", "--lake", "{made}/lake", "--interval", "7m"), "divides a day"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(refused: Callable[..., str], made: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(*(a.format(made=made) for a in arguments))
    assert not Path("nowhere").exists()
    assert not Path("x.csv").exists()
