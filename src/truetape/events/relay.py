"""A relay of Tardis' tables over HTTP: what an address asks for, and the rows of an answer. Pure.

`GET {base}/tardis/{exchange}/{symbol}/{data_type}?start_time&end_time&limit` answers rows of the CSV datasets, as JSON
objects (a list, or below `data`), as JSON lines, or as CSV, in the order of `local_timestamp`, from `start_time` on and
before `end_time`. A page ends somewhere within a moment: its last moment is left to the next page, which begins there.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from truetape.errors import DecodeError
from truetape.events.tardis import DATASETS, list_columns, read_block

Spelling = Literal["iso", "us", "ms"]
"""How addresses spell times: ISO 8601 in UTC, microseconds or milliseconds since 1970."""

_PREFIX = "tardis"
_MS_DIGITS_MAX = 13
_SIDES = ("bids", "asks")
_read_json = msgspec.json.Decoder(Any).decode


class Asked(msgspec.Struct, frozen=True):
    """What one address asks for."""

    exchange: str
    symbol: str
    data_type: str
    start_us: int
    end_us: int
    unit_us: int = 1
    """What times are spelled in: rows of one such unit are one moment."""

    @property
    def dataset(self) -> str:
        """Name the dataset; DecodeError when there is none."""
        name = "book_snapshot" if self.data_type.startswith("book_snapshot_") else self.data_type
        if name not in DATASETS:
            raise DecodeError(f"{self.data_type!r} is no data type (known: {', '.join(DATASETS)})", "url")
        return name


def name_address(base: str, asked: Asked, limit: int, spelling: Spelling) -> str:
    """Return the address of a page."""
    place = "/".join(quote(part, safe="") for part in (_PREFIX, asked.exchange, asked.symbol, asked.data_type))
    start, end = (_spell(at_us, spelling) for at_us in (asked.start_us, asked.end_us))
    return f"{base}/{place}?limit={limit}&start_time={quote(start)}&end_time={quote(end)}"


def read_address(url: str) -> Asked:
    """Return what an address asks for; DecodeError when it is not of this form."""
    places = _list_places(url)
    pairs = (part.partition("=") for part in urlsplit(url).query.split("&"))
    query = {name: unquote(value) for name, _, value in pairs}
    if not places or not {"start_time", "end_time"}.issubset(query):
        raise DecodeError("not …/tardis/{exchange}/{symbol}/{data_type}?start_time&end_time", "url")
    start, end = query["start_time"], query["end_time"]
    unit_us = 1000 if start.isdigit() and len(start) <= _MS_DIGITS_MAX else 1
    exchange, symbol, data_type = places[1:]
    return Asked(exchange, symbol, data_type, _read_time(start), _read_time(end), unit_us)


def _list_places(url: str) -> list[str]:
    """Return the four last parts of an address's path; nothing when they are not of this form."""
    places = [unquote(part) for part in urlsplit(url).path.split("/")][-4:]
    return places if len(places) == 4 and places[0] == _PREFIX and all(places) else []


def _spell(at_us: int, spelling: Spelling) -> str:
    if spelling == "us":
        return str(at_us)
    if spelling == "ms":
        return str(at_us // 1000)
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{at_us % 1_000_000:06d}Z"


def _read_time(text: str) -> int:
    if text.isdigit():
        return int(text) * (1000 if len(text) <= _MS_DIGITS_MAX else 1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DecodeError(f"{text[:40]!r} is not a time", "url") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


# -- answers ----------------------------------------------------------------------------------------------------


def read_answer(asked: Asked, body: bytes) -> pa.Table:
    """Return all rows of an answer, as `read_block` does; DecodeError when they are not what was asked for."""
    name = asked.dataset
    text = body.lstrip()
    payload = body if text[:9] == b"exchange," else _write_lines(asked, _list_objects(text))
    table = read_block(name, payload)
    for column, wanted in (("exchange", asked.exchange), ("symbol", asked.symbol)):
        if table.num_rows and not pc.all(pc.equal(pc.utf8_lower(table.column(column)), wanted.lower())).as_py():
            raise DecodeError(f"rows of another {column} than {wanted}", column)
    local = table.column("local_timestamp")
    if table.num_rows > 1 and not pc.all(pc.greater_equal(local[1:], local[:-1])).as_py():
        raise DecodeError("rows are not in the order of local_timestamp", "local_timestamp")
    if table.num_rows and _cut(local[0].as_py(), asked) < _cut(asked.start_us, asked):
        raise DecodeError("the first row is of before start_time", "local_timestamp")
    return table


def choose_rows(asked: Asked, table: pa.Table) -> tuple[pa.Table, int | None]:
    """Return the rows of a page that are whole, and where the next page begins; null: this was the last.

    The last moment may go on in the next page, which has it again; a page that has nothing else is the last one.
    """
    if not table.num_rows:
        return table, None
    moments = pc.subtract(table.column("local_timestamp"), _modulo(table.column("local_timestamp"), asked.unit_us))
    last = int(moments[-1].as_py())
    if last == _cut(asked.start_us, asked):
        return table, None
    return table.filter(pc.less(moments, last)), last


def _cut(at_us: int, asked: Asked) -> int:
    return at_us - at_us % asked.unit_us


def _modulo(values: pa.ChunkedArray, unit: int) -> pa.ChunkedArray:
    return pc.subtract(values, pc.multiply(pc.divide(values, unit), unit))


def _list_objects(text: bytes) -> list[dict[str, Any]]:
    """Return the rows of an answer in JSON, in any of the forms there are for it."""
    found: Any = []
    try:
        found = _read_json(text) if text else []
    except msgspec.DecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        found = [_read_json(line) for line in lines]
    if isinstance(found, dict):
        found = found.get("data", [found])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DecodeError("not a list of rows, nor an object that has one as `data`")
    return found


def _write_lines(asked: Asked, rows: list[dict[str, Any]]) -> bytes:
    """Write rows as lines of the dataset, so that they are read and checked as such."""
    levels = max((len(row[side]) for row in rows for side in _SIDES if isinstance(row.get(side), list)), default=1)
    rows = [_flatten(row) for row in rows]
    columns = list_columns(asked.dataset, [f"asks[{i}].price" for i in range(levels)])
    lines = [",".join(columns)]
    for number, row in enumerate(rows):
        row = {"exchange": asked.exchange, "symbol": asked.symbol} | row
        lines.append(",".join(_write_cells(row, columns, number)))
    return "\n".join(lines).encode() + b"\n"


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    """Spell the levels of a book's sides as columns: `bids: [{price, amount}]` or `bids: [[price, amount]]`."""
    flat = {name: value for name, value in row.items() if name not in _SIDES}
    for side in _SIDES:
        for i, level in enumerate(row.get(side) or ()):
            pair = (level.get("price"), level.get("amount")) if isinstance(level, dict) else level
            flat[f"{side}[{i}].price"], flat[f"{side}[{i}].amount"] = pair
    return flat


def _write_cells(row: dict[str, Any], columns: Iterable[str], number: int) -> Iterable[str]:
    for column in columns:
        value = row.get(column)
        if value is None:
            yield ""
        elif isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, str):
            if any(sign in value for sign in ',"\r\n'):
                raise DecodeError("text with commas, quotes or line ends", f"$[{number}].{column}")
            yield str(_read_time(value)) if column.endswith("timestamp") and not value.isdigit() else value
        elif isinstance(value, int | float):
            yield repr(value)
        else:
            raise DecodeError(f"expected a number or text, got {type(value).__name__}", f"$[{number}].{column}")
