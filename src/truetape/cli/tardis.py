"""The vendor Tardis: fetch its files, and import them."""

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from truetape.flow.tardis import Fetched

_MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M"))
_fetch_only_option = click.option("--fetch-only", is_flag=True, help="Leave the files on disk; do not import them.")


@click.group("tardis")
def command() -> None:
    """Fetch files of the vendor Tardis and import them; a key is `TRUETAPE_KEY_TARDIS_API`.

    What is on disk is not fetched again, and what is on the tape is not imported again.
    """


@command.command("datasets")
@click.argument("exchange")
@click.argument("symbols", nargs=-1, required=True)
@click.option("--type", "types", multiple=True, required=True,
              help="trades, incremental_book_L2, quotes, book_snapshot_25, book_snapshot_5, derivative_ticker, liquidations or options_chain; may be repeated.")  # fmt: skip
@click.option("--from", "begin", type=_MOMENT, required=True, help="First day, UTC.")
@click.option("--to", "end", type=_MOMENT, required=True, help="The day after the last one.")
@_fetch_only_option
@config_option
@json_option
def datasets(
    exchange: str, symbols: tuple[str, ...], types: tuple[str, ...], begin: "datetime", end: "datetime",
    fetch_only: bool, config_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Fetch CSV files, one for each day, type and symbol; those of a month's first day need no key."""
    from truetape.flow.tardis import Dataset, fetch_datasets, import_fetched

    settings = read_settings(config_path)
    done: list[Fetched] = []
    for name in types:
        wanted = Dataset(exchange, name, symbols, begin.date(), end.date())
        done += fetch_datasets(settings, wanted, on_file=lambda one: click.echo(f"{one.file}: {one.status}", err=True))
    _show(done if fetch_only else import_fetched(settings, done), as_json=as_json)


@command.command("replay")
@click.argument("exchange")
@click.option("--channel", "channels", multiple=True, required=True,
              help="A channel as the exchange calls it (trade, depth); may be repeated.")  # fmt: skip
@click.option("--symbol", "symbols", multiple=True, help="A symbol as the exchange spells it (btcusdt); default: all.")
@click.option("--from", "begin", type=_MOMENT, required=True, help="First minute, UTC.")
@click.option("--to", "end", type=_MOMENT, required=True, help="The minute after the last one.")
@click.option("--machine", default="",
              help="A tardis-machine to ask instead of the vendor: http://host:port, or ws://host:port of its sockets.")  # fmt: skip
@click.option("--feed", help="The venue's feed that the messages are of; default: the first one of the market.")
@_fetch_only_option
@config_option
@json_option
def replay(  # noqa: PLR0913, PLR0917 - one argument per option
    exchange: str, channels: tuple[str, ...], symbols: tuple[str, ...], begin: "datetime", end: "datetime",
    machine: str, feed: str | None, fetch_only: bool, config_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Fetch an exchange's own messages, minute by minute, into one file, and replay it onto the tape.

    A machine's sockets tell no times: what comes of a minute is taken to be received at its end. Ask its HTTP side.
    """
    from truetape.flow.tardis import Filter, fetch_raw, import_fetched
    from truetape.venues.tardis.exchange import check_feed, name_venue

    settings = read_settings(config_path)
    name_venue(exchange)  # refuses those that nobody here reads, before anything is fetched
    check_feed(exchange, feed)
    one = fetch_raw(
        settings,
        exchange,
        [Filter(channel, symbols) for channel in channels],
        begin.replace(tzinfo=UTC),
        end.replace(tzinfo=UTC),
        machine=machine,
        on_minutes=lambda minutes: click.echo(f"{minutes} minutes", err=True),
    )
    _show([one] if fetch_only else import_fetched(settings, [one], exchange, feed), as_json=as_json)


@command.command("machine")
@click.argument("exchange")
@click.argument("symbols", nargs=-1, required=True)
@click.option("--type", "types", multiple=True, required=True,
              help="trade, book_change, quote, quote_1s, book_ticker, derivative_ticker, liquidation, option_summary, book_snapshot_25_1s; may be repeated.")  # fmt: skip
@click.option("--from", "begin", type=_MOMENT, required=True, help="First minute, UTC.")
@click.option("--to", "end", type=_MOMENT, required=True, help="The minute after the last one.")
@click.option(
    "--url",
    default="",
    help="The machine's sockets, ws://host:port; default: venues.tardis.url, else ws://127.0.0.1:8001.",
)
@_fetch_only_option
@config_option
@json_option
def machine(  # noqa: PLR0913, PLR0917 - one argument per option
    exchange: str, symbols: tuple[str, ...], types: tuple[str, ...], begin: "datetime", end: "datetime",
    url: str, fetch_only: bool, config_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Have a tardis-machine replay, and put what it says onto the tape."""
    from truetape.flow.tardis import fetch_machine, import_fetched
    from truetape.venues.tardis.machine import Option

    settings = read_settings(config_path)
    span = (f"{at:%Y-%m-%dT%H:%M}:00.000Z" for at in (begin, end))
    one = fetch_machine(settings, Option(exchange, symbols, types, True, *span), url)
    _show([one] if fetch_only else import_fetched(settings, [one]), as_json=as_json)


def _show(done: "Sequence[Fetched]", *, as_json: bool) -> None:
    rows = [{"file": one.file, "status": one.status, "frames": one.frames} for one in done]
    print_rows(rows, as_json=as_json, title="files")
