"""Bybit's public files of its past: what they are called, and their lines as rows.

One gzipped CSV a day at `public.bybit.com`, of spot's early time one a month; nothing tells their checksums. What they are
called, their columns and that `trdMatchID` is the id of the streams are taken from descriptions of them, not from files.
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
from truetape.venues.bybit.link import SIDES, Link, Side, divide

HOST = "public.bybit.com"
CONTRACTS = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
"""Time in seconds with up to four decimals; size in USD on inverse, else in the base coin."""
SPOT = "id,timestamp,price,volume,side"
"""The id counts the lines of a file: it is not the id of the streams."""
_HEADERS = (SPOT, f"{SPOT},rpi", CONTRACTS, f"{CONTRACTS},RPI")
"""Columns until 2025-03, and since."""
_CONTRACT = re.compile(r"(?P<symbol>[A-Za-z0-9-]+?)(?P<when>\d{4}-\d\d-\d\d)\.csv(\.gz)?")
_COIN = re.compile(r"(?P<symbol>[A-Za-z0-9]+)(_(?P<day>\d{4}-\d\d-\d\d)|-(?P<month>\d{4}-\d\d))\.csv(\.gz)?")
_INVERSE = re.compile(r".+USD([A-Z]\d\d)?")
_MARKETS = ("spot", "linear", "inverse")


def is_bulk(url: str) -> bool:
    """Tell whether an answer is a block of lines of a file."""
    return urlsplit(url).hostname == HOST


# -- which files there are ----------------------------------------------------------------------------------


def list_files(market: str, channel: str, stretch: Stretch) -> tuple[BulkFile, ...]:
    """Return the files that hold a stretch; LookupError when the venue publishes none of it."""
    if channel != "trade" or market not in _MARKETS:
        raise LookupError(f"no files of {market} {channel} (allowed: trade of {', '.join(_MARKETS)})")
    first, last = find_day(stretch.from_us), find_day(stretch.to_us)
    files: list[BulkFile] = []
    for month in list_months(first, last):
        days = tuple(
            _make_file(market, stretch.venue_symbol, str(day)) for day in list_days(month) if first <= day <= last
        )
        if market == "spot":
            whole = _make_file(market, stretch.venue_symbol, f"{month:%Y-%m}")
            files.append(msgspec.structs.replace(whole, parts=days))
        else:
            files += days
    return tuple(files)


def read_path(path: str, market: str) -> BulkFile:
    """Tell what a file on disk is, by its name and the folders it is in; `market` where these do not say it."""
    name = path.rpartition("/")[2]
    if coin := _COIN.fullmatch(name):
        return _make_file("spot", coin["symbol"], coin["day"] or coin["month"])
    contract = _CONTRACT.fullmatch(name)
    if contract is None:
        raise LookupError("not a name of Bybit's files (allowed: BTCUSDT2025-01-01.csv.gz, BTCUSDT_2025-01-01.csv.gz)")
    told = market or ("inverse" if _INVERSE.fullmatch(contract["symbol"]) else "linear")
    if told not in ("linear", "inverse"):
        raise LookupError(f"market {told!r} of a file of contracts (allowed: linear, inverse)")
    return _make_file(told, contract["symbol"], contract["when"])


def _make_file(market: str, symbol: str, when: str) -> BulkFile:
    if market == "spot":
        name = f"spot/{symbol}/{symbol}{'_' if is_day(when) else '-'}{when}"
    else:
        name = f"trading/{symbol}/{symbol}{when}"
    held = Backfill("trade", market, market, never, never, "text", is_numbered_apart=market == "spot")
    return BulkFile(f"https://{HOST}/{name}.csv.gz", held, symbol, *measure(when))


# -- their lines --------------------------------------------------------------------------------------------

_FILL = tuple[str, str, Side, Size, Size, str, str, str, str, str]
_SHAPES: dict[int, Any] = {
    5: list[tuple[Id, Millis, Size, Size, str]],
    6: list[tuple[Id, Millis, Size, Size, str, Id]],
    10: list[_FILL],
    11: list[tuple[str, str, Side, Size, Size, str, str, str, str, str, Id]],
}
"""Cells of a line → what they are, in the order of the headers."""
_SECONDS = re.compile(r"(\d{1,10})(?:\.(\d{1,6})\d*)?")
_WAYS = ("buy", "sell")


def read_lines(link: Link, response: Response) -> bool:
    """Decode a block of a file's lines; its address says which file."""
    file = read_path(urlsplit(response.url).path, link.market)
    rows = _convert(response.body)
    if link.market == "spot":
        _read_coins(link, file, rows, response)
    else:
        _read_contracts(link, file, rows, response)
    return True


def _convert(body: bytes) -> list[Any]:
    """Return lines as rows; msgspec.ValidationError names the line from 0 and the column."""
    lines = split_lines(body, _HEADERS.__contains__)
    shape = _SHAPES.get(len(lines[0])) if lines else list[Any]
    if shape is None:
        raise DecodeError(f"a line has {len(lines[0])} cells (allowed: {', '.join(map(str, _SHAPES))})")
    return list(msgspec.convert(lines, shape, strict=False))


def _read_contracts(link: Link, file: BulkFile, rows: list[Any], response: Response) -> None:
    index, append = link.index("trade", file.venue_symbol), link.scribe.trades.append
    received, offset, is_inverse = response.received_ns, response.offset, link.is_inverse
    for time, symbol, side, size, price, _, text, _, _, _, *is_rpi in rows:
        if symbol != file.venue_symbol:
            raise DecodeError(f"a line of {symbol[:50]!r} in a file of {file.venue_symbol}")
        amount, contracts = (divide(size, price), size) if is_inverse else (size, None)
        flag = "rpi" if any(is_rpi) else None
        append((index, _read_time(time), received, offset, None, text, SIDES[side], price, amount, contracts, flag))


def _read_coins(link: Link, file: BulkFile, rows: list[Any], response: Response) -> None:
    """Read lines of spot: numbered within their file, so that the file's name makes an id of the number."""
    index, append = link.index("trade", file.venue_symbol), link.scribe.trades.append
    when = file.name.removesuffix(".csv.gz")[len(file.venue_symbol) + 1 :]
    for number, time, price, size, side, *is_rpi in rows:
        if side not in _WAYS:
            raise DecodeError(f"side {side[:20]!r} (allowed: {', '.join(_WAYS)})")
        head = (index, time * 1000, response.received_ns, response.offset, None, f"{when}/{number}")
        append((*head, side, price, size, None, "rpi" if any(is_rpi) else None))


def _read_time(text: str) -> int:
    """Return the microseconds of seconds with decimals."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise DecodeError(f"{text[:30]!r} is no time (allowed: seconds with decimals)")
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def check_lines(url: str, body: bytes) -> None:
    """Look whether lines are of the file that an address names, and have columns that are known."""
    header = body.partition(b"\n")[0].rstrip(b"\r").decode("ascii", "replace")
    wanted = SPOT if "/spot/" in url else CONTRACTS
    if header not in _HEADERS or not header.startswith(wanted):
        raise DecodeError(f"its columns are {header[:200]!r} (allowed: {wanted})")
    _convert(body)


BULK = Bulk("bybit-bulk", ("trade",), list_files, read_path, check_lines)
