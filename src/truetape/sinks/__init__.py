"""Where rows go: one module per sink, each with `connect(location, options, tape_id)`; the folder is the registry."""

import importlib
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from urllib.parse import parse_qsl

from truetape.errors import ConfigError
from truetape.sinks._contract import Sink

__all__ = ["Sink", "list_sinks", "open_sink"]


def list_sinks() -> list[str]:
    """Name the sinks there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def open_sink(spec: str, tape_id: str) -> Sink:
    """Open the sink a spec names, for one tape: `lake:DIR`, `csv:DIR?gzip=true`, `sqlite:FILE`, `memory:`."""
    name, separator, rest = spec.partition(":")
    if not separator:
        raise ConfigError(f"sink {spec!r}: write it as NAME:PLACE, for example lake:DIR")
    names = list_sinks()
    if name not in names:
        nearest = get_close_matches(name, names, 1, 0.0)[0]
        raise ConfigError(f"unknown sink {name!r} in {spec!r}; nearest is {nearest!r}; there are {', '.join(names)}")
    location, _, query = rest.partition("?")
    options: Mapping[str, str] = dict(parse_qsl(query, keep_blank_values=True))
    sink: Sink = importlib.import_module(f"{__name__}.{name}").connect(location, options, tape_id)
    return sink
