"""Keep a lake in order."""

from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_rows

HOURS_MAX = 24 * 3660
"""Ten years."""


@click.group("lake")
def command() -> None:
    """Compact, clean and list the tables of a lake."""


@command.command("ls")
@lake_option
@config_option
@json_option
def list_(lake: str | None, config_path: Path, as_json: bool) -> None:
    """List tables with rows, files, bytes and version."""
    import msgspec

    from truetape.lake import list_tables

    tables = list_tables(find_lake(lake, config_path))
    print_rows([msgspec.structs.asdict(table) for table in tables], as_json=as_json, title="tables")


@command.command("compact")
@lake_option
@config_option
def compact(lake: str | None, config_path: Path) -> None:
    """Join small files of each day and venue; contents and history stay as they are."""
    from truetape.lake import compact as compact_lake

    for kind, files in compact_lake(find_lake(lake, config_path)).items():
        click.echo(f"{kind}: {files} files joined")


@command.command("vacuum")
@click.option(
    "--hours",
    default=168,
    show_default=True,
    type=click.IntRange(max=HOURS_MAX),
    help="Keep what was replaced less long ago.",
)
@click.option("--force", is_flag=True, help="Allow less than is safe for readers and time travel.")
@lake_option
@config_option
def vacuum(hours: int, force: bool, lake: str | None, config_path: Path) -> None:
    """Delete files that no version of the last hours needs; older versions cannot be read afterwards."""
    from truetape.lake import vacuum as vacuum_lake

    click.echo(f"{vacuum_lake(find_lake(lake, config_path), hours, force=force)} files deleted")
