"""Put foreign recordings on a tape."""

from functools import partial
from pathlib import Path

import click

from truetape.cli._options import config_option, find_tape, json_option, read_settings, tape_option
from truetape.cli._output import print_rows
from truetape.cli._progress import show_progress


@click.command("import")
@click.argument("format_name", metavar="FORMAT")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--venue", default="", help="The venue the frames came from; not for tardis, whose lines name it.")
@click.option("--feed", help="The venue's feed, or Tardis' dataset, where the recording does not tell it.")
@click.option("--start", help="First receive time (ISO 8601), for recordings that have no times.")
@click.option("--skip-bad", is_flag=True, help="Declare lines that are not of the format on the tape, and go on.")
@tape_option
@config_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - one argument per option
    format_name: str, files: tuple[Path, ...], venue: str, feed: str | None, start: str | None, skip_bad: bool,
    tape: str | None, config_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Put foreign recordings on a tape, from where they go the way live frames go.

    FORMAT: hftbacktest, cryptofeed, tardis (CSV datasets), tardis-raw, tardis-json,
    tardis-normalized (lines of tardis-machine), plain or rest (answers of HTTP requests); or files that a venue publishes: binance-bulk,
    bybit-bulk, okx-bulk (--feed is their market then, where nothing else tells it: spot, usdm, coinm; linear, inverse). Of these, what
    the lake has already is not taken again.
    """
    from truetape.errors import suggest
    from truetape.flow import import_files
    from truetape.flow.bulk import list_formats
    from truetape.tape.foreign import FORMATS

    if format_name in list_formats():
        if tape or venue or start or skip_bad:
            raise click.UsageError(f"{format_name} goes with --feed, --config and --json only")
        _import_bulk(format_name, files, feed or "", config_path, as_json=as_json)
        return
    if format_name not in FORMATS:
        allowed = (*FORMATS, *list_formats())
        hint = suggest(format_name, allowed)
        raise click.BadParameter(f"unknown recording format {format_name!r} (allowed: {', '.join(allowed)}){hint}")
    if not venue and format_name not in {"tardis", "tardis-normalized"}:
        raise click.UsageError("Missing option '--venue'.")
    place = find_tape(tape, config_path)
    with show_progress() as report:
        counts = import_files(
            format_name, files, venue, place, feed=feed, start=start, skip_bad=skip_bad,
            on_progress=partial(report, "bytes read"),
        )  # fmt: skip
    print_rows([{"file": path.name, "frames": n} for path, n in counts], as_json=as_json)


def _import_bulk(format_name: str, files: tuple[Path, ...], market: str, config_path: Path, *, as_json: bool) -> None:
    import msgspec

    from truetape.flow.bulk import import_bulk

    with show_progress() as report:
        done = import_bulk(read_settings(config_path), format_name, files, market, on_progress=report)
    print_rows([msgspec.structs.asdict(one) for one in done], as_json=as_json)
