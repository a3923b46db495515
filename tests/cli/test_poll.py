"""`truetape poll`: the demonstration without a file, and what is refused."""

import json
import re
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from command_line import Run, spawn

from truetape.lake import Lake
from truetape.quality.snapshots import survey_snapshots


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


def test_a_run_that_brought_nothing_says_so(truetape: Run, tmp_path: Path) -> None:
    """With the code of what cannot be reached; that its listing failed stands in the report, and no picture does."""
    (tmp_path / "truetape.yaml").write_text(
        "snapshots: {mute: {url: 'http://127.0.0.1:9', interval_seconds: 0.5, attempts: 1}}"
    )
    done = truetape("poll", "--cycles", "1", "--analyze")
    assert done.code == 3
    assert done.err.startswith("truetape: no snapshot came (mute: listing: http://127.0.0.1:9/markets")
    assert "0 + 0 missing = 0 expected; 0 explained by the ledger, 0 not; 0 repeats; 1 listings failed" in done.out
    assert done.out.splitlines()[-1] == "report: report/snapshots.html"


def test_a_folder_of_somebody_else_is_left_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "report/sim").mkdir(parents=True)
    (tmp_path / "report/sim/mine").touch()
    assert "holds something else" in refused("poll", "--sim")
    assert (tmp_path / "report/sim/mine").exists()


def test_a_kill_and_a_signal(truetape: Run, tmp_path: Path) -> None:
    """In true time: killed without warning, begun anew, stopped by Ctrl-C; no turn has a snapshot twice."""
    sim = spawn("sim", "--venue", "snapshot", "--port", "0")
    try:
        assert sim.stdout is not None
        found = re.search(r"http://\S+?:\d+", sim.stdout.readline())
        assert found is not None
        service = f"{{url: {found[0]}/snapshot, interval_seconds: 2, requests_per_minute_max: 10000, filters: {{markets_max: 5}}}}"
        (tmp_path / "truetape.yaml").write_text(f"record: {{fsync_interval_ms: 20}}\nsnapshots: {{fake: {service}}}\n")
        first = spawn("poll", cwd=tmp_path)
        assert first.stdout is not None
        told = [json.loads(first.stdout.readline()) for _ in range(2)]
        first.kill()
        first.communicate()
        second = spawn("poll", cwd=tmp_path)
        assert second.stdout is not None
        told += [json.loads(second.stdout.readline()) for _ in range(2)]
        second.send_signal(signal.SIGINT)
        said, complaints = second.communicate(timeout=30)
        assert (second.returncode, complaints) == (0, "")
        assert "This run" in said
    finally:
        sim.terminate()
        sim.communicate()
    assert {cycle["service"] for cycle in told} == {"fake"}
    survey = survey_snapshots(Lake(tmp_path / "data/lake"))
    assert (survey.unexplained, survey.repeats) == (0, 0)
    assert survey.observed >= 15
    assert survey.observed + survey.explained == survey.expected


def test_a_changed_format_is_quarantined_and_told(tmp_path: Path) -> None:
    heard: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = threading.Thread(target=hook.serve_forever)
        thread.start()
        sim = spawn("sim", "--venue", "snapshot", "--port", "0")
        try:
            assert sim.stdout is not None
            found = re.search(r"http://\S+?:\d+", sim.stdout.readline())
            assert found is not None
            service = f"{{url: {found[0]}/snapshot, fields: {{prices: quotes}}, filters: {{markets_max: 3}}}}"
            (tmp_path / "truetape.yaml").write_text(f"snapshots: {{fake: {service}}}\n")
            variables = {"TRUETAPE_ALERT_URLS": f"json://127.0.0.1:{hook.server_port}/hook"}
            done = spawn("poll", "--cycles", "1", cwd=tmp_path, env=variables)
            _, complaints = done.communicate(timeout=60)
        finally:
            sim.terminate()
            sim.communicate()
            hook.shutdown()
            thread.join()
    assert (done.returncode, complaints.count("\n")) == (3, 1)
    assert complaints.startswith("truetape: no snapshot came (fake: ")
    assert json.loads(heard[0])["message"] == "snapshots.fake: snapshots are missed (decode)"
    assert len(Lake(tmp_path / "data/lake").sql("from quarantine").arrow()) == 3
