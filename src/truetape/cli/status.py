"""What is on the tape and how far it has been carried."""

from pathlib import Path

import click

from truetape.cli._options import config_option, json_option, read_settings, tape_option
from truetape.cli._output import print_json, print_rows


@click.command("status")
@tape_option
@config_option
@json_option
def command(tape: str | None, config_path: Path, as_json: bool) -> None:
    """Show the tape, whether somebody writes it, and how far each sink is behind."""
    import msgspec

    from truetape.flow import list_tapes, read_status

    settings = read_settings(config_path)
    status = read_status(tape or list_tapes(settings.tape)[0], settings.sinks)
    if as_json:
        print_json(status)
        return
    state = f"being written by process {status.writer}" if status.writer else "not being written"
    click.echo(f"{status.tape}: {status.end - status.first:,} frames in {status.segments} segments, "
               f"{status.bytes / 1e6:,.1f} MB, {state}")  # fmt: skip
    click.echo(
        f"last frame received {status.last_received_at:%Y-%m-%d %H:%M:%S} UTC" if status.last_received_at else "empty"
    )
    print_rows([msgspec.structs.asdict(sink) for sink in status.sinks], as_json=False, title="sinks")
