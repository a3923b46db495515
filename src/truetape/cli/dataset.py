"""Names for what a lake held."""

from datetime import UTC, datetime
from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option
from truetape.cli._output import print_rows

_MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"))


@click.group("dataset")
def command() -> None:
    """Pin versions of a lake, list and compare them; read one with `truetape sql --pin NAME`."""


@command.command("ls")
@lake_option
@config_option
@json_option
def list_(lake: str | None, config_path: Path, as_json: bool) -> None:
    """List the pins, oldest first."""
    from truetape.lake import list_pins

    rows = [
        {"name": p.name, "made_at": p.made_at, "tables": len(p.tables), "rows": sum(t.rows for t in p.tables.values()),
         "from": p.since, "to": p.until, "first_offset": p.offsets and p.offsets[0],
         "last_offset": p.offsets and p.offsets[1], "sha256": p.sha256, "note": p.note}
        for p in list_pins(find_lake(lake, config_path))
    ]  # fmt: skip
    print_rows(rows, as_json=as_json, title="pins")


@command.command("pin")
@click.argument("name")
@click.option("--note", default="", help="What it is for.")
@click.option("--from", "begin", type=_MOMENT, help="First moment of what is to be built again from the tape, UTC.")
@click.option("--to", "end", type=_MOMENT, help="Moment before which that ends, UTC.")
@lake_option
@config_option
def pin(
    name: str, note: str, begin: datetime | None, end: datetime | None, lake: str | None, config_path: Path
) -> None:
    """Give what the lake holds now a name: it stays readable whatever is compacted, dropped or vacuumed.

    Retention keeps the tape that its rows came from, too, until it is unpinned; with --from and --to, as far as they
    were received between these.
    """
    from truetape.lake import pin_lake

    span = (begin and begin.replace(tzinfo=UTC), end and end.replace(tzinfo=UTC))
    made = pin_lake(find_lake(lake, config_path), name, note, span)
    click.echo(f"{name}: {len(made.tables)} tables, {sum(t.rows for t in made.tables.values()):,} rows, {made.sha256}")
    if made.offsets:
        click.echo(f"of the tape, frames {made.offsets[0]:,} to {made.offsets[1]:,} are kept for it")
    elif begin or end:
        click.echo("nothing was received in that time: none of the tape is kept for it")


@command.command("unpin")
@click.argument("name")
@lake_option
@config_option
def unpin(name: str, lake: str | None, config_path: Path) -> None:
    """Take a name away; what only it held goes with the next vacuum."""
    from truetape.lake import drop_pin

    drop_pin(find_lake(lake, config_path), name)
    click.echo(f"{name} is not pinned any more")


@command.command("diff")
@click.argument("before")
@click.argument("after", default="now")
@lake_option
@config_option
@json_option
def diff(before: str, after: str, lake: str | None, config_path: Path, as_json: bool) -> None:
    """List the tables that differ between two pins, or between a pin and now."""
    import msgspec

    from truetape.lake import compare_pins, describe_lake, read_pin

    path = find_lake(lake, config_path)
    pins = [describe_lake(path) if name == "now" else read_pin(path, name) for name in (before, after)]
    print_rows([msgspec.structs.asdict(found) for found in compare_pins(*pins)], as_json=as_json, title="differences")
