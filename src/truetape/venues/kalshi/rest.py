"""Kalshi's REST answers: markets and events, books, trades."""

import re
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Size
from truetape.events.rows import Response, Scribe
from truetape.venues.kalshi.link import Level, Outcome, find_stream, make_integer, make_levels, read_side
from truetape.venues.kalshi.market import OUTCOMES, Register, read_markets
from truetape.venues.kalshi.times import read_time

_PATH = re.compile(r"/trade-api/v2/(?:(markets/trades)|markets/([^/]+)/(orderbook)|(markets|events)(?:/[^/]+)?)")


class _Book(msgspec.Struct, gc=False):
    """An empty side is null or an empty list."""

    yes_dollars: list[tuple[Size, Size]] | None
    no_dollars: list[tuple[Size, Size]] | None


class _BookBody(msgspec.Struct, gc=False):
    orderbook_fp: _Book


class _Trade(msgspec.Struct, gc=False):
    trade_id: str
    ticker: str
    count_fp: Size
    yes_price_dollars: Size
    created_time: str
    taker_outcome_side: Outcome | None = None
    taker_side: Outcome | None = None
    is_block_trade: bool = False


class _TradesBody(msgspec.Struct, gc=False):
    trades: list[_Trade]


_decode_book = Decoder(_BookBody, strict=False).decode
_decode_trades = Decoder(_TradesBody, strict=False).decode


def respond(scribe: Scribe, response: Response) -> bool:
    """Decode an answer; True when it carried data."""
    path = urlsplit(response.url).path
    found = _PATH.fullmatch(path)
    if found is None:
        raise DecodeError(f"endpoint {path!r} has no rule (allowed: markets, orderbook, trades, events)")
    trades, ticker, book, _ = found.groups()
    if trades:
        return _read_trades(scribe, response)
    if book:
        return _read_book(scribe, response, unquote(ticker))
    register, at = Register(scribe, response.feed), (response.received_ns, response.offset)
    markets = read_markets(response.body)
    for market in markets:
        register.add(market, at)
    return True


def _read_book(scribe: Scribe, response: Response, ticker: str) -> bool:
    """A picture without a number: nothing tells which changes it holds, so it joins no stream."""
    book = _decode_book(response.body).orderbook_fp
    sides = [
        {make_integer(price): make_integer(size) for price, size in levels or []}
        for levels in (book.yes_dollars, book.no_dollars)
    ]
    (yes_bids, no_asks), (no_bids, yes_asks) = make_levels(sides[0]), make_levels(sides[1])
    yes, no = (find_stream(scribe, response.feed, "book_snapshot", ticker, outcome) for outcome in OUTCOMES)
    for index, bids, asks in ((yes, yes_bids, yes_asks), (no, no_bids, no_asks)):
        row = (index, None, response.received_ns, response.offset, None, *_split(bids), *_split(asks))
        scribe.plain("book_snapshot").append(row)
    return True


def _split(levels: list[Level]) -> tuple[list[float], list[float]]:
    return [price for price, _ in levels], [size for _, size in levels]


def _read_trades(scribe: Scribe, response: Response) -> bool:
    """Newest first, so read from the end; ids tell what the socket told already."""
    for t in reversed(_decode_trades(response.body).trades):
        scribe.trades.append(
            (
                find_stream(scribe, response.feed, "trade", t.ticker, "Yes"), read_time(t.created_time), response.received_ns,
                response.offset, None, t.trade_id, read_side(t.taker_outcome_side or t.taker_side),
                t.yes_price_dollars, t.count_fp, None, "block" if t.is_block_trade else None,
            )
        )  # fmt: skip
    return True
