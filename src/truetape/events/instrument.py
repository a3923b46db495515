"""Instruments and streams: what is traded, and one channel of it."""

from datetime import date

import msgspec


class Instrument(msgspec.Struct, frozen=True):
    """One thing that trades on a venue, as known from a listing or from its name alone."""

    venue: str
    market: str
    """The venue's own product line: `spot`, `usdm`, `linear`, `swap`; the same venue_symbol may exist in two."""
    venue_symbol: str
    symbol: str
    market_type: str
    """spot, perpetual, future, option; outcome (of a prediction market), oracle, coin."""
    base: str | None = None
    quote: str | None = None
    settle: str | None = None
    contract_size: float | None = None
    """Amount of one contract: base asset when linear, quote currency when inverse; null when not known."""
    is_inverse: bool = False
    price_step: float | None = None
    amount_step: float | None = None
    expiry_us: int | None = None
    strike: float | None = None
    status: str | None = None
    is_listed: bool = False
    """True when it came from the venue's listing, false when derived from the name."""
    price_decimals: int | None = None
    """Decimals of prices as text, where a checksum needs it (Kraken)."""
    amount_decimals: int | None = None


class Stream(msgspec.Struct, frozen=True):
    """One channel of one instrument: the unit of sequence, gaps and coverage."""

    index: int
    """Dense number within one decoder."""
    venue: str
    channel: str
    symbol: str
    venue_symbol: str
    market: str
    feed: str
    """The feed that it was first seen on."""


def name_spot(base: str, quote: str) -> str:
    """Name a spot pair: BTC-USDT."""
    return f"{base}-{quote}"


def name_perpetual(base: str, quote: str) -> str:
    """Name a perpetual: BTC-USDT-PERP; inverse ones are quoted in USD: BTC-USD-PERP."""
    return f"{base}-{quote}-PERP"


def name_future(base: str, quote: str, expiry: date) -> str:
    """Name a dated future: BTC-USDT-260327."""
    return f"{base}-{quote}-{expiry:%y%m%d}"


def name_option(base: str, quote: str, expiry: date, strike: str, right: str) -> str:
    """Name an option: BTC-USD-260327-80000-C; `right` is C or P."""
    return f"{base}-{quote}-{expiry:%y%m%d}-{strike}-{right}"
