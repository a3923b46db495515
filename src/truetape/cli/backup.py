"""Copy tape and sinks to another place."""

from pathlib import Path

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json, print_rows


@click.command("backup")
@click.option("--to", "place", help="A folder or s3://bucket/prefix; default: backup.to of the settings.")
@click.option("--list", "only_list", is_flag=True, help="List the backups that are there.")
@config_option
@json_option
def command(place: str | None, only_list: bool, config_path: Path, as_json: bool) -> None:
    """Back up the tape and the sinks, also while they are being written; only what is new is copied.

    When a backup is running already, say who makes it and exit with 0.
    """
    import msgspec

    from truetape.errors import Busy, ConfigError
    from truetape.ops import back_up, list_backups
    from truetape.ops.lock import hold

    settings = read_settings(config_path)
    place = place or settings.backup.to
    if not place:
        raise ConfigError("backup.to: empty; name a folder or s3://bucket/prefix, there or with --to")
    if only_list:
        print_rows([{"name": b.name, "files": b.files, "bytes": b.bytes} for b in list_backups(place)],
                   as_json=as_json, title="backups")  # fmt: skip
        return
    try:
        with hold(Path(settings.ops.state) / "locks", "backup"):  # the job's
            report = back_up(settings, place)
    except Busy as error:
        click.echo(str(error), err=as_json)
        return
    if as_json:
        print_json(msgspec.structs.asdict(report))
        return
    click.echo(f"backup {report.name}: {report.files:,} files, {report.bytes / 1e6:,.1f} MB, "
               f"of these new {report.new_files:,} with {report.new_bytes / 1e6:,.1f} MB")  # fmt: skip
