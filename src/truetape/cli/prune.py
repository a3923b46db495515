"""Throw away what is old and not needed any more."""

from pathlib import Path

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Say what would go from the tape, and change nothing.")
@config_option
@json_option
def command(dry_run: bool, config_path: Path, as_json: bool) -> None:
    """Throw away what `retention` of the settings lets go; what a sink or an open gap needs stays."""
    from truetape.errors import Busy
    from truetape.ops import prune
    from truetape.ops.lock import hold

    settings = read_settings(config_path)
    try:
        with hold(Path(settings.ops.state) / "locks", "retention"):  # the job's
            report = prune(settings, dry_run=dry_run)
    except Busy as error:
        click.echo(str(error), err=as_json)
        return
    if as_json:
        print_json(report)
        return
    verb = "would take" if dry_run else "took"
    rows = ", ".join(f"{count:,} {kind}" for kind, count in report.rows.items()) or "none"
    click.echo(f"{verb} {report.segments} segments ({report.bytes / 1e6:,.1f} MB) off the tape; rows dropped: {rows}")
    if report.kept:
        click.echo(f"kept {report.kept}")
