"""A Binance book as a recording has told it so far: what a REST snapshot is answered from."""

import re
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.sim.protocol import encode_json

_SYMBOL = re.compile(rb'"s":"([A-Z0-9_]+)"')
_TRADE = re.compile(rb'"t":(\d+),"p"')
_RANGE = re.compile(rb'"U":(\d+),"u":(\d+)(?:,"pu":(\d+))?')


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
    it, and where none was recorded, the answer is the book that the played diffs make. A diff that does not follow
    on the one before begins another stretch, with a book and a snapshot of its own.
    """

    def __init__(self, feed: str) -> None:
        self._feed = feed
        self._stretches: dict[int, bytes] = {}
        """First id of the first diff of each stretch → the snapshot recorded in it."""
        self._learnt = self._stretch = -1
        self._first = (-1, -1)
        """Where the first stretch begins, and the id before it."""
        self._recorded = b""
        self._snapshot: _Snapshot | None = None
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._last = -1

    def offer(self, payload: bytes) -> None:
        """Take a recorded snapshot, before playing; the first one of a stretch counts."""
        self._stretches[self._stretch] = self._stretches.get(self._stretch) or payload

    def begin(self, payload: bytes) -> None:
        """Take a recorded diff, before playing: where stretches begin, and what their snapshots must join."""
        found = _RANGE.search(payload, 0, 400)
        if found is None:
            return
        first, last = int(found[1]), int(found[2])
        before = first - 1 if self._feed == "spot" or found[3] is None else int(found[3])
        if before != self._learnt:
            waiting = self._stretches.pop(-1, b"")  # recorded before any diff was
            self._stretch = first
            self._stretches.setdefault(first, waiting)
            if self._first[0] < 0:
                self._first = (first, before)
        self._learnt = last

    def apply(self, payload: bytes) -> None:
        """Apply one played diff."""
        diff = _decode_diff(payload).data
        before = diff.U - 1 if self._feed == "spot" or diff.pu < 0 else diff.pu
        if before != self._last and diff.U in self._stretches:
            self._start(diff.U, before)
        self._last = diff.u
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

    def _start(self, first: int, before: int) -> None:
        """Forget the book; begin a stretch with its snapshot where one was recorded."""
        self._bids, self._asks, self._last = {}, {}, before
        self._recorded = self._stretches[first]
        self._snapshot = _decode_snapshot(self._recorded) if self._recorded else None

    def describe(self) -> bytes:
        """Write the snapshot that a request gets now."""
        if self._last < 0 and self._stretches:  # nothing was played yet
            self._start(*self._first)
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
