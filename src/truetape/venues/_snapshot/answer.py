"""Answers of snapshot services, read by their form: markets, prices, points of history."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from truetape.errors import DecodeError
from truetape.venues._snapshot.form import Form

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 100_000_000_000
"""A number of a time that is larger counts milliseconds: as seconds it would be after the year 5000."""
DIGITS_MAX = 40


class Market(msgspec.Struct, frozen=True):
    """What one answer says of one market; null: nothing."""

    id: str
    question: str | None = None
    category: str | None = None
    status: str | None = None
    """open, closed, resolved."""
    result: str | None = None
    volume: float | None = None
    liquidity: float | None = None
    closes_us: int | None = None
    updated_us: int | None = None
    prices: dict[str, float] = {}
    """Outcome → price; empty where the answer has none."""
    outcomes: dict[str, str] = {}
    """Id of an outcome → its name, where the service names outcomes by ids elsewhere."""


class Point(msgspec.Struct, frozen=True):
    """One point of a market's history."""

    at_us: int
    prices: dict[str, float]


def read_listing(form: Form, body: bytes) -> tuple[list[Market], str]:
    """Return the markets of a page, and the cursor of the next; DecodeError when it has another form."""
    tree = _decode(body)
    path = form.get("rows")
    rows = _open(tree, path)
    if not isinstance(rows, list):
        raise DecodeError(f"expected a list of markets, got {_name_type(rows)}", _name_path(path))
    cursor = _find(tree, form.get("cursor")) if form.get("cursor") else None
    if cursor is not None and not isinstance(cursor, str | int):
        raise DecodeError(f"expected a cursor, got {_name_type(cursor)}", _name_path(form.get("cursor")))
    return [_read_market(form, row, f"{_name_path(path)}[{i}]") for i, row in enumerate(rows)], str(cursor or "")


def read_market(form: Form, body: bytes, market: str) -> Market:
    """Return what an answer about one market says; DecodeError when it has another form, or is about another market."""
    path = form.get("one")
    found = _read_market(form, _open(_decode(body), path), _name_path(path))
    if found.id != market:
        raise DecodeError(f"is about {found.id!r}, {market!r} was asked", _name_path(form.get("id")))
    return found


def read_prices(form: Form, body: bytes, market: str) -> Market:
    """Return the prices of one market, with what else the answer says; DecodeError when there are none."""
    if form.paths.get("prices") == form.paths.get("market"):
        found = read_market(form, body, market)
        if not found.prices and found.status != "resolved":  # some forget their prices then
            raise DecodeError("has no prices", _name_path(form.get("prices") or form.get("yes")))
        return found
    tree = _decode(body)
    if not isinstance(tree, dict):
        raise DecodeError(f"expected an object, got {_name_type(tree)}")
    prices = _read_all_prices(form, tree, "$")
    if not prices:
        raise DecodeError("has no prices", _name_path(form.get("prices") or form.get("yes")))
    return Market(
        market,
        volume=_read_number(_find(tree, form.get("volume")), _name_path(form.get("volume"))),
        liquidity=_read_number(_find(tree, form.get("liquidity")), _name_path(form.get("liquidity"))),
        updated_us=_read_time(_find(tree, form.get("updated_at")), _name_path(form.get("updated_at"))),
        prices=prices,
    )


def read_history(form: Form, body: bytes) -> list[Point]:
    """Return the points of a history."""
    path = form.get("history_rows")
    rows = _open(_decode(body), path)
    if not isinstance(rows, list):
        raise DecodeError(f"expected a list of points, got {_name_type(rows)}", _name_path(path))
    return list(_read_points(form, rows, _name_path(path)))


def _read_points(form: Form, rows: list[Any], where: str) -> Iterator[Point]:
    for i, row in enumerate(rows):
        at_us = _read_time(_find(row, form.get("history_at")), f"{where}[{i}].{form.get('history_at')}")
        prices = _find(row, form.get("history_prices"))
        if form.get("history_price"):
            prices = {_find(row, form.get("history_outcome")) or "Yes": _find(row, form.get("history_price"))}
        if at_us is None or not isinstance(prices, dict):
            raise DecodeError("expected a time and prices", f"{where}[{i}]")
        yield Point(at_us, _read_named(prices.items(), f"{where}[{i}]"))


def _read_market(form: Form, row: Any, where: str) -> Market:
    if not isinstance(row, dict):
        raise DecodeError(f"expected a market, got {_name_type(row)}", where)
    identity = _find(row, form.get("id"))
    if not isinstance(identity, str | int) or isinstance(identity, bool) or identity == "":
        raise DecodeError(f"expected an id, got {_name_type(identity)}", f"{where}.{form.get('id')}")

    def at(name: str) -> str:
        return f"{where}.{form.get(name)}"

    outcomes = _read_outcomes(form, row)
    result = _read_text(_find(row, form.get("result")), at("result")) or None
    return Market(
        str(identity),
        _read_text(_find(row, form.get("question")), at("question")),
        _read_text(_find(row, form.get("category")), at("category")),
        _read_status(form, row, where),
        outcomes.get(result, result) if result else None,
        _read_number(_find(row, form.get("volume")), at("volume")),
        _read_number(_find(row, form.get("liquidity")), at("liquidity")),
        _read_time(_find(row, form.get("closes_at")), at("closes_at")),
        _read_time(_find(row, form.get("updated_at")), at("updated_at")),
        _read_all_prices(form, row, where),
        outcomes,
    )


def _read_outcomes(form: Form, row: dict[str, Any]) -> dict[str, str]:
    """Return the names of outcomes by their ids, where an answer tells both."""
    items = _find(row, form.get("prices")) if form.get("outcome_id") else None
    pairs = [(_find(item, form.get("outcome_id")), _find(item, form.get("outcome_name"))) for item in items or ()]
    return {key: name for key, name in pairs if isinstance(key, str) and isinstance(name, str)}


def _read_status(form: Form, row: dict[str, Any], where: str) -> str | None:
    """Return which of our three words a service's word is; DecodeError for a word that nobody knows."""
    if form.get("resolved") and _write_word(_find(row, form.get("resolved"))) in form.words("resolved_words"):
        return "resolved"
    if not form.get("status"):
        return None
    word = _write_word(_find(row, form.get("status")))
    for status in ("open", "closed", "resolved"):
        if word in form.words(f"{status}_words"):
            return status
    raise DecodeError(f"status {word!r} is not known", f"{where}.{form.get('status')}")


def _write_word(value: Any) -> str:
    return str(value).lower() if isinstance(value, str | bool | int) else _name_type(value)


def _read_all_prices(form: Form, row: dict[str, Any], where: str) -> dict[str, float]:
    if not form.get("prices") or (form.get("yes") and _find(row, form.get("prices")) is None):
        pairs = [(name, _find(row, form.get(name.lower()))) for name in ("Yes", "No") if form.get(name.lower())]
        return _read_named([pair for pair in pairs if pair[1] is not None], where)
    where = f"{where}.{form.get('prices')}"
    prices = _load(_find(row, form.get("prices")), where)
    if prices is None:
        return {}
    if isinstance(prices, dict):
        return _read_named(prices.items(), where)
    if not isinstance(prices, list):
        raise DecodeError(f"expected prices, got {_name_type(prices)}", where)
    if form.get("outcome_name"):
        return _read_named(
            [(_find(item, form.get("outcome_name")), _find(item, form.get("outcome_price"))) for item in prices], where
        )
    names = _load(_find(row, form.get("outcomes")), where)
    if not isinstance(names, list) or len(names) != len(prices):
        raise DecodeError("prices and outcomes are not of one length", where)
    return _read_named(zip(names, prices, strict=True), where)


def _read_named(pairs: Iterable[tuple[Any, Any]], where: str) -> dict[str, float]:
    prices = {}
    for name, value in pairs:
        price = _read_number(value, where)
        if not isinstance(name, str) or price is None:
            raise DecodeError(f"expected an outcome and its price, got {str(name)[:30]!r} and {value!r}", where)
        prices[name] = price
    return prices


def _decode(body: bytes) -> Any:
    return msgspec.json.decode(body)


def _load(value: Any, where: str) -> Any:
    """Some services put JSON text into JSON."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise DecodeError(f"expected JSON within the text: {error}", where) from error


def _find(tree: Any, path: str) -> Any:
    """Return what is at a path; null where an object on the way has no such key."""
    for key in path.split("."):
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree


def _open(tree: Any, path: str) -> Any:
    """Return what an envelope holds; an empty path: there is no envelope."""
    return _find(tree, path) if path else tree


def _read_text(value: Any, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise DecodeError(f"expected text, got {_name_type(value)}", where)


def _read_number(value: Any, where: str) -> float | None:
    """Return a number, or the number that a text is."""
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and len(value) <= DIGITS_MAX:
        try:
            return msgspec.convert(value, float, strict=False)
        except msgspec.ValidationError:
            pass
    raise DecodeError(f"expected a number, got {str(value)[:30]!r}", where)


def _read_time(value: Any, where: str) -> int | None:
    """Return microseconds of ISO text, seconds or milliseconds."""
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value * (1_000 if abs(value) >= _MILLISECONDS_FROM else 1_000_000))
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return (moment - _EPOCH) // timedelta(microseconds=1)
    raise DecodeError(f"expected a time, got {str(value)[:30]!r}", where)


def _name_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")


def _name_path(path: str) -> str:
    return f"$.{path}" if path else "$"
