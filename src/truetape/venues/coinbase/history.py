"""How Coinbase's past is asked for: trades of the Exchange by id, those of Advanced Trade by time, newest first."""

import msgspec

from truetape.events.number import Id
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask
from truetape.venues.coinbase.products import MARKETS
from truetape.venues.coinbase.times import read_time

PAGE = 1000
_EXCHANGE = "https://api.exchange.coinbase.com/products"
_ADVANCED = "https://api.coinbase.com/api/v3/brokerage/market/products"
_SECOND_US = 1_000_000


class _Trade(msgspec.Struct):
    trade_id: Id
    time: str


class _Trades(msgspec.Struct):
    trades: list[_Trade]


_decode_list = msgspec.json.Decoder(list[_Trade], strict=False).decode
_decode_trades = msgspec.json.Decoder(_Trades, strict=False).decode


def list_backfills() -> tuple[Backfill, ...]:
    """Return how the past of both feeds is asked for."""
    return (
        Backfill("trade", MARKETS["exchange"], "exchange", _begin_exchange, _follow_exchange, allowance=(8, 1.0)),
        Backfill("trade", MARKETS["advanced"], "advanced", _begin_advanced, _follow_advanced, allowance=(8, 1.0)),
    )


def _begin_exchange(stretch: Stretch) -> str:
    """Ask backwards, from the one after what is missing."""
    after = None if stretch.high is None else stretch.high + 2
    return ask(f"{_EXCHANGE}/{stretch.venue_symbol}/trades", limit=PAGE, after=after)


def _follow_exchange(stretch: Stretch, url: str, body: bytes) -> str | None:
    trades = _decode_list(body)
    return None if _is_last(stretch, trades) else ask(url, after=trades[-1].trade_id)


def _begin_advanced(stretch: Stretch) -> str:
    """Ask for a time, whole seconds of it with one before and one after."""
    start, end = stretch.from_us // _SECOND_US - 1, stretch.to_us // _SECOND_US + 2
    return ask(f"{_ADVANCED}/{stretch.venue_symbol}/ticker", limit=PAGE, start=start, end=end)


def _follow_advanced(stretch: Stretch, url: str, body: bytes) -> str | None:
    trades = _decode_trades(body).trades
    if len(trades) < PAGE or _is_last(stretch, trades):
        return None
    oldest_us = read_time(trades[-1].time)
    return None if oldest_us is None else ask(url, end=oldest_us // _SECOND_US + 1)  # more may be of the same second


def _is_last(stretch: Stretch, trades: list[_Trade]) -> bool:
    """Tell whether nothing that is wanted can be on pages of older trades."""
    if not trades:
        return True
    oldest_us = read_time(trades[-1].time)
    if stretch.low is not None:
        return trades[-1].trade_id < stretch.low
    return oldest_us is not None and oldest_us < stretch.from_us
