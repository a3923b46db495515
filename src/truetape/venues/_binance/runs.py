"""Binance's trades, quotes and book changes by the run.

Contracts of COIN-M go through `writers` one by one, but for their books.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from truetape.events.number import Id, Moment, Size
from truetape.events.rows import BOOK_DIFF, Unit
from truetape.events.run import UNKNOWN, BookRun, Floats, Integers, QuoteRun, TradeRun
from truetape.events.scan import Scanner, note_side
from truetape.venues._binance import messages as m
from truetape.venues._contract import Read

MICROSECONDS_FROM = 10**14


class Trade(msgspec.Struct, gc=False):
    """An ordinary `trade`."""

    T: Moment
    t: Id
    p: Size
    q: Size
    m: bool
    X: Literal["MARKET"] = "MARKET"


class Depth(msgspec.Struct, gc=False):
    """`depthUpdate`, its levels still text."""

    E: Moment
    U: Id
    u: Id
    b: Annotated[msgspec.Raw, note_side(0)]
    a: Annotated[msgspec.Raw, note_side(1)]
    T: Moment = 0
    pu: Id = UNKNOWN


_TRADES = Scanner(m.Frame[Trade])
_QUOTES = Scanner(m.Frame[m.Quote])
_DEPTHS = Scanner(m.Frame[Depth])


def read_trades(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> TradeRun:
    """Read `trade`."""
    # hot: bench/decode.py
    trade = _TRADES.scan(payloads).columns
    times, ids = _read_times(trade["data.T"]), trade["data.t"]
    return TradeRun(
        stream, times, received_ns, offset, ids, trade["data.m"], trade["data.p"], trade["data.q"]
    )  # fmt: skip


def read_quotes(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> QuoteRun:
    """Read `bookTicker`: an empty side comes as zeros."""
    # hot: bench/decode.py
    quote = _QUOTES.scan(payloads).columns
    times = _read_times(quote["data.T"])
    times[times == 0] = UNKNOWN
    bid_price, bid_amount, ask_price, ask_amount = (_read_side(quote[f"data.{name}"]) for name in "bBaA")
    return QuoteRun(
        stream, times, received_ns, offset, bid_price, bid_amount, ask_price, ask_amount, quote["data.u"]
    )  # fmt: skip


def make_depth(connection: str, unit: Unit | None) -> Read:
    """Return a reader of `depthUpdate` of streams whose sizes are in one unit."""

    def read_depth(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> BookRun:
        # hot: bench/decode.py
        depth, side_counts, flat, _ = _DEPTHS.scan(payloads)
        matched, sent = depth["data.T"], depth["data.E"]
        return BookRun(
            stream,
            _read_times(np.where(matched, matched, sent)),
            received_ns,
            offset,
            np.full(len(sent), BOOK_DIFF),
            depth["data.U"],
            depth["data.u"],
            depth["data.pu"],
            [unit] * len(sent) if unit else [],
            connection,
            side_counts,
            flat,
        )

    return read_depth


def _read_times(times: Integers) -> Integers:
    """Return microseconds of times in either unit."""
    return np.where(times < MICROSECONDS_FROM, times * 1000, times)


def _read_side(values: Floats) -> Floats:
    return np.where(values == 0, np.nan, values)
