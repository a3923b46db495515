"""Binance's frames become rows: tells messages apart and hands them to the writers.

The fast path looks the combined frame's head `{"stream":"btcusdt@trade` up among handlers that were built
once per stream and connection; everything else (bare payloads, other spacing, answers) is told apart first.
"""

from collections.abc import Callable, Mapping
from weakref import WeakSet

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe, Unit
from truetape.events.wish import Reconnect
from truetape.venues._binance import messages as m
from truetape.venues._binance.bulk import is_bulk, read_lines
from truetape.venues._binance.naming import read_listing
from truetape.venues._binance.responses import respond
from truetape.venues._binance.runs import make_depth, read_quotes, read_trades
from truetape.venues._binance.writers import EVENTS, MAKERS, Place, wrap
from truetape.venues._contract import Handler, Lane, OnMessage, Read
from truetape.venues._lanes import BOOKS_MIN, Lanes

_decode_envelope = Decoder(m.Envelope, strict=False).decode
_decode_data = Decoder(m.Frame[msgspec.Raw]).decode
_decode_raws = Decoder(list[msgspec.Raw]).decode
_decode_subject = Decoder(m.Subject, strict=False).decode
_decode_error = Decoder(m.Error, strict=False).decode

NameInstrument = Callable[[str, str], Instrument]


class Line:
    """One connection: its handlers by the head of the frame, and by stream name."""

    def __init__(self, decoder: "BinanceDecoder", feed: str, connection: str) -> None:
        self.decoder = decoder
        self.feed = feed
        self.connection = connection
        self.by_head: dict[bytes, OnMessage] = {}
        self.by_name: dict[tuple[str, str], OnMessage] = {}
        self.lanes = Lanes()
        self._depths: dict[Unit | None, Read] = {}

    def forget(self) -> None:
        """Drop the handlers: an instrument changed, and with it units."""
        self.by_head.clear()
        self.by_name.clear()
        self.lanes.clear()

    def find(self, symbol: str, kind: str) -> OnMessage:
        """Return the handler of an instrument's stream, built when new."""
        handler = self.by_name.get((symbol, kind))
        if handler is None:
            handler = self.by_name[symbol, kind] = self._make(symbol, kind)
        return handler

    def _make(self, symbol: str, kind: str) -> OnMessage:
        make = MAKERS.get(kind)
        if make is None:
            raise DecodeError(f"stream {kind!r} of {symbol} has no rule", "$.stream")
        if "-" in symbol:
            raise DecodeError(f"{symbol} is an option: options of Binance have no rule", "$.stream")
        return make(self._place(symbol))

    def _place(self, symbol: str) -> Place:
        market = self.decoder.markets.get(self.feed, self.feed)
        instrument = self.decoder.find_instrument(market, symbol)
        return Place(self.decoder.scribe, self.feed, self.connection, instrument)

    def _find_lane(self, symbol: str, kind: str) -> Lane | None:
        """Return where messages of an instrument's stream belong; None for those that are decoded one by one."""
        place = self._place(symbol)
        unit = place.unit
        if kind == "depth":
            read = self._depths.get(unit)
            if read is None:
                read = self._depths[unit] = make_depth(self.connection, unit)
            return Lane(read, place.number("book_change"), BOOKS_MIN)
        if unit is None and kind == "trade":
            return Lane(read_trades, place.number("trade"))
        if unit is None and kind == "bookTicker":
            return Lane(read_quotes, place.number("quote"))
        return None

    def handle(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Tell what the fast path did not know."""
        if payload[:1] == b"[":
            return self._handle_items(payload, received_ns, offset)
        envelope = _decode_envelope(payload)
        if envelope.stream is not None and envelope.data is not m.NOTHING:
            return self._handle_stream(envelope.stream, payload, received_ns, offset)
        if (
            envelope.e is None
            and envelope.u is not m.NOTHING
            and envelope.s is not None
            and envelope.B is not m.NOTHING
        ):
            return self._handle_item(payload, received_ns, offset)
        if envelope.e is None:
            return self._handle_answer(envelope, received_ns, offset)
        if envelope.e == "serverShutdown":
            return self._announce_shutdown(received_ns, offset)
        return self._handle_item(payload, received_ns, offset)

    def _handle_stream(self, name: str, payload: bytes, received_ns: int, offset: int) -> bool:
        subject, _, rest = name.partition("@")
        if name == "!serverShutdown":
            return self._announce_shutdown(received_ns, offset)
        if subject.startswith("!"):  # all of the market
            data = bytes(_decode_data(payload).data)
            handle = self._handle_items if data[:1] == b"[" else self._handle_item
            return handle(data, received_ns, offset)
        kind = rest.partition("@")[0].partition("_")[0]
        handler = self.find(subject.upper(), kind)
        head, _, tail = payload.partition(b'",')
        if head == b'{"stream":"' + name.encode() and tail.startswith(b'"data":'):
            self.by_head[head] = handler
            lane = self._find_lane(subject.upper(), kind)
            if lane is not None:
                self.lanes.add(head, lane)
        return handler(payload, received_ns, offset)

    def _handle_items(self, payload: bytes, received_ns: int, offset: int) -> bool:
        for item in _decode_raws(payload):
            self._handle_item(bytes(item), received_ns, offset)
        return True

    def _handle_item(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Handle a message that names its event type and instrument itself; spot's bookTicker has no type."""
        envelope = _decode_envelope(payload)
        kind = EVENTS.get(envelope.e or "bookTicker", "")
        if not kind:
            raise DecodeError(f"event {envelope.e!r} has no rule", "$.e")
        symbol = _decode_subject(envelope.o).s if kind == "forceOrder" else envelope.s
        if symbol is None:
            raise DecodeError(f"{kind} names no instrument", "$.s")
        return self.find(symbol, kind)(wrap(payload), received_ns, offset)

    def _handle_answer(self, envelope: m.Envelope, received_ns: int, offset: int) -> bool:
        scribe = self.decoder.scribe
        if envelope.code is not None or envelope.error is not m.NOTHING:
            error = _decode_error(envelope.error) if envelope.error is not m.NOTHING else None
            code, text = (error.code, error.msg) if error else (envelope.code, envelope.msg or "")
            scribe.complain(self.feed, self.connection, received_ns, offset, code, text)
            return False
        if envelope.result is not m.NOTHING and envelope.id is not m.NOTHING:
            scribe.acknowledge(self.connection, received_ns, offset)
            return False
        raise DecodeError("message is of no known form: no stream, event type, result or error")

    def _announce_shutdown(self, received_ns: int, offset: int) -> bool:
        """The venue closes this connection in about ten minutes: move to a new one before."""
        scribe = self.decoder.scribe
        scribe.complain(self.feed, self.connection, received_ns, offset, None, "serverShutdown")
        scribe.rows.wishes.append(Reconnect(scribe.venue, self.feed, self.connection, "venue announced a shutdown"))
        return False


class BinanceDecoder:
    """Decodes the frames of Binance or Binance US."""

    def __init__(self, scribe: Scribe, markets: Mapping[str, str], name_instrument: NameInstrument) -> None:
        self.scribe = scribe
        self.markets = markets
        """Feed → market."""
        self._name_instrument = name_instrument
        self._lines: WeakSet[Line] = WeakSet()

    def open(self, feed: str, connection: str) -> Handler:
        """Return the handler for one connection's messages."""
        line = Line(self, feed, connection)
        self._lines.add(line)
        find, handle = line.by_head.get, line.handle

        def on_message(payload: bytes, received_ns: int, offset: int) -> bool:
            # hot: bench/decode.py; one C call gives the head that names the stream
            handler = find(payload.partition(b'",')[0])
            if handler is not None:
                return handler(payload, received_ns, offset)
            return handle(payload, received_ns, offset)

        return Handler(on_message, line.lanes.listed, line.lanes.sort)

    def respond(self, response: Response) -> bool:
        """Decode an HTTP response."""
        if response.body.startswith(b'{"code":'):
            error = _decode_error(response.body)
            self.scribe.complain(
                response.feed, response.connection, response.received_ns, response.offset, error.code, error.msg
            )
            return False
        if "/exchangeInfo" in response.url:
            return self._learn(response)
        if is_bulk(response.url):
            return read_lines(self, response)
        return respond(self, response)

    def find_instrument(self, market: str, symbol: str) -> Instrument:
        """Return what a listing on the tape said, else what the name says.

        USD-M's all-market streams carry COIN-M symbols too since 2026.
        """
        listed = self.scribe.listed(market, symbol)
        if listed is not None:
            return listed
        if market == "usdm" and symbol.partition("_")[2] and self._name_instrument("coinm", symbol).base:
            named = self._name_instrument("usdm", symbol)
            if not named.base:
                return self.find_instrument("coinm", symbol)
        return self._name_instrument(market, symbol)

    def _learn(self, response: Response) -> bool:
        is_changed = False
        for instrument in read_listing(self.scribe.venue, response.url, response.body):
            is_changed |= self.scribe.learn(instrument, response.received_ns, response.offset)
        if is_changed:
            for line in self._lines:
                line.forget()
        return True
