"""Bring a backup back, and prove it."""

import sys
from pathlib import Path

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json


@click.command("restore")
@click.option("--from", "place", help="Where the backup lies; default: backup.to of the settings.")
@click.option("--name", default="", help="Which backup; default: the newest.")
@config_option
@json_option
def command(place: str | None, name: str, config_path: Path, as_json: bool) -> None:
    """Write a backup to where the settings say, carry the tape's end into the sinks, and verify; exit 1 if it fails."""
    import msgspec

    from truetape.errors import ConfigError
    from truetape.flow import deliver_all, list_tapes, verify_all
    from truetape.ops import restore
    from truetape.tape import find_folder, verify_tape

    settings = read_settings(config_path)
    place = place or settings.backup.to
    if not place:
        raise ConfigError("backup.to: empty; say with --from where the backup lies")
    report = restore(settings, place, name)
    problems = [found for tape in list_tapes(settings.tape) for found in verify_tape(find_folder(tape)).problems]
    deliver_all(settings)
    verdicts = verify_all(settings)
    is_fine = not problems and all(verdict.balanced for verdict in verdicts.values())
    if as_json:
        print_json({
            "restored": msgspec.structs.asdict(report), "is_fine": is_fine, "verdicts": verdicts,
            "tape_problems": problems,
        })  # fmt: skip
    else:
        click.echo(f"restored {report.name}: {report.files:,} files, {report.bytes / 1e6:,.1f} MB, all hashes agree")
        for problem in problems:
            click.echo(f"tape {problem.segment}: {problem.reason}")
        for spec, verdict in verdicts.items():
            state = "balanced" if verdict.balanced else f"NOT balanced: {'; '.join(verdict.problems)}"
            click.echo(f"{spec}: {state}; {verdict.frames:,} frames, {sum(verdict.stored.values()):,} rows")
    if not is_fine:
        sys.exit(1)
