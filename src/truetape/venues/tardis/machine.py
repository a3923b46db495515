"""tardis-machine: the vendor's own server, which joins exchanges' streams, live or recorded, in messages of one form.

`/ws-stream-normalized?options=[…]` streams live, its address subscribes. Messages of `/ws-replay-normalized` (and of
`/replay-normalized`, as lines) are the same. A `disconnect` says that the machine lost an exchange: a gap until the next
message of each stream, and of books until the next picture. Instruments are called `exchange:symbol`, as the vendor has
both, and stay this venue's own: the machine sees exchanges through other lines and another clock than we do.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec

from truetape.errors import ConfigError, DecodeError, suggest
from truetape.events.instrument import Instrument
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Scribe, Unit
from truetape.venues._contract import Feed, Heartbeat, Limits, OnMessage
from truetape.venues.tardis.exchange import find_instrument

MACHINE = "machine"
"""Its feed, and the market of its instruments."""
VENUE_NAME = "tardis"
REPLAY_URL = "ws://127.0.0.1:8001/ws-replay-normalized"
LEVELS = 25
"""Of the book snapshots that are asked for, one a second."""
_DATA_TYPES = {
    "trade": "trade",
    "book_change": "book_change",
    "quote": "quote",
    "book_snapshot": f"book_snapshot_{LEVELS}_1s",
    "derivative": "derivative_ticker",
    "liquidation": "liquidation",
    "ticker": "option_summary",
}
_COMPUTED = re.compile(r"quote_\d+(ms|s|m)|book_snapshot_\d+(_grouped\d+)?_\d+(ms|s|m)")
"""Those that the machine makes by the interval. It makes bars, too, which are built from trades here."""
FEED = Feed(
    MACHINE,
    MACHINE,
    # The machine's HTTP port is 8000 unless told otherwise, its sockets' the next one.
    "ws://127.0.0.1:8001/ws-stream-normalized",
    tuple(_DATA_TYPES),
    Heartbeat(interval_s=20.0),
    Limits(topics_per_connection_max=200),
    lifetime_s=0.0,
)


class Option(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one exchange is asked for; the machine takes a list of these."""

    exchange: str
    symbols: tuple[str, ...]
    data_types: tuple[str, ...]
    with_disconnect_messages: bool
    # `from` is no name in Python
    from_: str = msgspec.field(default="", name="from")
    to: str = ""


def write_options(options: Sequence[Option]) -> str:
    """Return options as an address spells them."""
    return quote(msgspec.json.encode(options).decode())


def check_types(names: Sequence[str]) -> None:
    """Refuse, with a ConfigError, data types that the machine would not know, or whose messages are not read here."""
    known = [*dict.fromkeys((*_DATA_TYPES.values(), "book_ticker")), "quote_1s"]
    for name in names:
        if name not in known and not _COMPUTED.fullmatch(name):
            allowed = ", ".join(known)
            raise ConfigError(
                f"--type {name!r}: no such messages (allowed: {allowed}, also with other numbers){suggest(name, known)}"
            )


def name_wanted(names: Sequence[str]) -> list[Instrument]:
    """Take the settings' names at their word: the machine lists nothing. ConfigError for one that is none."""
    for name in names:
        exchange, _, symbol = name.partition(":")
        if not exchange or not symbol or "*" in name:
            raise ConfigError(f"venues.tardis.instruments: {name!r} is not exchange:symbol (binance-futures:BTCUSDT)")
    return [name_instrument(name) for name in names]


def name_instrument(venue_symbol: str) -> Instrument:
    """Name an instrument of the machine."""
    exchange, _, symbol = venue_symbol.partition(":")
    return Instrument(VENUE_NAME, MACHINE, venue_symbol, f"{symbol.upper()}@{exchange}", "unknown")


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name a stream by exchange, symbol and data type."""
    return (f"{instrument.venue_symbol} {_DATA_TYPES[channel]}",) if channel in feed.channels else ()


def name_url(feed: Feed, topics: Sequence[str]) -> str:
    """Return the address that streams these: of one exchange all its symbols and data types, as the machine wants it."""
    asked: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for topic in topics:
        name, _, data_type = topic.partition(" ")
        exchange, _, symbol = name.partition(":")
        symbols, data_types = asked.setdefault(exchange, ({}, {}))
        symbols[symbol] = data_types[data_type] = None
    options = [Option(name, tuple(symbols), tuple(types), True) for name, (symbols, types) in asked.items()]
    return f"{feed.url}?options={write_options(options)}"


# -- messages ---------------------------------------------------------------------------------------------------


class _Level(msgspec.Struct, gc=False):
    # The machine fills snapshots of shallow books with empty levels.
    price: float | None = None
    amount: float | None = None


class _Message(msgspec.Struct, gc=False, rename="camel"):
    type: str
    exchange: str
    local_timestamp: str
    symbol: str = ""
    timestamp: str = ""


class _Trade(_Message, gc=False, rename="camel", kw_only=True):
    price: float
    amount: float
    side: Literal["buy", "sell", "unknown"]
    id: str | None = None


class _Change(_Message, gc=False, rename="camel", kw_only=True):
    is_snapshot: bool
    bids: list[_Level]
    asks: list[_Level]


class _Snapshot(_Message, gc=False, rename="camel", kw_only=True):
    name: str
    depth: int
    bids: list[_Level]
    asks: list[_Level]


class _BookTicker(_Message, gc=False, rename="camel", kw_only=True):
    bid_price: float | None = None
    bid_amount: float | None = None
    ask_price: float | None = None
    ask_amount: float | None = None


class _Derivative(_Message, gc=False, rename="camel", kw_only=True):
    last_price: float | None = None
    open_interest: float | None = None
    funding_rate: float | None = None
    funding_timestamp: datetime | None = None
    predicted_funding_rate: float | None = None
    index_price: float | None = None
    mark_price: float | None = None


class _Option(_Message, gc=False, rename="camel", kw_only=True):
    best_bid_price: float | None = None
    best_ask_price: float | None = None
    last_price: float | None = None
    open_interest: float | None = None
    mark_price: float | None = None
    mark_iv: float | None = msgspec.field(default=None, name="markIV")
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    rho: float | None = None
    underlying_price: float | None = None


class _Disconnect(_Message, gc=False, rename="camel", kw_only=True):
    symbols: list[str] | None = None


_read_message = msgspec.json.Decoder(_Message).decode
Pairs = list[tuple[float, float]]


class _Place(msgspec.Struct, gc=False):
    """Where a message stands on the tape."""

    received_ns: int
    offset: int


class _Handler:
    """Decodes the messages of one connection."""

    def __init__(self, scribe: Scribe, connection: str) -> None:
        self._scribe, self._connection = scribe, connection
        self._streams: dict[tuple[str, str, str], tuple[int, Unit | None]] = {}

    def take(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message."""
        kind = _read_message(payload).type
        found = _READERS.get(kind)
        if found is None:
            raise DecodeError(f"a message of type {kind[:40]!r} is not known (known: {', '.join(_READERS)})", "$.type")
        read, write = found
        return write(self, read(payload), _Place(received_ns, offset))

    def begin(
        self, channel: str, message: _Message, at: _Place
    ) -> tuple[tuple[int, int | None, int, int], Unit | None]:
        """Return what rows begin with, and what amounts of the stream count."""
        key = channel, message.exchange, message.symbol
        known = self._streams.get(key)
        if known is None:
            if not message.symbol:
                raise DecodeError("no symbol", "$.symbol")
            instrument = name_instrument(f"{message.exchange}:{message.symbol}")
            unit = find_instrument(self._scribe, message.exchange, message.symbol).unit
            known = self._streams[key] = self._scribe.stream(channel, MACHINE, instrument).index, unit
        # Equal times say that the exchange told none.
        is_told = message.timestamp != message.local_timestamp
        exchange_us = read_time(message.timestamp, "$.timestamp") if is_told else None
        return (known[0], exchange_us, at.received_ns, at.offset), known[1]

    def take_trade(self, message: _Trade, at: _Place) -> bool:
        head, unit = self.begin("trade", message, at)
        side = None if message.side == "unknown" else message.side
        sizes = _count(message.amount, message.price, unit)
        self._scribe.trades.append((*head, None, message.id, side, message.price, *sizes, None))
        return True

    def take_change(self, message: _Change, at: _Place) -> bool:
        head, unit = self.begin("book_change", message, at)
        what = BOOK_SNAPSHOT if message.is_snapshot else BOOK_DIFF
        sides = _list_levels(message.bids), _list_levels(message.asks)
        self._scribe.books.append((*head, self._connection, what, None, None, None, *sides, unit, None))
        return True

    def take_snapshot(self, message: _Snapshot, at: _Place) -> bool:
        bids, asks = _list_levels(message.bids), _list_levels(message.asks)
        if message.name.startswith("quote"):
            head, unit = self.begin("quote", message, at)
            best = [_best(side, unit) for side in (bids, asks)]
            self._scribe.quotes.append((*head, *best[0], *best[1], None))
            return True
        head, unit = self.begin("book_snapshot", message, at)
        columns = [
            [level[0] for level in bids], [_count(size, price, unit)[0] for price, size in bids],
            [level[0] for level in asks], [_count(size, price, unit)[0] for price, size in asks],
        ]  # fmt: skip
        self._scribe.plain("book_snapshot").append((*head, None, *columns))
        return True

    def take_ticker(self, message: _BookTicker, at: _Place) -> bool:
        head, unit = self.begin("quote", message, at)
        sides = (message.bid_price, message.bid_amount), (message.ask_price, message.ask_amount)
        best = [_best([side] if None not in side else [], unit) for side in sides]  # type: ignore[list-item]
        self._scribe.quotes.append((*head, *best[0], *best[1], None))
        return True

    def take_derivative(self, message: _Derivative, at: _Place) -> bool:
        head, unit = self.begin("derivative", message, at)
        interest = _count(message.open_interest, message.mark_price, unit)
        funded = None if message.funding_timestamp is None else int(message.funding_timestamp.timestamp() * 1_000_000)
        self._scribe.plain("derivative").append((
            *head, message.mark_price, message.index_price, message.last_price, *interest, message.funding_rate,
            message.predicted_funding_rate, funded, None, None, None, None, None, None,
        ))  # fmt: skip
        return True

    def take_liquidation(self, message: _Trade, at: _Place) -> bool:
        head, unit = self.begin("liquidation", message, at)
        side = None if message.side == "unknown" else message.side
        sizes = _count(message.amount, message.price, unit)
        self._scribe.plain("liquidation").append((*head, side, message.price, *sizes, None))
        return True

    def take_option(self, message: _Option, at: _Place) -> bool:
        head, _ = self.begin("ticker", message, at)
        bid, ask = message.best_bid_price, message.best_ask_price
        self._scribe.plain("ticker").append((*head, message.last_price, None, bid, ask, None, None, None, None, None))
        head, unit = self.begin("derivative", message, at)
        interest = _count(message.open_interest, message.underlying_price, unit)
        self._scribe.plain("derivative").append((
            *head, message.mark_price, message.underlying_price, message.last_price, *interest, None, None, None,
            message.mark_iv, message.delta, message.gamma, message.vega, message.theta, message.rho,
        ))  # fmt: skip
        return True

    def take_disconnect(self, message: _Disconnect, at: _Place) -> bool:
        names = tuple(f"{message.exchange}:{symbol}" for symbol in message.symbols or ())
        self._scribe.cut(self._connection, at.received_ns, at.offset, f"{message.exchange}:", names)
        return False


_READERS: dict[str, tuple[Callable[[bytes], object], Callable[..., bool]]] = {
    "trade": (msgspec.json.Decoder(_Trade).decode, _Handler.take_trade),
    "book_change": (msgspec.json.Decoder(_Change).decode, _Handler.take_change),
    "book_snapshot": (msgspec.json.Decoder(_Snapshot).decode, _Handler.take_snapshot),
    "book_ticker": (msgspec.json.Decoder(_BookTicker).decode, _Handler.take_ticker),
    "derivative_ticker": (msgspec.json.Decoder(_Derivative).decode, _Handler.take_derivative),
    "liquidation": (msgspec.json.Decoder(_Trade).decode, _Handler.take_liquidation),
    "option_summary": (msgspec.json.Decoder(_Option).decode, _Handler.take_option),
    "disconnect": (msgspec.json.Decoder(_Disconnect).decode, _Handler.take_disconnect),
}


def make_handler(scribe: Scribe, connection: str) -> OnMessage:
    """Return the handler of one connection's messages."""
    return _Handler(scribe, connection).take


def read_time(text: str, path: str) -> int:
    """Return microseconds of an ISO time; DecodeError when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DecodeError(f"{text[:40]!r} is not a time", path) from error
    delta = moment - _EPOCH if moment.tzinfo else moment.replace(tzinfo=UTC) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _list_levels(levels: Sequence[_Level]) -> Pairs:
    return [(one.price, one.amount) for one in levels if one.price is not None and one.amount is not None]


def _best(side: Pairs, unit: Unit | None) -> tuple[float | None, float | None]:
    if not side:
        return None, None
    price, size = side[0]
    return price, _count(size, price, unit)[0]


def _count(size: float | None, price: float | None, unit: Unit | None) -> tuple[float | None, float | None]:
    """Return the amount of the base asset, and what was reported where that is something else."""
    if unit is None or size is None:
        return size, None
    amount = size * unit.size / price if unit.is_inverse and price else None if unit.is_inverse else size * unit.size
    return (None if amount is None or amount != amount else amount), size
