"""Running models: what is refused, what is left alone, what is said when something fails."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import gap, trade, write_rows

from truetape.errors import BuildError, ConfigError
from truetape.lake import Lake
from truetape.transform import build, hash_gold, list_models, read_bars


def test_models_are_the_files_of_a_folder() -> None:
    assert "bars" in list_models()


def test_a_second_build_of_nothing_new_does_nothing(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i, i, 100) for i in range(1, 90)])
    assert build(lake).models[0].units == 1
    before = sorted((lake / "bars").rglob("*.parquet"))
    assert build(lake).models[0].units == 0
    assert sorted((lake / "bars").rglob("*.parquet")) == before


def test_only_days_that_changed_are_built(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i * 3600, i, 100) for i in range(1, 100)])
    assert build(lake).models[0].units == 5
    write_rows(lake, "trade", [trade(26 * 3600 + 1, 500, 100)])
    assert build(lake).models[0].units == 1
    write_rows(lake, "gap", [gap("g", 80 * 3600, 80 * 3600 + 5, 7, "closed")])
    assert build(lake).models[0].units == 1


def test_rows_written_anew_are_no_change(lake: Path, tmp_path: Path) -> None:
    """Compaction puts the same rows into other files."""
    rows = [trade(i, i, 100) for i in range(1, 90)]
    write_rows(lake, "trade", rows[:40])
    write_rows(lake, "trade", rows[40:])
    build(lake)
    import shutil

    shutil.rmtree(lake / "trade")
    write_rows(lake, "trade", rows)
    assert build(lake).models[0].units == 0


def test_other_variables_build_everything_again(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i * 0.2, i, 100) for i in range(1, 90)])
    build(lake)
    build(lake, variables={"intervals": ["250ms", "4h"]})
    intervals = Lake(lake).sql("select distinct interval from bars order by all").arrow().to_pydict()["interval"]
    assert intervals == ["250ms", "4h"]


def test_narrow_bars_add_up_to_wide_ones(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i * 0.37, i, 100 + i % 11 / 7, 0.1) for i in range(1, 900)])
    build(lake)
    names = ("volume", "trades", "high", "low")
    sums = {}
    for interval in ("1s", "1m", "1h"):
        sums[interval] = (
            Lake(lake)
            .sql(
                "select round(sum(volume), 9), sum(trades), max(high), min(low) from bars where interval = $i",
                {"i": interval},
            )
            .arrow()
            .to_pylist()[0]
            .values()
        )
    assert list(sums["1s"]) == list(sums["1m"]) == list(sums["1h"]), names


@pytest.mark.parametrize(
    ("name", "value"),
    [("large_order_min", 0), ("large_order_min", "many"), ("underlying", "a b"), ("settle_tolerance_ms", 60_000)],
)
def test_a_variable_that_makes_no_sense_is_refused(lake: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        build(lake, variables={name: value})


@pytest.mark.parametrize("left", ["{", '{"models": {}, "files": {}}', '{"format": 1}'])
def test_lost_or_older_state_costs_time_only(lake: Path, left: str) -> None:
    write_rows(lake, "trade", [trade(i, i, 100) for i in range(1, 90)])
    build(lake)
    before = hash_gold(lake, "bars")
    (lake / "_build" / "state.json").write_text(left)
    assert build(lake).models[0].units == 1
    assert hash_gold(lake, "bars") == before


def test_a_lake_without_trades_has_no_bars(lake: Path) -> None:
    assert build(lake).models[0].rows == 0
    with pytest.raises(BuildError, match="no bars yet; `truetape build` makes them"):
        read_bars(lake, "binance", "BTC-USDT", "1m")


def test_what_cannot_be_built_is_refused(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model 'candles': unknown \(allowed: bars"):
        build(lake, ["candles"])
    with pytest.raises(ConfigError, match="interval '7m': not a width that divides a day"):
        build(lake, variables={"intervals": ["7m"]})
    with pytest.raises(ConfigError, match=r"variable 'interval': unknown \(allowed: intervals, "):
        build(lake, variables={"interval": "1m"})
    with pytest.raises(ConfigError, match="no lake at"):
        build(tmp_path / "nowhere")


def test_a_second_build_at_once_is_refused(lake: Path) -> None:
    (lake / "_build").mkdir()
    with (lake / "_build" / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BuildError, match="another build of this lake is running"):
            build(lake)


def test_a_model_that_fails_says_why_and_leaves_gold_alone(lake: Path) -> None:
    write_rows(lake, "trade", [trade(i, i, 100) for i in range(1, 90)])
    build(lake)
    before = hash_gold(lake, "bars")
    write_rows(lake, "trade", [trade(1, 500, 100)])
    with pytest.raises(BuildError, match="parsec") as caught:
        build(lake, variables={"memory": "1 parsec"})
    assert "\n" not in str(caught.value)
    assert hash_gold(lake, "bars") == before


def test_a_file_that_does_not_read_is_said_in_one_line(lake: Path) -> None:
    write_rows(lake, "trade", [trade(1, 1, 100)])
    (broken,) = (lake / "trade").rglob("*.parquet")
    broken.write_bytes(b"nothing that could be read")
    with pytest.raises(BuildError, match=r"^lake does not read: ") as caught:
        build(lake)
    assert "\n" not in str(caught.value)


def test_a_build_writes_nowhere_but_in_the_lake(lake: Path, tmp_path: Path) -> None:
    write_rows(lake, "trade", [trade(i, i, 100) for i in range(1, 9)])
    home, place = tmp_path / "home", tmp_path / "place"
    home.mkdir()
    place.mkdir()
    code = "import sys; from truetape.transform import build; print(build(sys.argv[1]).models[0].rows)"
    answer = subprocess.run(
        [sys.executable, "-c", code, str(lake)],
        cwd=place, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (answer.returncode, answer.stdout.strip(), answer.stderr) == (0, "11", "")
    assert list(home.rglob("*")) == [] and list(place.rglob("*")) == []
    left = {path.name for path in (lake / "_build").iterdir()}
    assert left == {"dbt", "lock", "state.json"}
    assert (
        "send_anonymous_usage_stats: false"
        in (Path(sys.modules["truetape.transform"].__file__ or "").parent / "project" / "dbt_project.yml").read_text()
    )
    assert json.loads((lake / "_build" / "state.json").read_text())["models"]["bars"]["version"] == 0
