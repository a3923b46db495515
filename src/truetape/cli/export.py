"""Rows of the lake into files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truetape.cli._options import config_option, find_lake, lake_option

if TYPE_CHECKING:
    from truetape.flow.dataset import Selection
    from truetape.lake import Lake


@click.command("export")
@click.argument("kind")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path),
              help="File to write: .parquet, .csv, .csv.gz, .jsonl or .arrow; for research a folder.")  # fmt: skip
@click.option("--venue", help="Only rows of this venue.")
@click.option("--symbol", help="Only rows of this instrument (BTC-USDT).")
@click.option("--start", "--from", "start", help="First receive time, inclusive (ISO 8601, UTC); of datasets: first "
              "opening of a market.")  # fmt: skip
@click.option("--end", "--until", "end", help="Receive time to stop before; of datasets: opening to stop before.")
@click.option("--market", "markets", multiple=True, help="Datasets: only this market; may be given several times.")
@click.option("--asset", help="Datasets: only markets of this asset (BTC).")
@lake_option
@config_option
def command(kind: str, target: Path, lake: str | None, config_path: Path, **chosen: Any) -> None:
    """Write rows of one kind (trade, book_change, quote, …) to a file, batch by batch.

    KIND may be a dataset of prediction markets too: canonical or truth, written with a manifest that
    truetape verify --dataset proves, or research, a folder of the files that researchers exchange.
    """
    from truetape.errors import ConfigError
    from truetape.lake import Lake

    is_dataset = kind in ("canonical", "truth", "research")
    for option in ("venue", "symbol") if is_dataset else ("markets", "asset"):
        if chosen[option]:
            use = "--market, --asset, --start, --end" if is_dataset else "--venue, --symbol, --start, --end"
            raise ConfigError(f"--{option.removesuffix('s')}: not for {kind} (allowed: {use})")
    if target.exists() and target.is_dir() != (kind == "research"):
        raise ConfigError(f"--to {target}: {kind} is written to a {'folder' if kind == 'research' else 'file'}")
    begin, until = _read_time("--start", chosen["start"]), _read_time("--end", chosen["end"])
    if begin and until and begin >= until:
        raise ConfigError(f"--start {chosen['start']} is not before --end {chosen['end']}")
    opened = Lake(find_lake(lake, config_path))
    if is_dataset:
        _write_dataset(opened, kind, _select(**chosen), target)
        return
    from truetape.flow import export

    rows = opened.rows(kind, chosen["venue"], chosen["symbol"], chosen["start"], chosen["end"])
    click.echo(f"{target}: {export(rows, target):,} rows")


def _write_dataset(lake: "Lake", kind: str, selection: "Selection", target: Path) -> None:
    from truetape.flow.dataset import export_dataset, name_manifest
    from truetape.flow.research import export_research

    if kind == "research":
        for name, rows in export_research(lake, selection, target).items():
            click.echo(f"{target / name}: {rows:,} {'rows' if name.endswith(('csv', 'parquet')) else 'entries'}")
        return
    manifest = export_dataset(lake, kind, selection, target)
    click.echo(f"{target}: {manifest.rows:,} rows of {len(manifest.markets)} markets")
    click.echo(f"{name_manifest(target)}: rows {manifest.rows_sha256}")


def _select(markets: tuple[str, ...], asset: str | None, start: str | None, end: str | None, **_: None) -> "Selection":
    from truetape.flow.dataset import Selection

    return Selection(markets, asset, _read_time("--start", start), _read_time("--end", end))


def _read_time(name: str, text: str | None) -> datetime | None:
    from truetape.errors import ConfigError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {text!r} is no ISO time, such as 2026-01-31 or 2026-01-31T12:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
