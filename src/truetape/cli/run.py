"""Record and keep everything going, for months."""

from pathlib import Path

import click

from truetape.cli._options import FiniteRange, config_option, read_file


@click.command("run")
@config_option
@click.option("--duration", type=FiniteRange(min=0), help="Stop after so many seconds; default: until stopped.")
def command(config_path: Path, duration: float | None) -> None:
    """Record venues and snapshot services, run jobs when they are due, alerts and the health port; SIGTERM stops all."""
    from truetape import clock
    from truetape.cli._daemon import Daemon
    from truetape.cli._live import Lines

    settings = read_file(config_path)
    with Lines(settings.log) as lines:
        status = clock.run(Daemon(settings, config_path, lines).run(duration))
    if settings.venues or settings.snapshots:
        lines.summarize(status, settings)
