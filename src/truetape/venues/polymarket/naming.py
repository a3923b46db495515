"""Names: outcomes by slug and word, oracles by pair and source, URLs by feed."""

import re

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument

NAME = "polymarket"
CLOB = "clob"
DATA = "data"
"""Trades and positions as the Data API tells them: another account of what the order book's socket tells."""
GOLDSKY = "goldsky"
"""Positions as the subgraphs tell them: not the Data API's, which has other holes."""
RTDS = "rtds"
POLYBOLT = "polybolt"

_ASSETS = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype", "zec")
_PAIR = re.compile(r"([a-z0-9]+)(?:/|)(usdt|usd)")

RTDS_TOPICS = {
    "crypto_prices_chainlink": ("rtds_chainlink", None),
    "crypto_prices_twap_thirty": ("rtds_chainlink", 30),
    "crypto_prices_twap_sixty": ("rtds_chainlink", 60),
    "crypto_prices": ("rtds_binance", None),
}
"""RTDS topic → source of its prices and the seconds they are averaged over."""

POLYBOLT_CHANNELS = ("price.crypto", "price.crypto.twap")


def name_outcome(slug: str, outcome: str) -> str:
    """Name an outcome: btc-updown-15m-1777470300:Up."""
    return f"{slug}:{outcome}"


def name_oracle(source: str, window_s: int | None, feed_id: str) -> tuple[str, str]:
    """Return (venue_symbol, symbol) of an oracle's price: rtds_chainlink_twap60:btc/usd, BTC-USD:rtds_chainlink_twap60."""
    head = source if window_s is None else f"{source}_twap{window_s}"
    base, quote = read_pair(feed_id)
    return f"{head}:{feed_id}", f"{base}-{quote}:{head}"


def read_pair(feed_id: str) -> tuple[str, str]:
    """Split btc/usd, btcusd and btcusdt into base and quote."""
    found = _PAIR.fullmatch(feed_id)
    if found is None:
        raise DecodeError(f"price of {feed_id!r}: expected a pair like btc/usd or btcusdt")
    return found[1].upper(), found[2].upper()


def make_oracle(market: str, source: str, window_s: int | None, feed_id: str) -> Instrument:
    """Make the instrument of an oracle's price."""
    venue_symbol, symbol = name_oracle(source, window_s, feed_id)
    base, quote = read_pair(feed_id)
    return Instrument(NAME, market, venue_symbol, symbol, "oracle", base=base, quote=quote)


def list_oracles() -> list[Instrument]:
    """List the prices that can be asked for: no endpoint lists them."""
    made = []
    for asset in _ASSETS:
        for source, window_s in RTDS_TOPICS.values():
            feed_id = f"{asset}usdt" if source == "rtds_binance" else f"{asset}/usd"
            made.append(make_oracle(RTDS, source, window_s, feed_id))
        for window in (None, 60):
            made.append(make_oracle(POLYBOLT, "polybolt_chainlink", window, f"{asset}usd"))
    return made


_ORACLES = {(instrument.market, instrument.venue_symbol): instrument for instrument in list_oracles()}


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name a thing by its venue_symbol alone: an oracle's says all, a token's nothing."""
    known = _ORACLES.get((market, venue_symbol))
    if known is not None:
        return known
    kind = "oracle" if market in (RTDS, POLYBOLT) else "outcome"
    return Instrument(NAME, market, venue_symbol, venue_symbol, kind)
