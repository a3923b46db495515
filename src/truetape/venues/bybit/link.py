"""One connection to Bybit: finds the handler of each message's topic."""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe, Unit
from truetape.venues._contract import Lane, OnMessage, Read
from truetape.venues._lanes import BOOKS_MIN, Lanes
from truetape.venues.bybit.instrument import name_instrument
from truetape.venues.bybit.runs import make_books

Side = Literal["Buy", "Sell"]
SIDES: dict[Side, str] = {"Buy": "buy", "Sell": "sell"}
CLOSING: dict[Side, str] = {"Buy": "sell", "Sell": "buy"}
"""A liquidation names the position: a long (`Buy`) is closed by selling."""


class _Request(msgspec.Struct, gc=False):
    op: str


class _Envelope(msgspec.Struct, gc=False):
    """What tells frames apart, wherever in the frame it stands."""

    topic: str | None = None
    success: bool | None = None
    ret_msg: str = ""
    op: str | None = None
    request: _Request | None = None  # v2
    pong: int | None = None  # spot v1


_ENVELOPE = msgspec.json.Decoder(_Envelope, strict=False)


class Link:
    """One connection: a handler per topic, made when the topic is first seen."""

    __slots__ = (
        "__weakref__", "_read_books", "connection", "feed", "handlers", "is_inverse", "lanes", "makers", "market", "scribe",
    )  # fmt: skip

    def __init__(self, scribe: Scribe, feed: str, market: str, connection: str, makers: "Makers") -> None:
        self.scribe = scribe
        self.feed = feed
        self.market = market
        self.is_inverse = market == "inverse"
        self.connection = connection
        self.makers = makers
        self.handlers: dict[bytes, OnMessage] = {}
        self.lanes = Lanes()
        self._read_books: Read | None = None

    def forget(self) -> None:
        """Drop the handlers, for instruments changed: they are made again with what is known now."""
        self.handlers.clear()
        self.lanes.clear()

    def add_books(self, topic: str, index: int) -> None:
        """Let books of a topic be decoded by the run."""
        if self._read_books is None:
            self._read_books = make_books(self.connection, self.unit)
        self.lanes.add(b'{"topic":"' + topic.encode(), Lane(self._read_books, index, BOOKS_MIN))

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message; most frames begin with their topic, which is then found without parsing."""
        handler = self.handlers.get(payload[10 : payload.find(b'"', 10)])
        if handler is not None:
            return handler(payload, received_ns, offset)
        envelope = _ENVELOPE.decode(payload)
        if envelope.topic is None:
            return self._control(envelope, received_ns, offset)
        topic = envelope.topic.encode()
        handler = self.handlers.get(topic)
        if handler is None:
            handler = self.handlers[topic] = self._make(envelope.topic)
        return handler(payload, received_ns, offset)

    def _make(self, topic: str) -> OnMessage:
        channel, _, rest = topic.partition(".")
        maker = self.makers.get(channel)
        if maker is None:
            raise DecodeError(f"topic {topic!r} is not one of {', '.join(self.makers)}", "$.topic")
        return maker(self, rest)

    def _control(self, envelope: _Envelope, received_ns: int, offset: int) -> bool:
        op = envelope.request.op if envelope.request else envelope.op
        if envelope.success is False:
            self.scribe.complain(self.feed, self.connection, received_ns, offset, None, envelope.ret_msg)
        elif op in ("subscribe", "unsubscribe") and envelope.success:
            self.scribe.acknowledge(self.connection, received_ns, offset)
        elif op not in ("ping", "pong") and envelope.pong is None:
            raise DecodeError("neither a topic nor an answer of the venue")
        return False

    def index(self, channel: str, symbol: str) -> int:
        """Return the number of the stream; its instrument is as listed on this tape, else as its name tells."""
        instrument: Instrument | None = self.scribe.listed(self.market, symbol)
        return self.scribe.stream(channel, self.feed, instrument or name_instrument(self.market, symbol)).index

    @property
    def unit(self) -> Unit | None:
        """What one reported unit is: 1 USD on inverse, ever since its first contract; elsewhere the base coin."""
        return Unit(1.0, True) if self.is_inverse else None

    def claim_depth(self, symbol: str, depth: str) -> None:
        """Let one depth only become an instrument's book: changes of two would mix in one stream."""
        claimed = self.scribe.claim(self.connection, f"book {symbol}", depth)
        if claimed != depth:
            raise DecodeError(f"{symbol}: depth {depth} beside {claimed} on one connection, a book has one", "$.topic")


Makers = Mapping[str, Callable[[Link, str], OnMessage]]
"""Channel → what makes the handler of a topic from the rest of the topic's name."""


def divide(amount: float | None, price: float | None) -> float | None:
    """Turn USD into coin; null when either is missing."""
    return amount / price if amount is not None and price else None
