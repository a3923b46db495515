"""The daemon as an operator has it: it records, runs a job when it is due, tells trouble, answers, and stops."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest

from truetape.cli._daemon import Daemon
from truetape.cli._live import Lines
from truetape.clock import run, step_virtual
from truetape.config import CoinSettings, JobSettings, OpsSettings, Settings
from truetape.lake import Lake
from truetape.ops import list_jobs
from truetape.quality.snapshots import survey_snapshots
from truetape.sim.venues.coingecko import DEMO_KEY

SPEED = 20
FAST = 40
CLOCK = f"1767571190@{SPEED}"
"""Ten seconds before a minute begins at which the job is due."""


@pytest.fixture
def sim_url() -> Iterator[str]:
    """Fake venues."""
    with serve() as url:
        yield url


@contextmanager
def serve(clock: str = "") -> Iterator[str]:
    """Serve fake venues and services."""
    command = [sys.executable, "-m", "truetape.cli", "sim", "--port", "0", "--rate", "5"]
    command += [part for name in ("coinbase", "snapshot", "coingecko") for part in ("--venue", name)]
    environment = {**os.environ, **({"TRUETAPE_CLOCK": clock} if clock else {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found
        yield found[0]
        process.kill()


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web hook that keeps what it hears."""
    heard: list[dict[str, str]] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Ear)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/", heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_daemon_records_runs_jobs_alerts_and_stops(
    tmp_path: Path, sim_url: str, hook: tuple[str, list[dict[str, str]]]
) -> None:
    port = 30_000 + os.getpid() % 10_000
    (tmp_path / "truetape.yaml").write_text(
        f"tape: t\nsinks: ['lake:l']\nvenues: {{coinbase: {{url: '{sim_url}', instruments: [BTC-USD]}}}}\n"
        f"ops: {{state: s, health_port: {port}}}\nalerts: {{group_seconds: 0}}\nlog: {{file: run.jsonl}}\n"
        "retention: {tape_days: 1}\nbackup: {to: truetape.yaml}\n"
        "jobs: {build: {at: never}, check: {at: never}, report: {at: never}, compact: {at: never},\n"
        "       retention: {at: never}, backup: {at: '* * * * *'}}\n"
    )
    url, heard = hook
    daemon = subprocess.Popen(
        [sys.executable, "-m", "truetape.cli", "run"], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "TRUETAPE_CLOCK": CLOCK, "TRUETAPE_ALERT_URLS": url},
    )  # fmt: skip
    try:
        assert wait_for(lambda: read(port, "healthz")[0] == 200), "never healthy"
        assert wait_for(lambda: 'truetape_stream_rows_total{channel="trade"' in read(port, "metrics")[1])
        assert wait_for(lambda: any("job backup failed" in message["message"] for message in heard)), heard
        log = tmp_path / "run.jsonl"  # the history knows of a failure a moment before the job's process has ended
        assert wait_for(lambda: "job backup failed (exit code 2)" in log.read_text()), log.read_text()
    finally:
        daemon.send_signal(signal.SIGTERM)
        output, _ = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, output
    assert "sealed t:" in output
    assert "job backup failed (exit code 2)" in output
    assert url not in output
    done = subprocess.run(
        [sys.executable, "-m", "truetape.cli", "jobs", "history", "backup", "--json"], cwd=tmp_path, capture_output=True
    )
    runs = json.loads(done.stdout)
    assert "truetape.yaml: it is a file" in runs[-1]["error"]
    assert runs[-1]["due_at"].endswith(":00Z")


def test_venues_snapshots_and_coins_share_one_daemon_and_survive_a_kill(tmp_path: Path) -> None:
    """Turns that nobody took are gaps, those that were taken are not repeated, and everything balances."""
    port, timeline = 20_000 + os.getpid() % 10_000, f"1767571190@{FAST}@{time():.3f}"
    with serve(timeline) as url:
        (tmp_path / "truetape.yaml").write_text(
            f"tape: t\nsinks: ['lake:l']\nvenues: {{coinbase: {{url: '{url}', instruments: [BTC-USD]}}}}\n"
            f"snapshots: {{fake: {{url: '{url}/snapshot', interval_seconds: 40, requests_per_minute_max: 10000,\n"
            "             filters: {markets_max: 6}}}\n"
            f"coins: {{url: '{url}', ids: [bitcoin], ranked: 10, calls_per_minute: 10000}}\n"
            f"ops: {{state: s, health_port: {port}}}\nlog: {{format: json, file: log/run.jsonl}}\njobs: {{market_data: {{at: '* * * * *'}},\n"
            + "".join(f"       {name}: {{at: never}},\n" for name in ("ohlc_hourly", "ohlc_daily", *HOUSEKEEPING))
            + "       }\n"
        )
        first = start_daemon(tmp_path, timeline)
        try:
            assert wait_for(lambda: count_turns(port) >= 2), "no turns"
            assert wait_for(lambda: 'state="done"' in read(port, "metrics")[1]), "no job was done"
        finally:
            os.killpg(first.pid, signal.SIGKILL)
            first.communicate()
        sleep(100 / FAST)  # two turns pass
        second = start_daemon(tmp_path, timeline)
        try:
            assert wait_for(lambda: count_turns(port) >= 2), "no turns after a restart"
            assert wait_for(lambda: read(port, "healthz")[0] == 200)
        finally:
            second.send_signal(signal.SIGTERM)
            output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    cycles = [json.loads(line) for line in output.splitlines() if '"event": "cycle"' in line]
    assert {cycle["service"] for cycle in cycles} == {"fake"}
    assert "snapshots of fake:" in output
    logged = (tmp_path / "log/run.jsonl").read_text()
    assert [json.loads(line)["number"] for line in logged.splitlines() if '"event": "cycle"' in line][-1] == len(cycles)
    assert DEMO_KEY not in output + logged
    survey = survey_snapshots(Lake(tmp_path / "l"))
    assert (survey.unexplained, survey.repeats) == (0, 0)
    assert survey.explained >= 6
    assert len(Lake(tmp_path / "l").sql("from coin").arrow()) >= 250
    assert ask(tmp_path, "verify", "--json")["balanced"]
    status = ask(tmp_path, "status", "--json")
    assert [one["tape"] for one in (status, *status["beside"])] == ["t", "t-jobs"]
    assert [(one["service"], one["tracked"]) for one in status["services"]] == [("fake", 6)]
    assert status["jobs"][0]["job"] == "market_data"


async def test_without_jobs_that_are_due_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where only jobs are wanted nothing is recorded, and a schedule that is empty is no trouble."""
    jobs = {job.name: JobSettings(at="never") for job in list_jobs()}
    settings = Settings(coins=CoinSettings(top=1), jobs=jobs, ops=OpsSettings(state=str(tmp_path / "state")))
    with Lines(settings.log) as lines:
        status = await Daemon(settings, tmp_path / "truetape.yaml", lines).run(duration_s=0.5)
    said = capsys.readouterr().out
    assert status.tape is None
    assert "nothing is recorded: jobs run when they are due" in said
    assert "ended" not in said


def test_what_breaks_beside_the_recording_is_begun_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings, begun = Settings(ops=OpsSettings(state=str(tmp_path / "state"))), list[float]()

    async def work() -> None:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) < 3:
            raise ExceptionGroup("unhandled", [ValueError("no such thing")])

    with Lines(settings.log) as lines, step_virtual(1767571190):
        run(Daemon(settings, tmp_path / "truetape.yaml", lines)._keep("jobs", work))
    assert [round(at - begun[0]) for at in begun] == [0, 60, 120]
    assert "jobs broke, begun again in 60 s, recording goes on: ValueError: no such thing" in capsys.readouterr().out


HOUSEKEEPING = ("build", "check", "report", "compact", "retention", "backup")


def start_daemon(folder: Path, timeline: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "truetape.cli", "run"], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "TRUETAPE_CLOCK": timeline, "TRUETAPE_KEY_COINGECKO_DEMO": DEMO_KEY},
    )  # fmt: skip


def count_turns(port: int) -> int:
    text = read(port, "healthz")[1] or "{}"
    return sum(service["cycles"] for service in json.loads(text).get("snapshots", ()))


def ask(folder: Path, *arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "truetape.cli", *arguments], cwd=folder, capture_output=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def read(port: int, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_for(is_so: object, seconds: float = 60) -> bool:
    until = monotonic() + seconds
    while monotonic() < until:
        if is_so():
            return True
        sleep(0.2)
    return False
