"""Run views to the tape's end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from truetape.cli._options import config_option, find_tape, json_option, read_settings, tape_option
from truetape.cli._output import print_rows
from truetape.cli._progress import show_progress

if TYPE_CHECKING:
    from truetape.flow import Progress


@click.command("deliver")
@tape_option
@click.option("--sink", "sinks", multiple=True, help="lake:DIR, csv:DIR or sqlite:FILE; may be given several times.")
@config_option
@json_option
def command(tape: str | None, sinks: tuple[str, ...], config_path: Path, as_json: bool) -> None:
    """Carry the tape into sinks up to its present end, then exit.

    Exits with 1 when something that was sealed is missing on the tape, or damaged at its end.
    Starts where each sink stands: what is there already is not stored twice. Without --tape and --sink the tape of
    jobs, where there is one, is carried, too.
    """
    from truetape.flow import deliver, deliver_all, find_damage, list_tapes

    settings = read_settings(config_path)
    with show_progress() as report:

        def tell(progress: "Progress") -> None:
            report(f"frames into {progress.sink}", progress.offset, progress.end)

        if tape or sinks:
            results = deliver(find_tape(tape, config_path), sinks or settings.sinks, settings.deliver, tell)
        else:
            results = deliver_all(settings, tell)
    rows = [
        {
            "sink": result.sink,
            "offset": result.offset,
            **{name: result.counts.get(name, 0) for name in ("frames", "decoded", "quarantined", "control")},
            "rows": sum(n for name, n in result.counts.items() if name.startswith("rows.")),
            "repeats": sum(n for name, n in result.counts.items() if name.startswith("duplicates.")),
        }
        for result in results
    ]
    print_rows(rows, as_json=as_json)
    read = [tape or settings.tape] if tape or sinks else list_tapes(settings.tape)
    damage = [loss for one in read for loss in find_damage(one)]
    for loss in damage:
        click.echo(f"problem: {loss}", err=True)
    sys.exit(1 if damage else 0)
