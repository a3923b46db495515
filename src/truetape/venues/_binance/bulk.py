"""Binance's public files of its past: what they are called, and their lines as rows.

One zip of one CSV a day or month, at `data.binance.vision`, with a `.CHECKSUM` beside it; form and columns as the venue's
repository binance-public-data documents them. Times of spot are microseconds in files of 2025-01-01 and later, else milliseconds.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Moment, Real, Size
from truetape.events.rows import Response
from truetape.venues._binance.responses import Desk, Query
from truetape.venues._binance.writers import convert, to_us
from truetape.venues._contract import Backfill, Bulk, BulkFile, Stretch
from truetape.venues._files import find_day, is_day, list_days, list_months, measure, never, split_lines

HOST = "data.binance.vision"
_ROOT = f"https://{HOST}/data"
_FOLDERS = {"spot": "spot", "usdm": "futures/um", "coinm": "futures/cm"}
MICROSECONDS_SINCE = date(2025, 1, 1)
"""Files of spot from this day on count microseconds; the size of a number tells which it is, too."""
_MONTHLY, _DAILY = "monthly", "daily"


class _Dataset(NamedTuple):
    """One of the venue's kinds of files."""

    channel: str
    kind: str
    identity: Any
    feed_group: str
    """On USD-M, the half of the venue that streams the same."""
    markets: tuple[str, ...]
    periods: tuple[str, ...]
    product: str = ""


_ALL, _FUTURES, _BOTH = ("spot", "usdm", "coinm"), ("usdm", "coinm"), (_MONTHLY, _DAILY)
DATASETS = {
    "trades": _Dataset("trade", "trade", "step", "public", _ALL, _BOTH),
    "aggTrades": _Dataset("aggregate_trade", "trade", "step", "market", _ALL, _BOTH, "aggregate"),
    "klines": _Dataset("candle", "candle", "number", "market", _ALL, _BOTH),
    "fundingRate": _Dataset("funding", "funding", "number", "market", _FUTURES, (_MONTHLY,)),
    "bookTicker": _Dataset("quote", "quote", "number", "public", _FUTURES, _BOTH),
    "metrics": _Dataset("open_interest", "derivative", "number", "market", _FUTURES, (_DAILY,)),
}
"""The venue's names of files → what they hold."""
_NAME = re.compile(r"(?P<symbol>[A-Z0-9_]+)-(?P<what>[A-Za-z0-9]+)-(?P<when>\d{4}-\d\d(-\d\d)?)\.(zip|csv)")
_MONTH = "1mo"
"""What the bar of a month, 1M, is called in names of files."""


def is_bulk(url: str) -> bool:
    """Tell whether an answer is a block of lines of a file."""
    return urlsplit(url).hostname == HOST


def find_market(url: str) -> str:
    """Tell the market of a file's address."""
    for market, folder in _FOLDERS.items():
        if f"/data/{folder}/" in urlsplit(url).path:
            return market
    raise DecodeError(f"address of no known market: {url[:200]}")


# -- which files there are ----------------------------------------------------------------------------------


def list_files(market: str, channel: str, stretch: Stretch) -> tuple[BulkFile, ...]:
    """Return the files that hold a stretch; LookupError when the venue publishes none of it."""
    found = [name for name, one in DATASETS.items() if one.channel == channel and market in one.markets]
    if not found:
        told = [one.channel for one in DATASETS.values() if market in one.markets]
        raise LookupError(f"no files of {market} {channel} (allowed: {', '.join(told)})")
    (what,) = found
    first, last = find_day(stretch.from_us), find_day(stretch.to_us)
    files: list[BulkFile] = []
    for month in list_months(first, last):
        days = tuple(
            _make_file(market, what, stretch.venue_symbol, str(day), stretch.interval)
            for day in list_days(month)
            if first <= day <= last and _DAILY in DATASETS[what].periods
        )
        whole = _make_file(market, what, stretch.venue_symbol, f"{month:%Y-%m}", stretch.interval)
        is_whole = first <= month and list_days(month)[-1] <= last
        if _MONTHLY in DATASETS[what].periods and (is_whole or not days):
            files.append(msgspec.structs.replace(whole, parts=days))
        else:
            files += days
    return tuple(files)


def read_path(path: str, market: str) -> BulkFile:
    """Tell what a file on disk is, by its name and the folders it is in; `market` where no folder says it."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        raise LookupError(
            "not a name of Binance's files (allowed: SYMBOL-trades-2025-01-01.zip, SYMBOL-1m-2025-01.zip)"
        )
    said = match["what"]
    what = said if said in DATASETS else "klines"
    known = [name for name, folder in _FOLDERS.items() if f"/{folder}/" in f"/{path}"]
    market = market or next(iter(known), "") or ("coinm" if "_" in match["symbol"] else "")
    if not market and DATASETS[what].markets == _FUTURES:
        market = "usdm"
    if market not in DATASETS[what].markets:
        raise LookupError(
            f"nothing says its market; name it with --feed (allowed: {', '.join(DATASETS[what].markets)})"
        )
    if what == "klines" and not re.fullmatch(r"\d+(s|m|h|d|w|mo)", said):
        raise LookupError(f"{said!r} is no kind of file (allowed: {', '.join(DATASETS)} or an interval)")
    period = _DAILY if is_day(match["when"]) else _MONTHLY
    if period not in DATASETS[what].periods:
        raise LookupError(f"{what} is published {DATASETS[what].periods[0]} only, not {period}")
    return _make_file(market, what, match["symbol"], match["when"], said if what == "klines" else "")


def _make_file(market: str, what: str, symbol: str, when: str, interval: str) -> BulkFile:
    dataset, period = DATASETS[what], _DAILY if is_day(when) else _MONTHLY
    spelled = _MONTH if interval == "1M" else interval
    folder = f"{_ROOT}/{_FOLDERS[market]}/{period}/{what}/{symbol}"
    place = f"{folder}/{spelled}/{symbol}-{spelled}" if what == "klines" else f"{folder}/{symbol}-{what}"
    feed = f"usdm-{dataset.feed_group}" if market == "usdm" else market
    held = Backfill(
        dataset.channel, market, feed, never, never, dataset.identity, kind=dataset.kind, product=dataset.product
    )
    told = "1M" if interval == _MONTH else interval
    return BulkFile(f"{place}-{when}.zip", held, symbol, *measure(when), told)


# -- their lines --------------------------------------------------------------------------------------------

_SPOT_TRADE = tuple[Id, Size, Size, Size, Moment, bool, bool]
_TRADE = tuple[Id, Size, Size, Size, Moment, bool]
"""id, price, qty, quoteQty (COIN-M: baseQty), time, isBuyerMaker; spot has isBestMatch after it."""
_SPOT_AGGREGATE = tuple[Id, Size, Size, Id, Id, Moment, bool, bool]
_AGGREGATE = tuple[Id, Size, Size, Id, Id, Moment, bool]
"""id, price, qty, first and last trade's id, time, isBuyerMaker."""
_BAR = tuple[Moment, Size, Size, Size, Size, Size, Moment, Size, Id, Size, Size, str]
"""As klines of the API; COIN-M has contracts for volume and the base asset for quote volume."""
_CHARGE = tuple[Moment, Size, Real]
"""calc_time, funding_interval_hours, last_funding_rate."""
_QUOTE = tuple[Id, Size, Size, Size, Size, Moment, Moment]
"""update_id, bid price and qty, ask price and qty, transaction_time, event_time."""

_METRIC = tuple[datetime, str, Size, str, str, str, str, str]
"""create_time (`2025-01-01 00:05:00`, UTC), symbol, sum_open_interest, its value, and four ratios, which may be empty."""


_HEADERS = ("id,", "agg_trade_id,", "open_time,", "calc_time,", "update_id,", "create_time,")
"""What the header of each kind of file begins with."""


class _Shapes(NamedTuple):
    spot: Any
    futures: Any


_SHAPES = {
    "trades": _Shapes(list[_SPOT_TRADE], list[_TRADE]),
    "aggTrades": _Shapes(list[_SPOT_AGGREGATE], list[_AGGREGATE]),
    "klines": _Shapes(list[_BAR], list[_BAR]),
    "fundingRate": _Shapes(None, list[_CHARGE]),
    "bookTicker": _Shapes(None, list[_QUOTE]),
    "metrics": _Shapes(None, list[_METRIC]),
}


class _Block(Query):
    """Lines of one file, and what its address says."""

    def __init__(self, desk: Desk, response: Response) -> None:
        self.desk = desk
        self.response = response
        self.market = find_market(response.url)
        path = urlsplit(response.url).path.split("/")
        name, self.endpoint = path[-1], _find_dataset(response.url)
        self.parameters = {"symbol": name.partition("-")[0]}
        if self.endpoint == "klines":
            self.parameters["interval"] = "1M" if path[-2] == _MONTH else path[-2]

    def rows(self) -> list[Any]:
        """Return the lines as rows."""
        return _convert(self.endpoint, self.market, self.response.body)


def _find_dataset(url: str) -> str:
    for part in urlsplit(url).path.split("/"):
        if part in DATASETS:
            return part
    raise DecodeError(f"file of no known kind: {url[:200]} (allowed: {', '.join(DATASETS)})")


def _is_header(line: str) -> bool:
    """Tell the first line of a file of futures."""
    return line.startswith(_HEADERS)


def _convert(what: str, market: str, body: bytes) -> list[Any]:
    """Return lines as rows; msgspec.ValidationError names the line from 0 and the column."""
    shapes = _SHAPES[what]
    return list(
        msgspec.convert(
            split_lines(body, _is_header), shapes.spot if market == "spot" else shapes.futures, strict=False
        )
    )


def read_lines(desk: Desk, response: Response) -> bool:
    """Decode a block of a file's lines; its address says which file."""
    block = _Block(desk, response)
    _READERS[block.endpoint](block)
    return True


def _read_trades(block: _Block) -> None:
    place = block.place(group="public")
    append, index, unit, at = place.scribe.trades.append, place.number("trade"), place.unit, block.at
    for number, price, size, _, time, is_buyer_maker, *_ in block.rows():
        amount, contracts = (convert(size, price, unit), size) if unit else (size, None)
        side = "sell" if is_buyer_maker else "buy"
        append((index, to_us(time), *at, number, None, side, price, amount, contracts, None))


def _read_aggregates(block: _Block) -> None:
    place = block.place()
    append, index, unit, at = place.scribe.trades.append, place.number("trade", "aggregate"), place.unit, block.at
    for number, price, size, _, _, time, is_buyer_maker, *_ in block.rows():
        amount, contracts = (convert(size, price, unit), size) if unit else (size, None)
        side = "sell" if is_buyer_maker else "buy"
        append((index, to_us(time), *at, number, None, side, price, amount, contracts, "aggregate"))


def _read_bars(block: _Block) -> None:
    place, interval = block.place(), block.parameters["interval"]
    append, index, unit = place.scribe.plain("candle").append, place.number("candle"), place.unit
    received_us = block.response.received_ns // 1000
    for opened, *prices, volume, closed, quote_volume, trades, taker, taker_quote, _ in block.rows():
        volumes = (volume, quote_volume, taker) if unit is None else (quote_volume, volume * unit.size, taker_quote)
        is_closed = received_us > (to_us(closed) or 0) or None
        append((index, None, *block.at, interval, to_us(opened) or 0, *prices, *volumes, trades, is_closed))


def _read_charges(block: _Block) -> None:
    place = block.place()
    append, index = place.scribe.plain("funding").append, place.number("funding")
    for time, hours, rate in block.rows():
        at = to_us(time)
        append((index, at, *block.at, rate, at, hours, True))


def _read_quotes(block: _Block) -> None:
    place = block.place(group="public")
    append, index, unit, at = place.scribe.quotes.append, place.number("quote"), place.unit, block.at
    for number, bid, bids, ask, asks, time, _ in block.rows():
        sizes = [convert(size or None, price or None, unit) if unit else size or None
                 for size, price in ((bids, bid), (asks, ask))]  # fmt: skip
        append((index, to_us(time), *at, bid or None, sizes[0], ask or None, sizes[1], number))


def _read_metrics(block: _Block) -> None:
    """Open interest each five minutes; ratios of accounts are on the tape only."""
    place = block.place()
    append, index, unit = place.scribe.plain("derivative").append, place.number("derivative"), place.unit
    for moment, _, total, *_ in block.rows():
        at = int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000
        amount, contracts = (None, total) if unit else (total, None)
        append((index, at, *block.at, None, None, None, amount, contracts, *(None,) * 9))


_READERS: dict[str, Callable[[_Block], None]] = {
    "trades": _read_trades,
    "aggTrades": _read_aggregates,
    "klines": _read_bars,
    "fundingRate": _read_charges,
    "bookTicker": _read_quotes,
    "metrics": _read_metrics,
}
"""Kind of file → its rule."""


def check_lines(url: str, body: bytes) -> None:
    """Look whether lines are of the file that an address names."""
    _convert(_find_dataset(url), find_market(url), body)


BULK = Bulk(
    "binance-bulk", tuple(one.channel for one in DATASETS.values()), list_files, read_path, check_lines, ".CHECKSUM"
)
