"""Binance's instruments: names, listings, topics and addresses."""

import re
from datetime import UTC, date, datetime
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument, name_future, name_perpetual, name_spot
from truetape.events.number import Moment, Size

QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDS", "USDP", "BIDR", "BVND", "IDRT", "USD1", "BKRW", "DOGE", "RLUSD",
    "XUSD", "BFUSD", "USDE", "EURI", "BTC", "ETH", "BNB", "XRP", "TRX", "DOT", "PAX", "DAI", "VAI", "UST", "SOL",
    "EUR", "TRY", "GBP", "AUD", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "JPY", "MXN", "CZK", "COP", "IDR",
    "KZT", "GYEN",
)  # fmt: skip
"""Quote assets of binance.com, seen in its listings or documented."""

QUOTES_US = ("USDT", "USDC", "BUSD", "USD", "BTC", "ETH", "BNB", "DAI", "UST", "USD4")
"""Quote assets of Binance US; no TUSD there, so HNTUSD is HNT-USD."""

CONTRACT_SIZES = {"BTC": 100.0}
"""USD of one COIN-M contract where it is not 10, as the venue states it."""

_NAME = re.compile(r"([A-Z0-9]+?)_(PERP|\d{6})")


def name_instrument(venue: str, market: str, symbol: str, quotes: tuple[str, ...]) -> Instrument:
    """Name an instrument by its symbol alone; a symbol of unknown form keeps the venue's name."""
    match = _NAME.fullmatch(symbol)
    pair, suffix = match.groups() if match else (symbol, "")
    base, quote = _split_pair(pair, ("USD",) if market == "coinm" else quotes)
    if not base:
        kind = "spot" if market == "spot" else "future" if suffix.isdigit() else "perpetual"
        return Instrument(venue, market, symbol, symbol, kind)
    return _make_instrument(venue, market, symbol, (base, quote), _read_expiry(suffix))


def _split_pair(pair: str, quotes: tuple[str, ...]) -> tuple[str, str]:
    """Split BTCUSDT at the longest quote asset that fits; BNBUSD is BNB-USD, not BN-BUSD, for BNB is one itself."""
    fits = [quote for quote in quotes if pair.endswith(quote) and len(pair) > len(quote)]
    sure = [quote for quote in fits if pair.removesuffix(quote) in quotes]
    quote = max(sure or fits, key=len, default="")
    return (pair.removesuffix(quote), quote) if quote else ("", "")


def _read_expiry(suffix: str) -> date | None:
    if not suffix.isdigit():
        return None
    try:
        return date(2000 + int(suffix[:2]), int(suffix[2:4]), int(suffix[4:]))
    except ValueError:
        return None  # not a date after all: kept as a perpetual of that name


def _make_instrument(venue: str, market: str, symbol: str, pair: tuple[str, str], expiry: date | None) -> Instrument:
    base, quote = pair
    is_inverse = market == "coinm"
    if market == "spot":
        name, kind = name_spot(base, quote), "spot"
    elif expiry is None:
        name, kind = name_perpetual(base, quote), "perpetual"
    else:
        name, kind = name_future(base, quote, expiry), "future"
    at_eight = datetime(expiry.year, expiry.month, expiry.day, 8, tzinfo=UTC) if expiry else None
    return Instrument(
        venue,
        market,
        symbol,
        name,
        kind,
        base=base,
        quote=quote,
        settle=None if market == "spot" else base if is_inverse else quote,
        contract_size=CONTRACT_SIZES.get(base, 10.0) if is_inverse else None,
        is_inverse=is_inverse,
        expiry_us=int(at_eight.timestamp()) * 1_000_000 if at_eight else None,
    )


class _Filter(msgspec.Struct, gc=False):
    filterType: str
    tickSize: Size | None = None
    stepSize: Size | None = None


class _Symbol(msgspec.Struct, gc=False):
    """One entry of exchangeInfo: futures add margin asset, delivery date and, on COIN-M, contract size."""

    symbol: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter] = []
    status: str | None = None
    contractStatus: str | None = None
    marginAsset: str | None = None
    contractSize: Size | None = None
    deliveryDate: Moment | None = None


class _Listing(msgspec.Struct, gc=False):
    symbols: list[_Symbol]


_decode_listing = msgspec.json.Decoder(_Listing, strict=False).decode


def find_market(url: str) -> str:
    """Tell the market of a REST address by its path: hosts differ, and tests and proxies have their own."""
    path = urlsplit(url).path
    for part, market in (("/fapi/", "usdm"), ("/dapi/", "coinm"), ("/api/", "spot"), ("/futures/data/", "usdm")):
        if part in path:
            return market
    raise DecodeError(f"address of no known market: {url[:200]}")


def read_listing(venue: str, url: str, body: bytes) -> list[Instrument]:
    """Read exchangeInfo of any market."""
    market = find_market(url)
    return [_read_symbol(venue, market, row) for row in _decode_listing(body).symbols]


def _read_symbol(venue: str, market: str, row: _Symbol) -> Instrument:
    match = _NAME.fullmatch(row.symbol)
    expiry = _read_expiry(match.group(2)) if match and market != "spot" else None
    named = _make_instrument(venue, market, row.symbol, (row.baseAsset, row.quoteAsset), expiry)
    price_filter = next((f for f in row.filters if f.filterType == "PRICE_FILTER"), None)
    size_filter = next((f for f in row.filters if f.filterType == "LOT_SIZE"), None)
    return msgspec.structs.replace(
        named,
        settle=row.marginAsset or named.settle,
        contract_size=row.contractSize or named.contract_size,
        price_step=price_filter.tickSize if price_filter else None,
        amount_step=size_filter.stepSize if size_filter else None,
        expiry_us=row.deliveryDate * 1000 if expiry and row.deliveryDate else named.expiry_us,
        status=row.status or row.contractStatus,
        is_listed=True,
    )
