"""Log lines in a file: rotated by size and age, kept so many, without secrets, and never in the way."""

import fcntl
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, spawn

from truetape import clock
from truetape.cli._live import Lines
from truetape.cli._log import LogFile, open_log
from truetape.cli._poll import print_cycle
from truetape.collect.turn import Cycle, Tally
from truetape.config import LogSettings, load_secrets, mask_secrets
from truetape.errors import ConfigError

START_S = 1_767_225_600


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_go_to_the_screen_and_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log/truetape.jsonl"
    with Lines(LogSettings(file=str(path), level="info")) as lines:
        lines.say("health at http://127.0.0.1:1/healthz")
        lines.show_cycle(Cycle("fake", 1, START_S * 10**6, 20, 19, 1, Tally(21, 20, 1), 0.5, "", {"decode": 1}))
    said, cycle = read_lines(path)
    assert said["event"] == "health at http://127.0.0.1:1/healthz"
    assert (cycle["event"], cycle["requests"]["failures"], cycle["faults"]) == ("cycle", 1, {"decode": 1})
    assert cycle["timestamp"].endswith("Z")
    assert "health at" in capsys.readouterr().out


def test_a_file_that_grows_is_put_by_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open_log(LogSettings(file=str(path), max_bytes=10_000, keep=2), is_silent=True) as log:
        for number in range(600):
            log.info("line", number=number)
    files = sorted(one.name for one in tmp_path.iterdir())
    assert files == ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]
    assert all((tmp_path / name).stat().st_size <= 10_000 for name in files)
    numbers = [line["number"] for name in reversed(files) for line in read_lines(tmp_path / name)]
    assert numbers == [*range(numbers[0], 600)]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_file_that_is_old_is_put_by_also_by_the_next_program(tmp_path: Path, form: Any) -> None:
    settings = LogSettings(file=str(tmp_path / "a.log"), file_format=form, max_hours=24)
    for hour in (0, 23, 25, 26, 49.5):
        with clock.compress(START_S + hour * 3600, 1.0), open_log(settings, is_silent=True) as log:
            log.info("started", hour=hour)
    counts = {one.name: len(one.read_text().splitlines()) for one in tmp_path.iterdir()}
    assert counts == {"a.log.2": 2, "a.log.1": 2, "a.log": 1}


WRITER = """
import sys
from truetape.cli._log import open_log
from truetape.config import LogSettings
print("ready", flush=True)
sys.stdin.readline()
with open_log(LogSettings(file=sys.argv[1], max_bytes=20_000, keep=500), is_silent=True) as log:
    for number in range(1500):
        log.info("line", writer=sys.argv[2], number=number)
"""


def test_several_processes_share_a_file_and_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in range(3)
    ]
    for writer in writers:  # all at once
        assert writer.stdout is not None and writer.stdout.readline()
    for writer in writers:
        writer.communicate(b"go\n")
    files = sorted(tmp_path.iterdir(), key=lambda one: int(one.suffix.removeprefix(".").replace("jsonl", "0")))
    assert len(files) > 20
    assert all(one.stat().st_size <= 20_000 for one in files)
    lines = [line for one in reversed(files) for line in read_lines(one)]
    for name in "012":  # each one's in its order, none lost, none cut, none twice
        assert [line["number"] for line in lines if line["writer"] == name] == [*range(1500)]


def test_who_holds_the_file_and_stands_still_does_not_keep_others_from_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("a") as held, open_log(LogSettings(file=str(path), max_bytes=10_000), is_silent=True) as log:
        fcntl.flock(held, fcntl.LOCK_EX)
        log.info("x" * 11_000)
        log.info("next")
    assert len(read_lines(path)) == 2  # after a second, and at once
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]  # nothing was put by without the lock


def test_a_file_that_is_taken_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open_log(LogSettings(file=str(path)), is_silent=True) as log:
        log.info("first")
        path.rename(tmp_path / "away")
        log.info("second")
    assert [line["event"] for line in read_lines(path)] == ["second"]


def test_a_job_as_cron_runs_it_logs_what_it_says(tmp_path: Path) -> None:
    """Two at once write one file; a failure is there with its reason, and without the secret in it."""
    (tmp_path / "truetape.yaml").write_text(
        "tape: t\nsinks: ['lake:l']\nops: {state: s}\nlog: {file: log/jobs.jsonl}\nretention: {tape_days: 1}\n"
        "backup: {to: secret-token-of-mine}\n"
    )
    (tmp_path / "secret-token-of-mine").write_text("")
    environment = {"TRUETAPE_KEY_X_TOKEN": "secret-token-of-mine"}
    running = [spawn("jobs", "run", name, cwd=tmp_path, env=environment) for name in ("build", "gaps_repair", "backup")]
    codes = [(one.communicate(), one.returncode)[1] for one in running]
    assert codes == [0, 0, 2]
    lines = read_lines(tmp_path / "log/jobs.jsonl")
    assert Counter(line["event"] for line in lines if line["event"].startswith("job ")) == {
        "job began": 3, "job done": 2, "job failed": 1
    }  # fmt: skip
    assert {line["job"] for line in lines} == {"build", "gaps_repair", "backup"}
    assert any("there is no tape yet" in line["event"] for line in lines)
    (failed,) = [line for line in lines if line["event"] == "job failed"]
    assert failed["level"] == "error" and "it is a file" in failed["error"]
    assert "secret-token" not in (tmp_path / "log/jobs.jsonl").read_text()
    daemon = spawn("jobs", "run", "gaps_repair", "--due", "2026-01-01T00:00:00", cwd=tmp_path)
    assert "there is no tape yet" in daemon.communicate()[0]  # which the daemon that started it logs
    assert len(read_lines(tmp_path / "log/jobs.jsonl")) == len(lines)


def test_a_full_disk_is_told_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with open_log(LogSettings(file="/dev/full"), is_silent=True) as log:
        for _ in range(3):
            log.info("line")
    assert capsys.readouterr().err.count("log.file: /dev/full cannot be written") == 1


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"log\.file: .* cannot be written \(Is a directory\)"),
        open_log(LogSettings(file=str(tmp_path))),
    ):
        pass


def test_a_file_without_a_time_begins_now(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("no time here\n")
    file = LogFile(path, 10_000, 1, 3)
    file.write("next")
    file.close()
    assert path.read_text() == "no time here\nnext\n"


ALERTS = (
    "mailto://watch:mail-password@example.com?to=me@example.com slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    " tgram://123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc/12315544 json://127.0.0.1:8080/hook"
)


def test_secrets_are_known_and_masked_wherever_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (tmp_path / "key").write_text("key-of-a-file\n")
    (tmp_path / ".env").write_text("TRUETAPE_KEY_KALSHI_ID=key-of-dot-env\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRUETAPE_KEY_COINGECKO_PRO", "CG-pro-key")
    monkeypatch.setenv("TRUETAPE_KEY_KALSHI_PRIVATE_FILE", "key")
    monkeypatch.setenv("TRUETAPE_ALERT_URLS", ALERTS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    secrets = ("CG-pro-key", "key-of-a-file", "key-of-dot-env", "mail-password", "TIiajkdnlazkcOXrIdevi7FQ", "T1JJ3T3L2",
               "AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc", "aws-secret")  # fmt: skip
    with open_log(LogSettings(format="json", file=str(tmp_path / "log.jsonl"))) as log:
        for secret in secrets:
            log.warning(f"refused: {secret}", url=f"https://host/?key={secret}", more={secret: [secret]})
    reason = "; ".join(secrets)
    print_cycle(Cycle("fake", 1, 0, 0, 0, 0, Tally(), 0.0, reason))
    printed = capsys.readouterr().out + (tmp_path / "log.jsonl").read_text()
    assert printed.count("•••") > 30 or printed.count("\\u2022\\u2022\\u2022") > 30
    assert not [secret for secret in secrets if secret in printed]
    for plain in ("127.0.0.1:8080", "example.com", "hook"):
        assert mask_secrets(plain, load_secrets()) == plain


def test_an_error_line_shows_no_secret(truetape: Run) -> None:
    done = truetape(
        "sql", "--lake", "secret-token-of-mine", "select 1", env={"TRUETAPE_KEY_X_TOKEN": "secret-token-of-mine"}
    )
    assert done.code == 2
    assert "•••" in done.err
    assert "secret-token" not in done.err
