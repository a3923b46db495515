"""Files that venues publish of their past: their days and months, and their lines as cells."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from truetape.errors import DecodeError

DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def never(*_: object) -> Any:
    """Stand for what asks by pages, which files are not."""
    raise AssertionError("files are not asked for by pages")


def find_day(at_us: int) -> date:
    """Return the day of UTC that a microsecond lies in."""
    return datetime.fromtimestamp(at_us // 10**6, UTC).date()


def list_months(first: date, last: date) -> Iterator[date]:
    """Yield the first days of the months from one day to another."""
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = _find_next(month)


def list_days(month: date) -> list[date]:
    """Return the days of a month."""
    return [month + timedelta(days=i) for i in range((_find_next(month) - month).days)]


def _find_next(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def is_day(when: str) -> bool:
    """Tell `2025-01-01` from `2025-01`."""
    return _DAY.fullmatch(when) is not None


def measure(when: str) -> tuple[int, int]:
    """Return the first and the last microsecond of a day or month; LookupError when there is no such one."""
    try:
        begin = date.fromisoformat(when if is_day(when) else f"{when}-01")
    except ValueError as error:
        raise LookupError(f"{when} is no day: {error}") from error
    from_us = (begin.toordinal() - _EPOCH) * DAY_US
    return from_us, from_us + (1 if is_day(when) else len(list_days(begin))) * DAY_US - 1


def split_lines(body: bytes, is_header: Callable[[str], bool]) -> list[list[str]]:
    """Return the cells of each line; a header is left out, empty lines mean nothing."""
    try:
        lines = body.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DecodeError(f"line is not ASCII: {error}") from error
    if lines and is_header(lines[0]):
        del lines[0]
    return [line.split(",") for line in lines if line]
