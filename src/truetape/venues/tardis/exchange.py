"""The vendor's names of exchanges: which venue and market of ours each is, and what its amounts count."""

from math import nan
from typing import Literal, NamedTuple

from truetape.errors import ConfigError, suggest
from truetape.events.instrument import Instrument
from truetape.events.rows import Scribe, Unit
from truetape.venues import load_venue

Counting = Literal["base", "usd", "contracts", "unknown"]
"""What an exchange's amounts are.

base       the base asset
usd        US dollars on inverse instruments, the base asset on others
contracts  contracts, whose size the name or a listing of the instrument tells
unknown    the vendor hands on what the exchange says, and nobody told us what that is
"""


class Exchange(NamedTuple):
    """One of the vendor's exchanges, as ours."""

    venue: str
    market: str
    counting: Counting
    is_numbered: bool = True
    """Ids of trades that are numbers are those that the venue's rule counts by."""


_EXCHANGES = {
    "binance": Exchange("binance", "spot", "base"),
    "binance-us": Exchange("binance_us", "spot", "base"),
    "binance-futures": Exchange("binance", "usdm", "base"),
    "binance-delivery": Exchange("binance", "coinm", "contracts"),
    "bybit": Exchange("bybit", "linear", "usd"),
    "bybit-spot": Exchange("bybit", "spot", "base"),
    "bybit-options": Exchange("bybit", "option", "base"),
    "okex": Exchange("okx", "all", "base"),
    "okex-swap": Exchange("okx", "all", "contracts"),
    "okex-futures": Exchange("okx", "all", "contracts"),
    "okex-options": Exchange("okx", "all", "contracts"),
    "deribit": Exchange("deribit", "all", "usd", is_numbered=False),
    "coinbase": Exchange("coinbase", "exchange", "base"),
    "kraken": Exchange("kraken", "spot-v1", "base"),
    "cryptofacilities": Exchange("kraken", "futures", "usd"),
}

_SPOT = frozenset(
    {"bitstamp", "gemini", "huobi", "kucoin", "gate-io", "bitfinex", "poloniex", "upbit", "bittrex", "hitbtc", "okcoin"}
)
"""Spot exchanges without a venue here: amounts are of the base asset."""


_TYPES = {"okex": ("spot",), "okex-swap": ("perpetual",), "okex-futures": ("future",), "okex-options": ("option",)}
"""Exchanges that share a market with others of ours: types of their instruments."""


def find_exchange(instrument: Instrument) -> str | None:
    """Return the vendor's name of an instrument's exchange; null where it has none, or nobody told us."""
    market = "linear" if (instrument.venue, instrument.market) == ("bybit", "inverse") else instrument.market
    for name, exchange in _EXCHANGES.items():
        is_own = instrument.market_type in _TYPES.get(name, (instrument.market_type,))
        if is_own and (exchange.venue, exchange.market) == (instrument.venue, market):
            return name
    return None


def name_venue(name: str) -> str:
    """Return which venue of ours reads an exchange's own messages; ConfigError names the exchanges that one does."""
    if name not in _EXCHANGES:
        raise ConfigError(f"exchange {name!r}: no venue here reads its messages (allowed: {', '.join(_EXCHANGES)})")
    return _EXCHANGES[name].venue


def list_feeds(name: str) -> tuple[str, ...]:
    """Name the feeds of ours that an exchange's messages may be of."""
    exchange = _EXCHANGES[name]
    markets = {exchange.market} | ({"inverse"} if name == "bybit" else set())
    return tuple(feed.name for feed in load_venue(exchange.venue).feeds if feed.market in markets)


def check_feed(name: str, feed: str | None) -> None:
    """Refuse, with a ConfigError, a feed that an exchange's messages cannot be of."""
    feeds = list_feeds(name)
    if feed is not None and feed not in feeds:
        raise ConfigError(
            f"--feed {feed!r}: {name} has none of that name (allowed: {', '.join(feeds)}){suggest(feed, feeds)}"
        )


def list_markets(venue: str) -> set[str]:
    """Return the markets of a venue that the vendor has."""
    found = {exchange.market for exchange in _EXCHANGES.values() if exchange.venue == venue}
    return found | ({"inverse"} if venue == "bybit" else set())


def is_stepping(name: str) -> bool:
    """Tell whether an exchange's trade ids, as the vendor has them, step by one by its venue's rule of today."""
    exchange = _EXCHANGES[name]
    rules = [rule for rule in load_venue(exchange.venue).continuity if rule.channel == "trade"]
    return exchange.is_numbered and bool(rules) and max(rules, key=lambda rule: rule.since).rule == "step"


class Found(NamedTuple):
    """An instrument of the vendor's, as ours."""

    instrument: Instrument
    unit: Unit | None
    """What its amounts count; null when they are of the base asset."""
    is_numbered: bool


def find_instrument(scribe: Scribe, name: str, symbol: str) -> Found:
    """Return an instrument of the vendor's, as listed on this tape or as its name tells, and what its amounts count."""
    exchange = _EXCHANGES.get(name, Exchange("tardis", name, "base" if name in _SPOT else "unknown"))
    market = exchange.market
    if name == "bybit" and (symbol.endswith("USD") or symbol[-4:-2] in {"DH", "DM", "DU", "DZ"}):
        market = "inverse"  # BTCUSD, and quarterly ones: BTCUSDH26
    listed = Scribe(exchange.venue, scribe.rows).listed(market, symbol)
    instrument = listed or load_venue(exchange.venue).name_instrument(market, symbol)
    return Found(instrument, _find_unit(exchange.counting, instrument), exchange.is_numbered)


def _find_unit(counting: Counting, instrument: Instrument) -> Unit | None:
    if counting == "contracts":
        size = instrument.contract_size
        return Unit(nan if size is None else size, instrument.is_inverse)
    if counting == "usd" and instrument.is_inverse and instrument.market_type != "combo":
        return Unit(1.0, True)
    is_unknown = counting == "unknown" or (counting == "usd" and instrument.is_inverse)
    return Unit(nan, False) if is_unknown else None


def find_feed(instrument: Instrument, channel: str) -> str:
    """Return the feed of the venue that carries a channel live: its rules hold for imported rows, too."""
    feeds = [feed for feed in load_venue(instrument.venue).feeds if feed.market == instrument.market]
    return next((feed.name for feed in feeds if channel in feed.channels), feeds[0].name if feeds else "")
