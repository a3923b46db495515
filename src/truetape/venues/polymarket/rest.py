"""Answers over HTTP: the CLOB's books and markets, and who reads the others."""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Moment, Size
from truetape.events.rows import BOOK_FETCHED, Response, Seal
from truetape.venues.polymarket.clob import Facts, Level, check_levels
from truetape.venues.polymarket.data import read_data
from truetape.venues.polymarket.desk import Desk
from truetape.venues.polymarket.gamma import check_version, read_markets
from truetape.venues.polymarket.goldsky import read_goldsky
from truetape.venues.polymarket.market import (
    Market,
    encode_object,
    find_winner,
    note_market,
    note_partly,
    note_resolution,
    pair_outcomes,
)
from truetape.venues.polymarket.naming import CLOB, list_oracles
from truetape.venues.polymarket.proof import Context, hash_book


class Book(msgspec.Struct, gc=False):
    """An answer of /book; the best level is the last. Constants and hash are missing in answers of 2024."""

    market: str
    asset_id: str
    timestamp: Moment
    bids: list[Level]
    asks: list[Level]
    hash: str = ""
    min_order_size: str | None = None
    tick_size: str | None = None
    neg_risk: bool | None = None
    last_trade_price: str | None = None


class _Token(msgspec.Struct, gc=False):
    token_id: str
    outcome: str
    price: Size
    winner: bool = False


class _Market(msgspec.Struct, gc=False):
    condition_id: str
    market_slug: str
    tokens: list[_Token]
    closed: bool | None = None


class _ShortToken(msgspec.Struct, gc=False):
    t: str
    o: str


class _ShortFee(msgspec.Struct, gc=False):
    r: Size
    e: Size
    to: bool


class _ShortMarket(msgspec.Struct, gc=False):
    """An answer of /clob-markets, in the venue's short keys."""

    c: str
    t: list[_ShortToken]
    mos: Size | None = None
    mts: Size | None = None
    ao: bool | None = None
    fd: _ShortFee | None = None
    v: str | None = None


class _Markets(msgspec.Struct, gc=False):
    data: list[_Market]


_decode_book = Decoder(Book, strict=False).decode
_decode_books = Decoder(list[Book], strict=False).decode
_decode_market = Decoder(_Market, strict=False).decode
_decode_short_market = Decoder(_ShortMarket, strict=False).decode
_decode_markets = Decoder(_Markets, strict=False).decode


def read_book(body: bytes) -> Book:
    """Read an answer of /book."""
    return _decode_book(body)


def prove_answer(book: Book) -> bool | None:
    """Tell whether a fetched book's hash comes out; null where the answer does not hold all that is hashed."""
    told = (book.min_order_size, book.tick_size, book.last_trade_price)
    if not book.hash or None in told or book.neg_risk is None:
        return None
    context = Context(
        book.market, book.asset_id, str(book.timestamp), told[0] or "", told[1] or "", book.neg_risk, told[2] or ""
    )
    return hash_book(list_best_first(book.bids), list_best_first(book.asks), context) == book.hash


def list_best_first(levels: list[Level]) -> list[tuple[str, str]]:
    """Return levels as pairs, best first: the venue sends the best last."""
    return [(level.price, level.size) for level in reversed(levels)]


class Rest:
    """Reads the answers of all services."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._facts = Facts(desk)

    def read(self, response: Response) -> bool:
        """Decode an answer; True when it carried data."""
        parts = urlsplit(response.url)
        host, path = parts.hostname or "", parts.path
        if "/subgraphs/" in path:
            return read_goldsky(self.desk, path.split("/subgraphs/")[1].split("/")[0], response)
        if host.startswith("data-api."):
            return read_data(self.desk, path, response)
        if path == "/time":
            return self._read_time(response)
        if path in ("/book", "/books"):
            return self._read_books(response)
        if host.startswith("clob.") and path.startswith("/markets"):
            return self._read_markets(response)
        if path.startswith("/clob-markets/"):
            return self._read_short_market(response)
        if host.startswith("gamma-api.") and path.split("/")[1] in ("events", "markets", "public-search"):
            return self._read_gamma(response)
        raise DecodeError(f"endpoint {host}{path} has no rule")

    def _read_time(self, response: Response) -> bool:
        """The CLOB's clock, in seconds: asked for as the listing of what nothing lists."""
        msgspec.json.decode(response.body, type=int)
        for oracle in list_oracles():
            self.desk.scribe.learn(oracle, response.received_ns, response.offset)
        return True

    def _read_gamma(self, response: Response) -> bool:
        markets, refused = read_markets(response.body)
        for market in markets:
            note_market(self.desk, market, response.received_ns, response.offset)
        for reason in refused:
            self.desk.scribe.complain(
                CLOB, response.connection, response.received_ns, response.offset, None, f"refused: {reason}"
            )
        return bool(markets)

    def _read_books(self, response: Response) -> bool:
        is_list = response.body.lstrip()[:1] == b"["
        books = _decode_books(response.body) if is_list else [read_book(response.body)]
        checked = [(book, check_book(book)) for book in books]
        for book, sides in checked:
            self._note_book(book, sides, response)
        return bool(books)

    def _note_book(self, book: Book, sides: list[list[float]], response: Response) -> None:
        """A picture beside the stream: its `sequence` is its time in ms, for there is no number."""
        facts = self._facts.find(book.asset_id, book.market)
        if book.min_order_size is not None and book.neg_risk is not None:
            facts[2:5] = book.min_order_size, book.neg_risk, True
        index = self.desk.find("book_snapshot", book.asset_id)
        row = (index, book.timestamp * 1000, response.received_ns, response.offset, book.timestamp, *sides)
        self.desk.scribe.plain("book_snapshot").append(row)
        proof = prove_answer(book)
        if proof:
            self._offer_book(book, response)
        elif proof is False:
            text = f"book of {book.asset_id}: its hash does not come out"
            self.desk.scribe.complain(CLOB, response.connection, response.received_ns, response.offset, None, text)

    def _offer_book(self, book: Book, response: Response) -> None:
        """Let a proven answer be compared with the stream's book, or be begun with anew."""
        context = (
            book.market, book.asset_id, str(book.timestamp), book.min_order_size, book.tick_size, book.neg_risk,
            book.last_trade_price,
        )  # fmt: skip
        self.desk.scribe.books.append(
            (
                self.desk.find("book_change", book.asset_id), book.timestamp * 1000, response.received_ns,
                response.offset, response.connection, BOOK_FETCHED, None, None, None,
                list_best_first(book.bids), list_best_first(book.asks), None,
                Seal(book.hash, str(book.timestamp), context, is_certain=True),
            )
        )  # fmt: skip

    def _read_markets(self, response: Response) -> bool:
        is_page = urlsplit(response.url).path == "/markets"
        markets = _decode_markets(response.body).data if is_page else [_decode_market(response.body)]
        for market in markets:
            self._note_market(market, (None, response.received_ns, response.offset))
        return bool(markets)

    def _read_short_market(self, response: Response) -> bool:
        """A market without its slug: named by its condition, unless a listing told it."""
        m = _decode_short_market(response.body)
        check_version(m.v)
        outcomes = pair_outcomes([token.o for token in m.t], [token.t for token in m.t])
        fee = m.fd
        market = Market(
            m.c,
            m.c,
            outcomes,
            {},
            version=m.v,
            tick=m.mts,
            order_min=m.mos,
            fee_rate=fee.r if fee else None,
            fee_exponent=fee.e if fee else None,
            is_taker_fee_only=fee.to if fee else None,
            is_accepting_orders=m.ao,
        )
        note_partly(self.desk, market, (None, response.received_ns, response.offset))
        return True

    def _note_market(self, market: _Market, at: tuple[None, int, int]) -> None:
        """Prices, and the winner: later than Gamma's word, and without all that makes a label."""
        condition = market.condition_id
        for token in market.tokens:
            if token.token_id:
                row = (
                    self.desk.find("outcome_price", token.token_id),
                    *at,
                    condition,
                    token.outcome,
                    token.price,
                    "clob",
                )
                self.desk.scribe.plain("outcome_price").append(row)
        payouts = {token.outcome: float(token.winner) for token in market.tokens}
        winner = find_winner(payouts)
        if market.closed or winner:
            status = "closed" if market.closed else None
            told: Any = encode_object(payouts) if winner else None
            said = [market.market_slug, "clob", status, False, winner, told, None, None, None, None]
            note_resolution(self.desk, condition, at, said)


def check_book(book: Book) -> list[list[float]]:
    """Return bid prices, bid sizes, ask prices, ask sizes, best first; whatever order the answer has."""
    columns: list[list[float]] = []
    for levels, is_bid in ((book.bids, True), (book.asks, False)):
        pairs = check_levels([(level.price, level.size) for level in levels])
        numbers = sorted(((float(price), float(size)) for price, size in pairs), reverse=is_bid)
        columns += [[price for price, _ in numbers], [size for _, size in numbers]]
    return columns
