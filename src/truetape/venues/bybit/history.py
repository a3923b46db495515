"""How Bybit's past is asked for: its newest trades, candles and funding by time, newest first."""

from functools import partial
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, to_ms
from truetape.venues.bybit.stream import INTERVALS

_ROOT = "https://api.bybit.com/v5/market"
_ABSENT = 10001
"""Code of a request that makes no sense: usually a symbol that is gone."""
_BARS_MAX = 1000
_CHARGES_MAX = 200
_TOTALS_MAX = 200
_PERIODS = {"5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "1d": "1d"}


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = msgspec.field(name="list")


class _Body(msgspec.Struct):
    retCode: Id
    retMsg: str = ""
    result: msgspec.Raw = msgspec.Raw(b"{}")


class _Total(msgspec.Struct):
    timestamp: Id


class _Charge(msgspec.Struct):
    fundingRateTimestamp: Id


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_list = msgspec.json.Decoder(_List).decode
_decode_bar = msgspec.json.Decoder(list[str]).decode
_decode_charge = msgspec.json.Decoder(_Charge, strict=False).decode
_decode_total = msgspec.json.Decoder(_Total, strict=False).decode
_CODES = {ours: theirs for theirs, ours in INTERVALS.items()}


def list_backfills() -> tuple[Backfill, ...]:
    """Return how each product line's past is asked for."""
    found = []
    for market in ("spot", "linear", "inverse"):
        trades, bars = partial(_begin_trades, market), partial(_begin_bars, market)
        found.append(Backfill("trade", market, market, trades, _follow_trades, identity="text"))
        found.append(Backfill("candle", market, market, bars, _follow_bars, identity="number", intervals=tuple(_CODES)))
        if market != "spot":
            charges = partial(_begin_charges, market)
            found.append(Backfill("funding", market, market, charges, _follow_charges, identity="number"))
            totals = partial(_begin_totals, market)
            found.append(
                Backfill(
                    "open_interest", market, market, totals, _follow_totals, identity="number", kind="derivative",
                    intervals=tuple(_PERIODS),
                )
            )  # fmt: skip
    return tuple(found)


def _begin_trades(market: str, stretch: Stretch) -> str:
    """Ask for all that is told, which is not much: the venue has no page before it."""
    limit = 60 if market == "spot" else 1000
    return ask(f"{_ROOT}/recent-trade", category=market, symbol=stretch.venue_symbol, limit=limit)


def _follow_trades(stretch: Stretch, url: str, body: bytes) -> None:
    _read_items(url, body)


def _begin_bars(market: str, stretch: Stretch) -> str:
    start, end = to_ms(stretch.from_us), to_ms(stretch.to_us)
    name, interval = stretch.venue_symbol, _CODES[stretch.interval]
    return ask(f"{_ROOT}/kline", category=market, symbol=name, interval=interval, start=start, end=end, limit=_BARS_MAX)


def _follow_bars(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    return None if len(items) < _BARS_MAX else ask(url, end=int(_decode_bar(items[-1])[0]) - 1)


def _begin_charges(market: str, stretch: Stretch) -> str:
    start, end = to_ms(stretch.from_us), to_ms(stretch.to_us)
    where = f"{_ROOT}/funding/history"
    return ask(where, category=market, symbol=stretch.venue_symbol, startTime=start, endTime=end, limit=_CHARGES_MAX)


def _follow_charges(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    if len(items) < _CHARGES_MAX:
        return None
    return ask(url, endTime=_decode_charge(items[-1]).fundingRateTimestamp - 1)


def _begin_totals(market: str, stretch: Stretch) -> str:
    start, end, period = to_ms(stretch.from_us), to_ms(stretch.to_us), _PERIODS[stretch.interval]
    where, name = f"{_ROOT}/open-interest", stretch.venue_symbol
    return ask(
        where, category=market, symbol=name, intervalTime=period, startTime=start, endTime=end, limit=_TOTALS_MAX
    )


def _follow_totals(stretch: Stretch, url: str, body: bytes) -> str | None:
    items = _read_items(url, body)
    return None if len(items) < _TOTALS_MAX else ask(url, endTime=_decode_total(items[-1]).timestamp - 1)


def _read_items(url: str, body: bytes) -> list[msgspec.Raw]:
    """Return the rows of a page; errors come with status 200."""
    said = _decode_body(body)
    if said.retCode == 0:
        return _decode_list(said.result).items
    text = f"{urlsplit(url).path} answered {said.retCode}: {said.retMsg}"
    raise LookupError(text) if said.retCode == _ABSENT else DecodeError(text)
