"""Log lines in a file: rotated by size and age, kept so many, without secrets, and never in the way."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

from truetape import clock
from truetape.cli._live import Lines
from truetape.cli._log import LogFile, open_log
from truetape.cli._poll import print_cycle
from truetape.collect.snapshot import Cycle, Tally
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
