"""How Binance's past is asked for: trades by id, candles and funding by time."""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from truetape.events.number import Id
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, read_query, to_ms

PAGE = 1000
_HOSTS = {
    "spot": "https://api.binance.com/api/v3",
    "usdm": "https://fapi.binance.com/fapi/v1",
    "coinm": "https://dapi.binance.com/dapi/v1",
}
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_STATISTICS_PAGE = 500
_STATISTICS_ALLOWANCE = (900, 300.0)
"""Statistics are told of the last 30 days, and counted apart: 1000 requests within five minutes."""
_US = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
SEEK_US = 3_600_000_000
"""Aggregate trades between two times are told for an hour at most."""


class _Print(msgspec.Struct):
    id: Id
    time: Id


class _Aggregate(msgspec.Struct):
    first: Id = msgspec.field(name="f")
    time: Id = msgspec.field(name="T")


class _Total(msgspec.Struct):
    timestamp: Id


class _Charge(msgspec.Struct):
    fundingTime: Id


_decode_prints = msgspec.json.Decoder(list[_Print]).decode
_decode_aggregates = msgspec.json.Decoder(list[_Aggregate]).decode
_decode_bars = msgspec.json.Decoder(list[list[Any]]).decode
_decode_interests = msgspec.json.Decoder(list[_Total], strict=False).decode
_decode_charges = msgspec.json.Decoder(list[_Charge]).decode


def list_backfills(hosts: dict[str, str] | None = None) -> tuple[Backfill, ...]:
    """Return how each product line's past is asked for; `hosts` says which lines there are, and where."""
    found = []
    for market, root in (hosts or _HOSTS).items():
        public, other = ("usdm-public", "usdm-market") if market == "usdm" else (market, market)
        found.append(_make_trades(market, public, root))
        bars = partial(_begin_bars, root)
        found.append(
            Backfill("candle", market, other, bars, _follow_bars, identity="number", weight=5, intervals=INTERVALS)
        )
        if market != "spot":
            charges = partial(_begin_charges, root)
            found.append(Backfill("funding", market, other, charges, _follow_charges, identity="number"))
            interest = partial(_begin_interest, root)
            found.append(
                Backfill(
                    "open_interest", market, other, interest, _follow_interest, identity="number",
                    allowance=_STATISTICS_ALLOWANCE, kind="derivative", intervals=PERIODS,
                )
            )  # fmt: skip
    return tuple(found)


def _ask_trades(root: str, symbol: str, number: int) -> str:
    return ask(f"{root}/historicalTrades", symbol=symbol, fromId=max(number, 0), limit=PAGE)


def _begin_trades(root: str, stretch: Stretch) -> str:
    """Ask by id; where only a time is known, an aggregate trade of then names the first id."""
    if stretch.low is not None:  # from the one before, which is known: an answer with it is a whole one
        return _ask_trades(root, stretch.venue_symbol, stretch.low - 1)
    if stretch.high is not None:  # backwards from what is known
        return _ask_trades(root, stretch.venue_symbol, stretch.high + 1 - PAGE)
    start = to_ms(stretch.from_us)
    until = start + SEEK_US // 1000
    return ask(f"{root}/aggTrades", symbol=stretch.venue_symbol, startTime=start, endTime=until, limit=1)


def _follow_trades(root: str, stretch: Stretch, url: str, body: bytes) -> str | None:
    if urlsplit(url).path.endswith("/aggTrades"):
        return _follow_seek(root, stretch, url, body)
    rows = _decode_prints(body)
    if stretch.low is None and stretch.high is not None:
        asked = int(read_query(url)["fromId"])
        # Nothing so old is told any more where the answer begins later than it was asked to.
        is_last = not rows or asked == 0 or rows[0].id > asked or rows[0].time * 1000 < stretch.from_us
        return None if is_last else _ask_trades(root, stretch.venue_symbol, asked - PAGE)
    if len(rows) < PAGE or (stretch.high is not None and rows[-1].id >= stretch.high):
        return None
    is_past = stretch.high is None and rows[-1].time * 1000 > stretch.to_us
    return None if is_past else _ask_trades(root, stretch.venue_symbol, rows[-1].id + 1)


def _follow_seek(root: str, stretch: Stretch, url: str, body: bytes) -> str | None:
    rows = _decode_aggregates(body)
    if rows:
        return _ask_trades(root, stretch.venue_symbol, rows[0].first - 1)  # the one before shows that none is missing
    later = int(read_query(url)["endTime"]) + 1
    return None if later * 1000 > stretch.to_us else ask(url, startTime=later, endTime=later + SEEK_US // 1000)


def _make_trades(market: str, feed: str, root: str) -> Backfill:
    weight = 25 if market == "spot" else 20
    return Backfill("trade", market, feed, partial(_begin_trades, root), partial(_follow_trades, root), weight=weight)


def _begin_bars(root: str, stretch: Stretch) -> str:
    name, start, end = stretch.venue_symbol, to_ms(stretch.from_us), to_ms(stretch.to_us)
    return ask(f"{root}/klines", symbol=name, interval=stretch.interval, startTime=start, endTime=end, limit=PAGE)


def _follow_bars(stretch: Stretch, url: str, body: bytes) -> str | None:
    rows = _decode_bars(body)
    return None if len(rows) < PAGE else ask(url, startTime=int(rows[-1][0]) + 1)


def _begin_charges(root: str, stretch: Stretch) -> str:
    start, end = to_ms(stretch.from_us), to_ms(stretch.to_us)
    return ask(f"{root}/fundingRate", symbol=stretch.venue_symbol, startTime=start, endTime=end, limit=PAGE)


def _follow_charges(stretch: Stretch, url: str, body: bytes) -> str | None:
    rows = _decode_charges(body)
    return None if len(rows) < PAGE else ask(url, startTime=rows[-1].fundingTime + 1)


def _begin_interest(root: str, stretch: Stretch) -> str:
    """Ask for as much as one page holds: which end of more than that is told is not documented."""
    host, name = root.rsplit("/", 2)[0], stretch.venue_symbol
    if "/dapi" in root:
        pair, _, contract = name.partition("_")
        if contract != "PERP":
            raise LookupError(f"open interest of the past is told of perpetuals here, not of {name}")
        named = {"pair": pair, "contractType": "PERPETUAL"}
    else:
        named = {"symbol": name}
    where = f"{host}/futures/data/openInterestHist"
    start, end = to_ms(stretch.from_us), _find_page_end(stretch, to_ms(stretch.from_us))
    return ask(where, **named, period=stretch.interval, limit=_STATISTICS_PAGE, startTime=start, endTime=end)


def _follow_interest(stretch: Stretch, url: str, body: bytes) -> str | None:
    _decode_interests(body)
    start = int(read_query(url)["endTime"]) + 1
    return None if start * 1000 > stretch.to_us else ask(url, startTime=start, endTime=_find_page_end(stretch, start))


def _find_page_end(stretch: Stretch, start_ms: int) -> int:
    length_ms = int(stretch.interval[:-1]) * _US[stretch.interval[-1]] // 1000
    return min(start_ms + _STATISTICS_PAGE * length_ms - 1, to_ms(stretch.to_us))
