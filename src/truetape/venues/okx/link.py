"""One connection to OKX v5: finds the handler of each message's channel and instrument."""

from collections.abc import Callable, Mapping

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe, Unit
from truetape.events.wish import Reconnect
from truetape.venues._contract import Lane, OnMessage
from truetape.venues._lanes import BOOKS_MIN, Lanes
from truetape.venues.okx.instrument import MARKET, name_instrument
from truetape.venues.okx.runs import make_books

_UPGRADE_SOON = 64008
"""Notice: this connection will be cut shortly for an upgrade of the service."""


class _Argument(msgspec.Struct, gc=False):
    channel: str
    instId: str = ""
    instType: str = ""


class _Envelope(msgspec.Struct, gc=False):
    """What tells frames apart, wherever in the frame it stands."""

    arg: _Argument | None = None
    event: str | None = None
    code: int | None = None
    msg: str = ""


_ENVELOPE = msgspec.json.Decoder(_Envelope, strict=False)


class Link:
    """One connection: a handler per channel and instrument, made when first seen."""

    __slots__ = (
        "__weakref__",
        "_books",
        "_read_books",
        "_ready",
        "_units",
        "connection",
        "feed",
        "handlers",
        "lanes",
        "learn",
        "makers",
        "scribe",
    )  # fmt: skip

    def __init__(
        self,
        scribe: Scribe,
        feed: str,
        connection: str,
        makers: "Makers",
        learn: Callable[[Instrument, int, int], None],
    ) -> None:
        self.scribe = scribe
        self.feed = feed
        self.connection = connection
        self.makers = makers
        self.learn = learn
        self.handlers: dict[bytes, OnMessage] = {}
        self.lanes = Lanes(b'"}')
        self._books: dict[tuple[str, str], int] = {}
        self._units: dict[int, Unit | None] = {}
        self._read_books = make_books(connection, self._units)
        self._ready: dict[tuple[str, str], OnMessage] = {}

    def forget(self) -> None:
        """Drop the handlers, for instruments changed: they are made again with what is known now."""
        self.handlers.clear()
        self.lanes.clear()
        self._books.clear()
        self._units.clear()
        self._ready.clear()

    def add_books(self, channel: str, name: str, index: int, unit: Unit | None) -> None:
        """Let books of a channel and instrument be decoded by the run."""
        self._books[channel, name] = index
        self._units[index] = unit

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message; most begin with `{"arg":{…}`, whose bytes find the handler without parsing.

        An answer written with its `arg` first finds a handler too, which then misses the data.
        """
        head = payload[: payload.find(b"}")]
        handler = self.handlers.get(head)
        if handler is None:
            return self._decode_slowly(payload, head, received_ns, offset)
        try:
            return handler(payload, received_ns, offset)
        except msgspec.ValidationError:
            envelope = _ENVELOPE.decode(payload)
            if envelope.event is None:
                raise
            return self._control(envelope, received_ns, offset)

    def _decode_slowly(self, payload: bytes, head: bytes, received_ns: int, offset: int) -> bool:
        if payload == b"pong":
            return False
        envelope = _ENVELOPE.decode(payload)
        if envelope.event is not None:
            return self._control(envelope, received_ns, offset)
        arg = envelope.arg
        if arg is None:
            raise DecodeError("neither `arg` nor `event`")
        key = (arg.channel, arg.instId or arg.instType)
        handler = self._ready.get(key)
        if handler is None:
            handler = self._ready[key] = self._make(*key)
        if head.startswith(b'{"arg":{'):
            self.handlers[head] = handler
            if key in self._books and head.endswith(b'"'):
                self.lanes.add(head[:-1], Lane(self._read_books, self._books[key], BOOKS_MIN))
        return handler(payload, received_ns, offset)

    def _make(self, channel: str, name: str) -> OnMessage:
        maker = self.makers.get("candle" if channel.startswith("candle") else channel)
        if maker is None:
            raise DecodeError(f"channel {channel!r} is not one of {', '.join(self.makers)}", "$.arg.channel")
        return maker(self, channel, name)

    def _control(self, envelope: _Envelope, received_ns: int, offset: int) -> bool:
        scribe, where = self.scribe, (self.feed, self.connection)
        if envelope.event in ("subscribe", "unsubscribe"):
            scribe.acknowledge(self.connection, received_ns, offset)
        elif envelope.event in ("error", "notice"):
            scribe.complain(*where, received_ns, offset, envelope.code, envelope.msg)
            if envelope.code == _UPGRADE_SOON:
                scribe.rows.wishes.append(Reconnect("okx", *where, f"notice {_UPGRADE_SOON}: {envelope.msg}"))
        elif envelope.event not in ("channel-conn-count", "login"):
            raise DecodeError(f"event {envelope.event!r} is not known", "$.event")
        return False

    def find(self, name: str) -> Instrument:
        """Return the instrument as listed on this tape, else as its name tells it."""
        return self.scribe.listed(MARKET, name) or name_instrument(MARKET, name)

    def index(self, channel: str, name: str) -> int:
        """Return the number of the stream."""
        return self.scribe.stream(channel, self.feed, self.find(name)).index

    def claim_book(self, name: str, channel: str) -> None:
        """Let one channel only become an instrument's book: changes of two would mix in one stream."""
        claimed = self.scribe.claim(self.connection, f"book {name}", channel)
        if claimed != channel:
            raise DecodeError(f"{name}: {channel} beside {claimed} on one connection, a book has one", "$.arg.channel")


Makers = Mapping[str, Callable[[Link, str, str], OnMessage]]
"""Channel → what makes a handler from the channel's full name and the instrument's (or its type's)."""
