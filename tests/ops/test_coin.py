"""Jobs for coins: what is asked, once; what becomes of failures; nothing is fetched again after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from coin_service import CoinService

from truetape import clock
from truetape.collect.errand import name_tape
from truetape.config import CoinSettings, JobSettings, OpsSettings, Settings
from truetape.errors import ConfigError, Fatal, Refused, Transient
from truetape.flow import deliver, verify
from truetape.lake import Lake
from truetape.ops import load_job, open_history, run_job
from truetape.ops.coin import draw_progress
from truetape.sim.protocol import Reply
from truetape.sim.venues.coingecko import DEMO_KEY, PRO_KEY, refuse
from truetape.tape import open_reader

VARIABLE = "TRUETAPE_KEY_COINGECKO_DEMO"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CoinService]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, DEMO_KEY)
    with CoinService() as running:
        yield running


def make_settings(folder: Path, url: str, **coins: object) -> Settings:
    given = {"ids": ("bitcoin", "ethereum"), "calls_per_minute": 10_000, "url": url, **coins}
    once = JobSettings(attempts=1)
    return Settings(
        tape=str(folder / "tape"),
        sinks=(f"lake:{folder / 'lake'}",),
        coins=msgspec.convert(given, CoinSettings),
        ops=OpsSettings(state=str(folder / "state")),
        jobs={"market_data": once, "ohlc_hourly": once, "ohlc_daily": once},
    )


def run(name: str, settings: Settings) -> dict[str, int | str]:
    return json.loads(run_job(load_job(name), settings).report)


def read(settings: Settings, folder: Path, query: str) -> list[tuple[object, ...]]:
    deliver(name_tape(settings.tape), settings.sinks)
    table = Lake(folder / "lake").sql(query).arrow()
    return [tuple(row.values()) for row in table.to_pylist()]


def test_market_data_is_fetched_once_an_hour(service: CoinService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, service.url, ids=("bitcoin", "coin-319"))
    assert run("market_data", settings) == {"plan": "demo", "asked": 4, "had": 0}
    assert service.asked == {"/coins/list": 1, "/global": 1, "/coins/markets": 2}
    again = run("market_data", settings)
    assert again["asked"] == 0 or time.gmtime().tm_min == 0  # unless the hour has just passed
    counts = read(settings, tmp_path, "select source, count(*) from coin group by 1")
    assert counts == [("snapshot", 251 if again["asked"] == 0 else 502)]


def test_tracked_coins_get_bars_and_charts(service: CoinService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, service.url, ids=("coin-100",), top=2)
    assert run("ohlc_hourly", settings)["asked"] == 1 + 3 * 2
    assert run("ohlc_daily", settings)["asked"] == 3 * 2
    assert read(settings, tmp_path, "select interval, is_closed, count(*) from candle group by all order by all") == [
        ("30m", False, 3), ("30m", True, 3 * 48), ("4h", False, 3), ("4h", True, 3 * 180),
    ]  # fmt: skip
    found = dict(read(settings, tmp_path, "select interval, count(*) from coin where source = 'chart' group by 1"))
    assert found["1d"] == 3 * 365
    assert abs(found["1h"] - 3 * 720) <= 3
    verdict = verify(name_tape(settings.tape), settings.sinks[0])
    assert verdict.balanced, verdict.problems
    assert (verdict.gaps, verdict.quarantined) == (0, 0)


def test_the_next_hour_asks_for_what_is_new_only(service: CoinService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, service.url, ids=("bitcoin",))
    run("ohlc_hourly", settings)
    before = read(settings, tmp_path, "select count(*) from candle where is_closed")
    from truetape.ops import open_history

    with open_history(Path(settings.ops.state)) as history:  # as if an hour had passed
        slot = history.find_mark("ohlc_hourly", "bars/usd/bitcoin")
        assert slot is not None
        for what in ("bars", "chart"):
            history.mark(
                "ohlc_hourly", f"{what}/usd/bitcoin", f"{slot[:10]}T00" if slot[11:] != "00" else "2020-01-01T00"
            )
    assert run("ohlc_hourly", settings)["asked"] == 2
    assert read(settings, tmp_path, "select count(*) from candle where is_closed") == before


def test_a_killed_job_goes_on_where_it_was(service: CoinService, tmp_path: Path) -> None:
    coins = [f"coin-{number:03d}" for number in range(10, 50)]
    (tmp_path / "truetape.yaml").write_text(
        f"coins: {{ids: [{', '.join(coins)}], calls_per_minute: 10000, parallel: 2, url: '{service.url}'}}\n"
        "jobs: {ohlc_hourly: {attempts: 1}}\nrecord: {fsync_interval_ms: 20}\n"
    )
    command = [sys.executable, "-m", "truetape.cli", "jobs", "run", "ohlc_hourly"]
    environ = {**os.environ, VARIABLE: DEMO_KEY}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while sum(service.asked.values()) < 30 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = sum(service.asked.values())
    assert 30 <= first < 80

    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    total = sum(service.asked.values())
    assert total <= 80 + 2  # only what was under way when it was killed is asked again
    assert f"had {80 - (total - first)}" in done.stdout
    # Everything is on the tape and in the lake, closed bars once.
    table = Lake(tmp_path / "data/lake").sql(
        "select count(*) n, count(distinct (symbol, open_at)) d from candle where is_closed"
    )
    assert table.arrow().to_pylist() == [{"n": 40 * 48, "d": 40 * 48}]


def test_what_fails_is_told_and_only_that_is_asked_again(service: CoinService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, service.url, ids=("bitcoin", "ethereum", "solana"))
    error = Reply(b'{"status":500,"error":"Internal Server Error"}', 200)
    service.instead["/coins/solana/ohlc"] = [error]
    with pytest.raises(Transient, match=r"1 of 6 requests failed; first bars/usd/solana: CoinGecko: Internal Server"):
        run("ohlc_daily", settings)
    asked = sum(service.asked.values())
    assert run("ohlc_daily", settings) == {"plan": "demo", "asked": 1, "had": 5}
    assert sum(service.asked.values()) == asked + 1
    assert read(settings, tmp_path, "select status, message from error") == [(500, "Internal Server Error")]


@pytest.mark.parametrize("body", [b'[{"id":"bitcoin"', b'[{"id":"bitcoin"}]', b'{"coins":[]}', b"<html>", b'{"a'])
def test_an_answer_of_another_form_is_told_quarantined_and_asked_again(
    service: CoinService, tmp_path: Path, body: bytes
) -> None:
    settings = make_settings(tmp_path, service.url)
    service.instead["/coins/markets"] = [Reply(body)]
    with pytest.raises(
        Transient, match=r"ranks/usd/1: CoinGecko's answer does not read, it is on the tape: .*/coins/mark"
    ):
        run("market_data", settings)
    assert read(settings, tmp_path, "select count(*) from quarantine") == [(1,)]
    assert run("market_data", settings)["asked"] >= 1
    assert read(settings, tmp_path, "select count(*) > 200 from coin") == [(True,)]


def test_a_coin_that_is_not_there_does_not_keep_the_others_back(service: CoinService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, service.url, ids=("nothing", "bitcoin"))
    with pytest.raises(
        Fatal, match=r"2 of 4 requests failed; first bars/usd/nothing: CoinGecko: coin not found \(404\)"
    ):
        run("ohlc_hourly", settings)
    assert service.asked["/coins/bitcoin/ohlc"] == 1


def test_a_limit_in_the_body_is_waited_for(service: CoinService, tmp_path: Path) -> None:
    from truetape.venues import coingecko

    assert coingecko.PAUSE_S == 60
    settings = make_settings(tmp_path, service.url, ids=("bitcoin",))
    service.instead["/coins/bitcoin/ohlc"] = [Reply(refuse(429), 429, headers={"Retry-After": "1"})]
    began = time.monotonic()
    assert run("ohlc_daily", settings)["asked"] == 2
    assert time.monotonic() - began >= 1
    assert service.asked["/coins/bitcoin/ohlc"] == 2


def test_the_limit_of_the_plan_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, DEMO_KEY)
    coins = tuple(f"coin-{number:03d}" for number in range(10, 50))
    with clock.compress(1_790_000_000, 60), CoinService(has_limits=True) as service:
        settings = make_settings(tmp_path, service.url, ids=coins, calls_per_minute=30, parallel=8)
        began = clock.monotonic_ns()
        assert run("ohlc_daily", settings)["asked"] == 80
        took_s = (clock.monotonic_ns() - began) / 1e9
    assert 120 <= took_s < 600  # thirty at once, thirty after a minute, the rest after another
    assert sum(service.asked.values()) == 80
    assert read(settings, tmp_path, "select count(*) from error") == [(0,)]


def test_two_instances_ask_once(service: CoinService, tmp_path: Path) -> None:
    (tmp_path / "truetape.yaml").write_text(f"coins: {{ids: [bitcoin], url: '{service.url}'}}\n")
    command = [sys.executable, "-m", "truetape.cli", "jobs", "run", "market_data"]
    environ = {**os.environ, VARIABLE: DEMO_KEY}
    both = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(service.asked.values()) == 3, said
    assert any("asked 3" in text for text in said)


def test_a_wrong_key_is_told_at_once(service: CoinService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "CG-of-somebody-else")
    with pytest.raises(Refused, match=r"10002 API key missing or unknown.*its key is TRUETAPE_KEY_COINGECKO_DEMO"):
        run("market_data", make_settings(tmp_path, service.url))
    monkeypatch.setenv("TRUETAPE_KEY_COINGECKO_PRO", DEMO_KEY)
    with pytest.raises(Refused, match="its key is TRUETAPE_KEY_COINGECKO_PRO"):
        run("market_data", make_settings(tmp_path, service.url))


def test_a_paid_key_asks_its_own_address_and_whole_hours(
    service: CoinService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUETAPE_KEY_COINGECKO_PRO", PRO_KEY)
    settings = make_settings(tmp_path, service.url, ids=("bitcoin",))
    assert run("ohlc_hourly", settings)["plan"] == "pro"
    assert read(settings, tmp_path, "select distinct interval from candle") == [("1h",)]


def test_a_missing_key_is_one_line_that_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=rf"^coins: no key: set {VARIABLE} or \S+_PRO .*https://www.coingecko.com/\S+\)$"
    ):
        run("market_data", make_settings(tmp_path, "http://127.0.0.1:1"))
    assert not (tmp_path / "tape-jobs").exists()


def test_no_key_is_on_the_tape(service: CoinService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, service.url)
    run("market_data", settings)
    reader = open_reader(name_tape(settings.tape))
    text = "".join(str(batch.data.to_pylist()) for batch in reader.read(0))
    reader.close()
    assert "/coins/list" in text
    assert DEMO_KEY not in text


def test_jobs_are_wanted_where_coins_are(tmp_path: Path) -> None:
    for name in ("market_data", "ohlc_hourly", "ohlc_daily"):
        assert load_job(name).is_wanted(make_settings(tmp_path, ""))
        assert not load_job(name).is_wanted(Settings())


def test_hours_that_are_missing_in_the_history_of_ranks_are_a_gap(service: CoinService, tmp_path: Path) -> None:
    """Once, when a run brings something again: what was missed meanwhile and what failed, not what a hand began."""
    settings = make_settings(tmp_path, service.url, ids=())
    settings = msgspec.structs.replace(settings, coins=msgspec.structs.replace(settings.coins, top=1))
    run("market_data", settings)
    first = datetime(2026, 1, 5, 3, tzinfo=UTC)
    with open_history(Path(settings.ops.state)) as history:
        history.miss("market_data", [first])
        history.end(history.begin("market_data", first + timedelta(hours=1)), "failed", 1, "{}", "away")
        history.end(history.begin("market_data"), "failed", 1, "{}", "by hand")
        history.miss("market_data", [first + timedelta(hours=2)])
    run("market_data", settings)
    run("market_data", settings)
    gaps = read(
        settings, tmp_path, "select venue, reason, state, from_at, evidence from gap where reason = 'not_started'"
    )
    ((venue, _, state, from_at, evidence),) = [gap for gap in gaps if "market_data" in str(gap[4])]
    assert (venue, state, from_at) == ("coingecko", "closed", first)
    assert json.loads(str(evidence))["turns"] == 3
    assert json.loads(str(evidence))["reason"].endswith("1 failed, 2 missed")
    verdict = verify(name_tape(settings.tape), settings.sinks[0])
    assert verdict.balanced, verdict.problems


def test_who_looks_on_is_shown_how_far_it_is(service: CoinService, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    settings = make_settings(tmp_path, service.url, ids=("coin-100",))
    run_job(load_job("ohlc_daily"), settings, show=lambda *how_far: told.append(how_far))
    assert told == [("ohlc_daily", 1, 2), ("ohlc_daily", 2, 2)]


def test_progress_is_a_bar() -> None:
    assert draw_progress("x", 5, 20) == "x [#####...............] 5 of 20"
