"""Decode the tape again."""

from pathlib import Path

import click

from truetape.cli._options import POSITIVE, config_option, find_tape, tape_option
from truetape.cli._output import print_json


@click.command("replay")
@tape_option
@click.option("--kind", "kinds", multiple=True, help="Only these kinds (trade, quote, …).")
@click.option("--symbol", help="Only this instrument.")
@click.option("--from", "begin", default=0, show_default=True, type=click.IntRange(0), help="First tape offset.")
@click.option("--to", "end", type=click.IntRange(0), help="First tape offset not shown; default: the tape's end.")
@click.option("--speed", type=POSITIVE, help="Keep time: 1 as it was, 10 ten times faster.")
@click.option("--sink", "sinks", multiple=True, help="Build sinks anew instead of printing; they must be empty.")
@config_option
def command(
    tape: str | None, kinds: tuple[str, ...], symbol: str | None, begin: int, end: int | None,
    speed: float | None, sinks: tuple[str, ...], config_path: Path,
) -> None:  # fmt: skip
    """Decode the tape again as if it were live: print rows as JSON lines, or build sinks anew."""
    from truetape.errors import ConfigError
    from truetape.events.schema import KINDS
    from truetape.flow import deliver, pace, replay

    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"--kind {kind!r}: unknown (allowed: {', '.join(KINDS)})")
    if end is not None and begin >= end:
        raise ConfigError(f"--from {begin} is not before --to {end}")
    path = find_tape(tape, config_path)
    if sinks:
        for result in deliver(path, sinks):
            click.echo(f"{result.sink}: {result.counts.get('frames', 0):,} frames")
        return
    rows = (
        {"kind": kind, **row}
        for tables in replay(path, begin, end)
        for kind, table in tables.items()
        if not kinds or kind in kinds
        for row in table.to_pylist()
        if symbol is None or row["symbol"] == symbol
    )
    for row in pace(rows, speed) if speed else rows:
        print_json(row)
