"""Run the models."""

from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option, read_settings
from truetape.cli._output import print_rows
from truetape.cli._progress import show_progress


@click.command("build")
@click.argument("models", nargs=-1)
@click.option("--full", is_flag=True, help="Build everything anew instead of what changed.")
@click.option(
    "--interval", "intervals", multiple=True, help="Bar intervals (1s, 1m, 5m, 1h); may be given several times."
)
@click.option(
    "--large-order-min",
    type=float,
    help="Shares on one level of an outcome's book from which on it counts as a large order; default: the one in the settings.",
)
@lake_option
@config_option
@json_option
def command(
    models: tuple[str, ...],
    full: bool,
    intervals: tuple[str, ...],
    large_order_min: float | None,
    lake: str | None,
    config_path: Path,
    as_json: bool,
) -> None:
    """Build gold tables (bars, truth, canonical) from the lake; only days and markets that changed, unless --full."""
    import msgspec

    from truetape.transform import build

    variables: dict[str, object] = {"intervals": list(intervals)} if intervals else {}
    told = read_settings(config_path).build.large_order_min
    variables["large_order_min"] = told if large_order_min is None else large_order_min
    with show_progress() as report:
        result = build(find_lake(lake, config_path), models or None, full=full, variables=variables, on_progress=report)
    rows = [msgspec.structs.asdict(model) | {"seconds": round(model.seconds, 3)} for model in result.models]
    print_rows(rows, as_json=as_json, title="models")
