"""The block in a crontab, systemd's units, and what is refused."""

import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from truetape.config import BackupSettings, JobSettings, Settings
from truetape.errors import ConfigError
from truetape.ops.cron import (
    BEGIN,
    END,
    check_jobs,
    install,
    list_scheduled,
    parse_schedule,
    replace_block,
    translate,
    write_block,
    write_units,
)

THEIRS = "0 5 * * * /usr/bin/theirs\n"


def test_jobs_without_anything_to_do_are_not_scheduled() -> None:
    assert {"backup", "retention"}.isdisjoint(job.name for job, _ in list_scheduled(Settings()))
    with_backup = Settings(backup=BackupSettings(to="backups"))
    assert "backup" in {job.name for job, _ in list_scheduled(with_backup)}


def test_the_settings_decide_when() -> None:
    settings = Settings(jobs={"compact": JobSettings(at="0 1 * * *"), "report": JobSettings(at="never")})
    schedules = {job.name: schedule for job, schedule in list_scheduled(settings)}
    assert schedules["compact"] == "0 1 * * *"
    assert "report" not in schedules


def test_what_is_no_schedule_or_no_job_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"jobs\.compact\.at: 'often' is not five fields of cron"):
        list_scheduled(Settings(jobs={"compact": JobSettings(at="often")}))
    with pytest.raises(ConfigError, match=r"jobs\.compactt: .* did you mean compact"):
        check_jobs(Settings(jobs={"compactt": JobSettings()}))


def test_the_block_is_replaced_not_doubled_and_theirs_stays(tmp_path: Path) -> None:
    block = write_block(Settings(), tmp_path / "truetape.yaml")
    once = replace_block(THEIRS, block)
    assert replace_block(once, block) == once
    assert once.startswith(THEIRS)
    assert once.count(BEGIN) == once.count(END) == 1
    assert replace_block(once, "") == THEIRS


def test_a_real_program_takes_and_gives_back_the_crontab(tmp_path: Path) -> None:
    table, program = tmp_path / "table", tmp_path / "crontab"
    table.write_text(THEIRS)
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat {table}; else cat > {table}.new && mv {table}.new {table}; fi\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    block = write_block(Settings(), tmp_path / "truetape.yaml")
    assert install(block, [str(program)])
    assert not install(block, [str(program)])
    assert "jobs run compact" in table.read_text()
    assert install("", [str(program)])
    assert table.read_text() == THEIRS


def test_without_cron_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="truetape run"):
        install("", ["/nonexistent/crontab"])


@pytest.mark.parametrize(
    ("cron", "calendar"),
    [
        ("30 3 * * *", "*-*-* 03:30:00 UTC"),
        ("*/15 * * * *", "*-*-* *:00/15:00 UTC"),
        ("0 4 1 * *", "*-*-01 04:00:00 UTC"),
        ("5 0 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 00:05:00 UTC"),
        ("5 0 * * 0", "Sun *-*-* 00:05:00 UTC"),
        ("5 0 * jan,JUL-sep sun-tue", "Sun,Mon,Tue *-01,07..09-* 00:05:00 UTC"),
        ("10-50/20 8-18/2 * * *", "*-*-* 08..18/02:10..50/20:00 UTC"),
    ],
)
def test_schedules_translate_for_systemd(cron: str, calendar: str) -> None:
    assert translate(cron) == calendar


def test_units_run_the_daemon_and_each_job(tmp_path: Path) -> None:
    units = dict(write_units(Settings(), tmp_path / "truetape.yaml"))
    assert "truetape.cli run --config" in units["truetape.service"]
    assert "Restart=always" in units["truetape.service"]
    assert "jobs run compact" in units["truetape-compact.service"]
    assert "OnCalendar=*-*-* 03:15:00 UTC" in units["truetape-compact.timer"]


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("0 0 13 * 5", "day and weekday are both given"),
        ("0 0 last * *", "'last' is not like"),
        ("1/5 * * * *", "'1/5' is not like"),
        ("0 0 * * 6-1", "minimum value in a range"),
        ("0 0 * * xyz", "xyz"),
        ("* * * * * *", "got 6"),
        ("@daily", "'@daily' is not like"),
    ],
)
def test_what_cron_systemd_and_the_daemon_take_differently_is_refused(schedule: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"jobs\.x\.at: .* is not five fields of cron") as refused:
        parse_schedule(schedule, "jobs.x.at")
    assert says in str(refused.value)


def test_names_mean_the_same_to_all(tmp_path: Path) -> None:
    thursday = datetime(2026, 1, 8, tzinfo=UTC)
    assert parse_schedule("0 4 * feb-mar sun-tue", "at").get_next_fire_time(None, thursday).date() == date(2026, 2, 1)
    assert "CRON_TZ=UTC" in write_block(Settings(), tmp_path / "truetape.yaml")


def test_sunday_is_crons_zero() -> None:
    wednesday = datetime(2026, 1, 7, tzinfo=UTC)
    assert parse_schedule("0 4 * * 0", "at").get_next_fire_time(None, wednesday) == datetime(2026, 1, 11, 4, tzinfo=UTC)
    assert parse_schedule("0 4 * * 1-5", "at").get_next_fire_time(None, wednesday).day == 7
