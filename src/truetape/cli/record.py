"""Record until stopped."""

import sys
from pathlib import Path

import click

from truetape.cli._options import FiniteRange, config_option, read_file, tape_option
from truetape.cli._preset import assets_option, preset_option, read_preset, refuse_assets


@click.command("record")
@config_option
@preset_option
@assets_option
@click.option("--duration", type=FiniteRange(min=0), help="Stop after so many seconds; default: until stopped.")
@tape_option
@click.option("--sink", "sinks", multiple=True, help="Instead of the sinks in the settings.")
@click.option("--plain", is_flag=True, help="Log lines instead of the live table.")
def command(
    config_path: Path,
    preset: str | None,
    assets: str | None,
    duration: float | None,
    tape: str | None,
    sinks: tuple[str, ...],
    plain: bool,
) -> None:
    """Record what the settings say; Ctrl-C or SIGTERM seals everything and prints a summary."""

    import msgspec

    from truetape import clock
    from truetape.cli._live import Lines, LiveTable
    from truetape.flow import record

    refuse_assets(preset, assets)
    settings = read_preset(preset, assets) if preset else read_file(config_path)
    if tape:
        settings = msgspec.structs.replace(settings, tape=tape)
    if sinks:
        settings = msgspec.structs.replace(settings, sinks=sinks)
    is_live = sys.stdout.isatty() and not plain and settings.log.format == "auto"
    log = Lines(settings.log, is_silent=True) if is_live and settings.log.file else None
    screen = LiveTable(log=log) if is_live else Lines(settings.log)
    with screen:
        status = clock.run(record(settings, screen.show, duration, screen.show_cycle))
    screen.summarize(status, settings)
