"""Settings as they are in force."""

import re
from pathlib import Path
from typing import Any

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json


@click.group("config")
def command() -> None:
    """Show settings."""


@command.command("show")
@config_option
@json_option
def show(config_path: Path, as_json: bool) -> None:
    """Print every setting with its value, the file and the environment taken into account."""
    from truetape.config import walk_settings

    settings = {name: _hide_secret(value) for name, value in walk_settings(read_settings(config_path))}
    if as_json:
        print_json(settings)
        return
    for name, value in settings.items():
        click.echo(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of truetape.yaml, for editors."""
    import msgspec

    from truetape.config import Settings

    print_json(msgspec.json.schema(Settings))


def _hide_secret(value: Any) -> Any:
    """Blank the name and password of an address; whoever needs them has the file."""
    if isinstance(value, tuple):
        return tuple(map(_hide_secret, value))
    return re.sub(r"://[^/@\s]+@", "://…@", value) if isinstance(value, str) else value
