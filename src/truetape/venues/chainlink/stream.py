"""Chainlink's streams: which feed id is which price."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument, name_spot

NAME = "chainlink"
STREAMS = "streams"
"""The Data Streams API: signed reports."""
PAGE = "page"
"""What the public page of a stream asks for: the same prices, seconds late, without a key."""

FEED_IDS = MappingProxyType(
    {
        "BTC-USD": "0x00039d9e45394f473ab1f050a1b963e6b05351e52d71e507509ada0c95ed75b8",
        "ETH-USD": "0x000362205e10b3a147d02792eccee483dca6c7b44ecce7012cb8c6e0b68b3ae9",
        "SOL-USD": "0x0003b778d3f6b2ac4991302b89cb313f99a42467d6c9c5f96f57c29c0d2bc24f",
        "XRP-USD": "0x0003c16c6aed42294f5cb4741f6e59ba2d728f0eae2eb9e6d3f555808c59fc45",
    }
)
"""Mainnet streams of crypto prices, report version 3. The ids of the TWAP streams are not public."""

_SYMBOLS = {feed_id: symbol for symbol, feed_id in FEED_IDS.items()}
_HEX = frozenset("0123456789abcdef")


class _Feed(msgspec.Struct, gc=False):
    feedID: str


class _Feeds(msgspec.Struct, gc=False):
    feeds: list[_Feed]


_decode_feeds = Decoder(_Feeds).decode


def check_feed_id(text: str, path: str = "$") -> str:
    """Return a feed id in lower case; DecodeError when it is not 32 bytes in hexadecimal."""
    lower = text.lower()
    if len(lower) != 66 or not lower.startswith("0x") or not _HEX.issuperset(lower[2:]):
        raise DecodeError(f"feed id {text[:80]!r} is not 0x and 64 hexadecimal digits", path)
    return lower


def choose_symbols(wanted: Sequence[str]) -> list[str]:
    """Return the declared streams that names or patterns (`*-USD`, `all`) mean."""
    return [name for name in FEED_IDS if any(want == "all" or fnmatchcase(name, want.upper()) for want in wanted)]


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name a stream by its feed id; one that is not declared keeps the id as its name."""
    feed_id = venue_symbol.lower()
    symbol = _SYMBOLS.get(feed_id)
    if symbol is None:
        return Instrument(NAME, market, feed_id, feed_id, "oracle")
    base, quote = symbol.split("-")
    return Instrument(NAME, market, feed_id, name_spot(base, quote), "oracle", base=base, quote=quote)


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read the feeds that a key may see (`/api/v1/feeds`)."""
    feeds = _decode_feeds(body).feeds
    named = [name_instrument(STREAMS, check_feed_id(f.feedID, f"$.feeds[{i}].feedID")) for i, f in enumerate(feeds)]
    return [msgspec.structs.replace(instrument, is_listed=True) for instrument in named]
