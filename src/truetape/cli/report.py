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
    """Write one HTML page with streams, prices, gaps, lags and checks, and print where it is."""
    from truetape.lake import Lake
    from truetape.quality import write_report

    click.echo(write_report(Lake(find_lake(lake, config_path)), folder, title))
