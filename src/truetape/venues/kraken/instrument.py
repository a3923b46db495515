"""Kraken's names, listings and the checksum that needs a pair's decimals."""

import re
from binascii import crc32
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.venues._contract import Proof

SPOT, SPOT_V1, FUTURES = "spot", "spot-v1", "futures"
"""Markets, each with its one feed. Feed v1 names pairs in another way (XBT/USD) and sends other digits than v2
(BTC/USD), so the checksum of one does not fit the other."""

_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}

_FUTURE = re.compile(
    r"(?P<kind>PI|PF|PV|FI|FF|FV)_(?P<base>[A-Z0-9]+?)(?P<quote>USDT|USDC|USD|EUR|GBP|XBT)(?:_(?P<day>\d{6}))?"
)


class _Pair(msgspec.Struct):
    altname: str
    base: str
    quote: str
    pair_decimals: int
    lot_decimals: int
    wsname: str | None = None  # absent until 2019, and on dark pools
    tick_size: float | None = None  # since 2023
    status: str | None = None  # since 2022


class _Pairs(msgspec.Struct):
    result: dict[str, _Pair]


class _Contract(msgspec.Struct):
    symbol: str
    type: str
    tradeable: bool
    contractSize: float | None = None  # indices have none
    tickSize: float | None = None
    lastTradingTime: datetime | None = None
    contractValueTradePrecision: int | None = None  # since 2022
    base: str | None = None  # since 2024


class _Contracts(msgspec.Struct):
    instruments: list[_Contract]


class _Precision(msgspec.Struct):
    """A pair as the `instrument` channel of v2 has it."""

    symbol: str
    status: str
    price_precision: int
    qty_precision: int
    price_increment: float
    qty_increment: float


class _Precisions(msgspec.Struct):
    pairs: list[_Precision]


class _Reference(msgspec.Struct):
    data: _Precisions


_REFERENCE = msgspec.json.Decoder(_Reference)
_PAIRS = msgspec.json.Decoder(_Pairs, strict=False)
_CONTRACTS = msgspec.json.Decoder(_Contracts, strict=False)


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Read an instrument from its name: BTC/USD, XBT/USD, PI_XBTUSD, PF_ETHUSD, FI_XBTUSD_260327."""
    return _name_future(market, venue_symbol) if market == FUTURES else _name_pair(market, venue_symbol)


def _name_pair(market: str, venue_symbol: str) -> Instrument:
    base, slash, quote = venue_symbol.partition("/")
    if not slash:
        return Instrument("kraken", market, venue_symbol, venue_symbol, "spot")
    base, quote = _ALIASES.get(base, base), _ALIASES.get(quote, quote)
    return Instrument("kraken", market, venue_symbol, f"{base}-{quote}", "spot", base, quote)


def _name_future(market: str, venue_symbol: str) -> Instrument:
    """Inverse ones take the plain name; the linear one quoted in the same USD is another instrument: -LINEAR."""
    found = _FUTURE.fullmatch(venue_symbol.upper())
    if not found:
        return Instrument("kraken", market, venue_symbol, venue_symbol, "index")
    base, quote = (_ALIASES.get(asset, asset) for asset in (found["base"], found["quote"]))
    kind, day = found["kind"], found["day"]
    symbol = f"{base}-{quote}-{day or 'PERP'}"
    return Instrument(
        "kraken", market, venue_symbol,
        f"{symbol}-LINEAR" if kind in {"PF", "FF"} else symbol,
        "future" if day else "perpetual", base, quote,
        settle=base if kind in {"PI", "FI"} else quote,
        contract_size=1.0,  # 1 USD, or 1 of the base coin; a listing may say otherwise
        is_inverse=kind in {"PI", "FI"},
    )  # fmt: skip


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read AssetPairs of spot or the instruments of futures."""
    path = urlsplit(url).path
    if path.endswith("/AssetPairs"):
        return [found for pair in _PAIRS.decode(body).result.values() if (found := _read_pair(pair))]
    if path.endswith("/instruments"):
        return [_read_contract(c) for c in _CONTRACTS.decode(body).instruments if c.contractSize is not None]
    raise DecodeError(f"nothing is known of the answer to {path}")


def _read_pair(pair: _Pair) -> Instrument | None:
    """Return a pair under its name of v2; null for dark pools, which no feed carries."""
    name = pair.wsname or _join_assets(pair)
    if name is None:
        return None
    base, _, quote = name.partition("/")
    name = f"{_ALIASES.get(base, base)}/{_ALIASES.get(quote, quote)}"
    return msgspec.structs.replace(
        _name_pair(SPOT, name),
        price_step=pair.tick_size if pair.tick_size is not None else _make_step(pair.pair_decimals),
        amount_step=_make_step(pair.lot_decimals),
        status=pair.status,
        is_listed=True,
        price_decimals=pair.pair_decimals,
        amount_decimals=pair.lot_decimals,
    )


def read_pairs(payload: bytes) -> list[Instrument]:
    """Read a frame of the `instrument` channel of v2."""
    return [
        msgspec.structs.replace(
            _name_pair(SPOT, pair.symbol),
            price_step=pair.price_increment,
            amount_step=pair.qty_increment,
            status=pair.status,
            is_listed=True,
            price_decimals=pair.price_precision,
            amount_decimals=pair.qty_precision,
        )
        for pair in _REFERENCE.decode(payload).data.pairs
    ]


def _join_assets(pair: _Pair) -> str | None:
    """Name a pair of a listing before wsname: old assets have a letter before them, XXBT and ZUSD."""
    base, quote = (a[1:] if len(a) == 4 and a[0] in "XZ" else a for a in (pair.base, pair.quote))
    return f"{base}/{quote}" if pair.altname == base + quote else None


def _make_step(decimals: int) -> float:
    return float(f"1e{-decimals}")  # contracts in thousands have -3


def _read_contract(contract: _Contract) -> Instrument:
    size, expiry = contract.contractSize or 1.0, contract.lastTradingTime
    step = size if contract.contractValueTradePrecision is None else _make_step(contract.contractValueTradePrecision)
    named = _name_future(FUTURES, contract.symbol.upper())  # lower case until 2022, while frames were in upper
    return msgspec.structs.replace(
        named,
        base=contract.base or named.base,
        contract_size=size,
        is_inverse=contract.type == "futures_inverse",
        price_step=contract.tickSize,
        amount_step=step,
        expiry_us=int(expiry.timestamp()) * 1_000_000 if expiry else None,
        status="tradeable" if contract.tradeable else "untradeable",
        is_listed=True,
    )


def _spell_levels(instrument: Instrument, levels: list[tuple[str, str]]) -> list[str]:
    """Write digits without point and leading zeros.

    v1 sends all digits as text. v2 sends JSON numbers, documented to have all digits as well; where they do not,
    zeros are filled up to the listed decimals.
    """
    price, amount = instrument.price_decimals, instrument.amount_decimals
    return [_strip(level[0], price) + _strip(level[1], amount) for level in levels]


def _add_up(bids: list[str], asks: list[str]) -> int:
    """Return CRC32 of the asks, then the bids, best first."""
    return crc32("".join(asks + bids).encode())


def _strip(text: str, decimals: int | None) -> str:
    whole, _, fraction = text.partition(".")
    if decimals is not None:
        fraction = fraction.ljust(decimals, "0")
    return (whole + fraction).lstrip("0")


PROOF = Proof(10, _spell_levels, _add_up)
