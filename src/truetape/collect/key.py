"""A venue's credentials in use: what they sign, what is said of them, and that nothing else shows them."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from truetape.config import VenueSettings, load_keys, name_key
from truetape.errors import ConfigError
from truetape.venues._contract import BrowserPage, Credentials, Feed, Poll, Venue

MASK = "***"
SECRET_CHARS_MIN = 6
"""Shorter values are not looked for in what the venue sends: they would be found everywhere."""


class Key:
    """The values of one venue's credentials; shows only what they are called."""

    def __init__(self, venue: str, credentials: Credentials, values: Mapping[str, str]) -> None:
        self._venue = venue
        self._credentials = credentials
        self._values = dict(values)
        texts = {part for value in values.values() for part in (value, *value.split("\n")) if is_telling(part)}
        # What is longer goes first: a part of it would be left otherwise.
        self._secrets = [text.encode() for text in sorted(texts, key=len, reverse=True)]

    def __repr__(self) -> str:
        return f"Key({self.variables})"

    @property
    def variables(self) -> str:
        """Name where the values were read."""
        return " and ".join(name_key(self._venue, name) for name in self._credentials.names)

    def signs(self, url: str) -> bool:
        """Tell whether requests to this address want to be signed."""
        return (urlsplit(url).hostname or "") in self._credentials.signed_hosts

    def sign(self, method: str, url: str, body: bytes, now_ns: int) -> dict[str, str]:
        """Return the headers of one request or handshake; `url` is the venue's own."""
        if self._credentials.sign is None:
            return {}
        return self._credentials.sign(self._values, method, url, body, now_ns // 1_000_000)

    def greet(self) -> tuple[bytes, bytes] | None:
        """Return the message that says who we are, and the same as it may be shown; null where none is sent."""
        make = self._credentials.greet
        return None if make is None else (make(self._values), make(dict.fromkeys(self._values, MASK)))

    def hide(self, data: bytes) -> bytes:
        """Return what may be kept of bytes that came from the venue, or go there."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, MASK.encode())
        return data

    def hide_text(self, text: str) -> str:
        """Return what may be kept of a text."""
        return self.hide(text.encode()).decode(errors="replace")


def is_telling(text: str) -> bool:
    """Tell whether a text is a secret worth looking for: not the frame of a PEM file, nor too short."""
    return len(text) >= SECRET_CHARS_MIN and not text.startswith("-----")


def load_key(venue: Venue, environ: Mapping[str, str] | None = None) -> Key | None:
    """Read a venue's credentials; null when one of them is not set. ConfigError when they cannot be used."""
    credentials = venue.credentials
    if credentials is None:
        return None
    values = load_keys(venue.name, credentials.names, environ)
    if len(values) < len(credentials.names):
        return None
    key = Key(venue.name, credentials, values)
    try:
        key.sign("GET", venue.feeds[0].url if venue.feeds else "https://venue/", b"", 0)
    except ValueError:  # its text might show a value
        raise ConfigError(f"venues.{venue.name}: {key.variables} cannot be used to sign") from None
    return key


def explain_missing(venue: Venue, environ: Mapping[str, str] | None = None) -> str:
    """Say in half a line which credentials are missing and where to get them."""
    credentials = venue.credentials
    if credentials is None:
        return "a key that there is no setting for"
    known = load_keys(venue.name, credentials.names, environ)
    missing = [name_key(venue.name, name) for name in credentials.names if name not in known]
    return f"set {' and '.join(missing)} in the environment or .env (get it at {credentials.origin})"


def leave_out_keyless(
    venue: Venue, settings: VenueSettings, key: Key | None, environ: Mapping[str, str] | None = None
) -> tuple[Venue, tuple[str, ...]]:
    """Return the venue without what needs a key that is not set, and a line for each part that was asked for.

    ConfigError when such a market is named in the settings, or nothing that was asked for is left.
    """
    parts: list[Feed | Poll] = [*venue.feeds, *venue.polls]
    locked = [part for part in parts if part.needs_key] if key is None else []
    if not locked:
        streamed = tuple(poll for poll in venue.polls if not poll.is_substitute)
        return (venue if streamed == venue.polls else msgspec.structs.replace(venue, polls=streamed)), ()
    free = [part for part in parts if part not in locked]
    left = {part.market for part in free}
    asked = set(settings.markets) or set(venue.default_markets) or {part.market for part in parts}
    missed = [part for part in locked if part.market in asked and set(part.channels) & set(settings.channels)]
    how = explain_missing(venue, environ) if missed else ""
    lines = tuple(f"venues.{venue.name}: {part.name} is left out, it needs a key: {how}" for part in missed)
    hosts = venue.credentials.signed_hosts if venue.credentials else ()
    smaller = msgspec.structs.replace(
        venue,
        feeds=tuple(feed for feed in venue.feeds if feed not in locked),
        polls=tuple(poll for poll in venue.polls if poll not in locked),
        listings=tuple(listing for listing in venue.listings if urlsplit(listing.url).hostname not in hosts),
        default_markets=tuple(market for market in venue.default_markets if market in left),
    )
    for part in missed:
        if part.market in settings.markets and not _serves(free, part.market, settings):
            raise ConfigError(f"venues.{venue.name}.markets: {part.market} needs a key: {how}")
    if missed and not any(_serves(free, market, settings) for market in {*asked, *left}):
        raise ConfigError(f"venues.{venue.name}: {missed[0].name} needs a key: {how}")
    return smaller, lines


def choose_polls(venue: Venue, settings: VenueSettings) -> tuple[Poll, ...]:
    """Return the polls of the chosen markets that serve a chosen channel."""
    markets = set(settings.markets or venue.default_markets or [poll.market for poll in venue.polls])
    return tuple(p for p in venue.polls if p.market in markets and set(p.channels) & set(settings.channels))


def choose_pages(venue: Venue, settings: VenueSettings) -> tuple[BrowserPage, ...]:
    """Return the pages that a browser is to read: only where their market is named, for it is the last resort."""
    return tuple(p for p in venue.pages if p.market in settings.markets and set(p.channels) & set(settings.channels))


def _serves(parts: list[Feed | Poll], market: str, settings: VenueSettings) -> bool:
    return any(part.market == market and set(part.channels) & set(settings.channels) for part in parts)
