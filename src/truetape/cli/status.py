"""What is on the tapes, how far it has been carried, and how snapshots and jobs are doing."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truetape.cli._options import config_option, json_option, read_settings, tape_option
from truetape.cli._output import print_json, print_rows

if TYPE_CHECKING:
    from truetape.config import Settings
    from truetape.flow.survey import TapeStatus


@click.command("status")
@tape_option
@config_option
@json_option
def command(tape: str | None, config_path: Path, as_json: bool) -> None:
    """Show the tapes, whether somebody writes them, how far each sink is behind, snapshot services and jobs."""
    import msgspec

    from truetape.flow import list_services, read_all_status

    settings = read_settings(config_path)
    status, *beside = read_all_status(settings, tape)
    services = list_services(status.tape, list(settings.snapshots))
    jobs = _list_runs(settings)
    if as_json:
        said = msgspec.to_builtins(status, builtin_types=(datetime,))
        print_json({**said, "beside": beside, "services": services, "jobs": jobs})
        return
    for one in (status, *beside):
        _print_tape(one)
    if services:
        print_rows([msgspec.structs.asdict(service) for service in services], as_json=False, title="snapshots")
    if jobs:
        print_rows(jobs, as_json=False, title="last runs of jobs")


def _print_tape(status: "TapeStatus") -> None:
    import msgspec

    state = f"being written by process {status.writer}" if status.writer else "not being written"
    click.echo(f"{status.tape}: {status.end - status.first:,} frames in {status.segments} segments, "
               f"{status.bytes / 1e6:,.1f} MB, {state}")  # fmt: skip
    click.echo(
        f"last frame received {status.last_received_at:%Y-%m-%d %H:%M:%S} UTC" if status.last_received_at else "empty"
    )
    print_rows([msgspec.structs.asdict(sink) for sink in status.sinks], as_json=False, title="sinks")


def _list_runs(settings: "Settings") -> list[dict[str, Any]]:
    """List the newest run of each job that ever ran."""
    from truetape.ops import list_jobs, open_history

    state = Path(settings.ops.state)
    if not state.is_dir():
        return []
    with open_history(state) as history:
        newest = {job.name: next(iter(history.list_runs(job.name, 1)), None) for job in list_jobs()}
    return [
        {"job": name, "state": run.state, "started_at": run.started_at, "ended_at": run.ended_at, "error": run.error}
        for name, run in newest.items()
        if run is not None
    ]
