"""What is done on a schedule."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json, print_rows
from truetape.cli._progress import show_progress

if TYPE_CHECKING:
    from datetime import datetime

    from truetape.config import Settings


@click.group("jobs")
def command() -> None:
    """List, run and schedule jobs: builds, checks, compaction, retention, backup."""


@command.command("ls")
@config_option
@json_option
def list_(config_path: Path, as_json: bool) -> None:
    """List the jobs, when they run, and how the last run of each went."""
    from truetape.ops import list_jobs, open_history
    from truetape.ops.cron import check_jobs, list_scheduled

    settings = read_settings(config_path)
    check_jobs(settings)
    scheduled = {job.name: schedule for job, schedule in list_scheduled(settings)}
    rows = []
    with open_history(Path(settings.ops.state)) as history:
        for job in list_jobs():
            last = next(iter(history.list_runs(job.name, 1)), None)
            rows.append({
                "job": job.name, "what": job.doc, "at": scheduled.get(job.name, ""),
                "last": last.state if last else "never ran", "started_at": last.started_at if last else None,
                "error": last.error if last else "",
            })  # fmt: skip
    print_rows(rows, as_json=as_json, title="jobs")


@command.command("run")
@click.argument("name")
@click.option("--due", type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]), hidden=True)
@config_option
@json_option
def run(name: str, due: object, config_path: Path, as_json: bool) -> None:
    """Run one job now; when it is running already, say who runs it and exit with 0.

    What it says goes into `log.file`, too; a daemon that runs it logs it itself.
    """
    from datetime import UTC, datetime

    import msgspec

    from truetape.cli._log import open_log

    due_at = due.replace(tzinfo=UTC) if isinstance(due, datetime) else None
    settings = read_settings(config_path)
    logged = msgspec.structs.replace(settings.log, file="") if due_at else settings.log
    with open_log(logged, is_silent=True) as log:
        _run(name, settings, due_at, log.bind(job=name), as_json)


def _run(name: str, settings: "Settings", due_at: "datetime | None", log: Any, as_json: bool) -> None:
    """Run a job, telling it on the screen and in the log's file."""
    import msgspec

    from truetape.cli._daemon import deliver_quietly
    from truetape.errors import Busy, TruetapeError
    from truetape.ops import load_job, run_job

    def say(line: str) -> None:
        click.echo(line, err=as_json)
        log.info(line)

    log.info("job began")
    try:
        job = load_job(name)
        with show_progress() as report:
            show = report if sys.stderr.isatty() else None
            done = run_job(job, settings, due_at=due_at, say=say, show=show)
    except Busy as error:
        say(str(error))
        return
    except BaseException as error:
        log.error(
            "job failed", error=str(error) if isinstance(error, TruetapeError) else f"{type(error).__name__}: {error}"
        )
        raise
    finally:
        deliver_quietly(settings)
    counts = msgspec.json.decode(done.report, type=dict[str, int | str])
    log.info("job done", report=counts)
    if as_json:
        print_json(done)
        return
    click.echo(f"{name} {done.state}: " + ", ".join(f"{key} {value}" for key, value in counts.items()))


@command.command("history")
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Newest runs shown.")
@config_option
@json_option
def history(name: str | None, limit: int, config_path: Path, as_json: bool) -> None:
    """Show the newest runs, those that were missed or killed included."""
    import msgspec

    from truetape.ops import load_job, open_history

    if name:
        load_job(name)
    with open_history(Path(read_settings(config_path).ops.state)) as kept:
        runs = kept.list_runs(name, limit)
    print_rows([msgspec.structs.asdict(run) for run in runs], as_json=as_json, title="runs")


@command.command("install-cron")
@click.option("--print", "only_print", is_flag=True, help="Print the block, change nothing.")
@click.option("--systemd", is_flag=True, help="Print units of systemd instead.")
@config_option
def install_cron(only_print: bool, systemd: bool, config_path: Path) -> None:
    """Let cron run the jobs: a marked block in your crontab, replaced when it is there already."""
    from truetape.ops.cron import install, write_block, write_units

    settings = read_settings(config_path)
    if systemd:
        for name, unit in write_units(settings, config_path):
            click.echo(f"# {name}\n{unit}")
        return
    block = write_block(settings, config_path)
    if only_print:
        click.echo(block, nl=False)
        return
    click.echo("crontab changed" if install(block) else "crontab is as it should be")


@command.command("uninstall-cron")
def uninstall_cron() -> None:
    """Take the block out of your crontab; what else is in it stays."""
    from truetape.ops.cron import install

    click.echo("crontab changed" if install("") else "there was no block of ours")
