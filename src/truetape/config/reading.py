"""From YAML and the environment to settings; what is wrong is told in one line."""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from truetape.config.environment import load_url, read_dot_env, read_environment
from truetape.config.settings import ArchiveSettings, Settings, SnapshotSettings, VenueSettings
from truetape.errors import ConfigError, suggest

_COINS_URL = "TRUETAPE_URL_COINGECKO"
_HERE = "127.0.0.1"
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `(?P<path>[^`]*)`)?")


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from a YAML file and the environment; ConfigError in one line when anything is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); `truetape init` writes one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text (byte {error.start} is not UTF-8); `truetape init` writes one") from error
    return parse_settings(text, str(path), read_environment(environ))


def load_defaults(text: str = "", origin: str = "environment") -> Settings:
    """Return the built-in settings, or those of a text, with what the environment overrides."""
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
    for name, value in environ.items():
        if name.startswith("TRUETAPE__"):
            _override(tree, name.removeprefix("TRUETAPE__").lower().split("__"), value)
    return _apply_urls(_convert(tree, origin), environ)


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
        if name.startswith("TRUETAPE__"):
            written[name.removeprefix("TRUETAPE__").lower().replace("__", ".")] = place
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


def _override(tree: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        branch = tree.setdefault(key, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"TRUETAPE__{'__'.join(keys).upper()}: {key} is not a section")
        tree = branch
    tree[keys[-1]] = yaml.safe_load(value)


def _convert(tree: dict[str, Any], origin: str) -> Settings:
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
        raise ConfigError(f"{origin}: {_explain(message, tree)}") from error


def _parts_of(tree: dict[str, Any]) -> Iterator[tuple[str, str, Any, type]]:
    sections = (("venues", VenueSettings), ("archive", ArchiveSettings), ("snapshots", SnapshotSettings))
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
    struct: Any = Settings
    for key in filter(None, path.split(".")):
        struct = get_args(struct)[1] if get_origin(struct) is dict else get_type_hints(struct)[key]
    return list(struct.__struct_fields__)


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
