"""How Kraken's past is asked for, and what answers tell: trades and candles of spot and of futures.

Futures' trades of the past bear no number of the stream's, but its ids; the venue tells those of the last days.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.number import Id, Millis, Seconds, Size
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, read_query
from truetape.venues.kraken.link import INTERVALS, Link, find_unit, to_base

PATH = "/0/public/Trades"
PAGE = 1000
LEAD_US = 60_000_000
"""So much earlier is asked for: a row of before shows that none is missing."""
_CODES = {"BTC": "XBT", "DOGE": "XDG"}
"""Ours, and the newer API's → the older API's."""
_ABSENT = "EQuery:Unknown asset pair"
_SIDES = {"b": "buy", "s": "sell"}


class _Body(msgspec.Struct):
    error: list[str]
    result: dict[str, Any] = {}


class _Trade(msgspec.Struct, array_like=True):
    """Since 2023 with its id."""

    price: Size
    volume: Size
    time: float
    side: str
    order_type: str
    misc: str
    trade_id: int


BARS = "/0/public/OHLC"
_MINUTES = {name: minutes for minutes, name in INTERVALS.items() if name != "15d"}
FILLS = "/derivatives/api/v3/history"
CHARTS = "/api/charts/v1/trade/"
RESOLUTIONS = ("1m", "5m", "15m", "30m", "1h", "4h", "12h", "1d", "1w")
_FUTURES = "https://futures.kraken.com"


class _Fill(msgspec.Struct):
    time: datetime
    uid: str
    side: Literal["buy", "sell"]
    price: Size
    size: Size
    type: str


class _Fills(msgspec.Struct):
    result: str
    history: list[_Fill] = []
    error: str = ""


class _Candle(msgspec.Struct):
    time: Millis
    open: Size
    high: Size
    low: Size
    close: Size
    volume: Size


class _Candles(msgspec.Struct):
    candles: list[_Candle]
    more_candles: bool = False


_BarRow = tuple[Seconds, Size, Size, Size, Size, Size, Size, Id]
"""time, open, high, low, close, vwap, volume, count."""
_decode_fills = msgspec.json.Decoder(_Fills, strict=False).decode
_decode_candles = msgspec.json.Decoder(_Candles, strict=False).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def name_pair(venue_symbol: str) -> str:
    """Name a pair as the older API does: BTC/USD is XBTUSD."""
    return "".join(_CODES.get(part, part) for part in venue_symbol.split("/"))


def list_backfills(market: str, futures: str) -> tuple[Backfill, ...]:
    """Return how the past of both is asked for; spot allows about a request a second."""
    return (
        Backfill("trade", market, market, _begin, _follow, allowance=(10, 15.0)),
        Backfill(
            "candle", market, market, _begin_bars, _follow_bars, identity="number", allowance=(10, 15.0),
            intervals=tuple(_MINUTES),
        ),
        Backfill("trade", futures, futures, _begin_fills, _follow_fills, identity="text", allowance=(20, 10.0)),
        Backfill(
            "candle", futures, futures, _begin_charts, _follow_charts, identity="number", allowance=(20, 10.0),
            intervals=RESOLUTIONS,
        ),
    )  # fmt: skip


def _begin(stretch: Stretch) -> str:
    since = max(stretch.from_us - LEAD_US, 0) * 1000
    return ask(f"https://api.kraken.com{PATH}", pair=name_pair(stretch.venue_symbol), since=since, count=PAGE)


def _follow(stretch: Stretch, url: str, body: bytes) -> str | None:
    trades, last = _read(body)
    if len(trades) < PAGE or last == read_query(url).get("since"):
        return None
    newest = trades[-1]
    is_over = newest.time * 1e6 > stretch.to_us if stretch.high is None else newest.trade_id > stretch.high
    return None if is_over else ask(url, since=last)


def _read(body: bytes) -> tuple[list[_Trade], str]:
    said = _decode_body(body)
    if said.error:
        text = f"{PATH} answered {', '.join(said.error)}"
        raise LookupError(text) if _ABSENT in said.error else DecodeError(text)
    rows: list[Any] = next((value for name, value in said.result.items() if name != "last"), [])
    return msgspec.convert(rows, list[_Trade], strict=False), str(said.result.get("last", ""))


def _find_pair(scribe: Scribe, market: str, pair: str) -> Instrument:
    listed = (one for one in scribe.rows.instruments.values() if (one.venue, one.market) == (scribe.venue, market))
    instrument = next((one for one in listed if name_pair(one.venue_symbol) == pair), None)
    if instrument is None:
        raise DecodeError(f"pair {pair!r} is not one that a listing on this tape names", "url")
    return instrument


def decode_trades(scribe: Scribe, market: str, response: Response) -> bool:
    """Decode a page of trades; a listing on the tape says which pair it is of."""
    instrument = _find_pair(scribe, market, read_query(response.url).get("pair", ""))
    index = scribe.stream("trade", market, instrument).index
    for trade in _read(response.body)[0]:
        head = (index, round(trade.time * 1e6), response.received_ns, response.offset, trade.trade_id, None)
        side = _SIDES.get(trade.side)
        if side is None:
            raise DecodeError(
                f"side {trade.side!r} is not one of {', '.join(_SIDES)}", f"{urlsplit(response.url).path}"
            )
        scribe.trades.append((*head, side, trade.price, trade.volume, None, None))
    return True


# -- candles of spot ----------------------------------------------------------------------------------------


def _begin_bars(stretch: Stretch) -> str:
    """Ask once: the venue tells the newest 720 bars, whatever one asks for."""
    minutes = _MINUTES[stretch.interval]
    since = max(stretch.from_us // 1_000_000 - minutes * 60, 0)
    return ask(f"https://api.kraken.com{BARS}", pair=name_pair(stretch.venue_symbol), interval=minutes, since=since)


def _follow_bars(stretch: Stretch, url: str, body: bytes) -> None:
    _read_bars(body)


def _read_bars(body: bytes) -> list[_BarRow]:
    said = _decode_body(body)
    if said.error:
        text = f"{BARS} answered {', '.join(said.error)}"
        raise LookupError(text) if _ABSENT in said.error else DecodeError(text)
    rows: list[Any] = next((value for name, value in said.result.items() if name != "last"), [])
    return msgspec.convert(rows, list[_BarRow], strict=False)


def decode_bars(scribe: Scribe, market: str, response: Response) -> bool:
    """Decode a page of candles of spot; a listing on the tape says which pair it is of."""
    query = read_query(response.url)
    interval = INTERVALS.get(int(query["interval"])) if query.get("interval", "").isdigit() else None
    if interval is None:
        raise DecodeError(f"address names no interval that is known: {response.url[:200]}", "url")
    index = scribe.stream("candle", market, _find_pair(scribe, market, query.get("pair", ""))).index
    append, length_us = scribe.plain("candle").append, int(query["interval"]) * 60_000_000
    for time, *prices, _, volume, trades in _read_bars(response.body):
        at = time * 1_000_000
        is_closed = response.received_ns // 1000 >= at + length_us or None
        head = (index, None, response.received_ns, response.offset)
        append((*head, interval, at, *prices, volume, None, None, trades, is_closed))
    return True


# -- futures ------------------------------------------------------------------------------------------------


def _begin_fills(stretch: Stretch) -> str:
    """Ask backwards, from just after what is wanted."""
    until = datetime.fromtimestamp(stretch.to_us // 1_000_000, UTC) + timedelta(
        microseconds=stretch.to_us % 1_000_000 + 1000
    )
    return ask(f"{_FUTURES}{FILLS}", symbol=stretch.venue_symbol, lastTime=_write_moment(until))


def _follow_fills(stretch: Stretch, url: str, body: bytes) -> str | None:
    fills = _read_fills(body)
    if not fills:
        return None
    oldest = min(fill.time for fill in fills)
    is_over = int(oldest.timestamp() * 1e6) < stretch.from_us
    return None if is_over else ask(url, lastTime=_write_moment(oldest))  # more may be of the same moment


def _write_moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _read_fills(body: bytes) -> list[_Fill]:
    said = _decode_fills(body)
    if said.result == "success":
        return said.history
    text = f"{FILLS} answered {said.result}: {said.error}"
    raise LookupError(text) if "symbol" in said.error.lower() else DecodeError(text)


def decode_fills(link: Link, response: Response) -> bool:
    """Decode a page of a futures' trades, newest first: `uid` is the stream's id."""
    symbol = read_query(response.url).get("symbol", "")
    index, unit, append = link.stream("trade", symbol), find_unit(link.find(symbol)), link.scribe.trades.append
    for fill in reversed(_read_fills(response.body)):
        at = round(fill.time.timestamp() * 1e6)
        amount, contracts = to_base(fill.size, fill.price, unit), None if unit is None else fill.size
        flag = None if fill.type == "fill" else fill.type
        head = (index, at, response.received_ns, response.offset, None, fill.uid)
        append((*head, fill.side, fill.price, amount, contracts, flag))
    return True


def _begin_charts(stretch: Stretch) -> str:
    where = f"{_FUTURES}{CHARTS}{stretch.venue_symbol}/{stretch.interval}"
    return ask(where, **{"from": stretch.from_us // 1_000_000, "to": stretch.to_us // 1_000_000})


def _follow_charts(stretch: Stretch, url: str, body: bytes) -> str | None:
    said = _decode_candles(body)
    return ask(url, **{"from": said.candles[-1].time // 1000 + 1}) if said.more_candles and said.candles else None


def decode_charts(link: Link, response: Response) -> bool:
    """Decode a page of a futures' candles: inverse ones count US dollars, whose coins nobody tells."""
    symbol, interval = urlsplit(response.url).path.removeprefix(CHARTS).split("/")
    unit, index = find_unit(link.find(symbol)), link.stream("candle", symbol)
    append, length_us = link.scribe.plain("candle").append, int(interval[:-1]) * _LENGTHS_US[interval[-1]]
    for bar in _decode_candles(response.body).candles:
        at = bar.time * 1000
        is_closed = response.received_ns // 1000 >= at + length_us or None
        size = bar.volume * (unit.size if unit else 1.0)
        base, quote = (None, size) if unit and unit.is_inverse else (size, None)
        head = (index, None, response.received_ns, response.offset)
        append((*head, interval, at, bar.open, bar.high, bar.low, bar.close, base, quote, None, None, is_closed))
    return True


_LENGTHS_US = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
