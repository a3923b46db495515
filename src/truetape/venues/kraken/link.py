"""What the handlers of one Kraken connection share."""

from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe, Unit
from truetape.venues.kraken.instrument import name_instrument


class Link:
    """One connection: its feed (which is its market as well), its name, the pen."""

    def __init__(self, scribe: Scribe, feed: str, connection: str) -> None:
        self.scribe = scribe
        self.feed = feed
        self.connection = connection

    def find(self, symbol: str) -> Instrument:
        """Return the instrument as listed, else as its name tells."""
        return self.scribe.listed(self.feed, symbol) or name_instrument(self.feed, symbol)

    def stream(self, channel: str, symbol: str) -> int:
        """Return the index of a stream."""
        return self.scribe.stream(channel, self.feed, self.find(symbol)).index

    def acknowledge(self, received_ns: int, offset: int) -> None:
        """Say that the venue confirmed a request."""
        self.scribe.acknowledge(self.connection, received_ns, offset)

    def complain(self, text: str, received_ns: int, offset: int) -> None:
        """Record an error message of the venue's."""
        self.scribe.complain(self.feed, self.connection, received_ns, offset, None, text)


def find_unit(instrument: Instrument) -> Unit | None:
    """Return how reported sizes become base amounts; null when they are."""
    size = instrument.contract_size or 1.0
    return Unit(size, instrument.is_inverse) if instrument.is_inverse or size != 1.0 else None


def to_base(size: float, price: float, unit: Unit | None) -> float | None:
    """Convert a reported size; null where an inverse one has no price."""
    if unit is None:
        return size
    if not unit.is_inverse:
        return size * unit.size
    return size * unit.size / price if price else None


DEPTH = 1000
"""Levels a side that we subscribe: all that the venue offers."""

INTERVALS = {
    1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w", 21600: "15d",
}  # fmt: skip
"""Minutes of a candle → its name."""
