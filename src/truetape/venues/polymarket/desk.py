"""What the decoders of all feeds share: streams by token, what is remembered of a token, rows that only change is worth."""

from collections.abc import Collection
from typing import Any

from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe
from truetape.venues.polymarket.naming import CLOB, name_instrument

REMEMBERED_MAX = 20_000
"""Tokens and markets remembered of each sort; the oldest are forgotten."""


class Desk:
    """The pen on the rows, with streams by channel, market and venue_symbol."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self._streams: dict[tuple[str, str, str], int] = {}

    def find(self, channel: str, venue_symbol: str, market: str = CLOB) -> int:
        """Return the index of a stream, under its listed name where a listing was seen."""
        key = (channel, market, venue_symbol)
        index = self._streams.get(key)
        if index is None:
            index = self._streams[key] = self._make(channel, venue_symbol, market)
        return index

    def _make(self, channel: str, venue_symbol: str, market: str) -> int:
        instrument = self.find_instrument(venue_symbol, market)
        return self.scribe.stream(channel, market, instrument).index

    def find_instrument(self, venue_symbol: str, market: str = CLOB) -> Instrument:
        """Return the instrument as listed; the order book's listing names a token for the Data API, too."""
        listed = self.scribe.listed(market, venue_symbol)
        if listed is not None:
            return listed
        named = name_instrument(market, venue_symbol)
        known = self.scribe.listed(CLOB, venue_symbol)
        if known is None or named.market_type != "outcome":
            return named
        return Instrument(named.venue, market, venue_symbol, known.symbol, "outcome")

    def find_named(self, channel: str, symbol: str, venue_symbol: str) -> int:
        """Return the index of a stream of a whole market: its slug and its condition."""
        key = (channel, CLOB, venue_symbol)
        index = self._streams.get(key)
        if index is None:
            instrument = Instrument(self.scribe.venue, CLOB, venue_symbol, symbol, "outcome")
            index = self._streams[key] = self.scribe.stream(channel, CLOB, instrument).index
        return index

    def recall(self, what: str) -> dict[str, Any]:
        """Return what is remembered under a name, made when new."""
        return self.scribe.rows.memory.setdefault(f"polymarket {what}", {})

    def is_news(self, what: str, key: str, said: list[Any]) -> bool:
        """Tell whether this differs from what was said of the key last, and remember it."""
        known = self.recall(what)
        if known.get(key) == said:
            return False
        remember(known, key, said)
        return True


def remember(known: dict[str, Any], key: str, value: Any) -> None:
    """Keep a value as the newest, forgetting the oldest beyond the bound."""
    known.pop(key, None)
    known[key] = value
    if len(known) > REMEMBERED_MAX:
        del known[next(iter(known))]


def forget_markets(memory: dict[str, dict[str, Any]], names: Collection[str]) -> None:
    """Drop what is remembered of tokens and conditions."""
    for what in ("facts", "markets", "resolutions"):
        known = memory.get(f"polymarket {what}", {})
        for key in [key for key in known if key.rpartition(" ")[2] in names]:
            del known[key]
