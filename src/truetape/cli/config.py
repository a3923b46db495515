"""Settings as they are in force."""

from pathlib import Path
from typing import Any

import click

from truetape.cli._options import config_option, json_option, read_settings
from truetape.cli._output import print_json, print_rows


@click.group("config")
def command() -> None:
    """Show settings."""


@command.command("show")
@config_option
@click.option("--origin", is_flag=True, help="Say where each value comes from: file, variable, .env or default.")
@json_option
def show(config_path: Path, origin: bool, as_json: bool) -> None:
    """Print every setting with its value, the file and the environment taken into account."""
    from truetape.config import find_origins, walk_settings

    settings = {name: _hide_secret(value) for name, value in walk_settings(read_settings(config_path))}
    if origin:
        tell = find_origins(config_path)
        rows = [{"key": name, "value": _join(value), "from": tell(name)} for name, value in settings.items()]
        print_rows(rows, as_json=as_json, title="settings")
        return
    if as_json:
        print_json(settings)
        return
    for name, value in settings.items():
        click.echo(f"{name}: {_join(value)}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of truetape.yaml, for editors."""
    import msgspec

    from truetape.config import Settings

    print_json(msgspec.json.schema(Settings))


def _join(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _hide_secret(value: Any) -> Any:
    """Blank the name and password of an address; whoever needs them has the file."""
    from truetape.config import hide_userinfo

    if isinstance(value, tuple):
        return tuple(map(_hide_secret, value))
    return hide_userinfo(value) if isinstance(value, str) else value
