"""Where the sinks of the settings lie on this machine."""

from pathlib import Path

from truetape.config import Settings
from truetape.sinks import split_spec


def find_place(spec: str) -> Path:
    """Return the folder or file of a sink's spec."""
    return Path(split_spec(spec)[1].partition("?")[0])


def list_lakes(settings: Settings) -> list[Path]:
    """Return the folders of all lakes."""
    return [find_place(spec) for spec in settings.sinks if split_spec(spec)[0] == "lake"]
