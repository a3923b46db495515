"""The gap ledger."""

import sys
from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_rows


@click.command("gaps")
@lake_option
@click.option(
    "--open", "only_open", is_flag=True, help="Only gaps that are still open; exits with 1 when there are any."
)
@config_option
@json_option
def command(lake: str | None, only_open: bool, config_path: Path, as_json: bool) -> None:
    """List every interval in which a stream was not observed, with reason, evidence and state."""
    import msgspec

    from truetape.lake import Lake
    from truetape.quality import list_gaps

    gaps = [g for g in list_gaps(Lake(find_lake(lake, config_path))) if not only_open or g.state == "open"]
    print_rows([{**msgspec.structs.asdict(gap)} for gap in gaps], as_json=as_json, title="gaps")
    if only_open and gaps:
        sys.exit(1)
