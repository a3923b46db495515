"""How Deribit's past is asked for: trades by sequence or time, candles by time, oldest first."""

import msgspec

from truetape.events.number import Id
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, read_query, to_ms

_ROOT = "https://www.deribit.com/api/v2/public"
PAGE = 1000
_BARS_MAX = 5000
RESOLUTIONS = {
    "1m": 1, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "3h": 180, "6h": 360, "12h": 720,
}  # fmt: skip
"""Our name of a bar's length → the venue's, in minutes."""


class _Trade(msgspec.Struct):
    trade_seq: Id
    timestamp: Id


class _Trades(msgspec.Struct):
    trades: list[_Trade]
    has_more: bool


class _Body(msgspec.Struct):
    result: _Trades


class _Ticks(msgspec.Struct):
    ticks: list[Id]


class _Chart(msgspec.Struct):
    result: _Ticks


_decode_chart = msgspec.json.Decoder(_Chart).decode
_decode_trades = msgspec.json.Decoder(_Body).decode


def list_backfills(market: str, feed: str) -> tuple[Backfill, ...]:
    """Return how the past is asked for."""
    return (
        Backfill("trade", market, feed, _begin_trades, _follow_trades, is_numbered_apart=True),
        Backfill("candle", market, feed, _begin_bars, _follow_bars, identity="number"),
    )


def _begin_trades(stretch: Stretch) -> str:
    query = {"instrument_name": stretch.venue_symbol, "count": PAGE, "sorting": "asc"}
    if stretch.low is not None and stretch.high is not None:  # the ones before and after show that nothing is missing
        where, begin, end = f"{_ROOT}/get_last_trades_by_instrument", stretch.low - 1, stretch.high + 1
        return ask(where, **query, start_seq=begin, end_seq=end)
    where, begin, end = f"{_ROOT}/get_last_trades_by_instrument_and_time", to_ms(stretch.from_us), to_ms(stretch.to_us)
    return ask(where, **query, start_timestamp=begin, end_timestamp=end)


def _follow_trades(stretch: Stretch, url: str, body: bytes) -> str | None:
    told = _decode_trades(body).result
    if not told.has_more or not told.trades:
        return None
    last = told.trades[-1]
    if "start_seq" in read_query(url):
        return ask(url, start_seq=last.trade_seq + 1)
    return ask(url, start_timestamp=last.timestamp)  # others may have happened in the same millisecond


def _begin_bars(stretch: Stretch) -> str:
    where, minutes = f"{_ROOT}/get_tradingview_chart_data", RESOLUTIONS[stretch.interval]
    start = to_ms(stretch.from_us)
    end = min(to_ms(stretch.to_us), start + _BARS_MAX * minutes * 60_000)
    name = stretch.venue_symbol
    return ask(where, instrument_name=name, resolution=minutes, start_timestamp=start, end_timestamp=end)


def _follow_bars(stretch: Stretch, url: str, body: bytes) -> str | None:
    _decode_chart(body)  # another shape must not pass for a page
    query = read_query(url)
    start, last = int(query["end_timestamp"]) + 1, to_ms(stretch.to_us)
    if start > last:
        return None
    end = min(last, start + _BARS_MAX * int(query["resolution"]) * 60_000)
    return ask(url, start_timestamp=start, end_timestamp=end)
