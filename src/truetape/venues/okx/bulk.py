"""OKX's public files of its past: what they are called, and their lines as rows.

One zip of one CSV a day and instrument, at `static.okx.com`, days being those of Hong Kong; nothing tells their checksums. The
address and the days are those of the venue's documentation (Get historical market data); the columns, and that ids are those of
the API and step by one, are taken from descriptions of the files, not from files.
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
from truetape.venues.okx.trading import Side

HOST = "static.okx.com"
_ROOT = f"https://{HOST}/cdn/okex/traderecords/trades"
SHIFT_US = 8 * 3_600_000_000
"""A day begins so much earlier than one of UTC."""
COLUMNS = ("instrument_name", "trade_id", "side", "price", "size", "created_time")
OLD_COLUMNS = ("trade_id", "side", "size", "price", "created_time")
"""Those of older files, which have a Chinese word beside each name: the size stands before the price."""
_FORMS = (OLD_COLUMNS, COLUMNS, (*COLUMNS, "source"))
_NAME = re.compile(r"(?P<symbol>[A-Z0-9]+-[A-Z0-9.-]+?)-trades-(?P<when>\d{4}-\d\d(-\d\d)?)\.(zip|csv)")


def is_bulk(url: str) -> bool:
    """Tell whether an answer is a block of lines of a file."""
    return urlsplit(url).hostname == HOST


# -- which files there are ----------------------------------------------------------------------------------


def list_files(market: str, channel: str, stretch: Stretch) -> tuple[BulkFile, ...]:
    """Return the files that hold a stretch; LookupError when the venue publishes none of it."""
    if channel != "trade":
        raise LookupError(f"no files of {channel} (allowed: trade)")
    first, last = find_day(stretch.from_us + SHIFT_US), find_day(stretch.to_us + SHIFT_US)
    return tuple(
        _make_file(stretch.venue_symbol, str(day))
        for month in list_months(first, last)
        for day in list_days(month)
        if first <= day <= last
    )


def read_path(path: str, market: str) -> BulkFile:
    """Tell what a file on disk is, by its name."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        raise LookupError("not a name of OKX's files (allowed: BTC-USDT-SWAP-trades-2025-01-01.zip)")
    if market not in ("", MARKET):
        raise LookupError(f"market {market!r} (allowed: {MARKET}, for one name is one instrument)")
    return _make_file(match["symbol"], match["when"])


def _make_file(symbol: str, when: str) -> BulkFile:
    from_us, to_us = (at - SHIFT_US for at in measure(when))
    held = Backfill("trade", MARKET, "public", never, never, "number", is_merged=True)
    folder = f"{'daily' if is_day(when) else 'monthly'}/{when.replace('-', '')}"
    return BulkFile(f"{_ROOT}/{folder}/{symbol}-trades-{when}.zip", held, symbol, from_us, to_us)


# -- their lines --------------------------------------------------------------------------------------------

_SHAPES: dict[int, Any] = {
    5: list[tuple[Id, Side, Size, Size, Millis]],
    6: list[tuple[str, Id, Side, Size, Size, Millis]],
    7: list[tuple[str, Id, Side, Size, Size, Millis, str]],
}
"""Cells of a line → what they are."""


def read_lines(link: Link, response: Response) -> bool:
    """Decode a block of a file's lines; its address says which file."""
    name = read_path(urlsplit(response.url).path, "").venue_symbol
    index, unit, append = link.index("trade", name), find_unit(link.find(name)), link.scribe.trades.append
    for row in _convert(response.body):
        if len(row) == len(OLD_COLUMNS):
            number, side, size, price, time = row
        else:
            said, number, side, price, size, time, *_ = row
            if said != name:
                raise DecodeError(f"a line of {said[:50]!r} in a file of {name}")
        amount, contracts = convert_size(unit, price, size)
        head = (index, time * 1000, response.received_ns, response.offset)
        append((*head, number, None, side, price, amount, contracts, None))
    return True


def _convert(body: bytes) -> list[Any]:
    """Return lines as rows; msgspec.ValidationError names the line from 0 and the column."""
    header, _, rest = body.partition(b"\n")
    lines = split_lines(rest if _read_header(header) else body, lambda line: False)
    shape = _SHAPES.get(len(lines[0])) if lines else list[Any]
    if shape is None:
        raise DecodeError(f"a line has {len(lines[0])} cells (allowed: {', '.join(map(str, _SHAPES))})")
    return list(msgspec.convert(lines, shape, strict=False))


def _read_header(line: bytes) -> tuple[str, ...]:
    """Return the English names of the columns, as one of the known forms; empty when the line is none of them."""
    cells = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r").split(b",")
    names = tuple(cell.partition(b"/")[0].decode("ascii", "replace") for cell in cells)
    return names if names in _FORMS else ()


def check_lines(url: str, body: bytes) -> None:
    """Look whether lines are of the file that an address names, and have columns that are known."""
    header = body.partition(b"\n")[0]
    if not _read_header(header):
        told = " or ".join(",".join(form) for form in _FORMS)
        raise DecodeError(f"its columns are {header[:200].decode('ascii', 'replace')!r} (allowed: {told})")
    _convert(body)


BULK = Bulk("okx-bulk", ("trade",), list_files, read_path, check_lines)
