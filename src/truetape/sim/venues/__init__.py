"""Fake venues: one file each; the folder is the registry."""

import importlib
import pkgutil
from functools import cache

from truetape.errors import ConfigError, suggest
from truetape.sim.fake import FakeVenue


@cache
def list_fakes() -> tuple[str, ...]:
    """Name every fake venue there is a file for."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


@cache
def load_fake(name: str) -> FakeVenue:
    """Return the fake venue of that name; ConfigError with the nearest name when there is none."""
    if name not in list_fakes():
        hint = suggest(name, list_fakes())
        raise ConfigError(f"sim: no fake venue {name!r} (allowed: {', '.join(list_fakes())}){hint}")
    fake = importlib.import_module(f"{__name__}.{name}").FAKE
    assert isinstance(fake, FakeVenue)
    return fake
