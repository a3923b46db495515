"""Prove that a sink holds what the tape says."""

import sys
from pathlib import Path

import click
import msgspec

from truetape.cli._options import config_option, find_lake, find_tape, json_option, lake_option, tape_option
from truetape.cli._output import print_json


@click.command("verify")
@tape_option
@lake_option
@config_option
@json_option
def command(tape: str | None, lake: str | None, config_path: Path, as_json: bool) -> None:
    """Decode the whole tape again and hold it against the lake.

    Balanced means: frames = decoded + quarantined + control, and for every kind
    rows decoded = rows stored + repeats dropped. Exits with 1 when it is not.
    """
    from truetape.flow import verify
    from truetape.lake import lake_hash

    lake_path = find_lake(lake, config_path)
    verdict = verify(find_tape(tape, config_path), f"lake:{lake_path}", lambda: lake_hash(lake_path))
    if as_json:
        print_json(verdict)
    else:
        _print(msgspec.to_builtins(verdict))
    sys.exit(0 if verdict.balanced else 1)


def _print(verdict: dict[str, object]) -> None:
    click.echo("balanced" if verdict["balanced"] else "NOT balanced")
    for name, value in verdict.items():
        if isinstance(value, dict):
            value = ", ".join(f"{kind} {count:,}" for kind, count in value.items()) or "none"
        if name == "problems" and isinstance(value, list):
            for problem in value:
                click.echo(f"  problem: {problem}")
        elif name != "balanced":
            click.echo(f"  {name:12} {value:,}" if isinstance(value, int) else f"  {name:12} {value}")
