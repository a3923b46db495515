"""From YAML and the environment to settings; what is wrong is told in one line."""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from truetape.config.environment import check_dot_env, hide_userinfo, load_url, read_dot_env, read_environment
from truetape.config.settings import ArchiveSettings, JobSettings, Settings, SnapshotSettings, VenueSettings
from truetape.errors import ConfigError, suggest

_COINS_URL = "TRUETAPE_URL_COINGECKO"
_HERE = "127.0.0.1"
_OVERRIDE = "TRUETAPE__"
"""What variables begin with that set a key."""
DEPTH_MAX = 8
"""Settings are not so deep; YAML may name itself and have no end."""
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `(?P<path>[^`]*)`)?")


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from a YAML file and the environment; ConfigError in one line when anything is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); `truetape init` writes one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text (byte {error.start} is not UTF-8); `truetape init` writes one") from error
    check_dot_env()
    return parse_settings(text, str(path), read_environment(environ))


def load_defaults(text: str = "", origin: str = "environment") -> Settings:
    """Return the built-in settings, or those of a text, with what the environment overrides."""
    check_dot_env()
    return parse_settings(text, origin, read_environment())


def parse_settings(text: str, origin: str, environ: Mapping[str, str]) -> Settings:
    """Read settings from YAML text; `origin` names it in errors."""
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{origin}{line}: {problem}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{origin}: expected keys and values, got {type(tree).__name__}")
    overrides = {name: value for name, value in environ.items() if name.startswith(_OVERRIDE)}
    for name, value in overrides.items():
        _override(tree, name, value)
    return _apply_urls(_convert(tree, origin, overrides), environ)


class _Loader(yaml.SafeLoader):
    """Reads YAML as it is, but refuses a key that is given twice, of which the last one would be taken."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Read keys and values."""
        seen = set[str]()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value}: given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def find_origins(path: Path, environ: Mapping[str, str] | None = None) -> Callable[[str], str]:
    """Return what tells of a key (as `walk_settings` names it) where its value comes from."""
    written: dict[str, str] = {}
    if path.exists():
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        written = dict.fromkeys(_walk_tree(tree), str(path))
    known = read_environment(environ)
    from_file = read_dot_env()
    for name in known:
        place = f"{name} in .env" if name in from_file and known[name] == from_file[name] else f"variable {name}"
        if name.startswith(_OVERRIDE):
            written[name.removeprefix(_OVERRIDE).lower().replace("__", ".")] = place
        elif name.startswith("TRUETAPE_URL_"):
            section = "coins" if name == _COINS_URL else f"venues.{name.removeprefix('TRUETAPE_URL_').lower()}"
            written[f"{section}.url"] = place

    def tell(key: str) -> str:
        parts = key.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((written[prefix] for prefix in prefixes if prefix in written), "default")

    return tell


def _walk_tree(tree: Any, prefix: str = "") -> Iterator[str]:
    """Yield the keys of the leaves of a tree."""
    if isinstance(tree, dict) and tree:
        for key, branch in tree.items():
            yield from _walk_tree(branch, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix


def _override(tree: dict[str, Any], name: str, value: str) -> None:
    keys = name.removeprefix(_OVERRIDE).lower().split("__")
    if not all(keys):
        raise ConfigError(f"variable {name}: names no key (allowed: {_OVERRIDE}SECTION__KEY)")
    for key in keys[:-1]:
        branch = tree.setdefault(key, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"variable {name}: {key} is not a section")
        tree = branch
    try:
        tree[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError:  # `*/5 * * * *` is text, and no YAML
        tree[keys[-1]] = value


def _name_origin(path: str, overrides: Mapping[str, str]) -> str | None:
    """Name the variable that a key was given by, or a part of it; null: it was in the file."""
    keys = path.lower().split(".")
    for name in overrides:
        given = name.removeprefix(_OVERRIDE).lower().split("__")
        if given[: len(keys)] == keys or keys[: len(given)] == given:
            return f"variable {name}"
    return None


def _convert(tree: dict[str, Any], origin: str, overrides: Mapping[str, str]) -> Settings:
    _check_keys(tree, origin)
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        message = str(error)
        for section, name, part, kind in _parts_of(tree):  # msgspec says `venues[...]`: find out which
            try:
                msgspec.convert(part, kind)
            except msgspec.ValidationError:
                message = message.replace(f"{section}[...]", f"{section}.{name}", 1)
                break
        told = _explain(message, tree)
        raise ConfigError(f"{_name_origin(told.partition(':')[0], overrides) or origin}: {told}") from error


def _check_keys(tree: dict[Any, Any], origin: str, prefix: str = "") -> None:
    """Refuse keys that YAML takes for numbers, dates or truth: a key is a word."""
    for key, branch in tree.items():
        if not isinstance(key, str):
            raise ConfigError(f"{origin}: {prefix}{key}: a key is text (write it in quotes), got {type(key).__name__}")
        if isinstance(branch, dict) and prefix.count(".") < DEPTH_MAX:
            _check_keys(branch, origin, f"{prefix}{key}.")


def _parts_of(tree: dict[str, Any]) -> Iterator[tuple[str, str, Any, type]]:
    sections: tuple[tuple[str, type], ...] = (
        ("venues", VenueSettings), ("archive", ArchiveSettings), ("snapshots", SnapshotSettings), ("jobs", JobSettings),
    )  # fmt: skip
    for section, kind in sections:
        parts = tree.get(section)
        for name, part in parts.items() if isinstance(parts, dict) else ():
            yield section, str(name), part, kind


def _explain(message: str, tree: dict[str, Any]) -> str:
    unknown = _UNKNOWN.match(message)
    if not unknown:
        text, _, path = message.partition(" - at `$.")
        path = path.rstrip("`")
        given = _look_up(tree, path)
        if words := _list_words(path):
            return f"{path}: {given!r} (allowed: {', '.join(words)})"
        return f"{path}: {text}" + (f" (got {given!r})" if given is not None else "")
    path = (unknown["path"] or "$").removeprefix("$").lstrip(".")
    allowed = _keys_at(path)
    where = f"{path}.{unknown['key']}" if path else unknown["key"]
    return f"{where}: unknown key (allowed: {', '.join(allowed)}){suggest(unknown['key'], allowed)}"


def _look_up(tree: Any, path: str) -> Any:
    for key in filter(None, re.split(r"[.\[\]]+", path)):
        if isinstance(tree, dict):
            tree = tree.get(key)
        elif isinstance(tree, list) and key.isdigit():
            tree = tree[int(key)]
        else:
            return None
    return tree


def _keys_at(path: str) -> list[str]:
    return list(_find_type(path).__struct_fields__)


def _list_words(path: str) -> tuple[str, ...]:
    """Return the words that are allowed at a key; empty where any will do."""
    kind = _find_type(path)
    return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()


def _find_type(path: str) -> Any:
    """Return the type of a key; null where there is no such key."""
    kind: Any = Settings
    for key in filter(None, path.split(".")):
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            kind = get_type_hints(kind).get(key) if hasattr(kind, "__struct_fields__") else None
    return kind


def _apply_urls(settings: Settings, environ: Mapping[str, str]) -> Settings:
    venues = dict(settings.venues)
    for name, venue in venues.items():
        url = environ.get(f"TRUETAPE_URL_{name.upper()}", venue.url)
        if url:
            if urlsplit(url).scheme not in {"http", "https"}:
                raise ConfigError(f"venues.{name}.url: {url!r} is not an http:// or https:// address")
            venues[name] = msgspec.structs.replace(venue, url=url.rstrip("/"))
    archive = dict(settings.archive)
    for name, kept in archive.items():
        url = environ.get(f"TRUETAPE_URL_{name.upper()}", kept.url)
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigError(f"archive.{name}.url: {url!r} is not an http:// or https:// address")
        archive[name] = msgspec.structs.replace(kept, url=url.rstrip("/"))
    url = environ.get(_COINS_URL, settings.coins.url)
    if url and urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"coins.url: {url!r} is not an http:// or https:// address")
    coins = msgspec.structs.replace(settings.coins, url=url.rstrip("/"))
    addresses = {name: getattr(settings.tardis, name) for name in ("relay_url", "api_url", "datasets_url")}
    for name, url in addresses.items():
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigError(f"tardis.{name}: {url!r} is not an http:// or https:// address")
    tardis = msgspec.structs.replace(settings.tardis, **{name: url.rstrip("/") for name, url in addresses.items()})
    return msgspec.structs.replace(settings, venues=venues, archive=archive, coins=coins, tardis=tardis)


def find_url(settings: Settings, venue: str) -> str:
    """Return the server that is asked of a venue's past, also of one that is not in the settings; empty: its own.

    `archive.<venue>.url` goes before `venues.<venue>.url`: who keeps the past may be another.
    """
    chosen = (settings.archive.get(venue), settings.venues.get(venue))
    return next((one.url for one in chosen if one and one.url), "") or load_url(venue)


def rewrite_url(url: str, override: str) -> str:
    """Send a venue's URL to another server, the venue's host becoming the first part of the path.

    `wss://stream.binance.com:9443/stream` with override `http://127.0.0.1:9000` becomes
    `ws://127.0.0.1:9000/stream.binance.com/stream`, so that one server can stand for all hosts of a venue. A server that
    is expected on this machine has no such host: only where it is changes.
    """
    if not override:
        return url
    parts, target = urlsplit(url), urlsplit(override)
    is_socket = parts.scheme in {"ws", "wss"}
    secure = target.scheme in {"https", "wss"}
    scheme = ("wss" if secure else "ws") if is_socket else target.scheme
    query = f"?{parts.query}" if parts.query else ""
    host = "" if parts.hostname == _HERE else f"/{parts.hostname}"
    return f"{scheme}://{target.netloc}{target.path}{host}{parts.path}{query}"


def describe_settings(settings: Settings) -> dict[str, Any]:
    """Return settings as plain values to be kept with a recording, without names and passwords of addresses."""
    described: dict[str, Any] = _hide(msgspec.to_builtins(settings))
    return described


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hide(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hide(inner) for inner in value]
    return hide_userinfo(value) if isinstance(value, str) else value


def walk_settings(settings: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, nested keys joined by dots."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, msgspec.Struct):
            yield from walk_settings(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            for key, item in value.items():
                place = f"{prefix}{name}.{key}"
                yield from walk_settings(item, f"{place}.") if isinstance(item, msgspec.Struct) else [(place, item)]
        else:
            yield prefix + name, value
