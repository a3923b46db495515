"""Ask the lake."""

from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_rows


@click.command("sql")
@click.argument("query")
@lake_option
@config_option
@click.option("--pin", help="As the lake was when it was given this name.")
@json_option
def command(query: str, lake: str | None, config_path: Path, pin: str | None, as_json: bool) -> None:
    """Run a query on one snapshot of the lake; tables are named as the kinds (trade, book_change, quote, …)."""
    from truetape.lake import Lake

    print_rows(Lake(find_lake(lake, config_path), pin).sql(query).arrow().to_pylist(), as_json=as_json)
