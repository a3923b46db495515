"""Options that several commands share."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from truetape.config import Settings


class FiniteRange(click.FloatRange):
    """A number in a range; infinity and what is no number are in none."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


POSITIVE = FiniteRange(min=0, min_open=True)

config_option = click.option(
    "--config", "config_path", default="truetape.yaml", show_default=True, help="The settings file.",
    type=click.Path(path_type=Path, dir_okay=False),
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
tape_option = click.option("--tape", help="Folder of the tape; default: the one in the settings.")
lake_option = click.option("--lake", help="Folder of the lake; default: the one in the settings.")


def read_settings(path: Path) -> "Settings":
    """Read the settings file; built-in defaults and the environment when the default file does not exist."""
    from truetape.config import load_defaults

    if not path.exists() and path == Path("truetape.yaml"):
        return load_defaults()
    return read_file(path)


def read_file(path: Path) -> "Settings":
    """Read a settings file that must be there; ConfigError when it names what there is not."""
    from truetape.config import load_settings
    from truetape.errors import ConfigError

    settings = load_settings(path)
    for fault in find_faults(settings):
        raise ConfigError(f"{path}: {fault}")
    return settings


def find_faults(settings: "Settings") -> "Iterator[str]":
    """Yield what settings name and there is not; jobs and backups are looked at where they are set: that loads more."""
    from truetape.flow import find_faults

    yield from find_faults(settings)
    if settings.jobs or settings.backup.to:
        from truetape.ops import find_job_faults

        yield from find_job_faults(settings)


def find_tape(given: str | None, config_path: Path) -> str:
    """Return the tape asked for, else that of the settings."""
    return given or read_settings(config_path).tape


def find_lake(given: str | None, config_path: Path) -> str:
    """Return the lake asked for, else the first one of the settings."""
    from truetape.errors import ConfigError

    if given:
        return given
    for sink in read_settings(config_path).sinks:
        if sink.startswith("lake:"):
            return sink.removeprefix("lake:")
    raise ConfigError("sinks: there is no lake in the settings (allowed: lake:DIR); give --lake DIR")
