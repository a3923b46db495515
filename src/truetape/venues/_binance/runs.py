"""Binance's trades, quotes and book changes by the run: one call of the JSON decoder for many frames.

Contracts of COIN-M go through `writers` one by one, but for their books.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.levels import read_levels
from truetape.events.number import Id, Moment, Size
from truetape.events.rows import BOOK_DIFF, Unit
from truetape.events.run import UNKNOWN, BookRun, Floats, Integers, QuoteRun, TradeRun
from truetape.venues._binance import messages as m
from truetape.venues._contract import Read

MICROSECONDS_FROM = 10**14


class Trade(msgspec.Struct, gc=False):
    """An ordinary `trade`."""

    t: Id
    p: Size
    q: Size
    T: Moment
    m: bool
    X: Literal["MARKET"] = "MARKET"


class Depth(msgspec.Struct, gc=False):
    """`depthUpdate`, its levels still text."""

    E: Moment
    U: Id
    u: Id
    b: msgspec.Raw
    a: msgspec.Raw
    T: Moment = 0
    pu: Id = UNKNOWN


_decode_trades = Decoder(list[m.Frame[Trade]], strict=False).decode
_decode_quotes = Decoder(list[m.Frame[m.Quote]], strict=False).decode
_decode_depths = Decoder(list[m.Frame[Depth]], strict=False).decode


def read_trades(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> TradeRun:
    """Read `trade`."""
    # hot: bench/decode.py
    trades = [frame.data for frame in _decode_trades(b"[%b]" % b",".join(payloads))]
    _check_count(trades, payloads)
    return TradeRun(
        stream,
        _read_times([trade.T for trade in trades]),
        received_ns,
        offset,
        _pack_integers([trade.t for trade in trades]),
        np.frombuffer(bytearray([trade.m for trade in trades]), bool),
        _pack_floats([trade.p for trade in trades]),
        _pack_floats([trade.q for trade in trades]),
    )


def read_quotes(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> QuoteRun:
    """Read `bookTicker`: an empty side comes as zeros."""
    # hot: bench/decode.py
    quotes = [frame.data for frame in _decode_quotes(b"[%b]" % b",".join(payloads))]
    _check_count(quotes, payloads)
    times = _read_times([quote.T for quote in quotes])
    times[times == 0] = UNKNOWN
    return QuoteRun(
        stream,
        times,
        received_ns,
        offset,
        _read_side([quote.b for quote in quotes]),
        _read_side([quote.B for quote in quotes]),
        _read_side([quote.a for quote in quotes]),
        _read_side([quote.A for quote in quotes]),
        _pack_integers([quote.u for quote in quotes]),
    )


def make_depth(connection: str, unit: Unit | None) -> Read:
    """Return a reader of `depthUpdate` of streams whose sizes are in one unit."""

    def read_depth(payloads: Sequence[bytes], stream: Integers, received_ns: Integers, offset: Integers) -> BookRun:
        # hot: bench/decode.py
        depths = [frame.data for frame in _decode_depths(b"[%b]" % b",".join(payloads))]
        _check_count(depths, payloads)
        sides: list[msgspec.Raw] = []
        for depth in depths:
            sides += (depth.b, depth.a)
        return BookRun(
            stream,
            _read_times([depth.T or depth.E for depth in depths]),
            received_ns,
            offset,
            np.full(len(depths), BOOK_DIFF),
            _pack_integers([depth.U for depth in depths]),
            _pack_integers([depth.u for depth in depths]),
            _pack_integers([depth.pu for depth in depths]),
            [unit] * len(depths) if unit else [],
            connection,
            *read_levels(sides),
        )

    return read_depth


def _check_count(messages: Sequence[object], payloads: Sequence[bytes]) -> None:
    """Refuse frames that are one message only together."""
    if len(messages) != len(payloads):
        raise DecodeError("frames are not one message each")


def _read_times(times: list[int]) -> Integers:
    """Return microseconds of times in either unit."""
    array = _pack_integers(times)
    return np.where(array < MICROSECONDS_FROM, array * 1000, array)


def _read_side(values: list[float]) -> Floats:
    array = _pack_floats(values)
    array[array == 0] = np.nan
    return array


def _pack_integers(values: list[int]) -> Integers:
    return np.fromiter(values, np.int64, len(values))


def _pack_floats(values: list[float]) -> Floats:
    return np.fromiter(values, np.float64, len(values))
