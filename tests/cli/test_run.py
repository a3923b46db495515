"""The daemon as an operator has it: it records, runs a job when it is due, tells trouble, answers, and stops."""

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
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import monotonic, sleep

import pytest

SPEED = 20
CLOCK = f"1767571190@{SPEED}"
"""Ten seconds before a minute begins at which the job is due."""


@pytest.fixture
def sim_url() -> Iterator[str]:
    """A fake venue whose time runs as fast as the recorder's."""
    command = [sys.executable, "-m", "truetape.cli", "sim", "--port", "0", "--venue", "coinbase", "--rate", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
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
        f"ops: {{state: s, health_port: {port}}}\nalerts: {{group_seconds: 0}}\n"
        "retention: {tape_days: 1}\nbackup: {to: ftp://nowhere}\n"
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
    assert "ftp://nowhere" in runs[-1]["error"]
    assert runs[-1]["due_at"].endswith(":00Z")


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
