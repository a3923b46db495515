"""Where rows go: one module per sink; the folder is the registry.

A sink module has `connect(location, options, tape_id, step)` and `EXAMPLES`, the specs that open it.
"""

import importlib
import pkgutil
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any
from urllib.parse import parse_qsl

from truetape.config import hide_userinfo
from truetape.errors import ConfigError
from truetape.sinks._contract import Sink, Step, ignore_step

__all__ = ["Sink", "check_spec", "list_examples", "list_sinks", "name_beside", "open_sink", "split_spec"]


def list_sinks() -> list[str]:
    """Name the sinks there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def list_examples() -> list[str]:
    """Give a spec for each way to open each sink, with DIR or FILE for the place."""
    return [example for name in list_sinks() for example in _load(name).EXAMPLES]


def open_sink(spec: str, tape_id: str, step: Step = ignore_step) -> Sink:
    """Open the sink a spec names, for one tape: `lake:DIR`, `csv:DIR?gzip=true`, `sqlite:FILE`, `memory:`.

    `step` is called with a name after each thing the sink did to the disk.
    """
    name, rest = split_spec(spec)
    location, _, query = rest.partition("?")
    sink: Sink = _load(name).connect(location, dict(parse_qsl(query, keep_blank_values=True)), tape_id, step)
    return sink


def split_spec(spec: str) -> tuple[str, str]:
    """Tell a sink's name from where it is, opening nothing; ConfigError when there is no such sink."""
    name, separator, rest = spec.partition(":")
    names = list_sinks()
    if name not in names:
        nearest = get_close_matches(name, names, 1, 0.0)[0]
        raise ConfigError(
            f"unknown sink {name!r} in {hide_userinfo(spec)!r}; nearest is {nearest!r}; there are {', '.join(names)}"
        )
    if not separator:
        raise ConfigError(f"sink {spec!r}: write it as one of {', '.join(_load(name).EXAMPLES)}")
    return name, rest


def check_spec(spec: str) -> None:
    """Refuse a spec that no sink opens, by its examples: the sink, whether it has a place, its options."""
    name, rest = split_spec(spec)
    place, _, query = rest.partition("?")
    if place and not query:
        return  # nothing that the examples could tell of; to have them is to load the sink
    examples = [example.partition(":")[2].partition("?") for example in _load(name).EXAMPLES]
    if not place and all(where for where, _, _ in examples):
        raise ConfigError(f"sink {name}: the place is missing; write {name}:PLACE")
    allowed = [key for _, _, options in examples for key, _ in parse_qsl(options)]
    for key, _ in parse_qsl(query, keep_blank_values=True):
        if key not in allowed:
            raise ConfigError(f"sink {name}: unknown option {key!r}; allowed: {', '.join(allowed) or 'none'}")


def name_beside(spec: str, suffix: str) -> str:
    """Name the sink that takes another tape's rows: a lake takes many tapes, a folder of CSV or a database only one."""
    name, place = split_spec(spec)
    path, mark, options = place.partition("?")
    own = PurePath(path)
    if name == "lake" or not own.name:
        return spec
    return f"{name}:{own.with_name(own.stem + suffix + own.suffix)}{mark}{options}"


def _load(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
