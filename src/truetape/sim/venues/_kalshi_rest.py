"""Kalshi's REST side: listings with cursors, books, trades, and the registration of a public key."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from truetape.sim.oracle import ASSETS
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.venues._kalshi_market import (
    AHEAD_S,
    WINDOW_S,
    Exchange,
    Market,
    Side,
    describe_market,
    write_micros,
    write_price,
    write_size,
)

PREFIX = "/trade-api/v2/"
BEHIND_S = 86_400
"""Windows that ended so long ago are listed no more; they are still found by their tickers."""
STATUSES = {
    "unopened": ("initialized",),
    "open": ("active",),
    "closed": ("closed", "determined", "disputed"),
    "settled": ("finalized",),
}
"""What a filter says → statuses that it lets through."""

_REACH: dict[str, tuple[float, float]] = {
    "initialized": (0, AHEAD_S),
    "active": (-WINDOW_S, 0),
    "closed": (-BEHIND_S, -WINDOW_S),
    "determined": (-BEHIND_S, -WINDOW_S),
    "disputed": (-BEHIND_S, -WINDOW_S),
    "finalized": (-BEHIND_S, -WINDOW_S),
}
"""Status → how many seconds from now windows open that have it."""

Row = dict[str, Any]


class RequestError(Exception):
    """A request that is refused; its text says why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Ask:
    """One request and the exchange that it asks."""

    def __init__(self, exchange: Exchange, query: Query, at_s: float) -> None:
        self.exchange, self.args, self.at_s = exchange, query.args, at_s
        self.parts = query.path.removeprefix(PREFIX).strip("/").split("/")
        self._limit, self._place = self._read_limit(), self._read_cursor()

    def find_market(self, ticker: str) -> Market:
        """Return a market by its ticker."""
        market = self.exchange.read_ticker(ticker)
        if market is None or self.at_s < market.opens_s - AHEAD_S:
            raise RequestError(404, "not_found", "not found")
        return market

    def list_markets(self) -> list[Market]:
        """List the markets that the filters let through, latest to open first."""
        wanted, args = self._read_status(), self.args
        tickers = {part for part in args.get("tickers", "").split(",") if part}
        first_s, last_s = self.read_second("min_close_ts", 0), self.read_second("max_close_ts", 1 << 40)
        if tickers:
            known = [self.exchange.read_ticker(t) for t in sorted(tickers)]
            found = [m for m in known if m is not None and self.at_s >= m.opens_s - AHEAD_S]
        else:
            begin_s, end_s = self._find_span(wanted)
            span = max(begin_s, first_s - WINDOW_S), min(end_s, last_s - WINDOW_S + 1)
            found = list(self.exchange.list_markets(*span, self._find_assets()))[::-1]
        return [
            m
            for m in found
            if (not wanted or m.find_status(self.at_s) in wanted)
            and args.get("series_ticker", m.series) == m.series
            and args.get("event_ticker", m.event) == m.event
            and first_s <= m.closes_s <= last_s
        ]

    def read_second(self, name: str, default: int) -> int:
        """Return an argument that is a time."""
        text = self.args.get(name) or str(default)
        if not text.isdecimal():
            raise RequestError(400, "bad_request", f"invalid {name} {text[:20]!r}")
        return int(text)

    def _find_span(self, wanted: set[str]) -> tuple[float, float]:
        """Return from when to when markets open that can have these statuses: few, so that few are made."""
        reach = [_REACH[status] for status in wanted or _REACH]
        return self.at_s + min(first for first, _ in reach), self.at_s + max(last for _, last in reach) + 1

    def _find_assets(self) -> tuple[str, ...]:
        series = self.args.get("series_ticker", "") or self.args.get("event_ticker", "").partition("-")[0]
        return tuple(asset for asset in ASSETS if not series or series == f"KX{asset}15M")

    def _read_status(self) -> set[str]:
        said = [part for part in self.args.get("status", "").split(",") if part]
        unknown = [part for part in said if part not in STATUSES]
        if unknown:
            raise RequestError(400, "bad_request", f"invalid status {unknown[0]!r}")
        return {status for part in said for status in STATUSES[part]}

    def page(self, name: str, rows: list[Any], describe: Callable[[Any], Row]) -> Row:
        """Cut a page, and describe what is in it; new rows come first, so a place is counted from the last one."""
        kind, left = self._place or (name, len(rows))
        if kind != name:
            raise RequestError(400, "bad_request", "invalid cursor")
        begin = max(0, len(rows) - left)
        part, left = rows[begin : begin + self._limit], max(0, len(rows) - begin - self._limit)
        cursor = urlsafe_b64encode(f"{name}:{left}".encode()).decode() if left else ""
        return {name: [describe(row) for row in part], "cursor": cursor}

    def _read_limit(self) -> int:
        text, rows_max = self.args.get("limit", "100"), 200 if self.parts[0] == "events" else 1000
        if not text.isdecimal() or not 1 <= int(text) <= rows_max:
            raise RequestError(400, "bad_request", f"invalid limit {text[:20]!r}")
        return int(text)

    def _read_cursor(self) -> tuple[str, int] | None:
        if not self.args.get("cursor"):
            return None
        try:
            kind, left = urlsafe_b64decode(self.args["cursor"].encode()).decode().split(":")
            return kind, int(left)
        except ValueError as error:
            raise RequestError(400, "bad_request", "invalid cursor") from error


def answer(exchange: Exchange, query: Query, at_s: float) -> Reply:
    """Answer a GET."""
    try:
        return Reply(encode_json(_route(Ask(exchange, query, at_s))), quota="read")
    except RequestError as error:
        body = {"error": {"code": error.code, "message": str(error), "service": "query-exchange"}}
        return Reply(encode_json(body), error.status, quota="read")


def _route(ask: Ask) -> Row:  # noqa: PLR0911 - one return per endpoint
    match ask.parts:
        case ["markets"]:
            return ask.page("markets", ask.list_markets(), lambda m: describe_market(ask.exchange, m, ask.at_s))
        case ["markets", "trades"]:
            return _list_trades(ask)
        case ["markets", ticker]:
            return {"market": describe_market(ask.exchange, ask.find_market(ticker), ask.at_s)}
        case ["markets", ticker, "orderbook"]:
            return _show_book(ask, ask.find_market(ticker))
        case ["events"]:
            has_markets = ask.args.get("with_nested_markets") == "true"
            return ask.page("events", ask.list_markets(), lambda m: _describe_event(ask, m, has_markets=has_markets))
        case ["events", event]:
            return _show_event(ask, event)
        case ["series"]:
            return {"series": [_describe_series(s) for s in _list_series(ask)]}
        case ["series", series] if series in _list_series(ask):
            return {"series": _describe_series(series)}
        case ["exchange", "status"]:
            return {"exchange_active": True, "trading_active": True}
    raise RequestError(404, "not_found", "not found")


def _show_book(ask: Ask, market: Market) -> Row:
    depth = ask.args.get("depth", "0")
    yes, no = ask.exchange.read_book(market, int(ask.at_s))
    sides = {"yes_dollars": yes, "no_dollars": no}
    return {"orderbook_fp": {k: write_side(v, int(depth) if depth.isdecimal() else 0) for k, v in sides.items()}}


def write_side(side: Side, depth: int = 0) -> list[list[str]]:
    """Write bids with the best one last, at most `depth` of the best when it is given."""
    prices = sorted(side)[-depth:] if depth else sorted(side)
    return [[write_price(price), write_size(side[price])] for price in prices]


def _list_trades(ask: Ask) -> Row:
    """Newest first."""
    ticker = ask.args.get("ticker")
    recent = ask.exchange.list_markets
    markets = [ask.find_market(ticker)] if ticker else list(recent(ask.at_s - 3600, ask.at_s))
    first_ms = ask.read_second("min_ts", 0) * 1000
    last_ms = min(ask.read_second("max_ts", 1 << 40) * 1000, int(ask.at_s * 1000))
    rows = [(t, m) for m in markets for t in ask.exchange.list_trades(m) if first_ms <= t.at_ms <= last_ms]
    rows.sort(key=lambda row: row[0].at_ms)
    return ask.page("trades", rows[::-1], lambda row: _describe_trade(*row))


def _describe_trade(trade: Any, market: Market) -> Row:
    side = "yes" if trade.is_yes else "no"
    return {
        "trade_id": trade.id, "ticker": market.ticker, "count_fp": write_size(trade.size),
        "created_time": write_micros(trade.at_ms * 1000 + trade.size % 1000),
        "yes_price_dollars": write_price(trade.price), "no_price_dollars": write_price(1000 - trade.price),
        "taker_outcome_side": side, "taker_book_side": "bid" if trade.is_yes else "ask", "is_block_trade": False,
    }  # fmt: skip


def _describe_event(ask: Ask, market: Market, *, has_markets: bool) -> Row:
    nested = {"markets": [describe_market(ask.exchange, market, ask.at_s)]} if has_markets else {}
    return {
        "event_ticker": market.event, "series_ticker": market.series, "sub_title": "", "mutually_exclusive": False,
        "title": f"{market.asset} price up in next 15 mins?", "collateral_return_type": "", "category": "Crypto",
        "available_on_brokers": False, **nested,
    }  # fmt: skip


def _show_event(ask: Ask, event: str) -> Row:
    market = ask.find_market(f"{event}-{event[-2:]}")
    is_nested = ask.args.get("with_nested_markets") == "true"
    beside = {} if is_nested else {"markets": [describe_market(ask.exchange, market, ask.at_s)]}
    return {"event": _describe_event(ask, market, has_markets=is_nested), **beside}


def _list_series(ask: Ask) -> list[str]:
    return sorted({m.series for m in ask.exchange.list_markets(ask.at_s, ask.at_s + WINDOW_S)})


def _describe_series(series: str) -> Row:
    return {
        "ticker": series, "frequency": "fifteen_min", "title": f"{series[2:-3]} up or down", "category": "Crypto",
        "tags": ["Crypto"], "settlement_sources": [{"name": "CF Benchmarks", "url": "https://www.cfbenchmarks.com"}],
        "contract_url": "", "contract_terms_url": "", "fee_type": "quadratic", "fee_multiplier": 1,
    }  # fmt: skip


# keys


class _Registration(msgspec.Struct, frozen=True):
    public_key: str
    name: str = ""


def register_key(keys: dict[str, Any], query: Query) -> Reply:
    """Take a public key (PEM), and return the id that goes with it."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # an extra: only whoever signs has it
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        said = msgspec.json.decode(query.body, type=_Registration)
        key = load_pem_public_key(said.public_key.encode())
    except (msgspec.DecodeError, ValueError) as error:
        return Reply(encode_json({"error": {"code": "bad_request", "message": str(error)}}), 400)
    if not isinstance(key, RSAPublicKey):
        return Reply(encode_json({"error": {"code": "bad_request", "message": "an RSA key is needed"}}), 400)
    modulus = key.public_numbers().n
    key_id = str(UUID(int=modulus % 2**128))
    keys[key_id] = key
    return Reply(encode_json({"api_key_id": key_id}), 201)
