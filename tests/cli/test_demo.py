"""The demo, shortened: everything it promises is there afterwards."""

from pathlib import Path

from command_line import Run, spawn


def test_the_demo_leaves_a_tape_a_lake_bars_and_a_page(truetape: Run, tmp_path: Path) -> None:
    process = spawn("demo", "--to", tmp_path / "demo", "--seconds", 8, "--rate", 20)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, ""), out + err
    assert "verify: balanced" in out
    config = tmp_path / "demo" / "truetape.yaml"
    page = Path(out.strip().splitlines()[-1].partition("report: ")[2])
    assert page.is_file()
    assert page.is_relative_to(tmp_path / "demo")
    assert truetape("verify", "--config", config).code == 0
    venues = truetape("sql", "--config", config, "--json", "select distinct venue from trade order by 1").json
    assert {row["venue"] for row in venues} <= {"binance", "bybit", "coinbase", "deribit", "okx"}
    assert venues
    assert truetape("sql", "--config", config, "--json", "select count(*) as n from bars").json[0]["n"] > 0
