"""Coinbase's products: names and listings."""

from urllib.parse import urlsplit

import msgspec
from msgspec.json import Decoder

from truetape.events.instrument import Instrument, name_spot
from truetape.events.number import Size
from truetape.venues.coinbase.times import read_time

NAME = "coinbase"
MARKETS = {"advanced": "spot", "exchange": "exchange"}
"""Feed → market: the same products twice, so that a configuration names one of them."""


class _ExchangeProduct(msgspec.Struct, gc=False):
    id: str
    base_currency: str
    quote_currency: str
    quote_increment: Size
    base_increment: Size | None = None
    status: str | None = None


class _FutureDetails(msgspec.Struct, gc=False):
    contract_size: Size
    contract_root_unit: str
    contract_expiry: str


class _Product(msgspec.Struct, gc=False):
    product_id: str
    product_type: str
    base_currency_id: str
    quote_currency_id: str
    base_increment: Size
    price_increment: Size
    status: str
    future_product_details: _FutureDetails | None = None


class _Products(msgspec.Struct, gc=False):
    products: list[_Product]


_decode_exchange_products = Decoder(list[_ExchangeProduct], strict=False).decode
_decode_products = Decoder(_Products, strict=False).decode


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name a product: BTC-USD is spot; BIP-20DEC30-CDE does not say what it is made of and keeps its name."""
    parts = venue_symbol.split("-")
    if len(parts) == 2 and all(parts):
        base, quote = parts
        return Instrument(NAME, market, venue_symbol, name_spot(base, quote), "spot", base=base, quote=quote)
    return Instrument(NAME, market, venue_symbol, venue_symbol, "future")


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read the products of either API."""
    if "/brokerage/" in urlsplit(url).path:
        return [_read_product(product) for product in _decode_products(body).products]
    return [_read_exchange_product(product) for product in _decode_exchange_products(body)]


def _read_exchange_product(product: _ExchangeProduct) -> Instrument:
    base, quote = product.base_currency, product.quote_currency
    return Instrument(
        NAME,
        MARKETS["exchange"],
        product.id,
        name_spot(base, quote),
        "spot",
        base=base,
        quote=quote,
        price_step=product.quote_increment,
        amount_step=product.base_increment,
        status=product.status,
        is_listed=True,
    )


def _read_product(product: _Product) -> Instrument:
    named = name_instrument(MARKETS["advanced"], product.product_id)
    listed = msgspec.structs.replace(
        named,
        base=product.base_currency_id or None,
        quote=product.quote_currency_id,
        price_step=product.price_increment,
        amount_step=product.base_increment,
        status=product.status or None,
        is_listed=True,
    )
    details = product.future_product_details
    if details is None:
        return listed
    return msgspec.structs.replace(
        listed,
        base=details.contract_root_unit,
        settle=product.quote_currency_id,
        contract_size=details.contract_size,
        expiry_us=read_time(details.contract_expiry),
    )
