"""What handlers of both feeds share: sides, streams by product."""

from truetape.events.rows import Scribe, Unit
from truetape.venues._contract import Lane
from truetape.venues._lanes import Lanes
from truetape.venues.coinbase.products import MARKETS, name_instrument
from truetape.venues.coinbase.runs import make_changes

TAKER = {"buy": "sell", "sell": "buy", "BUY": "sell", "SELL": "buy"}
"""Maker's side → aggressor's side; proven on 80 of 80 (Exchange) and 71 of 71 (Advanced) recorded trades."""


class Desk:
    """What the handlers of one connection share: streams by product, and the pen."""

    def __init__(self, scribe: Scribe, feed: str, connection: str) -> None:
        self.scribe = scribe
        self.feed = feed
        self.connection = connection
        self.units: dict[str, Unit | None] = {}
        self.lanes = Lanes(b'","changes"')
        self._read_changes = make_changes(connection)
        self._streams: dict[tuple[str, str], int] = {}

    def find(self, channel: str, product: str) -> int:
        """Return the index of a product's stream."""
        index = self._streams.get((channel, product))
        if index is None:
            market = MARKETS.get(self.feed, self.feed)
            instrument = self.scribe.listed(market, product) or name_instrument(market, product)
            size = instrument.contract_size
            self.units[product] = None if size is None else Unit(size, False)
            index = self.scribe.stream(channel, self.feed, instrument).index
            self._streams[channel, product] = index
            if channel == "book_change" and self.feed == "exchange":
                self.lanes.add(f'{{"type":"l2update","product_id":"{product}'.encode(), Lane(self._read_changes, index))
        return index

    def forget(self) -> None:
        """Drop what was cached: an instrument changed."""
        self._streams.clear()
        self.units.clear()
        self.lanes.clear()
