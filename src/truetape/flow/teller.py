"""The relay of the settings as somebody who can be asked: its key, its venue, and how a stream's past is asked for."""

from urllib.parse import urlsplit

import msgspec

from truetape.collect.key import Key
from truetape.config import Settings, load_keys, name_key
from truetape.errors import ConfigError
from truetape.events.instrument import Instrument
from truetape.venues import load_venue
from truetape.venues._contract import Backfill, Venue
from truetape.venues.tardis import NAME
from truetape.venues.tardis.relay import KEY, Relay, make_backfill, make_credentials


def load_relay_key(settings: Settings) -> Key:
    """Return the relay's key; ConfigError names what is not set."""
    values = load_keys(NAME, (KEY,))
    if not settings.tardis.relay_url:
        raise ConfigError("tardis.relay_url: not set (allowed: the base address of a relay, https://…)")
    if not values:
        raise ConfigError(
            f"tardis: no key: set {name_key(NAME, KEY)} in the environment or .env (get it from whoever runs the relay)"
        )
    return Key(NAME, make_credentials(KEY, _find_host(settings)), values)


def load_relay(settings: Settings) -> Venue:
    """Return the relay as a venue."""
    return msgspec.structs.replace(load_venue(NAME), credentials=make_credentials(KEY, _find_host(settings)))


def find_relay_backfill(settings: Settings, channel: str, instrument: Instrument) -> Backfill:
    """Return how a stream's past is asked of the relay; ConfigError where the vendor has none of it."""
    tardis = settings.tardis
    relay = Relay(tardis.relay_url, tardis.relay_limit, tardis.relay_times, tardis.book_levels)
    found = make_backfill(relay, channel, instrument)
    if found is None:
        raise ConfigError(f"{instrument.venue} {instrument.symbol}: Tardis has no {channel!r} of it")
    return msgspec.structs.replace(found, allowance=(tardis.relay_requests_per_minute_max, 60.0))


def _find_host(settings: Settings) -> str:
    return urlsplit(settings.tardis.relay_url).hostname or ""
