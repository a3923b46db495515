"""Names of the up-or-down markets: `btc-updown-15m-1777470300`, the number being the window's first second.

The form is nowhere documented, yet all recorded ones have it. Hourly and daily markets are named in words and by
New York's time, and 4-hour windows begin by it, too: those are found in listings, not by counting.
"""

import re
from typing import NamedTuple

from truetape.errors import DecodeError

SECONDS = {"5m": 300, "15m": 900, "4h": 14_400}
"""Series → length of its windows."""
COUNTED = ("5m", "15m")
"""Series whose windows begin at multiples of their length, so that the next one's name is known."""

_SLUG = re.compile(r"([a-z0-9]+)-updown-(5m|15m|4h)-(\d{9,11})")


class Window(NamedTuple):
    """What a slug says."""

    asset: str
    """Upper case: BTC."""
    series: str
    begin_s: int
    end_s: int


def read_window(slug: str) -> Window | None:
    """Read a slug; null when it is not one of an up-or-down market with a number."""
    found = _SLUG.fullmatch(slug)
    if found is None:
        return None
    begin_s = int(found[3])
    return Window(found[1].upper(), found[2], begin_s, begin_s + SECONDS[found[2]])


def name_window(asset: str, series: str, at_s: int, ahead: int = 0) -> str:
    """Name the market whose window holds this second, or one so many windows ahead of it."""
    if series not in COUNTED:
        raise DecodeError(f"windows of {series!r} cannot be counted (can be: {', '.join(COUNTED)})")
    length = SECONDS[series]
    return f"{asset.lower()}-updown-{series}-{(at_s // length + ahead) * length}"


def name_event_url(slug: str) -> str:
    """Return the URL of an event by its slug: 404 where there is none, and no hidden filter on closed ones."""
    return f"https://gamma-api.polymarket.com/events/slug/{slug}"
