"""How Coinbase's past is asked for: trades of the Exchange by id, those of Advanced Trade by time, newest first.

Candles are asked for in stretches of as many as one answer holds: bars without trades are not told, so that fewer say nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from truetape.events.number import Id
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, read_query
from truetape.venues.coinbase.products import MARKETS
from truetape.venues.coinbase.times import read_time

PAGE = 1000
_EXCHANGE = "https://api.exchange.coinbase.com/products"
_ADVANCED = "https://api.coinbase.com/api/v3/brokerage/market/products"
_SECOND_US = 1_000_000
BARS_MAX = 300
_LENGTHS_S = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400}
_GRANULARITIES = {
    "1m": "ONE_MINUTE", "5m": "FIVE_MINUTE", "15m": "FIFTEEN_MINUTE", "1h": "ONE_HOUR", "6h": "SIX_HOUR", "1d": "ONE_DAY",
}  # fmt: skip
"""Those that both sides have; the Exchange names them by their seconds."""


class _Trade(msgspec.Struct):
    trade_id: Id
    time: str


class _Bars(msgspec.Struct):
    candles: list[msgspec.Raw]


class _Trades(msgspec.Struct):
    trades: list[_Trade]


_decode_list = msgspec.json.Decoder(list[_Trade], strict=False).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_bars = msgspec.json.Decoder(_Bars).decode
_decode_trades = msgspec.json.Decoder(_Trades, strict=False).decode


def list_backfills() -> tuple[Backfill, ...]:
    """Return how the past of both feeds is asked for."""
    return (
        Backfill("trade", MARKETS["exchange"], "exchange", _begin_exchange, _follow_exchange, allowance=(8, 1.0)),
        Backfill("trade", MARKETS["advanced"], "advanced", _begin_advanced, _follow_advanced, allowance=(8, 1.0)),
        Backfill(
            "candle", MARKETS["exchange"], "exchange", _begin_exchange_bars, _follow_exchange_bars, identity="number",
            allowance=(8, 1.0), intervals=tuple(_LENGTHS_S),
        ),
        Backfill(
            "candle", MARKETS["advanced"], "advanced", _begin_advanced_bars, _follow_advanced_bars, identity="number",
            allowance=(8, 1.0), intervals=tuple(_LENGTHS_S),
        ),
    )  # fmt: skip


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


def _begin_exchange_bars(stretch: Stretch) -> str:
    where = f"{_EXCHANGE}/{stretch.venue_symbol}/candles?granularity={_LENGTHS_S[stretch.interval]}"
    return _ask_bars(stretch, where, stretch.from_us // _SECOND_US, _write_moment)


def _begin_advanced_bars(stretch: Stretch) -> str:
    where = f"{_ADVANCED}/{stretch.venue_symbol}/candles?granularity={_GRANULARITIES[stretch.interval]}"
    return _ask_bars(stretch, where, stretch.from_us // _SECOND_US, str)


def _follow_exchange_bars(stretch: Stretch, url: str, body: bytes) -> str | None:
    _decode_rows(body)
    end = int(datetime.fromisoformat(read_query(url)["end"]).timestamp())
    return _follow_bars(stretch, url, end, _write_moment)


def _follow_advanced_bars(stretch: Stretch, url: str, body: bytes) -> str | None:
    _decode_bars(body)
    return _follow_bars(stretch, url, int(read_query(url)["end"]), str)


def _follow_bars(stretch: Stretch, url: str, end: int, spell: Callable[[int], str]) -> str | None:
    start = end + _LENGTHS_S[stretch.interval]
    return None if start * _SECOND_US > stretch.to_us else _ask_bars(stretch, url, start, spell)


def _ask_bars(stretch: Stretch, where: str, start: int, spell: Callable[[int], str]) -> str:
    """Ask for bars that begin at `start` or later; the Exchange takes times as ISO, Advanced Trade as seconds."""
    start -= start % _LENGTHS_S[stretch.interval]
    return ask(where, start=spell(start), end=spell(_find_end(stretch, start)))


def _write_moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _find_end(stretch: Stretch, start: int) -> int:
    """Return the start of the last bar of a page, both ends included."""
    length, last = _LENGTHS_S[stretch.interval], stretch.to_us // _SECOND_US
    return min(start + (BARS_MAX - 1) * length, max(last // length * length, start))


def name_interval(granularity: str) -> str | None:
    """Return our name of a granularity of either side."""
    told = {str(length): name for name, length in _LENGTHS_S.items()} | {g: n for n, g in _GRANULARITIES.items()}
    return told.get(granularity)


def find_length(interval: str) -> int:
    """Return the length of a bar in microseconds."""
    return _LENGTHS_S[interval] * _SECOND_US
