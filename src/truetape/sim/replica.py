"""A Binance book as a recording has told it so far: what a REST snapshot is answered from."""

import re
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.sim.protocol import encode_json

_SYMBOL = re.compile(rb'"s":"([A-Z0-9_]+)"')
_TRADE = re.compile(rb'"t":(\d+),"p"')
_RANGE = re.compile(rb'"U":(\d+),"u":(\d+)')


class _Diff(msgspec.Struct, gc=False):
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    pu: int = -1


class _Combined(msgspec.Struct, gc=False):
    data: _Diff


class _Snapshot(msgspec.Struct, gc=False):
    lastUpdateId: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_decode_diff = msgspec.json.Decoder(_Combined).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode


class Replica:
    """Snapshot and diffs of one symbol, as far as they were played.

    As long as playing has not passed the recorded snapshot, that very snapshot is the answer, byte for byte. After
    it, and where none was recorded, the answer is the book that the played diffs make.
    """

    def __init__(self, feed: str) -> None:
        self._feed = feed
        self._recorded = b""
        self._snapshot: _Snapshot | None = None
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._last = -1

    def offer(self, payload: bytes) -> None:
        """Take the recorded snapshot; the first one counts."""
        if self._snapshot is None:
            self._recorded, self._snapshot = payload, _decode_snapshot(payload)

    def begin(self, payload: bytes) -> None:
        """Take the recording's first diff, before playing: a snapshot must join it."""
        if self._last < 0:
            diff = _decode_diff(payload).data
            self._last = diff.U - 1 if self._feed == "spot" else diff.pu

    def apply(self, payload: bytes) -> None:
        """Apply one played diff."""
        diff = _decode_diff(payload).data
        snapshot = self._snapshot
        if snapshot is not None:
            if diff.u <= snapshot.lastUpdateId:
                return
            self._bids, self._asks = dict(snapshot.bids), dict(snapshot.asks)
            self._snapshot = None
        for book, levels in ((self._bids, diff.b), (self._asks, diff.a)):
            for price, size in levels:
                if float(size):
                    book[price] = size
                else:
                    book.pop(price, None)
        self._last = diff.u

    def describe(self) -> bytes:
        """Write the snapshot that a request gets now."""
        if self._snapshot is not None:
            return self._recorded
        bids = sorted(self._bids.items(), key=lambda level: float(level[0]), reverse=True)
        asks = sorted(self._asks.items(), key=lambda level: float(level[0]))
        return encode_json({"lastUpdateId": self._last, "bids": bids, "asks": asks})

    @staticmethod
    def read_symbol(venue: str, url: str, payload: bytes) -> str:
        """Return the symbol whose book a frame or an HTTP answer tells; empty for everything else."""
        if venue != "binance":
            return ""
        if url:
            parts = urlsplit(url)
            return parse_qs(parts.query).get("symbol", [""])[0] if parts.path.endswith("/depth") else ""
        if b'"depthUpdate"' not in payload[:100]:
            return ""
        found = _SYMBOL.search(payload, 0, 300)
        return found[1].decode() if found else ""

    @staticmethod
    def read_ids(payload: bytes) -> tuple[int, int]:
        """Return the first and last id of a Binance trade or diff; (-1, -1) for everything else."""
        found = _RANGE.search(payload, 0, 400)
        if found:
            return int(found[1]), int(found[2])
        found = _TRADE.search(payload, 0, 300)
        return (int(found[1]), int(found[1])) if found else (-1, -1)
