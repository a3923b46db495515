"""Binance's messages as typed structs: only the fields we use, numbers coerced from text in C.

Field names are the venue's own one-letter names. Times are milliseconds, or microseconds when the
connection asked for `timeUnit=MICROSECOND` (spot).
"""

from typing import Any, Generic, TypeVar

import msgspec

from truetape.events.number import Id, Moment, Real, Size

Body = TypeVar("Body")


class Frame(msgspec.Struct, Generic[Body], gc=False):
    """The combined form `{"stream":…,"data":…}`: decoding it whole is faster than cutting the body out first."""

    data: Body


Side = list[tuple[Size, Size]]
"""Levels of one side: (price, absolute size)."""


class Trade(msgspec.Struct, gc=False):
    """`trade`, and `blockTrade` of spot."""

    t: Id
    p: Size
    q: Size
    T: Moment
    m: bool
    X: str = "MARKET"


class Aggregate(msgspec.Struct, gc=False):
    """`aggTrade`; a recording of 2019 lacks `a`."""

    p: Size
    q: Size
    T: Moment
    m: bool
    a: Id | None = None


class Depth(msgspec.Struct, gc=False):
    """`depthUpdate`; `T` and `pu` on futures only."""

    E: Moment
    U: Id
    u: Id
    b: Side
    a: Side
    T: Moment = 0
    pu: Id | None = None


class Picture(msgspec.Struct, gc=False, rename={"u": "lastUpdateId", "b": "bids", "a": "asks"}):
    """A REST book, and spot's partial depth: no time on spot."""

    u: Id
    b: Side
    a: Side
    E: Moment = 0
    T: Moment = 0


class Quote(msgspec.Struct, gc=False):
    """`bookTicker`; no time on spot."""

    u: Id
    b: Size
    B: Size
    a: Size
    A: Size
    T: Moment = 0


class Bar(msgspec.Struct, gc=False):
    """The `k` of `kline`: on COIN-M `v` counts contracts and `q` the base coin."""

    t: Moment
    i: str
    o: Size
    h: Size
    l: Size  # noqa: E741  the venue's name
    c: Size
    v: Size
    n: Id
    x: bool
    q: Size
    V: Size
    Q: Size


class Kline(msgspec.Struct, gc=False):
    """`kline`."""

    E: Moment
    k: Bar


class Ticker(msgspec.Struct, gc=False):
    """`24hrTicker`; bid and ask on spot only."""

    E: Moment
    c: Size
    Q: Size
    o: Size
    h: Size
    l: Size  # noqa: E741  the venue's name
    v: Size
    q: Size
    b: Size | None = None
    a: Size | None = None


class Mark(msgspec.Struct, gc=False):
    """`markPriceUpdate`; delivery contracts have no rate: `r` empty or absent, `T` 0."""

    E: Moment
    p: Size
    i: Size | None = None
    r: str = ""
    T: Moment = 0


class Order(msgspec.Struct, gc=False):
    """The `o` of `forceOrder`."""

    S: str
    p: Size
    ap: Size
    X: str
    z: Size
    T: Moment


class Force(msgspec.Struct, gc=False):
    """`forceOrder`."""

    o: Order


class Print(msgspec.Struct, gc=False):
    """REST trade."""

    id: Id
    price: Size
    qty: Size
    time: Moment
    isBuyerMaker: bool


class Interest(msgspec.Struct, gc=False):
    """REST open interest; the oldest recordings have no time."""

    symbol: str
    openInterest: Size
    time: Moment = 0


class Total(msgspec.Struct, gc=False):
    """REST openInterestHist: open interest at a time of the past."""

    sumOpenInterest: Size
    timestamp: Moment


class Premium(msgspec.Struct, gc=False):
    """REST premium index: the polled form of `markPriceUpdate`."""

    symbol: str
    markPrice: Size
    time: Moment
    indexPrice: Size | None = None
    lastFundingRate: str = ""
    nextFundingTime: Moment = 0


class Funding(msgspec.Struct, gc=False):
    """REST funding history: one settlement."""

    symbol: str
    fundingRate: Real
    fundingTime: Moment


class FundingInfo(msgspec.Struct, gc=False):
    """REST list of symbols with their own funding interval or caps."""

    symbol: str
    fundingIntervalHours: Size


class DayTicker(msgspec.Struct, gc=False):
    """REST 24-hour statistics; `baseVolume` on COIN-M, where `volume` counts contracts."""

    symbol: str
    closeTime: Moment
    lastPrice: Size
    lastQty: Size
    openPrice: Size
    highPrice: Size
    lowPrice: Size
    volume: Size
    quoteVolume: Size | None = None
    baseVolume: Real | None = None
    """Below zero in a recording of June 2020."""
    bidPrice: Size | None = None
    askPrice: Size | None = None


BarRow = tuple[Moment, Size, Size, Size, Size, Size, Moment, Size, Id, Size, Size, Any]
"""REST kline: open time, o, h, l, c, v, close time, q, n, V, Q, ignore."""


NOTHING = msgspec.Raw()
"""A field that is not there."""


class Envelope(msgspec.Struct, gc=False):
    """Whatever tells messages apart, for frames that the fast path does not know."""

    stream: str | None = None
    data: msgspec.Raw = NOTHING
    e: str | None = None
    s: str | None = None
    u: msgspec.Raw = NOTHING
    B: msgspec.Raw = NOTHING
    o: msgspec.Raw = NOTHING
    id: msgspec.Raw = NOTHING
    result: msgspec.Raw = NOTHING
    code: Id | None = None
    msg: str | None = None
    error: msgspec.Raw = NOTHING


class Subject(msgspec.Struct, gc=False):
    """Whom a forced order is about."""

    s: str


class Error(msgspec.Struct, gc=False):
    """The venue's refusal, alone or under `error`."""

    code: Id
    msg: str
