"""Venues: one file each, pure; the folder is the registry."""

import importlib
import pkgutil
from functools import cache

from truetape.errors import ConfigError, suggest
from truetape.venues._contract import Venue as Venue


@cache
def list_venues() -> tuple[str, ...]:
    """Name every venue there is a file (or folder) for."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


@cache
def load_venue(name: str) -> Venue:
    """Return the venue of that name; ConfigError with the nearest name when there is none."""
    if name not in list_venues():
        hint = suggest(name, list_venues())
        raise ConfigError(f"venue: {name!r} is not known (allowed: {', '.join(list_venues())}){hint}")
    venue = importlib.import_module(f"{__name__}.{name}").VENUE
    assert isinstance(venue, Venue)
    return venue
