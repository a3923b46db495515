"""The order book's socket: the market channel.

A frame is one event or an array of them. `size` of a change is the level's new total; the best level of a
picture is its last. There are no sequence numbers: a frame's hash proves the book (see `proof`).
`side` of a trade is as reported, which is the taker's.
"""

from typing import Any, Literal

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Moment, Size
from truetape.events.rows import BOOK_DIFF, BOOK_SNAPSHOT, Scribe, Seal
from truetape.venues._contract import OnMessage
from truetape.venues.polymarket.desk import Desk, remember
from truetape.venues.polymarket.identity import Occurrences, name_fill
from truetape.venues.polymarket.market import find_constants, note_new_market, note_resolved, note_tick

Side = Literal["BUY", "SELL"]
SIDES: dict[str, str] = {"BUY": "buy", "SELL": "sell"}

ORDER_MIN = "5"
IS_NEGATIVE_RISK = False
"""What a market's constants are taken for until something tells: those of all recorded up-or-down markets."""


class Level(msgspec.Struct, gc=False):
    """One level of a picture."""

    price: str
    size: str


class BookEvent(msgspec.Struct, tag_field="event_type", tag="book", gc=False):
    """A picture: on subscribing, and after trades."""

    market: str
    asset_id: str
    timestamp: Moment
    bids: list[Level]
    asks: list[Level]
    hash: str | None = None
    tick_size: str | None = None
    last_trade_price: str | None = None


class Change(msgspec.Struct, gc=False):
    """One changed level."""

    price: str
    size: str
    side: Side
    asset_id: str = ""
    hash: str | None = None


class ChangeEvent(msgspec.Struct, tag_field="event_type", tag="price_change", gc=False):
    """Changed levels: of both tokens since 2025-09-15; of one before, in `changes`, and one level flat in 2024."""

    market: str
    timestamp: Moment
    price_changes: list[Change] | None = None
    asset_id: str = ""
    changes: list[Change] | None = None
    price: str = ""
    size: str = ""
    side: Side | None = None
    hash: str | None = None


class TradeEvent(msgspec.Struct, tag_field="event_type", tag="last_trade_price", gc=False):
    """A trade; nothing tells two equal fills of one transaction apart."""

    market: str
    asset_id: str
    timestamp: Moment
    price: str
    size: str
    side: Side | None = None
    transaction_hash: str | None = None


class TickEvent(msgspec.Struct, tag_field="event_type", tag="tick_size_change", gc=False):
    """Another price step: an epoch of the book."""

    market: str
    asset_id: str
    timestamp: Moment
    new_tick_size: str


class QuoteEvent(msgspec.Struct, tag_field="event_type", tag="best_bid_ask", gc=False):
    """Best prices, without sizes."""

    asset_id: str
    timestamp: Moment
    best_bid: str | None = None
    best_ask: str | None = None


class NewMarketEvent(msgspec.Struct, tag_field="event_type", tag="new_market", gc=False):
    """A market of the venue that is new; for every one, whoever subscribed what."""

    market: str
    slug: str
    assets_ids: list[str]
    outcomes: list[str]
    timestamp: Moment
    question: str | None = None
    order_price_min_tick_size: Size | None = None


class ResolvedEvent(msgspec.Struct, tag_field="event_type", tag="market_resolved", gc=False):
    """A market that is resolved; not sent reliably."""

    market: str
    timestamp: Moment
    winning_asset_id: str | None = None
    winning_outcome: str | None = None
    slug: str | None = None


Event = BookEvent | ChangeEvent | TradeEvent | TickEvent | QuoteEvent | NewMarketEvent | ResolvedEvent

_decode = Decoder(Event | list[Event], strict=False).decode


_OUT_OF_RANGE = "a level is out of range (price 0 to 1, size 0 to 1e18)"


def check_levels(levels: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return levels whose text is all numbers; the digits stay as the venue wrote them, for they are hashed."""
    # hot: bench/decode.py; one pass in C over each column, in which NaN and infinity reach the sums
    if levels:
        prices, sizes = zip(*levels, strict=True)
        try:
            price, size = [*map(float, prices)], [*map(float, sizes)]
        except ValueError as error:
            raise DecodeError(f"a level's price or size is no number: {error}") from error
        if not (
            min(price) >= 0.0 and max(price) <= 1.0 and sum(price) >= 0.0 and min(size) >= 0.0 and sum(size) <= 1e18
        ):
            raise DecodeError(_OUT_OF_RANGE)
    return levels


def read_number(text: str | None) -> float | None:
    """Return the number of a text; "" says that there is none."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError as error:
        raise DecodeError(f"expected a number, got {text!r}") from error
    if not 0.0 <= number <= 1e15:
        raise DecodeError(f"expected a number from 0 to 1e15, got {text!r}")
    return number


def read_top(text: str | None) -> float | None:
    """Return the best price of a side; 0 and 1, where no order can lie, say that the side is empty."""
    price = read_number(text)
    return None if price in (0.0, 1.0) else price


class Facts:
    """What of a token is hashed beside its levels, remembered across frames and restarts."""

    MARKET, TICK, ORDER_MIN, IS_NEGATIVE_RISK, IS_CERTAIN, LAST_PRICE = range(6)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known = desk.recall("facts")

    def find(self, token: str, market: str) -> list[Any]:
        """Return a token's facts, made when new."""
        facts: list[Any] | None = self._known.get(token)
        if facts is None:
            facts = [market, "0.01", ORDER_MIN, IS_NEGATIVE_RISK, False, ""]
            remember(self._known, token, facts)
        return facts

    def settle(self, facts: list[Any]) -> None:
        """Take a market's constants from its listing, where they are only guessed so far."""
        told = None if facts[self.IS_CERTAIN] else find_constants(self._desk, facts[self.MARKET])
        if told is not None:
            facts[2:5] = *told, True


def make_seal(expected: str | None, token: str, timestamp: int, facts: list[Any]) -> Seal | None:
    """Return what proves the book of a token after the batch of this timestamp; null where there is no hash."""
    if not expected:
        return None
    market, tick, order_min, is_negative_risk, is_certain, last_price = facts
    batch = str(timestamp)
    return Seal(expected, batch, (market, token, batch, order_min, tick, is_negative_risk, last_price), is_certain)


class ClobLine:
    """One connection to the market channel."""

    def __init__(self, scribe: Scribe, desk: Desk, connection: str) -> None:
        self.scribe = scribe
        self.desk = desk
        self.connection = connection
        self.facts = Facts(desk)
        self.occurrences = Occurrences(desk, f"socket {connection}")
        self._books = scribe.books.append
        self._takers: dict[type, Any] = {
            BookEvent: self._take_book,
            ChangeEvent: self._take_changes,
            TradeEvent: self._take_trade,
            TickEvent: self._take_tick,
            QuoteEvent: self._take_quote,
            NewMarketEvent: self._take_new_market,
            ResolvedEvent: self._take_resolved,
        }

    def decode(self, payload: bytes, received_ns: int, offset: int) -> bool:
        """Decode one message."""
        if payload == b"PONG":
            return False
        said = _decode(payload)
        if type(said) is list:
            for event in said:
                self._takers[type(event)](event, received_ns, offset)
            if all(type(event) is BookEvent for event in said):  # the answer to one subscription
                self.scribe.acknowledge(self.connection, received_ns, offset)
            return bool(said)
        self._takers[type(said)](said, received_ns, offset)
        return True

    def _take_book(self, b: BookEvent, received_ns: int, offset: int) -> None:
        facts = self.facts.find(b.asset_id, b.market)
        self.facts.settle(facts)
        if b.tick_size is not None:
            facts[Facts.TICK] = b.tick_size
        if b.last_trade_price is not None:
            facts[Facts.LAST_PRICE] = b.last_trade_price
        bids = check_levels([(level.price, level.size) for level in b.bids])
        asks = check_levels([(level.price, level.size) for level in b.asks])
        self._books(
            (
                self.desk.find("book_change", b.asset_id), b.timestamp * 1000, received_ns, offset, self.connection,
                BOOK_SNAPSHOT, None, None, None, bids, asks, None,
                make_seal(b.hash, b.asset_id, b.timestamp, facts),
            )
        )  # fmt: skip
        self.scribe.rows.is_urgent = True  # it ends gaps of trades and quotes, before the next of these does

    def _take_changes(self, c: ChangeEvent, received_ns: int, offset: int) -> None:
        # hot: bench/decode.py
        changed: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {}
        hashes: dict[str, str | None] = {}
        changes = c.price_changes
        for change in changes if changes is not None else _list_old_changes(c):
            token, price, size = change.asset_id, change.price, change.size
            try:
                is_sane = 0.0 <= float(price) <= 1.0 and 0.0 <= float(size) <= 1e18
            except ValueError as error:
                raise DecodeError(f"a level's price or size is no number: {error}") from error
            if not is_sane:
                raise DecodeError(_OUT_OF_RANGE)
            if token not in changed:
                changed[token] = ([], [])
            changed[token][change.side == "SELL"].append((price, size))
            hashes[token] = change.hash
        at, timestamp, market = c.timestamp * 1000, c.timestamp, c.market
        for token, (bids, asks) in changed.items():
            facts = self.facts.find(token, market)
            self._books(
                (
                    self.desk.find("book_change", token), at, received_ns, offset, self.connection,
                    BOOK_DIFF, None, None, None, bids, asks, None,
                    make_seal(hashes[token], token, timestamp, facts),
                )
            )  # fmt: skip

    def _take_trade(self, t: TradeEvent, received_ns: int, offset: int) -> None:
        price, size = read_number(t.price), read_number(t.size)
        if price is None or size is None:
            raise DecodeError(f"trade of {t.size!r} at {t.price!r}: both must be numbers")
        self.facts.find(t.asset_id, t.market)[Facts.LAST_PRICE] = t.price
        what = name_fill(t.transaction_hash or str(t.timestamp), t.side or "", price, size)
        self.scribe.trades.append(
            (
                self.desk.find("trade", t.asset_id), t.timestamp * 1000, received_ns, offset, None,
                self.occurrences.number(t.asset_id, what), SIDES.get(t.side or ""), price, size, None, None,
            )
        )  # fmt: skip

    def _take_tick(self, t: TickEvent, received_ns: int, offset: int) -> None:
        tick = read_number(t.new_tick_size)
        if tick is None:
            raise DecodeError("a tick size is empty", "$.new_tick_size")
        self.facts.find(t.asset_id, t.market)[Facts.TICK] = t.new_tick_size
        note_tick(self.desk, t.asset_id, tick, received_ns, offset)

    def _take_quote(self, q: QuoteEvent, received_ns: int, offset: int) -> None:
        prices = (read_top(q.best_bid), None, read_top(q.best_ask), None)
        index = self.desk.find("quote", q.asset_id)
        self.scribe.quotes.append((index, q.timestamp * 1000, received_ns, offset, *prices, None))

    def _take_new_market(self, m: NewMarketEvent, received_ns: int, offset: int) -> None:
        note_new_market(self.desk, m, (m.timestamp * 1000, received_ns, offset))

    def _take_resolved(self, r: ResolvedEvent, received_ns: int, offset: int) -> None:
        note_resolved(self.desk, r, (r.timestamp * 1000, received_ns, offset))


def _list_old_changes(c: ChangeEvent) -> list[Change]:
    """Return the changes of a frame from before 2025-09-15; the hash, where there is one, is the frame's."""
    if not c.asset_id:
        raise DecodeError("price_change has neither `price_changes` nor `asset_id`")
    if c.changes is not None:
        listed = [(change.price, change.size, change.side) for change in c.changes]
    elif c.side is not None and c.price:
        listed = [(c.price, c.size, c.side)]
    else:
        raise DecodeError("price_change has neither `price_changes`, `changes` nor `price`")
    return [Change(price, size, side, c.asset_id, c.hash) for price, size, side in listed]


def open_clob(scribe: Scribe, desk: Desk, connection: str) -> OnMessage:
    """Return the handler of one connection's messages."""
    return ClobLine(scribe, desk, connection).decode
