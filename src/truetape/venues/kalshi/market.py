"""Kalshi's markets: names of outcomes, listings, metadata and results."""

import hashlib
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec.json import Decoder

from truetape.events.instrument import Instrument
from truetape.events.number import Real, Size
from truetape.events.rows import Scribe
from truetape.venues.kalshi.times import read_time

NAME = "kalshi"
MARKET = "binary"
"""One socket and one listing carry everything."""
SOCKET = "kalshi_socket"
"""Source of results that the socket told; those of listings are `kalshi`."""
OUTCOMES = ("Yes", "No")
VERSIONS_MAX = 200_000
"""Markets whose last version is remembered; one that was forgotten is written once more."""

_CLOSED = frozenset({"closed", "determined", "disputed", "amended", "finalized"})
_JUDGED = frozenset({"determined", "disputed", "amended", "finalized"})
_WINDOW_SUFFIX = "15M"
"""Series of 15-minute windows: trading opens with the window, and the strike is the price of that moment."""


class Range(msgspec.Struct, gc=False):
    """Prices between which one step holds."""

    step: Size


class Market(msgspec.Struct, gc=False):
    """A market as listed; fields of the documentation that may be absent or empty have defaults."""

    ticker: str
    event_ticker: str
    status: str
    open_time: str
    close_time: str
    title: str | None = None
    price_ranges: list[Range] | None = None
    floor_strike: Real | None = None
    last_price_dollars: Size | None = None
    result: str = ""
    expiration_value: str = ""
    settlement_value_dollars: Size | None = None
    settlement_ts: str | None = None
    volume_fp: Size | None = None
    """Contracts traded so far."""
    category: str = ""
    """Told by the event that a market is listed in."""


class _Event(msgspec.Struct, gc=False):
    category: str | None = None
    markets: list[Market] | None = None


class _Body(msgspec.Struct, gc=False):
    """Any answer that holds markets."""

    market: Market | None = None
    markets: list[Market] | None = None
    event: _Event | None = None
    events: list[_Event] | None = None


class _Page(msgspec.Struct, gc=False):
    cursor: str = ""


_decode_body = Decoder(_Body, strict=False).decode
_decode_page = Decoder(_Page).decode


def name_outcome(ticker: str, outcome: str) -> str:
    """Name one outcome of a market: KXBTC15M-26APR130415-15:Yes."""
    return f"{ticker}:{outcome}"


def name_instrument(market: str, venue_symbol: str) -> Instrument:
    """Name an outcome, or a market as a whole; Kalshi's tickers are kept as they are."""
    return Instrument(NAME, market, venue_symbol, venue_symbol, "outcome", quote="USD", settle="USD")


def read_markets(body: bytes) -> list[Market]:
    """Read the markets of `/markets`, `/markets/…`, `/events` and `/events/…`."""
    read = _decode_body(body)
    events = [read.event] if read.event else read.events
    if read.market is None and read.markets is None and events is None:
        raise msgspec.ValidationError("Object has none of market, markets, event, events - at `$`")
    nested = [
        msgspec.structs.replace(market, category=event.category or "")
        for event in events or []
        for market in event.markets or []
    ]
    listed = [read.market] if read.market else read.markets or []
    return list({market.ticker: market for market in [*nested, *listed]}.values())


def read_listing(url: str, body: bytes) -> list[Instrument]:
    """Read both outcomes of every market of an answer."""
    return [instrument for market in read_markets(body) for instrument in list_outcomes(market)]


def list_outcomes(market: Market) -> list[Instrument]:
    """Make the instruments of a market's outcomes."""
    return [
        msgspec.structs.replace(
            name_instrument(MARKET, name_outcome(market.ticker, outcome)),
            price_step=_find_step(market),
            expiry_us=read_time(market.close_time),
            strike=market.floor_strike,
            status=market.status,
            is_listed=True,
        )
        for outcome in OUTCOMES
    ]


def find_next_page(url: str, body: bytes) -> str | None:
    """Put an answer's cursor into its URL; an empty cursor is the end."""
    cursor = _decode_page(body).cursor
    if not cursor:
        return None
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "cursor"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("cursor", cursor)])))


class Register:
    """Writes versions of markets, their prices and results, once for every change."""

    def __init__(self, scribe: Scribe, feed: str) -> None:
        self._scribe = scribe
        self._feed = feed
        self._seen: dict[str, str] = scribe.rows.memory.setdefault("kalshi", {}).setdefault("versions", {})
        """`kind:symbol` → digest of the last row."""

    def add(self, market: Market, at: tuple[int, int]) -> bool:
        """Take a listed market; True when an instrument is new or changed."""
        is_new = False
        for instrument in list_outcomes(market):
            is_new |= self._scribe.learn(instrument, *at)
        self._write("prediction_market", market.ticker, describe_market(market), at)
        if market.last_price_dollars and market.status == "active":
            row = (market.ticker, "Yes", market.last_price_dollars, NAME)
            self._write("outcome_price", name_outcome(market.ticker, "Yes"), row, at)
        if market.result or market.status in _JUDGED:
            self._write("resolution", market.ticker, describe_result(market), at)
        return is_new

    def add_result(self, market: Market, resolved_us: int | None, at: tuple[int, int]) -> None:
        """Take a result that the socket told."""
        ticker, slug, _, *told, _ = describe_result(market)
        self._write("resolution", market.ticker, (ticker, slug, SOCKET, *told, resolved_us), at)

    def _write(self, kind: str, symbol: str, own: tuple[Any, ...], at: tuple[int, int]) -> None:
        source = own[2] if kind == "resolution" else ""
        key = f"{kind}:{symbol}:{source}"
        digest = hashlib.blake2b(repr(own).encode(), digest_size=12).hexdigest()
        if self._seen.get(key) == digest:
            return
        self._seen[key] = digest
        if len(self._seen) > VERSIONS_MAX:
            del self._seen[next(iter(self._seen))]
        stream = self._scribe.stream(kind, self._feed, name_instrument(MARKET, symbol))
        self._scribe.plain(kind).append((stream.index, None, *at, *own))


def forget_markets(memory: dict[str, dict[str, Any]], names: Collection[str]) -> None:
    """Drop what is remembered of tickers and their outcomes."""
    told = memory.get("kalshi", {})
    versions: dict[str, str] = told.get("versions", {})
    for key in [key for key in versions if key.partition(":")[2].rpartition(":")[0] in names]:
        del versions[key]
    books: dict[str, Any] = told.get("books", {})
    for ticker in [ticker for ticker in books if ticker in names]:
        del books[ticker]


def describe_market(market: Market) -> tuple[Any, ...]:
    """Return a market's own columns of `prediction_market`."""
    ticker, series = market.ticker, market.event_ticker.partition("-")[0]
    is_window = series.endswith(_WINDOW_SUFFIX)
    outcomes = {outcome: name_outcome(ticker, outcome) for outcome in OUTCOMES}
    return (
        ticker, ticker, None, market.title, market.event_ticker, series, _write_json(outcomes),
        read_time(market.open_time) if is_window else None, read_time(market.close_time),
        None, None, None,  # the rule is told in prose only
        market.floor_strike if is_window else None, _read_number(market.expiration_value), _find_step(market),
        None, None, None, None, None, None,  # smallest order, fees, exclusion: of the series and the event
        market.status == "active", market.status in _CLOSED, market.status == "active", market.status, None,
    )  # fmt: skip


def describe_result(market: Market) -> tuple[Any, ...]:
    """Return a market's own columns of `resolution`: a label only once the venue says finalized."""
    payouts = find_payouts(market)
    is_resolved = market.status == "finalized" and payouts in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
    series = market.event_ticker.partition("-")[0]
    return (
        market.ticker, market.ticker, NAME, market.status, is_resolved,
        {"yes": "Yes", "no": "No"}.get(market.result),
        None if payouts is None else _write_json(dict(zip(OUTCOMES, payouts, strict=True))),
        market.floor_strike if series.endswith(_WINDOW_SUFFIX) else None,
        _read_number(market.expiration_value),
        True if market.status == "disputed" else None,
        None if market.settlement_ts is None else read_time(market.settlement_ts),
    )  # fmt: skip


def find_payouts(market: Market) -> tuple[float, float] | None:
    """Return what a contract of Yes and of No is paid."""
    value = market.settlement_value_dollars
    if value is None:
        value = {"yes": 1.0, "no": 0.0}.get(market.result)
    return None if value is None or not market.result else (value, round(1.0 - value, 6))


def _find_step(market: Market) -> float | None:
    return min((r.step for r in market.price_ranges), default=None) if market.price_ranges else None


def _read_number(text: str) -> float | None:
    """Read a value that is a number for prices and words elsewhere; empty before the end."""
    try:
        return msgspec.convert(text, Real, strict=False)
    except msgspec.ValidationError:
        return None


def _write_json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
