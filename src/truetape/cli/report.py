"""Write the report page."""

from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, lake_option


@click.command("report")
@click.option("--to", "folder", default="report", show_default=True, help="Folder to write into.",
              type=click.Path(path_type=Path, file_okay=False))  # fmt: skip
@click.option("--title", default="truetape report", show_default=True, help="Head of the page.")
@lake_option
@config_option
def command(folder: Path, title: str, lake: str | None, config_path: Path) -> None:
    """Write one HTML page with streams, prices, gaps, lags and checks, and print where it is.

    A lake of snapshots has a page of its own beside it.
    """
    from truetape.lake import Lake
    from truetape.quality import has_table, write_report
    from truetape.quality.snapshots_report import write_snapshot_report

    found = Lake(find_lake(lake, config_path))
    click.echo(write_report(found, folder, title))
    if has_table(found, "market_snapshot"):
        click.echo(write_snapshot_report(found, folder, f"{title}: snapshots")[1])
