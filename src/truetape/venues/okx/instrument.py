"""OKX instruments: from their names alone, and from listings; how many base coins a contract is."""

import re
from datetime import UTC, date, datetime
from math import nan
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument, name_future, name_option, name_perpetual, name_spot
from truetape.events.number import read_millis, read_real
from truetape.events.rows import Unit

MARKET = "all"
"""One name is one instrument whatever its type, so that all product lines are one market."""

_NAME = re.compile(r"([A-Z0-9]+)-([A-Z0-9]+)(?:-(?:(SWAP)|(\d{6})(?:-([\d.]+)-([CP]))?))?")
_OPTION_RULE_END = date(2022, 10, 1)
_OPTION_SIZES = {"BTC": 0.1, "ETH": 1.0, "EOS": 100.0}
"""Coins of one option, in every listing recorded until 2022-05-13, for expiries before the day above."""

_LINEAR_SIZES = {"BTC": 0.01, "ETH": 0.1}
"""Coins of one USDT contract, in every listing recorded since 2021-04; others have been changed."""


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Return the instrument as its name alone tells it; a name of another make is kept as it is."""
    name = _NAME.fullmatch(venue_symbol)
    expiry = _read_day(name[4]) if name and name[4] else None
    if not name or (name[4] and not expiry):
        return Instrument("okx", market, venue_symbol, venue_symbol, _guess_type(venue_symbol))
    base, quote = "BTC" if name[1] == "XBT" else name[1], name[2]
    if name[3] is None and expiry is None:
        return Instrument("okx", market, venue_symbol, name_spot(base, quote), "spot", base, quote)
    if expiry and name[5]:
        symbol = name_option(base, quote, expiry, name[5], name[6])
        size = _OPTION_SIZES.get(base) if expiry < _OPTION_RULE_END else None
        return Instrument(
            "okx", market, venue_symbol, symbol, "option", base, quote, base, size, expiry_us=_expire(expiry),
            strike=float(name[5]),
        )  # fmt: skip
    is_inverse = quote == "USD"
    symbol = name_future(base, quote, expiry) if expiry else name_perpetual(base, quote)
    # Inverse contracts are 100 USD for BTC and 10 USD for every other coin, in all listings recorded.
    size = (100.0 if base == "BTC" else 10.0) if is_inverse else _LINEAR_SIZES.get(base) if quote == "USDT" else None
    return Instrument(
        "okx", market, venue_symbol, symbol, "future" if expiry else "perpetual", base, quote,
        base if is_inverse else quote, size, is_inverse, expiry_us=_expire(expiry) if expiry else None,
    )  # fmt: skip


def find_unit(instrument: Instrument) -> Unit | None:
    """Return what one reported unit is; null on spot, of size nan when the contract's size is not known."""
    if instrument.market_type == "spot":
        return None
    size = instrument.contract_size
    return Unit(nan if size is None else size, instrument.is_inverse)


def convert_size(unit: Unit | None, price: float | None, size: float | None) -> tuple[float | None, float | None]:
    """Return (base amount, contracts) of a reported size."""
    if unit is None:
        return size, None
    if size is None or unit.size != unit.size:
        return None, size
    if unit.is_inverse:
        return (size * unit.size / price if price else None), size
    return size * unit.size, size


def _guess_type(venue_symbol: str) -> str:
    if venue_symbol.endswith("-SWAP"):
        return "perpetual"
    return "option" if venue_symbol.endswith(("-C", "-P")) else "future"


def _read_day(text: str) -> date | None:
    try:
        return date(2000 + int(text[:2]), int(text[2:4]), int(text[4:]))
    except ValueError:
        return None


def _expire(day: date) -> int:
    """Contracts are delivered at 08:00 UTC."""
    return int(datetime(day.year, day.month, day.day, 8, tzinfo=UTC).timestamp()) * 1_000_000


class Item(msgspec.Struct, gc=False):
    """One instrument as the v5 listing and the `instruments` channel give it; "" is null."""

    instId: str
    instType: str
    state: str
    tickSz: str
    lotSz: str
    baseCcy: str = ""
    quoteCcy: str = ""
    settleCcy: str = ""
    uly: str = ""
    ctVal: str = ""
    ctMult: str = ""
    ctType: str = ""
    expTime: str = ""
    stk: str = ""


class _Listing(msgspec.Struct, gc=False):
    code: str
    msg: str
    data: list[Item]


class _OldItem(msgspec.Struct, gc=False):
    """One instrument as the v3 listings give it."""

    instrument_id: str
    tick_size: float
    base_currency: str = ""
    quote_currency: str = ""
    settlement_currency: str = ""
    underlying: str = ""
    contract_val: float | None = None
    size_increment: float | None = None
    trade_increment: float | None = None
    lot_size: float | None = None
    is_inverse: str | None = None
    state: str | None = None


_LISTING = msgspec.json.Decoder(_Listing, strict=False)
_OLD_LISTING = msgspec.json.Decoder(list[_OldItem], strict=False)
_TYPES = {"SPOT": "spot", "MARGIN": "spot", "SWAP": "perpetual", "FUTURES": "future", "OPTION": "option"}


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read `/api/v5/public/instruments` or, of the years before, `/api/<product>/v3/instruments`."""
    if "/v3/" in urlsplit(url).path:
        return [_read_old_item(item) for item in _OLD_LISTING.decode(body)]
    listing = _LISTING.decode(body)
    if listing.code != "0":
        raise DecodeError(f"code {listing.code}: {listing.msg}", "$.code")
    return [read_item(item) for item in listing.data]


def _read_number(text: str, path: str) -> float | None:
    return read_real(text, path) if text else None


def read_item(item: Item) -> Instrument:
    """Return the instrument of one listed item; a contract is ctVal * ctMult."""
    named = name_instrument(MARKET, item.instId)
    base, _, quote = item.uly.partition("-")
    value, factor = _read_number(item.ctVal, "$.data[...].ctVal"), _read_number(item.ctMult, "$.data[...].ctMult")
    size = None if value is None else value * (1.0 if factor is None else factor)
    is_inverse = item.ctType == "inverse"
    lot = _read_number(item.lotSz, "$.data[...].lotSz")
    return msgspec.structs.replace(
        named,
        market_type=_TYPES.get(item.instType, named.market_type),
        base=named.base or item.baseCcy or base or None,
        quote=named.quote or item.quoteCcy or quote or None,
        settle=item.settleCcy or None,
        contract_size=size,
        is_inverse=is_inverse,
        price_step=_read_number(item.tickSz, "$.data[...].tickSz"),
        amount_step=_count_step(lot, size, is_inverse),
        expiry_us=read_millis(item.expTime, "$.data[...].expTime") * 1000 if item.expTime else None,
        strike=_read_number(item.stk, "$.data[...].stk"),
        status=item.state,
        is_listed=True,
    )


def _count_step(lot: float | None, size: float | None, is_inverse: bool) -> float | None:
    """Return the smallest step of base amounts; inverse contracts have none, it moves with the price."""
    if lot is None or size is None:
        return lot
    return None if is_inverse else lot * size


def _read_old_item(item: _OldItem) -> Instrument:
    named = name_instrument(MARKET, item.instrument_id)
    is_inverse = item.is_inverse == "true" if item.is_inverse else named.is_inverse
    lot = item.size_increment or item.trade_increment or item.lot_size
    return msgspec.structs.replace(
        named,
        settle=item.settlement_currency or named.settle,
        contract_size=item.contract_val,
        is_inverse=is_inverse,
        price_step=item.tick_size,
        amount_step=_count_step(lot, item.contract_val, is_inverse),
        status=item.state,
        is_listed=True,
    )
