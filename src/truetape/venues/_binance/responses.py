"""Binance's REST answers become rows: books to splice, polled state, backfills."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._binance import messages as m
from truetape.venues._binance.naming import find_market
from truetape.venues._binance.writers import (
    Place,
    convert,
    make_aggregate,
    make_derivative,
    make_fetched,
    make_interest,
    to_us,
    wrap,
)

SPLIT = datetime(2026, 4, 23, tzinfo=UTC)
"""USD-M's one WebSocket path became /public and /market on this day."""

_SPLIT_NS = int(SPLIT.timestamp()) * 1_000_000_000


class Desk(Protocol):
    """What answers need of the decoder."""

    scribe: Scribe

    def find_instrument(self, market: str, symbol: str) -> Instrument:
        """Return an instrument by market and symbol."""
        ...


class Query:
    """One answer and what its address says."""

    def __init__(self, desk: Desk, response: Response) -> None:
        self.desk = desk
        self.response = response
        self.market = find_market(response.url)
        if "/futures/data/" in response.url and (urlsplit(response.url).hostname or "").startswith("dapi"):
            self.market = "coinm"
        parts = urlsplit(response.url)
        path = parts.path.split("/futures/data/")[-1]
        self.endpoint = path.split("/v1/")[-1].split("/v3/")[-1].split("/v2/")[-1].strip("/")
        self.parameters = {name: values[-1] for name, values in parse_qs(parts.query).items()}

    @property
    def at(self) -> tuple[int, int]:
        """Receive time and offset."""
        return self.response.received_ns, self.response.offset

    def place(self, symbol: str | None = None, *, group: str = "market") -> Place:
        """Return where rows of a symbol go: the feed that carries its stream, which on USD-M hangs on the day."""
        symbol = symbol or self.parameters.get("symbol")
        if symbol is None:
            raise DecodeError(f"neither answer nor address names a symbol: {self.response.url[:200]}")
        feed = self.market
        if feed == "usdm" and self.response.received_ns >= _SPLIT_NS:
            feed = f"usdm-{group}"
        instrument = self.desk.find_instrument(self.market, symbol)
        return Place(self.desk.scribe, feed, self.response.connection, instrument)


def respond(desk: Desk, response: Response) -> bool:
    """Decode an answer by its endpoint."""
    query = Query(desk, response)
    read = _READERS.get(query.endpoint)
    if read is None:
        raise DecodeError(f"endpoint {query.endpoint!r} has no rule (allowed: {', '.join(sorted(_READERS))})")
    read(query)
    return True


def _decode_rows(row: type[m.Body]) -> Callable[[bytes], list[m.Body]]:
    """Return a decoder of one object or an array of them: the venue sends both."""
    decode = Decoder(list[row] | row, strict=False).decode  # type: ignore[valid-type]

    def decode_rows(body: bytes) -> list[m.Body]:
        rows = decode(body)
        return rows if isinstance(rows, list) else [rows]

    return decode_rows


_decode_premiums = _decode_rows(m.Premium)
_decode_settlements = _decode_rows(m.Funding)
_decode_intervals = _decode_rows(m.FundingInfo)
_decode_tickers = _decode_rows(m.DayTicker)
_decode_prints = _decode_rows(m.Print)
_decode_interest = Decoder(m.Interest, strict=False).decode
_decode_totals = Decoder(list[m.Total], strict=False).decode
_decode_bars = Decoder(list[m.BarRow], strict=False).decode
_decode_raws = Decoder(list[msgspec.Raw]).decode


def _read_depth(query: Query) -> None:
    make_fetched(query.place(group="public"))(wrap(query.response.body), *query.at)


def _read_trades(query: Query) -> None:
    """Trades by id: they fill holes of the stream, whose ids they share."""
    place = query.place(group="public")
    append, index, unit = place.scribe.trades.append, place.number("trade"), place.unit
    for row in _decode_prints(query.response.body):
        side = "sell" if row.isBuyerMaker else "buy"
        contracts = row.qty if unit else None
        amount = convert(row.qty, row.price, unit)
        append((index, to_us(row.time), *query.at, row.id, None, side, row.price, amount, contracts, None))


def _read_aggregates(query: Query) -> None:
    write = make_aggregate(query.place())
    for row in _decode_raws(query.response.body):
        write(wrap(bytes(row)), *query.at)


def _read_bars(query: Query) -> None:
    place, interval = query.place(), query.parameters.get("interval")
    if interval is None:
        raise DecodeError(f"address names no interval: {query.response.url[:200]}")
    append, index, unit = place.scribe.plain("candle").append, place.number("candle"), place.unit
    for open_ms, *prices, volume, close_ms, quote_volume, trades, taker, taker_quote, _ in _decode_bars(
        query.response.body
    ):
        volumes = (volume, quote_volume, taker) if unit is None else (quote_volume, volume * unit.size, taker_quote)
        # The answer itself does not say whether the last bar is final: the clock of our receive time does.
        is_closed = query.response.received_ns > close_ms * 1_000_000 or None
        append((index, None, *query.at, interval, to_us(open_ms), *prices, *volumes, trades, is_closed))


def _read_tickers(query: Query) -> None:
    for row in _decode_tickers(query.response.body):
        place = query.place(row.symbol)
        unit = place.unit
        volumes = (row.volume, row.quoteVolume) if unit is None else (row.baseVolume, row.volume * unit.size)
        place.scribe.plain("ticker").append(
            (
                place.number("ticker"), to_us(row.closeTime), *query.at, row.lastPrice,
                convert(row.lastQty, row.lastPrice, unit), row.bidPrice or None, row.askPrice or None,
                row.openPrice, row.highPrice, row.lowPrice, *volumes,
            )
        )  # fmt: skip


def _read_premiums(query: Query) -> None:
    for row in _decode_premiums(query.response.body):
        mark = m.Mark(row.time, row.markPrice, row.indexPrice, row.lastFundingRate, row.nextFundingTime)
        make_derivative(query.place(row.symbol))(mark, *query.at)


def _read_interest(query: Query) -> None:
    body = query.response.body
    make_interest(query.place(_decode_interest(body).symbol))(wrap(body), *query.at)


def _read_totals(query: Query) -> None:
    """Open interest of the past: base asset on USD-M, contracts on COIN-M, which names its pair only."""
    symbol = query.parameters.get("symbol") or f"{query.parameters.get('pair', '')}_PERP"
    place = query.place(symbol)
    append, index, unit = place.scribe.plain("derivative").append, place.number("derivative"), place.unit
    for row in _decode_totals(query.response.body):
        amount, contracts = (None, row.sumOpenInterest) if unit else (row.sumOpenInterest, None)
        append((index, to_us(row.timestamp), *query.at, None, None, None, amount, contracts, *(None,) * 9))


def _read_settlements(query: Query) -> None:
    for row in _decode_settlements(query.response.body):
        place = query.place(row.symbol)
        at = to_us(row.fundingTime)
        place.scribe.plain("funding").append((place.number("funding"), at, *query.at, row.fundingRate, at, None, True))


def _read_intervals(query: Query) -> None:
    scribe = query.desk.scribe
    intervals = scribe.rows.memory.setdefault(f"{scribe.venue}.funding_interval", {})
    for row in _decode_intervals(query.response.body):
        intervals[f"{query.market}:{row.symbol}"] = row.fundingIntervalHours


_READERS: dict[str, Callable[[Query], None]] = {
    "depth": _read_depth,
    "trades": _read_trades,
    "historicalTrades": _read_trades,
    "aggTrades": _read_aggregates,
    "klines": _read_bars,
    "ticker/24hr": _read_tickers,
    "premiumIndex": _read_premiums,
    "openInterest": _read_interest,
    "openInterestHist": _read_totals,
    "fundingRate": _read_settlements,
    "fundingInfo": _read_intervals,
}
"""Endpoint → its rule."""
