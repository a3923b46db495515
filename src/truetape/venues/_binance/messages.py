"""Binance's messages as typed structs: only the fields we use, numbers coerced from text in C.

Field names are the venue's own one-letter names. Times are milliseconds, or microseconds when the
connection asked for `timeUnit=MICROSECOND` (spot).
"""

from typing import Any, Generic, TypeVar

import msgspec

Body = TypeVar("Body")


class Frame(msgspec.Struct, Generic[Body], gc=False):
    """The combined form `{"stream":…,"data":…}`: decoding it whole is faster than cutting the body out first."""

    data: Body


Side = list[tuple[float, float]]
"""Levels of one side: (price, absolute size)."""


class Trade(msgspec.Struct, gc=False):
    """`trade`, and `blockTrade` of spot."""

    t: int
    p: float
    q: float
    T: int
    m: bool
    X: str = "MARKET"


class Aggregate(msgspec.Struct, gc=False):
    """`aggTrade`; a recording of 2019 lacks `a`."""

    p: float
    q: float
    T: int
    m: bool
    a: int | None = None


class Depth(msgspec.Struct, gc=False):
    """`depthUpdate`; `T` and `pu` on futures only."""

    E: int
    U: int
    u: int
    b: Side
    a: Side
    T: int = 0
    pu: int | None = None


class Picture(msgspec.Struct, gc=False, rename={"u": "lastUpdateId", "b": "bids", "a": "asks"}):
    """A REST book, and spot's partial depth: no time on spot."""

    u: int
    b: Side
    a: Side
    E: int = 0
    T: int = 0


class Quote(msgspec.Struct, gc=False):
    """`bookTicker`; no time on spot."""

    u: int
    b: float
    B: float
    a: float
    A: float
    T: int = 0


class Bar(msgspec.Struct, gc=False):
    """The `k` of `kline`: on COIN-M `v` counts contracts and `q` the base coin."""

    t: int
    i: str
    o: float
    h: float
    l: float  # noqa: E741  the venue's name
    c: float
    v: float
    n: int
    x: bool
    q: float
    V: float
    Q: float


class Kline(msgspec.Struct, gc=False):
    """`kline`."""

    E: int
    k: Bar


class Ticker(msgspec.Struct, gc=False):
    """`24hrTicker`; bid and ask on spot only."""

    E: int
    c: float
    Q: float
    o: float
    h: float
    l: float  # noqa: E741  the venue's name
    v: float
    q: float
    b: float | None = None
    a: float | None = None


class Mark(msgspec.Struct, gc=False):
    """`markPriceUpdate`; delivery contracts have no rate: `r` empty or absent, `T` 0."""

    E: int
    p: float
    i: float | None = None
    r: str = ""
    T: int = 0


class Order(msgspec.Struct, gc=False):
    """The `o` of `forceOrder`."""

    S: str
    p: float
    ap: float
    X: str
    z: float
    T: int


class Force(msgspec.Struct, gc=False):
    """`forceOrder`."""

    o: Order


class Print(msgspec.Struct, gc=False):
    """REST trade."""

    id: int
    price: float
    qty: float
    time: int
    isBuyerMaker: bool


class Interest(msgspec.Struct, gc=False):
    """REST open interest; the oldest recordings have no time."""

    symbol: str
    openInterest: float
    time: int = 0


class Premium(msgspec.Struct, gc=False):
    """REST premium index: the polled form of `markPriceUpdate`."""

    symbol: str
    markPrice: float
    time: int
    indexPrice: float | None = None
    lastFundingRate: str = ""
    nextFundingTime: int = 0


class Funding(msgspec.Struct, gc=False):
    """REST funding history: one settlement."""

    symbol: str
    fundingRate: float
    fundingTime: int


class FundingInfo(msgspec.Struct, gc=False):
    """REST list of symbols with their own funding interval or caps."""

    symbol: str
    fundingIntervalHours: float


class DayTicker(msgspec.Struct, gc=False):
    """REST 24-hour statistics; `baseVolume` on COIN-M, where `volume` counts contracts."""

    symbol: str
    closeTime: int
    lastPrice: float
    lastQty: float
    openPrice: float
    highPrice: float
    lowPrice: float
    volume: float
    quoteVolume: float | None = None
    baseVolume: float | None = None
    bidPrice: float | None = None
    askPrice: float | None = None


BarRow = tuple[int, float, float, float, float, float, int, float, int, float, float, Any]
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
    code: int | None = None
    msg: str | None = None
    error: msgspec.Raw = NOTHING


class Subject(msgspec.Struct, gc=False):
    """Whom a forced order is about."""

    s: str


class Error(msgspec.Struct, gc=False):
    """The venue's refusal, alone or under `error`."""

    code: int
    msg: str
