"""record and sim, in processes of their own, as a service manager or a terminal runs them."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Run, spawn

YAML = """
tape: {folder}/tape
sinks: ["lake:{folder}/lake"]
venues:
  binance: {{instruments: [BTC-USDT], markets: [spot]}}
"""


@pytest.fixture(scope="module")
def sim_url() -> Iterator[str]:
    process = spawn("sim", "--port", 0, "--venue", "binance", "--rate", 100, env={"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://[\d.:]+", line)
    assert found, line
    yield found[0]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def write_settings(folder: Path) -> Path:
    path = folder / "truetape.yaml"
    path.write_text(YAML.format(folder=folder))
    return path


def test_record_for_a_while_then_everything_balances(truetape: Run, sim_url: str, tmp_path: Path) -> None:
    write_settings(tmp_path)
    process = spawn("record", "--duration", 8, env={"TRUETAPE_URL_BINANCE": sim_url}, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "sealed" in out
    verdict = truetape("verify", "--json").json
    assert verdict["balanced"]
    assert verdict["rows"]["trade"] > 0


def test_a_signal_to_the_whole_group_seals_everything(truetape: Run, sim_url: str, tmp_path: Path) -> None:
    write_settings(tmp_path)
    process = subprocess.Popen(
        [os.sys.executable, "-m", "truetape.cli", "record"],  # type: ignore[attr-defined]
        env={**os.environ, "TRUETAPE_URL_BINANCE": sim_url, "TRUETAPE__LOG__FORMAT": "json"},
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert '"recording"' in process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "sealed" in out
    assert "died" not in out
    assert truetape("verify").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--sink", "laek:x"), "'lake'"),
        (("--tape", "/proc/nobody/may"), "/proc/nobody"),
        (("--duration", "-1"), "--duration"),
    ],
)
def test_bad_input_is_one_line(
    refused: Callable[..., str], sim_url: str, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    write_settings(tmp_path)
    assert says in refused("record", "--duration", 1, *arguments, env={"TRUETAPE_URL_BINANCE": sim_url})


def test_nothing_to_record_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: t\n")
    assert "venues" in refused("record")
    assert not (tmp_path / "t").exists()


def test_an_unknown_venue_is_named_with_the_nearest(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text("tape: t\nvenues: {binnace: {instruments: [BTC-USDT]}}\n")
    assert "did you mean binance" in refused("record", "--duration", 1)


def test_an_unknown_symbol_is_named_with_the_nearest(refused: Callable[..., str], sim_url: str, tmp_path: Path) -> None:
    path = write_settings(tmp_path)
    path.write_text(path.read_text().replace("BTC-USDT", "BTC-USTD"))
    assert "BTC-USDT" in refused("record", "--duration", 60, env={"TRUETAPE_URL_BINANCE": sim_url})


def test_a_sink_that_cannot_be_written_ends_in_bounded_time(sim_url: str, tmp_path: Path) -> None:
    write_settings(tmp_path)
    process = spawn(
        "record",
        "--duration",
        2,
        "--sink",
        "lake:/proc/nobody/may",
        env={"TRUETAPE_URL_BINANCE": sim_url},
        cwd=tmp_path,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "/proc/nobody" in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--venue", "binnace"), "binance"),
        (("--faults", "at 5s explode"), "explode"),
        (("--port", "70000"), "65535"),
        (("--recording", "missing.gz"), "missing.gz"),
        (("--rate", "0"), "rate"),
    ],
)
def test_sim_refuses_bad_input(refused: Callable[..., str], arguments: tuple[str, ...], says: str) -> None:
    assert says in refused("sim", "--port", "0", *arguments)
