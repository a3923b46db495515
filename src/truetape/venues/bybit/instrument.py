"""Bybit instruments: from their names alone, and from REST listings."""

import re
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument, name_future, name_option, name_perpetual, name_spot
from truetape.events.number import Millis

_QUOTES = (
    "USDT", "USDC", "USDE", "USDR", "USD1", "BRL", "DAI", "EUR", "GBP", "PLN", "TRY", "BTC", "ETH", "MNT", "SOL",
    "BIT", "USD",
)  # fmt: skip
"""Quote currencies of spot, longest names first so that USDT is not taken for a base and USD."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_QUARTERS = {"H": 3, "M": 6, "U": 9, "Z": 12}
_PERPETUAL = re.compile(r"(.+?)(USDT|USDC|USDE|USD|PERP)")
_DATED = re.compile(r"(.+?)(USDT|USDC|)-(\d{1,2})([A-Z]{3})(\d\d)")
_OPTION = re.compile(r"(.+?)-(\d{1,2})([A-Z]{3})(\d\d)-([\d.]+)-([CP])(-USDT)?")
_QUARTER = re.compile(r"(.+)(USD)([HMUZ])(\d\d)")


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Return the instrument as its name alone tells it; a name of another make is kept as it is."""
    reader = {"spot": _read_spot, "linear": _read_linear, "inverse": _read_inverse, "option": _read_option}[market]
    return reader(venue_symbol) or Instrument("bybit", market, venue_symbol, venue_symbol, _TYPES[market])


_TYPES = {"spot": "spot", "linear": "perpetual", "inverse": "perpetual", "option": "option"}


def _read_spot(text: str) -> Instrument | None:
    for quote in _QUOTES:
        if text.endswith(quote) and len(text) > len(quote):
            base = text[: -len(quote)]
            return Instrument("bybit", "spot", text, name_spot(base, quote), "spot", base, quote)
    return None


def _read_linear(text: str) -> Instrument | None:
    if dated := _DATED.fullmatch(text):
        base, quote, expiry = dated[1], dated[2] or "USDC", _read_day(dated[3], dated[4], dated[5])
        if expiry:
            symbol = name_future(base, quote, expiry)
            return Instrument(
                "bybit", "linear", text, symbol, "future", base, quote, quote, 1.0, expiry_us=_expire(expiry)
            )
    if perpetual := _PERPETUAL.fullmatch(text):
        base, quote = perpetual[1], "USDC" if perpetual[2] == "PERP" else perpetual[2]
        return Instrument(
            "bybit", "linear", text, name_perpetual(base, quote), "perpetual", base, quote, quote, 1.0
        )  # fmt: skip
    return None


def _read_inverse(text: str) -> Instrument | None:
    if quarter := _QUARTER.fullmatch(text):
        base, quote = quarter[1], quarter[2]
        expiry = _find_last_friday(2000 + int(quarter[4]), _QUARTERS[quarter[3]])
        symbol = name_future(base, quote, expiry)
        return Instrument(
            "bybit", "inverse", text, symbol, "future", base, quote, base, 1.0, True, expiry_us=_expire(expiry)
        )
    if text.endswith("USD") and len(text) > 3:
        base = text[:-3]
        return Instrument(
            "bybit", "inverse", text, name_perpetual(base, "USD"), "perpetual", base, "USD", base, 1.0, True
        )
    return None


def _read_option(text: str) -> Instrument | None:
    """Options are priced in USD; those that settle in USDT say so at the end of the name."""
    option = _OPTION.fullmatch(text)
    expiry = _read_day(option[2], option[3], option[4]) if option else None
    if not option or not expiry:
        return None
    base, quote = option[1], "USDT" if option[7] else "USD"
    symbol = name_option(base, quote, expiry, option[5], option[6])
    return Instrument(
        "bybit", "option", text, symbol, "option", base, quote, "USDT" if option[7] else "USDC", 1.0,
        expiry_us=_expire(expiry), strike=float(option[5]),
    )  # fmt: skip


def _read_day(day: str, month: str, year: str) -> date | None:
    if month not in _MONTHS:
        return None
    try:
        return date(2000 + int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError:
        return None


def _find_last_friday(year: int, month: int) -> date:
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - 4) % 7)


def _expire(day: date) -> int:
    """Contracts are delivered at 08:00 UTC."""
    return int(datetime(day.year, day.month, day.day, 8, tzinfo=UTC).timestamp()) * 1_000_000


class _PriceFilter(msgspec.Struct, gc=False):
    tickSize: float


class _LotFilter(msgspec.Struct, gc=False):
    qtyStep: float | None = None
    basePrecision: float | None = None  # spot


class _Item(msgspec.Struct, gc=False):
    symbol: str
    status: str
    baseCoin: str
    quoteCoin: str
    priceFilter: _PriceFilter
    lotSizeFilter: _LotFilter
    settleCoin: str | None = None
    deliveryTime: Millis = 0


class _Result(msgspec.Struct, gc=False):
    items: list[_Item] = msgspec.field(name="list")
    nextPageCursor: str | None = None


class _Listing(msgspec.Struct, gc=False):
    retCode: int
    retMsg: str
    result: msgspec.Raw = msgspec.Raw(b"null")


class _OldPriceFilter(msgspec.Struct, gc=False):
    tick_size: float


class _OldLotFilter(msgspec.Struct, gc=False):
    qty_step: float


class _OldItem(msgspec.Struct, gc=False):
    name: str
    base_currency: str
    quote_currency: str
    price_filter: _OldPriceFilter
    lot_size_filter: _OldLotFilter
    status: str | None = None  # absent in 2019


class _OldListing(msgspec.Struct, gc=False):
    ret_code: int
    result: list[_OldItem]


_LISTING = msgspec.json.Decoder(_Listing, strict=False)
_RESULT = msgspec.json.Decoder(_Result | None, strict=False)
_OLD_LISTING = msgspec.json.Decoder(_OldListing, strict=False)


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read `/v5/market/instruments-info` or, of the years before, `/v2/public/symbols`."""
    parts = urlsplit(url)
    if parts.path == "/v2/public/symbols":
        return [_read_old_item(item) for item in _OLD_LISTING.decode(body).result]
    category = parse_qs(parts.query).get("category", [""])[0]
    if category not in _TYPES:
        raise DecodeError(f"category {category!r} is not one of {', '.join(_TYPES)}", "url")
    result = _read_result(body)
    if result is None:
        raise DecodeError("no result", "$.result")
    return [_read_item(category, item) for item in result.items]


def _read_result(body: bytes) -> _Result | None:
    """Return what a listing holds; errors come with status 200, and hold nothing."""
    said = _LISTING.decode(body)
    if said.retCode != 0:
        raise DecodeError(f"the listing answered {said.retCode}: {said.retMsg}", "$.retCode")
    found: _Result | None = _RESULT.decode(said.result)
    return found


def find_next_page(url: str, body: bytes) -> str | None:
    """Return the URL of a listing's next page; null on the last one."""
    result = _read_result(body)
    cursor = result.nextPageCursor if result else None
    return f"{url.partition('&cursor=')[0]}&cursor={cursor}" if cursor else None


def _read_item(market: str, item: _Item) -> Instrument:
    named = name_instrument(market, item.symbol)
    return msgspec.structs.replace(
        named,
        symbol=name_spot(item.baseCoin, item.quoteCoin) if market == "spot" else named.symbol,
        base=item.baseCoin,
        quote=item.quoteCoin,
        settle=item.settleCoin,
        price_step=item.priceFilter.tickSize,
        amount_step=item.lotSizeFilter.qtyStep or item.lotSizeFilter.basePrecision,
        expiry_us=item.deliveryTime * 1000 if item.deliveryTime else None,
        status=item.status,
        is_listed=True,
    )


def _read_old_item(item: _OldItem) -> Instrument:
    named = name_instrument("inverse" if item.quote_currency == "USD" else "linear", item.name)
    return msgspec.structs.replace(
        named,
        base=item.base_currency,
        quote=item.quote_currency,
        price_step=item.price_filter.tick_size,
        amount_step=item.lot_size_filter.qty_step,
        status=item.status,
        is_listed=True,
    )
