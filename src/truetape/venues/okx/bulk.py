"""OKX's public files of its past: what they are called, and their lines as rows.

One zip of one CSV a day and instrument, of bars of a minute also one a month, at `static.okx.com`, days and months being those
of Hong Kong; nothing tells their checksums. The address of trades, the days, and which kinds there are by the day and the month
are those of the venue's documentation (Get historical market data); the address of bars, the columns, and that ids are those
of the API and step by one, are taken from descriptions of the files, not from files. Files of funding rates are left out:
their times are off those that the API tells by up to some seconds, so that what is in both would be there twice.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Millis, Size
from truetape.events.rows import Response
from truetape.venues._contract import Backfill, Bulk, BulkFile, Stretch
from truetape.venues._files import find_day, is_day, list_days, list_months, measure, never, split_lines
from truetape.venues.okx.instrument import MARKET, convert_size, find_unit
from truetape.venues.okx.link import Link
from truetape.venues.okx.state import read_bar
from truetape.venues.okx.trading import Side

HOST = "static.okx.com"
_ROOT = f"https://{HOST}/cdn/okex/traderecords"
SHIFT_US = 8 * 3_600_000_000
"""A day begins so much earlier than one of UTC."""
COLUMNS = ("instrument_name", "trade_id", "side", "price", "size", "created_time")
OLD_COLUMNS = ("trade_id", "side", "size", "price", "created_time")
"""Those of older files, which have a Chinese word beside each name: the size stands before the price."""
BAR_COLUMNS = ("instrument_name", "open", "high", "low", "close", "vol", "vol_ccy", "vol_quote", "open_time", "confirm")
INTERVAL = "1m"
"""Of all bars."""
_FOLDERS = {"trade": "trades", "candle": "candlesticks"}
"""Channel → what the venue calls its files."""
_CHANNELS = {name: channel for channel, name in _FOLDERS.items()}
_FORMS = {"trade": (OLD_COLUMNS, COLUMNS, (*COLUMNS, "source")), "candle": (BAR_COLUMNS,)}
_NAME = re.compile(
    r"(?P<symbol>[A-Z0-9]+-[A-Z0-9.-]+?)-(?P<what>trades|candlesticks)-(?P<when>\d{4}-\d\d(-\d\d)?)\.(zip|csv)"
)


def is_bulk(url: str) -> bool:
    """Tell whether an answer is a block of lines of a file."""
    return urlsplit(url).hostname == HOST


# -- which files there are ----------------------------------------------------------------------------------


def list_files(market: str, channel: str, stretch: Stretch) -> tuple[BulkFile, ...]:
    """Return the files that hold a stretch; LookupError when the venue publishes none of it."""
    if channel not in _FOLDERS:
        raise LookupError(f"no files of {channel} (allowed: {', '.join(_FOLDERS)})")
    if channel == "candle" and stretch.interval not in ("", INTERVAL):
        raise LookupError(f"no files of bars of {stretch.interval} (allowed: {INTERVAL})")
    first, last = find_day(stretch.from_us + SHIFT_US), find_day(stretch.to_us + SHIFT_US)
    files: list[BulkFile] = []
    for month in list_months(first, last):
        days = tuple(
            _make_file(channel, stretch.venue_symbol, str(day)) for day in list_days(month) if first <= day <= last
        )
        if channel == "candle" and len(days) == len(list_days(month)):
            whole = _make_file(channel, stretch.venue_symbol, f"{month:%Y-%m}")
            files.append(msgspec.structs.replace(whole, parts=days))
        else:
            files += days
    return tuple(files)


def read_path(path: str, market: str) -> BulkFile:
    """Tell what a file on disk is, by its name."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        raise LookupError(
            "not a name of OKX's files (allowed: BTC-USDT-SWAP-trades-2025-01-01.zip, BTC-USDT-candlesticks-2025-01.zip)"
        )
    if market not in ("", MARKET):
        raise LookupError(f"market {market!r} (allowed: {MARKET}, for one name is one instrument)")
    return _make_file(_CHANNELS[match["what"]], match["symbol"], match["when"])


def _make_file(channel: str, symbol: str, when: str) -> BulkFile:
    from_us, to_us = (at - SHIFT_US for at in measure(when))
    is_trade, what = channel == "trade", _FOLDERS[channel]
    held = Backfill(channel, MARKET, "public" if is_trade else "business", never, never, "number", is_merged=is_trade)
    folder = f"{what}/{'daily' if is_day(when) else 'monthly'}/{when.replace('-', '')}"
    name = f"{symbol}-{what}-{when}.zip"
    return BulkFile(f"{_ROOT}/{folder}/{name}", held, symbol, from_us, to_us, "" if is_trade else INTERVAL)


# -- their lines --------------------------------------------------------------------------------------------

_SHAPES: dict[int, Any] = {
    5: list[tuple[Id, Side, Size, Size, Millis]],
    6: list[tuple[str, Id, Side, Size, Size, Millis]],
    7: list[tuple[str, Id, Side, Size, Size, Millis, str]],
}
"""Cells of a line → what they are."""


def read_lines(link: Link, response: Response) -> bool:
    """Decode a block of a file's lines; its address says which file."""
    file = read_path(urlsplit(response.url).path, "")
    read = _read_trades if file.backfill.channel == "trade" else _read_bars
    read(link, response, file.venue_symbol)
    return True


def _read_trades(link: Link, response: Response, name: str) -> None:
    index, unit, append = link.index("trade", name), find_unit(link.find(name)), link.scribe.trades.append
    for row in _convert(response.body):
        if len(row) == len(OLD_COLUMNS):
            number, side, size, price, time = row
        else:
            said, number, side, price, size, time, *_ = row
            _check_symbol(said, name)
        amount, contracts = convert_size(unit, price, size)
        head = (index, time * 1000, response.received_ns, response.offset)
        append((*head, number, None, side, price, amount, contracts, None))


def _read_bars(link: Link, response: Response, name: str) -> None:
    """Read bars, whose columns are those of the API, in another order."""
    head = (link.index("candle", name), None, response.received_ns, response.offset)
    append, is_spot = link.scribe.plain("candle").append, link.find(name).market_type == "spot"
    for cells in _split(response.body, "candle"):
        if len(cells) != len(BAR_COLUMNS):
            raise DecodeError(f"a line has {len(cells)} cells (allowed: {len(BAR_COLUMNS)})")
        said, *numbers, open_time, is_closed = cells
        _check_symbol(said, name)
        if not all((*numbers[:4], open_time)) or is_closed not in ("0", "1"):
            raise DecodeError(f"a bar without a price or a time, or neither open nor closed: {','.join(cells)[:100]}")
        append((*head, *read_bar([open_time, *numbers, is_closed], INTERVAL, is_spot)))


def _check_symbol(said: str, name: str) -> None:
    if said != name:
        raise DecodeError(f"a line of {said[:50]!r} in a file of {name}")


def _split(body: bytes, channel: str) -> list[list[str]]:
    header, _, rest = body.partition(b"\n")
    return split_lines(rest if _read_header(header, channel) else body, lambda line: False)


def _convert(body: bytes) -> list[Any]:
    """Return lines as rows; msgspec.ValidationError names the line from 0 and the column."""
    lines = _split(body, "trade")
    shape = _SHAPES.get(len(lines[0])) if lines else list[Any]
    if shape is None:
        raise DecodeError(f"a line has {len(lines[0])} cells (allowed: {', '.join(map(str, _SHAPES))})")
    return list(msgspec.convert(lines, shape, strict=False))


def _read_header(line: bytes, channel: str) -> tuple[str, ...]:
    """Return the English names of the columns, as one of the known forms; empty when the line is none of them."""
    cells = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r").split(b",")
    names = tuple(cell.partition(b"/")[0].decode("ascii", "replace") for cell in cells)
    return names if names in _FORMS[channel] else ()


def check_lines(url: str, body: bytes) -> None:
    """Look whether lines are of the file that an address names, and have columns that are known."""
    header = body.partition(b"\n")[0]
    channel = read_path(urlsplit(url).path, "").backfill.channel
    if not _read_header(header, channel):
        told = " or ".join(",".join(form) for form in _FORMS[channel])
        raise DecodeError(f"its columns are {header[:200].decode('ascii', 'replace')!r} (allowed: {told})")
    if channel == "trade":
        _convert(body)


BULK = Bulk("okx-bulk", tuple(_FOLDERS), list_files, read_path, check_lines)
