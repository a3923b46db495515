"""The only reader of the environment, and of `.env`, which it overrides: overrides of settings, keys, addresses, time."""

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from truetape import clock
from truetape.errors import ConfigError

if TYPE_CHECKING:
    from dotenv.parser import Binding

DOT_ENV = Path(".env")
"""Beside the recording; for secrets, and never committed."""
CLOCK_KEY = "TRUETAPE_CLOCK"
"""Names the variable that compresses time, for runs against fake venues."""


def read_environment(environ: Mapping[str, str] | None = None, file: Path = DOT_ENV) -> dict[str, str]:
    """Return the variables of `.env` and of the environment, which wins."""
    return {**read_dot_env(file), **(os.environ if environ is None else environ)}


def read_dot_env(file: Path = DOT_ENV) -> dict[str, str]:
    """Return the variables of `.env`; none where there is no such file. Lines that do not read are left out."""
    return {line.key: line.value for line in _parse_dot_env(file) if line.key and line.value is not None}


def check_dot_env(file: Path = DOT_ENV) -> None:
    """Refuse a `.env` with a line that does not read, without showing it: what it was to set would be missing."""
    wrong = next((line.original for line in _parse_dot_env(file) if line.error), None)
    if wrong is not None:
        number = wrong.line + len(wrong.string) - len(wrong.string.lstrip("\n"))
        raise ConfigError(f"{file}, line {number}: does not read (allowed: NAME=value, NAME='a value', # a comment)")


def _parse_dot_env(file: Path) -> "list[Binding]":
    if not file.is_file():
        return []
    from dotenv.parser import parse_stream

    try:
        with file.open(encoding="utf-8") as stream:
            return list(parse_stream(stream))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None


def load_clock() -> None:
    """Let time run as `TRUETAPE_CLOCK=<unix second>@<speed>` says, in this process and in those that it starts."""
    text = os.environ.get(CLOCK_KEY, "")
    if not text:
        return
    try:
        start, speed, *since = (float(part) for part in text.split("@"))
    except ValueError:
        start = speed = math.nan
        since = []
    if not (speed > 0 and math.isfinite(start) and len(since) < 2):
        raise ConfigError(
            f"{CLOCK_KEY}: {text!r} is not a time like 1767557700@60: a unix second, @, and how fast it runs"
        )
    since_s = since[0] if since else clock.wall_ns() / 1e9
    os.environ[CLOCK_KEY] = f"{start:.6f}@{speed:g}@{since_s:.6f}"  # the processes we start have the same time
    clock.start_compressed(start, speed, since_s)


def is_pure() -> bool:
    """Tell whether `TRUETAPE_PURE` leaves the compiled part out."""
    return bool(os.environ.get("TRUETAPE_PURE"))


_URL = "TRUETAPE_URL_"


def list_urls() -> list[str]:
    """Return the venues, in small letters, for which `TRUETAPE_URL_<VENUE>` names another server."""
    return [
        name.removeprefix(_URL).lower() for name, url in read_environment().items() if name.startswith(_URL) and url
    ]


def load_url(venue: str) -> str:
    """Return the server that `TRUETAPE_URL_<VENUE>` names instead of a venue's own; empty: none."""
    variable = f"{_URL}{venue.upper()}"
    url = read_environment().get(variable, "")
    if url and urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"{variable}: {url!r} is not an http:// or https:// address")
    return url.rstrip("/")


def name_key(venue: str, name: str) -> str:
    """Name the variable that holds one of a venue's credentials."""
    return f"TRUETAPE_KEY_{venue.upper()}_{name}"


def load_keys(
    venue: str, names: Sequence[str], environ: Mapping[str, str] | None = None, file: Path = DOT_ENV
) -> dict[str, str]:
    """Return those of a venue's credentials that are set, by name; the environment wins over `.env`.

    `TRUETAPE_KEY_<VENUE>_<NAME>_FILE` names a file that holds the value instead.
    """
    known = read_environment(environ, file)
    found: dict[str, str] = {}
    for name in names:
        variable = name_key(venue, name)
        value = known.get(variable) or _read_key_file(f"{variable}_FILE", known.get(f"{variable}_FILE"))
        if value and value.strip():
            found[name] = value.strip()
    return found


def load_alert_urls(environ: Mapping[str, str] | None = None, file: Path = DOT_ENV) -> list[str]:
    """Return the addresses alerts go to, from `TRUETAPE_ALERT_URLS` of the environment or `.env`, parted by spaces."""
    return read_environment(environ, file).get("TRUETAPE_ALERT_URLS", "").split()


_SECRET = re.compile(r"TRUETAPE_KEY_\w+?(_FILE)?|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN")
SECRET_CHARS_MIN = 6
"""Shorter values are not masked: half of what is printed would be."""
TOKEN_CHARS_MIN = 16
_SECRET_ARGUMENT = re.compile("pass|token|key|secret|auth")
MASK = "•••"
_USERINFO = re.compile(r"://[^/@\s]+@")


def load_secrets(environ: Mapping[str, str] | None = None, file: Path = DOT_ENV) -> tuple[str, ...]:
    """Return what must never be printed: credentials, and what is secret in the addresses of alerts; longest first."""
    known = read_environment(environ, file)
    found = set(load_alert_urls(environ, file))
    for address in tuple(found):
        found.update(_find_address_secrets(address))
    for name, value in known.items():
        if match := _SECRET.fullmatch(name):
            with contextlib.suppress(ConfigError):  # a file that cannot be read is told where it is needed
                found.add(_read_key_file(name, value).strip() if match[1] else value.strip())
    found |= {spelt for one in found for spelt in (quote(one, safe=""), unquote(one))}  # as addresses have them, or not
    return tuple(sorted((one for one in found if len(one) >= SECRET_CHARS_MIN), key=lambda one: (-len(one), one)))


def _find_address_secrets(address: str) -> Iterator[str]:
    """Yield the password and the tokens in an address of an alert service; what is told of errors may hold them alone."""
    place, _, query = address.partition("://")[2].partition("?")
    userinfo, _, tail = place.rpartition("@")
    host, _, path = tail.partition("/")
    yield userinfo.partition(":")[2]
    if not userinfo and "." not in host and not host.startswith("localhost"):  # slack://TokenA/…, tgram://bot:token/…
        yield from (host, *host.split(":"))
    yield from (part for part in path.split("/") if len(part) >= TOKEN_CHARS_MIN or any(map(str.isdigit, part)))
    yield from (value for name, value in parse_qsl(query) if _SECRET_ARGUMENT.search(name.lower()))


def mask_secrets(text: str, secrets: Sequence[str] | None = None) -> str:
    """Return a text without secrets: those given, or those that are set now."""
    for secret in load_secrets() if secrets is None else secrets:
        text = text.replace(secret, MASK)
    return text


def hide_userinfo(text: str) -> str:
    """Blank the name and password of addresses; whoever needs them has the file."""
    return _USERINFO.sub("://…@", text)


def _read_key_file(variable: str, path: str | None) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{variable}: {path} cannot be read ({reason})") from None
