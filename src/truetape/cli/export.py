"""Rows of the lake into a file."""

from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, lake_option


@click.command("export")
@click.argument("kind")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="File to write: .parquet, .csv, .csv.gz, .jsonl or .arrow.")  # fmt: skip
@click.option("--venue", help="Only rows of this venue.")
@click.option("--symbol", help="Only rows of this instrument (BTC-USDT).")
@click.option("--start", help="First receive time, inclusive (ISO 8601, UTC).")
@click.option("--end", help="Receive time to stop before.")
@lake_option
@config_option
def command(
    kind: str, target: Path, venue: str | None, symbol: str | None, start: str | None, end: str | None,
    lake: str | None, config_path: Path,
) -> None:  # fmt: skip
    """Write rows of one kind (trade, book_change, quote, …) to a file, batch by batch."""
    from truetape.flow import export
    from truetape.lake import Lake

    rows = Lake(find_lake(lake, config_path)).rows(kind, venue, symbol, start, end)
    click.echo(f"{target}: {export(rows, target):,} rows")
