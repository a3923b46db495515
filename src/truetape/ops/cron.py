"""Jobs for the system's own schedulers: a marked block of a crontab, and units of systemd."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from apscheduler.triggers.cron import CronTrigger

from truetape.config import Settings
from truetape.errors import ConfigError
from truetape.ops.job import Job
from truetape.ops.runner import list_jobs, load_job

BEGIN = "# truetape jobs: begin"
END = "# truetape jobs: end"
_BLOCK = re.compile(rf"^{re.escape(BEGIN)}.*?^{re.escape(END)}[^\n]*\n?", re.DOTALL | re.MULTILINE)


def find_schedule(job: Job, settings: Settings) -> str:
    """Return when a job runs, as five fields of cron in UTC; empty: only by hand. ConfigError where they do not read."""
    given = settings.jobs[job.name].at if job.name in settings.jobs else ""
    if given == "never":
        return ""
    schedule = given or job.at
    if schedule:
        parse_schedule(schedule, f"jobs.{job.name}.at")
    return schedule


def parse_schedule(schedule: str, key: str) -> CronTrigger:
    """Read five fields of cron, in UTC; what cron, systemd and the daemon do not take alike is refused."""
    try:
        *fields, weekday = schedule.split()
        for field in (*fields, weekday):
            if wrong := [item for item in field.split(",") if not _ITEM.fullmatch(item)]:
                raise ValueError(f"{wrong[0]!r} is not like 5, 1-5, */5, 10-50/5 or mon")
        if len(fields) == 4 and fields[2] != "*" and weekday != "*":
            raise ValueError("day and weekday are both given: for cron one of them is enough, for systemd it is not")
        # The library counts days from Monday where cron counts from Sunday: only names mean the same to both.
        return CronTrigger.from_crontab(" ".join([*fields, _name_days(weekday).lower()]), timezone="UTC")
    except ValueError as error:
        raise ConfigError(f"{key}: {schedule!r} is not five fields of cron ({error}); like `30 3 * * *`") from error


def check_jobs(settings: Settings) -> None:
    """Refuse settings of jobs that there are not, and times that do not read."""
    for name in settings.jobs:
        try:
            job = load_job(name)
        except ConfigError as error:
            raise ConfigError(f"jobs.{name}: {error}") from error
        find_schedule(job, settings)


def list_scheduled(settings: Settings) -> list[tuple[Job, str]]:
    """List the jobs that run by themselves, with their schedules."""
    check_jobs(settings)
    return [
        (job, schedule) for job in list_jobs() if (schedule := find_schedule(job, settings)) and _is_set(job, settings)
    ]


def _is_set(job: Job, settings: Settings) -> bool:
    """A job that has nowhere to work is not scheduled unless somebody asked for it."""
    return job.name in settings.jobs or job.is_wanted(settings)


def write_block(settings: Settings, config: Path) -> str:
    """Write the block of a crontab that runs the jobs; its times are UTC."""
    lines = [
        BEGIN,
        "# times are UTC; a cron without CRON_TZ, as Debian's, takes them for the machine's time",
        "CRON_TZ=UTC",
    ]
    for job, schedule in list_scheduled(settings):
        lines.append(f"{schedule} {_quote(_name_command(job, config))}  # {job.doc}")
    return "\n".join([*lines, END]) + "\n"


def replace_block(crontab: str, block: str) -> str:
    """Put a block into a crontab in place of the one that is there; an empty one takes it out."""
    rest = _BLOCK.sub("", crontab)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return rest + block


def install(block: str, command: Sequence[str] = ("crontab",)) -> bool:
    """Change the user's crontab; says whether anything changed. An empty block takes ours out."""
    try:
        listed = subprocess.run([*command, "-l"], capture_output=True, text=True, check=False)  # noqa: S603
        before = listed.stdout if listed.returncode == 0 else ""
        after = replace_block(before, block)
        if after != before:
            subprocess.run([*command, "-"], input=after, text=True, check=True, capture_output=True)  # noqa: S603
    except FileNotFoundError as error:
        raise ConfigError(f"{command[0]}: there is no such program here; `truetape run` schedules by itself") from error
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"{command[0]} refused: {error.stderr.strip()}") from error
    return after != before


def write_units(settings: Settings, config: Path) -> Iterator[tuple[str, str]]:
    """Yield systemd's units: the daemon, and a service with a timer for each job, for those who want no daemon."""
    folder = Path.cwd()
    run = " ".join(shlex.quote(part) for part in [*_find_program(), "run", "--config", str(config.resolve())])
    yield (
        "truetape.service",
        _UNIT.format(
            doc="truetape: recorder and jobs",
            folder=folder,
            kind="exec",
            command=run,
            more="Restart=always\nRestartSec=5\n",
        )
        + "\n[Install]\nWantedBy=default.target\n",
    )
    for job, schedule in list_scheduled(settings):
        command = " ".join(shlex.quote(part) for part in _name_command(job, config))
        yield (
            f"truetape-{job.name}.service",
            _UNIT.format(doc=f"truetape: {job.doc}", folder=folder, kind="oneshot", command=command, more="Nice=10\n"),
        )
        yield f"truetape-{job.name}.timer", _TIMER.format(doc=job.doc, calendar=translate(schedule))


_UNIT = """\
[Unit]
Description={doc}
After=network-online.target

[Service]
Type={kind}
WorkingDirectory={folder}
ExecStart={command}
{more}"""

_TIMER = """\
[Unit]
Description={doc}

[Timer]
OnCalendar={calendar}
Persistent=true

[Install]
WantedBy=timers.target
"""

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ITEM = re.compile(r"(\*|(\d+|[A-Za-z]{3})-(\d+|[A-Za-z]{3}))(/\d+)?|\d+|[A-Za-z]{3}")
"""One of what stands between commas."""


def _name_days(field: str) -> str:
    """Name the days of cron's fifth field: `1-5` → `Mon,Tue,Wed,Thu,Fri`; 0 and 7 are Sunday."""
    days: set[int] = set()
    for item in _number(field, [day.lower() for day in _DAYS], 0).split(","):
        found = re.fullmatch(r"(?:(\*)|([0-7])(?:-([0-7]))?)(?:/([1-7]))?", item)
        if not found:
            return field  # nonsense, which the library refuses
        first, last = (0, 6) if found[1] else (int(found[2]), int(found[3] or found[2]))
        if last < first:
            return field
        days.update(day % 7 for day in range(first, last + 1, int(found[4] or 1)))
    return "*" if len(days) == 7 else ",".join(_DAYS[day] for day in sorted(days))


def _number(field: str, names: Sequence[str], first: int) -> str:
    """Write numbers for names: `jan-mar` → `1-3`."""
    known = {name: str(number) for number, name in enumerate(names, first)}
    return re.sub(r"[A-Za-z]+", lambda found: known.get(found[0].lower(), found[0]), field)


def translate(schedule: str) -> str:
    """Translate five fields of cron into systemd's calendar: `30 3 * * 1` → `Mon *-*-* 03:30:00 UTC`."""
    minute, hour, day, month, weekday = schedule.split()
    days = "" if weekday == "*" else _name_days(weekday) + " "
    month = _number(month, _MONTHS, 1)
    return f"{days}*-{_pad(month)}-{_pad(day)} {_pad(hour)}:{_pad(minute)}:00 UTC"


def _pad(field: str) -> str:
    step = re.fullmatch(r"\*/(\d+)", field)
    if step:
        return f"00/{step[1]}"
    return re.sub(r"\d+", lambda found: found[0].zfill(2), field).replace("-", "..")


def _find_program() -> list[str]:
    return [sys.executable, "-m", "truetape.cli"]


def _name_command(job: Job, config: Path) -> list[str]:
    return [*_find_program(), "jobs", "run", job.name, "--config", str(config.resolve())]


def _quote(command: Sequence[str]) -> str:
    """Quote for cron, which takes a % for a line's end."""
    words = " ".join(shlex.quote(part) for part in command)
    return f"cd {shlex.quote(str(Path.cwd()))} && {words}".replace("%", r"\%")
