"""truetape records exchanges, declares every hole, and keeps the data queryable.

This is the only door; everything else may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from truetape.config import Settings, load_settings
    from truetape.errors import ConfigError, Fatal, Transient, TruetapeError
    from truetape.events.schema import KINDS
    from truetape.flow import deliver, record, replay, verify
    from truetape.lake import Lake
    from truetape.lake import Lake as open
    from truetape.tape import open_reader, open_writer

_DOOR = {
    "ConfigError": "truetape.errors",
    "Fatal": "truetape.errors",
    "KINDS": "truetape.events.schema",
    "Lake": "truetape.lake",
    "Settings": "truetape.config",
    "Transient": "truetape.errors",
    "TruetapeError": "truetape.errors",
    "deliver": "truetape.flow",
    "load_settings": "truetape.config",
    "open": "truetape.lake",
    "open_reader": "truetape.tape",
    "open_writer": "truetape.tape",
    "record": "truetape.flow",
    "replay": "truetape.flow",
    "verify": "truetape.flow",
}

__all__ = [  # noqa: RUF022 - in the order of _DOOR
    "ConfigError",
    "Fatal",
    "KINDS",
    "Lake",
    "Settings",
    "Transient",
    "TruetapeError",
    "deliver",
    "load_settings",
    "open",
    "open_reader",
    "open_writer",
    "record",
    "replay",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: the command line must start in a blink."""
    if name not in _DOOR:
        raise AttributeError(f"module 'truetape' has no attribute {name!r}")
    return getattr(import_module(_DOOR[name]), "Lake" if name == "open" else name)
