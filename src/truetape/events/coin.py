"""Kinds of a coin index: what it says of a coin across all venues, and of the whole market."""

from truetape.events.kind import Kind
from truetape.events.kind import float_column as _float
from truetape.events.kind import integer_column as _integer
from truetape.events.kind import text_column as _text
from truetape.events.kind import time_column as _time

COIN = Kind(
    "coin",
    "What a coin index says of one coin: a snapshot with market cap and rank, or one point of its chart. The symbol is "
    "the coin's id and the currency (`bitcoin-USD`): tickers are not unique. Rows of `snapshot` are the history of ranks.",
    (
        _text("source", "snapshot: of the list by market cap; chart: a point of the coin's chart", required=True),
        _text("interval", "spacing of the chart that a point is of: 5m, 1h, 1d; null for snapshots"),
        _text("currency", "what prices and caps are in: USD", required=True),
        _text("ticker", "the coin's short name, upper case; many coins may share one"),
        _text("name", "the coin's name"),
        _float("price", "price of one coin"),
        _float("market_cap", "price times circulating supply"),
        _integer("rank", "place by market cap, 1 the largest; null where it has none"),
        _float("diluted_cap", "price times the supply there can be"),
        _float("volume_24h", "traded in the 24 hours before, in `currency`: never the volume of one interval"),
        _float("high_24h", "highest price of 24 hours"),
        _float("low_24h", "lowest price of 24 hours"),
        _float("change_24h", "change of the price within 24 hours, percent"),
        _float("circulating_supply", "coins in circulation"),
        _float("total_supply", "coins that exist"),
        _float("max_supply", "coins there can be; null where there is no bound"),
        _float("all_time_high", "highest price ever"),
        _time("all_time_high_at", "when that was"),
        _float("all_time_low", "lowest price ever"),
        _time("all_time_low_at", "when that was"),
    ),
)

COIN_TOTAL = Kind(
    "coin_total",
    "What a coin index says of all coins together, in one currency: `exchange_at` is when it was reckoned.",
    (
        _text("currency", "what cap and volume are in", required=True),
        _float("market_cap", "of all coins"),
        _float("volume_24h", "traded in 24 hours"),
        _float("change_24h", "change of the market cap in USD within 24 hours, percent; on the row in USD only"),
        _float("bitcoin_share", "Bitcoin's share of the market cap, percent"),
        _float("ether_share", "Ether's share of the market cap, percent"),
        _integer("coins", "coins that are traded"),
        _integer("markets", "venues that are counted"),
    ),
)
