"""Ask a venue for its past."""

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json
from truetape.cli._progress import show_progress

if TYPE_CHECKING:
    from datetime import datetime

    from truetape.flow.bulk import Taken

_MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"))

_INTERVALS = {"candle": "1m", "open_interest": "5m"}
"""Channels that have intervals → which it is unless somebody says otherwise."""


@click.command("backfill")
@click.argument("venue")
@click.argument("symbol")
@click.argument("channel")
@click.option("--from", "begin", type=_MOMENT, required=True, help="First moment, UTC.")
@click.option("--to", "end", type=_MOMENT, required=True, help="Last moment, UTC.")
@click.option("--market", default="", help="Product line of the venue (spot, usdm), where the symbol is in several.")
@click.option("--interval", help="Of candles (default: 1m) and of open interest (default: 5m).")
@click.option("--from-relay", is_flag=True, help="Ask the relay of Tardis' tables in the settings, not the venue.")
@click.option("--bulk", is_flag=True, help="From the files that the venue publishes, whole days and months of them.")
@config_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - one argument per option of the command
    venue: str,
    symbol: str,
    channel: str,
    begin: "datetime",
    end: "datetime",
    market: str,
    interval: str | None,
    from_relay: bool,
    bulk: bool,
    config_path: Path,
    as_json: bool,
) -> None:
    """Ask VENUE for what it tells of SYMBOL's CHANNEL between two moments, as far as the lake has none of it.

    Refused while a recorder holds the tape. What a venue says is stored once, however often it is asked.
    With --from-relay CHANNEL may also be a book, quotes, tickers or liquidations; moments are when the vendor had them.
    """
    from truetape.flow.bulk import fetch_bulk
    from truetape.flow.relay import backfill_from_relay
    from truetape.flow.repair import backfill
    from truetape.flow.subject import Subject

    wanted = Subject(
        venue, market, symbol, "", channel, (interval or _INTERVALS[channel]) if channel in _INTERVALS else ""
    )
    if interval and channel not in _INTERVALS:
        raise click.UsageError(f"--interval: {channel} has none (those that have: {', '.join(_INTERVALS)})")
    settings, span = read_settings(config_path), (begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    if bulk and from_relay:
        raise click.UsageError("--bulk and --from-relay ask different places: give one of them")
    if bulk:
        with show_progress() as report:
            done = fetch_bulk(settings, wanted, *span, on_file=_tell_file, on_progress=report)
        _show_files(done, as_json=as_json)
        return
    ask = backfill_from_relay if from_relay else backfill
    with show_progress() as report:
        rows = ask(settings, wanted, *span, on_progress=report)
    if as_json:
        print_json({"venue": venue, "symbol": symbol, "channel": channel, "rows": rows})
    else:
        click.echo(f"{rows:,} new rows of {venue} {symbol} {channel}")


def _tell_file(taken: "Taken") -> None:
    rows = f", {taken.rows:,} new rows" if taken.status == "taken" else ""
    bad = f", {taken.quarantined:,} blocks of lines do not decode" if taken.quarantined else ""
    click.echo(f"{taken.file}: {taken.status}{rows}{bad}", err=True)


def _show_files(done: "list[Taken]", *, as_json: bool) -> None:
    import msgspec

    if as_json:
        print_json([msgspec.structs.asdict(one) for one in done])
    else:
        counts = [sum(one.status == status for one in done) for status in ("taken", "known", "absent")]
        click.echo(
            f"{sum(one.rows for one in done):,} new rows: "
            + ", ".join(f"{n} files {status}" for n, status in zip(counts, ("taken", "known", "absent"), strict=True))
        )
