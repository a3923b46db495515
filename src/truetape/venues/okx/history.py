"""How OKX's past is asked for: trades by id, candles and funding by time, newest first."""

from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, to_ms
from truetape.venues.okx.instrument import MARKET

_ROOT = "https://www.okx.com/api/v5"
PAGE = 100
_PERIODS = {"5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "2h": "2H", "4h": "4H"}
_ABSENT = 51001
"""Code of an instrument that does not exist."""
_BY_TIME = "2"
"""`type` of a page of trades before a time; without it, `after` is an id."""


class _Body(msgspec.Struct):
    code: Id
    msg: str = ""
    data: list[msgspec.Raw] = []


class _Trade(msgspec.Struct):
    tradeId: Id
    ts: Id


class _Charge(msgspec.Struct):
    fundingTime: Id


_decode_body = msgspec.json.Decoder(_Body, strict=False).decode
_decode_trade = msgspec.json.Decoder(_Trade, strict=False).decode
_decode_bar = msgspec.json.Decoder(list[str]).decode
_decode_charge = msgspec.json.Decoder(_Charge, strict=False).decode


def list_backfills() -> tuple[Backfill, ...]:
    """Return how the past is asked for; so many requests of one kind within two seconds."""
    return (
        Backfill(
            "trade", MARKET, "public", _begin_trades, _follow_trades, identity="number", allowance=(18, 2.0),
            is_merged=True,
        ),
        Backfill("candle", MARKET, "business", _begin_bars, _follow_bars, identity="number", allowance=(18, 2.0)),
        Backfill("funding", MARKET, "public", _begin_charges, _follow_charges, identity="number", allowance=(8, 2.0)),
        Backfill(
            "open_interest", MARKET, "public", _begin_totals, _follow_totals, identity="number", allowance=(8, 2.0),
            kind="derivative", intervals=tuple(_PERIODS),
        ),
    )  # fmt: skip


def _begin_trades(stretch: Stretch) -> str:
    """Ask backwards, from the row after what is missing: it may hold fills of its own."""
    where, name = f"{_ROOT}/market/history-trades", stretch.venue_symbol
    if stretch.high is None:
        return ask(where, instId=name, type=_BY_TIME, after=to_ms(stretch.to_us) + 1, limit=PAGE)
    return ask(where, instId=name, after=stretch.high + 2, limit=PAGE)


def _follow_trades(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    if not items:
        return None
    oldest = _decode_trade(items[-1])
    is_known = stretch.low is not None and oldest.tradeId < stretch.low
    is_before = stretch.low is None and oldest.ts * 1000 < stretch.from_us
    return None if is_known or is_before else ask(url, type=None, after=oldest.tradeId)


def _begin_bars(stretch: Stretch) -> str:
    start, end = to_ms(stretch.from_us) - 1, to_ms(stretch.to_us) + 1
    bar = stretch.interval if stretch.interval.endswith("m") else stretch.interval.upper()
    bar = bar + "utc" if bar.endswith("D") else bar  # days of UTC, not of Hong Kong
    where = f"{_ROOT}/market/history-candles"
    return ask(where, instId=stretch.venue_symbol, bar=bar, after=end, before=start, limit=PAGE)


def _follow_bars(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    return None if len(items) < PAGE else ask(url, after=int(_decode_bar(items[-1])[0]))


def _begin_charges(stretch: Stretch) -> str:
    start, end = to_ms(stretch.from_us) - 1, to_ms(stretch.to_us) + 1
    where = f"{_ROOT}/public/funding-rate-history"
    return ask(where, instId=stretch.venue_symbol, after=end, before=start, limit=PAGE)


def _follow_charges(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    return None if len(items) < PAGE else ask(url, after=_decode_charge(items[-1]).fundingTime)


def _begin_totals(stretch: Stretch) -> str:
    """Ask backwards; the venue keeps the newest 1440 of each period."""
    start, end, period = to_ms(stretch.from_us) - 1, to_ms(stretch.to_us) + 1, _PERIODS[stretch.interval]
    where = f"{_ROOT}/rubik/stat/contracts/open-interest-history"
    return ask(where, instId=stretch.venue_symbol, period=period, begin=start, end=end, limit=PAGE)


def _follow_totals(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    return None if len(items) < PAGE else ask(url, end=int(_decode_bar(items[-1])[0]))


def _read_items(url: str, body: bytes) -> list[msgspec.Raw]:
    """Return the rows of a page; errors may come with status 200."""
    said = _decode_body(body)
    if said.code == 0:
        return said.data
    text = f"{urlsplit(url).path} answered {said.code}: {said.msg}"
    raise LookupError(text) if said.code == _ABSENT else DecodeError(text)
