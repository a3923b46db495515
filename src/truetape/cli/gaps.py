"""The gap ledger."""

import sys
from pathlib import Path

import click

from truetape.cli._options import config_option, find_lake, json_option, lake_option, read_settings
from truetape.cli._output import print_json, print_rows
from truetape.cli._progress import show_progress


@click.group("gaps", invoke_without_command=True)
@lake_option
@click.option(
    "--open", "only_open", is_flag=True, help="Only gaps that are still open; exits with 1 when there are any."
)
@config_option
@json_option
@click.pass_context
def command(context: click.Context, lake: str | None, only_open: bool, config_path: Path, as_json: bool) -> None:
    """List every interval in which a stream was not observed, with reason, evidence and state."""
    if context.invoked_subcommand is not None:
        return
    import msgspec

    from truetape.lake import Lake
    from truetape.quality import list_gaps

    gaps = [g for g in list_gaps(Lake(find_lake(lake, config_path))) if not only_open or g.state == "open"]
    rows = [msgspec.structs.asdict(gap) for gap in gaps]
    print_rows(rows, as_json=as_json, title="gaps", spare=("gap_id", "evidence", "to_at", "missing", "state"))
    if only_open and gaps:
        sys.exit(1)


@command.command("repair")
@click.option("--venue", default="", help="Only gaps of this venue.")
@click.option("--symbol", default="", help="Only gaps of this instrument.")
@click.option("--channel", default="", help="Only gaps of this channel.")
@click.option("--again", is_flag=True, help="Ask once more for what was found to be unrecoverable.")
@click.option("--from-relay", is_flag=True, help="Ask the relay of Tardis' tables in the settings, not the venues.")
@config_option
@json_option
def repair(
    venue: str, symbol: str, channel: str, again: bool, from_relay: bool, config_path: Path, as_json: bool
) -> None:
    """Ask the venues for what gaps are missing; each gap becomes repaired, or unrecoverable with the reason.

    With --from-relay books, quotes, tickers and liquidations are repaired, too, and what the venues have no more.

    Refused while a recorder holds the tape. Exits with 1 when a venue did not answer: run it again then.
    """
    import msgspec

    from truetape.flow.relay import repair_from_relay
    from truetape.flow.repair import Scope, repair_gaps

    settings, scope = read_settings(config_path), Scope(venue, symbol, channel)
    ask = repair_from_relay if from_relay else repair_gaps
    with show_progress() as report:
        done = ask(settings, scope, again=again, on_progress=report)
    if as_json:
        print_json(msgspec.structs.asdict(done))
    else:
        click.echo(
            f"{done.repaired:,} gaps repaired, {done.unrecoverable:,} unrecoverable, {done.failed:,} not answered, "
            f"{done.waiting:,} still open, {done.left:,} that nobody can be asked about"
        )
        for trouble in done.troubles:
            click.echo(f"  {trouble}")
    if done.failed:
        sys.exit(1)
