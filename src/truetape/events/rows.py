"""Where venue decoders write: plain tuples per kind, turned into columns later.

A decoder appends tuples to public lists because that is the fastest thing Python can do; the order of
each tuple is the alias beside its list. `received_ns` and `offset` come with the frame.
"""

from typing import Any, NamedTuple

import msgspec

from truetape.events.instrument import Instrument, Stream
from truetape.events.schema import CHANNELS
from truetape.events.wish import Wish


class Unit(NamedTuple):
    """How a stream's reported sizes become base amounts."""

    size: float
    """Amount of one reported unit: base asset when linear, quote currency when inverse."""
    is_inverse: bool
    """True: amount = reported * size / price; false: amount = reported * size."""


TradeRow = tuple[
    int,  # stream index
    int | None,  # exchange time, us
    int,  # received_ns
    int,  # tape offset
    int | None,  # trade number: the id as integer, where the venue's ids are integers
    str | None,  # trade id as text, where they are not
    str | None,  # side of the aggressor: buy, sell
    float,  # price
    float | None,  # amount, base asset
    float | None,  # contracts: the reported number when it is not the base amount
    str | None,  # flag
]

Levels = list[tuple[float, float]] | list[tuple[str, str]]
"""(price, size) pairs; text when a checksum needs the venue's own digits."""


class Seal(NamedTuple):
    """What proves a book where a number is not enough: a text to be made from the whole book and from what else is in it."""

    expected: str
    """The venue's own text."""
    batch: str
    """Rows of one stream with the same batch make one state of the book: the last of them is to be compared."""
    context: tuple[Any, ...]
    """What the venue hashes beside the levels; only the venue knows its order."""
    is_certain: bool
    """False: part of the context was not told but taken for usual, so a mismatch of all batches proves nothing."""


BookRow = tuple[
    int,  # stream index
    int | None,  # exchange time, us
    int,  # received_ns
    int,  # tape offset
    str,  # connection
    int,  # what it is: BOOK_DIFF, BOOK_SNAPSHOT or BOOK_FETCHED
    int | None,  # first: id of the first event merged into this frame
    int | None,  # last: id of the book after this frame
    int | None,  # previous: the id this frame says it follows
    Levels,  # bids
    Levels,  # asks
    Unit | None,  # null when sizes are base amounts
    int | Seal | None,  # checksum to prove, null when the frame has none
]

BOOK_DIFF = 0
"""Levels that changed."""
BOOK_SNAPSHOT = 1
"""A full picture sent in the stream."""
BOOK_FETCHED = 2
"""A full picture fetched over HTTP: joined to the diffs around it by id."""

QuoteRow = tuple[
    int,  # stream index
    int | None,  # exchange time, us
    int,  # received_ns
    int,  # tape offset
    float | None,  # bid price
    float | None,  # bid amount
    float | None,  # ask price
    float | None,  # ask amount
    int | None,  # sequence
]

PlainRow = tuple[Any, ...]
"""stream index, exchange us, received_ns, tape offset, then the kind's own columns in schema order.

Times among the own columns are integers, microseconds UTC."""


def tell_offset(row: PlainRow) -> int:
    """Return the tape offset of a row of any kind."""
    offset: int = row[3]
    return offset


class Ack(NamedTuple):
    """The venue confirmed one request of ours."""

    connection: str
    received_ns: int
    offset: int


class Cut(NamedTuple):
    """A server that hands on others' streams lost some of them."""

    connection: str
    received_ns: int
    offset: int
    prefix: str
    """The venue's names of those begin with it."""
    names: tuple[str, ...]
    """Only these; empty: all of them."""


class Counter(NamedTuple):
    """A number that should step by one over all frames of a connection, and did not."""

    connection: str
    received_ns: int
    offset: int
    last: int
    number: int


HOLES_MAX = 64


class Numbering(msgspec.Struct):
    """How far a number that counts all frames of a connection has come."""

    last: int
    holes: list[tuple[int, int]] = []
    """Numbers that did not come, first and last of each hole; the oldest holes are forgotten."""

    def skip_to(self, number: int) -> None:
        """Note that the numbers up to this one did not come."""
        self.holes.append((self.last + 1, number - 1))
        del self.holes[:-HOLES_MAX]
        self.last = number

    def fill(self, number: int) -> bool:
        """Take a number that comes late; False when it is a repeat."""
        for i, (low, high) in enumerate(self.holes):
            if low <= number <= high:
                self.holes[i : i + 1] = [h for h in ((low, number - 1), (number + 1, high)) if h[0] <= h[1]]
                del self.holes[:-HOLES_MAX]
                return True
        return False


class Rows:
    """Rows of every kind, not yet columns, with the streams and instruments they refer to."""

    def __init__(self) -> None:
        self.trades: list[TradeRow] = []
        self.books: list[BookRow] = []
        self.runs: list[Any] = []
        """Runs of `run`, not yet judged; no stream has rows in tape order over runs and lists."""
        self.trade_runs: list[Any] = []
        """Trades already judged, as columns."""
        self.quote_runs: list[Any] = []
        """Quotes already judged, as columns."""
        self.book_runs: list[Any] = []
        """Book frames already judged, their levels flat arrays: runs, and tuples that `columns.pack_books` packed."""
        self.quotes: list[QuoteRow] = []
        self.plain: dict[str, list[PlainRow]] = {}
        self.acks: list[Ack] = []
        self.counters: list[Counter] = []
        self.cuts: list[Cut] = []
        self.numberings: dict[str, Numbering] = {}
        """Connection → how far its frames are numbered."""
        self.repeats: list[int] = []
        """Offsets of frames that repeat an earlier one of their connection."""
        self.claims: dict[str, dict[str, str]] = {}
        """Connection → what only one of its topics may be → the topic that is it."""
        self.is_urgent = False
        """Something was noted that must be judged before the next frame."""
        self.wishes: list[Wish] = []
        self.streams: list[Stream] = []
        self.names: Any = None
        """What `columns` made of the first of these."""
        self.instruments: dict[tuple[str, str, str], Instrument] = {}
        """(venue, market, venue_symbol) → what a listing said."""
        self.memory: dict[str, dict[str, Any]] = {}
        """What a venue must remember between frames (last full ticker); only msgpack-able values."""
        self._index: dict[tuple[str, str, str, str], int] = {}

    def add_stream(self, venue: str, channel: str, feed: str, instrument: Instrument) -> Stream:
        """Return the stream, adding it when new. Feeds of one market share it: its ids are the venue's."""
        key = (venue, channel, instrument.market, instrument.venue_symbol)
        index = self._index.get(key)
        if index is None:
            index = self._index[key] = len(self.streams)
            self.streams.append(
                Stream(index, venue, channel, instrument.symbol, instrument.venue_symbol, instrument.market, feed)
            )
        return self.streams[index]

    def find_stream(self, venue: str, channel: str, market: str, venue_symbol: str) -> int | None:
        """Return the index of a stream; null when there is none."""
        return self._index.get((venue, channel, market, venue_symbol))

    def drop_stream(self, stream: Stream) -> None:
        """Forget a stream; its index stays taken until `renumber_streams`, for rows that are still held."""
        key = (stream.venue, stream.channel, stream.market, stream.venue_symbol)
        if self._index.get(key) == stream.index:
            del self._index[key]

    def list_known_streams(self) -> list[int]:
        """List the indexes of streams that were not dropped, ascending."""
        return sorted(self._index.values())

    def renumber_streams(self, new: dict[int, int]) -> None:
        """Keep these streams only, old index → new one; no row may be held."""
        kept = [msgspec.structs.replace(self.streams[old], index=index) for old, index in new.items()]
        self.streams.clear()
        self._index.clear()
        self.restore_streams(kept)
        depths = self.memory.get("book_depth", {})
        told = {str(new[int(old)]): depth for old, depth in depths.items() if int(old) in new}
        depths.clear()
        depths.update(told)

    @property
    def pending(self) -> int:
        """Rows and frames of books that are held."""
        runs = [*self.runs, *self.trade_runs, *self.quote_runs, *self.book_runs]
        tuples: list[list[Any]] = [self.trades, self.quotes, self.books, *self.plain.values()]
        return sum(map(len, tuples)) + sum(len(run.offset) for run in runs)

    def list_channels(self) -> list[tuple[str, list[Any]]]:
        """List the rows of every channel, always in the same order."""
        own: dict[str, list[Any]] = {"trade": self.trades, "book_change": self.books, "quote": self.quotes}
        return [(kind, own[kind] if kind in own else self.plain.get(kind, [])) for kind in CHANNELS]

    def forget_connection(self, name: str) -> None:
        """Drop what is known of a connection that is no more."""
        self.numberings.pop(name, None)
        self.claims.pop(name, None)

    def find_depth(self, index: int) -> int | None:
        """Return the levels a side of a book stream is cut to, where its subscription told; null where nothing did."""
        depth: int | None = self.memory.get("book_depth", {}).get(str(index))
        return depth

    def restore_streams(self, streams: list[Stream]) -> None:
        """Put back the streams of a checkpoint; only on an empty table."""
        self.names = None
        self.streams.extend(streams)
        self._index.update({(s.venue, s.channel, s.market, s.venue_symbol): s.index for s in streams})


class Scribe:
    """One venue's pen on the rows."""

    def __init__(self, venue: str, rows: Rows) -> None:
        self.venue = venue
        self.rows = rows
        self.trades = rows.trades
        self.books = rows.books
        self.quotes = rows.quotes

    def plain(self, kind: str) -> list[PlainRow]:
        """Return the list for a kind other than trade, book_change and quote."""
        return self.rows.plain.setdefault(kind, [])

    def stream(self, channel: str, feed: str, instrument: Instrument) -> Stream:
        """Return the stream of a channel and instrument; call once and keep it, not per frame."""
        return self.rows.add_stream(self.venue, channel, feed, instrument)

    def cut_book(self, index: int, depth: int) -> None:
        """Say that the venue keeps a book stream to this many levels a side, as its subscription tells."""
        self.rows.memory.setdefault("book_depth", {})[str(index)] = depth

    def listed(self, market: str, venue_symbol: str) -> Instrument | None:
        """Return the instrument if a listing on this tape named it."""
        return self.rows.instruments.get((self.venue, market, venue_symbol))

    def learn(self, instrument: Instrument, received_ns: int, offset: int) -> bool:
        """Take an instrument of a listing; True, and a `market` row, when it is new or changed."""
        key = (instrument.venue, instrument.market, instrument.venue_symbol)
        if self.rows.instruments.get(key) == instrument:
            return False
        self.rows.instruments[key] = instrument
        stream = self.rows.add_stream(self.venue, "market", instrument.market, instrument)
        self.plain("market").append(
            (
                stream.index, None, received_ns, offset, instrument.market_type, instrument.base, instrument.quote,
                instrument.settle, instrument.contract_size, instrument.is_inverse, instrument.price_step,
                instrument.amount_step, instrument.expiry_us, instrument.strike, instrument.status,
            )
        )  # fmt: skip
        return True

    def acknowledge(self, connection: str, received_ns: int, offset: int) -> None:
        """Say that the venue confirmed one request of this connection."""
        self.rows.acks.append(Ack(connection, received_ns, offset))
        self.rows.is_urgent = True

    def count(self, connection: str, received_ns: int, offset: int, number: int) -> None:
        """Give the number that must step by one over all frames of this connection."""
        numbering = self.rows.numberings.get(connection)
        if numbering is None:
            self.rows.numberings[connection] = Numbering(number)
        elif number == numbering.last + 1:
            numbering.last = number
        elif number > numbering.last:
            self.rows.counters.append(Counter(connection, received_ns, offset, numbering.last, number))
            self.rows.is_urgent = True
            numbering.skip_to(number)
        elif not numbering.fill(number):
            self.rows.repeats.append(offset)
            self.rows.is_urgent = True

    def cut(self, connection: str, received_ns: int, offset: int, prefix: str, names: tuple[str, ...] = ()) -> None:
        """Say that streams of a connection were lost further up: those whose names begin so, or only some of them."""
        self.rows.cuts.append(Cut(connection, received_ns, offset, prefix, names))
        self.rows.is_urgent = True

    def claim(self, connection: str, what: str, topic: str) -> str:
        """Say which topic of a connection is to be something that can only be one; return the first that claimed it."""
        return self.rows.claims.setdefault(connection, {}).setdefault(what, topic)

    def complain(self, feed: str, connection: str, received_ns: int, offset: int, code: int | None, text: str) -> None:
        """Record an error message of the venue's own as an `error` row."""
        nobody = Instrument(self.venue, feed, "", "", "")
        stream = self.stream("error", feed, nobody)
        self.plain("error").append((stream.index, None, received_ns, offset, connection, feed, code, text[:500], None))


class Response(msgspec.Struct, frozen=True):
    """An HTTP response from the tape."""

    feed: str
    connection: str
    url: str
    status: int
    body: bytes
    received_ns: int
    offset: int
