"""Coins from the first settings to the table, against the fake service."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from coin_service import CoinService
from command_line import Run, spawn

from truetape.sim.venues.coingecko import DEMO_KEY

KEY = "TRUETAPE_KEY_COINGECKO_DEMO"


@pytest.fixture
def service() -> Iterator[CoinService]:
    with CoinService() as running:
        yield running


def test_from_the_preset_to_the_largest_coins(truetape: Run, tmp_path: Path, service: CoinService) -> None:
    truetape("init", "--preset", "coingecko")
    assert KEY in (tmp_path / ".env.example").read_text()
    environ = {KEY: DEMO_KEY, "TRUETAPE_URL_COINGECKO": service.url}
    done = truetape("jobs", "run", "market_data", env=environ)
    assert "market_data done: plan demo, asked 3, had 0" in done.out
    coins = truetape("coins", "top", "--by", "market_cap", "--limit", "3", "--json").json
    assert [coin["rank"] for coin in coins] == [1, 2, 3]
    assert coins[0]["coin"] == "bitcoin"
    assert truetape("coins", "ranks", "bitcoin", "--json").json[0]["rank"] == 1
    assert truetape("coins", "ranks", "--json").json == []
    assert truetape("verify", "--tape", "data/tape-jobs").out.startswith("balanced")
    shown = {row["job"]: row["at"] for row in truetape("jobs", "ls", "--json").json}
    assert (shown["market_data"], shown["ohlc_hourly"], shown["ohlc_daily"]) == (
        "0 * * * *", "30 * * * *", "0 1 * * *",
    )  # fmt: skip


def test_deliver_and_verify_take_the_tape_of_jobs_along(truetape: Run, tmp_path: Path, service: CoinService) -> None:
    (tmp_path / "truetape.yaml").write_text("coins: {top: 1}\nsinks: ['lake:data/lake', 'csv:out', 'sqlite:rows.db']\n")
    environ = {KEY: DEMO_KEY, "TRUETAPE_URL_COINGECKO": service.url}
    truetape("jobs", "run", "market_data", env=environ)
    sinks = {row["sink"]: row["rows"] for row in truetape("deliver", "--json").json}
    assert list(sinks) == ["lake:data/lake", "csv:out-jobs", "sqlite:rows-jobs.db"]
    assert len(set(sinks.values())) == 1
    assert truetape("verify", "--json").json["stored"]["coin"] == 250


def test_a_backup_has_the_tape_of_jobs(truetape: Run, tmp_path: Path, service: CoinService) -> None:
    (tmp_path / "truetape.yaml").write_text("coins: {top: 1}\nbackup: {to: backups}\n")
    environ = {KEY: DEMO_KEY, "TRUETAPE_URL_COINGECKO": service.url}
    truetape("jobs", "run", "market_data", env=environ)
    hashed = truetape("verify", "--json").json["lake_sha256"]
    truetape("jobs", "run", "backup")
    shutil.rmtree(tmp_path / "data")
    restored = truetape("restore", "--json").json
    assert restored["is_fine"]
    assert truetape("verify", "--json").json["lake_sha256"] == hashed


def test_a_missing_key_is_one_line(refused: Callable[..., str], truetape: Run) -> None:
    truetape("init", "--preset", "coingecko")
    said = refused("jobs", "run", "market_data")
    assert said.count("\n") <= 1
    assert KEY in said
    assert "https://www.coingecko.com/" in said


def test_a_daemon_without_venues_runs_jobs(tmp_path: Path, service: CoinService) -> None:
    jobs = ", ".join(
        f"{name}: {{at: never}}" for name in ("build", "check", "report", "compact", "ohlc_hourly", "ohlc_daily")
    )
    (tmp_path / "truetape.yaml").write_text(
        f"coins: {{ids: [bitcoin], url: '{service.url}'}}\njobs: {{{jobs}, market_data: {{at: '* * * * *'}}}}\n"
    )
    environ = {KEY: DEMO_KEY, "TRUETAPE_CLOCK": "1767571190@20"}
    daemon = spawn("run", env=environ, cwd=tmp_path)
    deadline = monotonic() + 40
    while not (tmp_path / "data/lake/coin").is_dir() and monotonic() < deadline and daemon.poll() is None:
        sleep(0.05)
    daemon.send_signal(signal.SIGTERM)
    out, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0, err
    assert "nothing is recorded: jobs run when they are due" in out
    assert (tmp_path / "data/lake/coin").is_dir(), out


def test_the_address_may_be_another_if_it_is_one(refused: Callable[..., str], truetape: Run) -> None:
    variable = "TRUETAPE_URL_COINGECKO"
    assert "coins.url: 'nowhere' is not an http://" in refused("jobs", "ls", env={variable: "nowhere"})
    shown = truetape("config", "show", "--origin", "--json", env={variable: "http://127.0.0.1:1/"})
    assert f"variable {variable}" in shown.out
    assert "http://127.0.0.1:1" in shown.out
