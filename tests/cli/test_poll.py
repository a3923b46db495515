"""`truetape poll`: the demonstration without a file, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run


def test_the_demonstration_adds_up(truetape: Run, tmp_path: Path) -> None:
    said = truetape("poll", "--sim", "--cycles", "5", "--analyze").out
    cycles = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [cycle["number"] for cycle in cycles] == [1, 2, 3, 4, 5]
    assert all(cycle["snapshots"] + cycle["missed"] == 20 for cycle in cycles)
    failures = sum(cycle["requests"]["failures"] for cycle in cycles)
    requests = sum(cycle["requests"]["requests"] for cycle in cycles)
    assert failures >= requests * 0.05
    assert "completeness: 99 + 1 missing = 100 expected; 1 explained by the ledger, 0 not; 0 repeats" in said
    assert (tmp_path / "report/snapshots.html").is_file()
    assert (tmp_path / "report/snapshots.png").is_file()
    again = truetape("poll", "--sim", "--cycles", "1").out
    assert "This run" in again


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("{}", "snapshots: empty"),
        ("snapshots: {x: {preset: comon}}", "did you mean common?"),
        ("snapshots: {x: {intervall_seconds: 3}}", "snapshots.x.intervall_seconds: unknown key"),
        ("snapshots: {x: {filters: {status: opn}}}", "snapshots.x.filters.status"),
        ("snapshots: {x: {url: 'http://127.0.0.1:9', needs_key: true}}", "set TRUETAPE_KEY_SNAPSHOT_X"),
    ],
)
def test_what_cannot_be_polled_is_one_line(
    refused: Callable[..., str], tmp_path: Path, settings: str, says: str
) -> None:
    (tmp_path / "truetape.yaml").write_text(settings)
    assert says in refused("poll", "--cycles", "1")
    assert not (tmp_path / "data").exists()


def test_a_folder_of_somebody_else_is_left_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "report/sim").mkdir(parents=True)
    (tmp_path / "report/sim/mine").touch()
    assert "holds something else" in refused("poll", "--sim")
    assert (tmp_path / "report/sim/mine").exists()
