"""Bybit tickers: one merged state per instrument, from which ticker, derivative and funding rows are written."""

from typing import Any, Literal

import msgspec

from truetape.events.number import Millis, read_millis, read_real
from truetape.venues._contract import OnMessage
from truetape.venues.bybit.link import Link

Numbers = dict[str, float | None]
Head = tuple[int | None, int, int]
"""exchange us, received_ns, tape offset"""

_TICKER_FIELDS = {
    "lastPrice": "last", "bid1Price": "bid", "ask1Price": "ask", "bidPrice": "bid", "askPrice": "ask",
    "prevPrice24h": "open", "highPrice24h": "high", "lowPrice24h": "low", "volume24h": "volume",
    "turnover24h": "turnover",
}  # fmt: skip
_STATE_FIELDS = {
    "markPrice": "mark", "indexPrice": "index", "openInterest": "interest", "openInterestValue": "value",
    "fundingRate": "rate", "nextFundingTime": "next", "fundingIntervalHour": "hours", "markPriceIv": "iv",
    "markIv": "iv", "delta": "delta", "gamma": "gamma", "vega": "vega", "theta": "theta",
}  # fmt: skip
_FIELDS = _TICKER_FIELDS | _STATE_FIELDS
_TICKER_KEYS = frozenset(_TICKER_FIELDS.values())
_STATE_KEYS = frozenset((*_STATE_FIELDS.values(), "next_rate"))
_PRICE_KEYS = frozenset(("last", "bid", "ask", "open", "high", "low"))


class _Frame(msgspec.Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: dict[str, Any]


_FRAME = msgspec.json.Decoder(_Frame, strict=False)


def read_numbers(data: dict[str, Any], is_option: bool) -> Numbers:
    """Pick the fields that are present; "" is no number, and options write "0" for a price there is none of."""
    found: Numbers = {}
    for name, value in data.items():
        key = _FIELDS.get(name)
        if key is not None:
            read = read_millis if key == "next" else read_real
            number = None if value == "" else read(value, f"$.data.{name}")
            found[key] = None if is_option and number == 0 and key in _PRICE_KEYS else number
    return found


class TickerWriter:
    """Writes the rows of one instrument's tickers."""

    def __init__(self, link: Link, symbol: str) -> None:
        self._link = link
        self._symbol = symbol
        self._plain = link.scribe.plain
        self._ticker = link.index("ticker", symbol)
        self._derivative = -1 if link.market == "spot" else link.index("derivative", symbol)

    def write(self, head: Head, news: Numbers, state: dict[str, Any]) -> None:
        """Write rows of the kinds that `news` touches; `state` is all that is known, `news` included."""
        get = state.get
        if not _TICKER_KEYS.isdisjoint(news):
            base, quote = ("turnover", "volume") if self._link.is_inverse else ("volume", "turnover")
            self._plain("ticker").append(
                (
                    self._ticker, *head, get("last"), None, get("bid"), get("ask"), get("open"), get("high"),
                    get("low"), get(base), get(quote),
                )
            )  # fmt: skip
        if self._derivative >= 0 and not _STATE_KEYS.isdisjoint(news):
            self._write_state(head, state)

    def _write_state(self, head: Head, state: dict[str, Any]) -> None:
        get = state.get
        # `openInterest` counts both sides of each contract; on inverse it is USD, and its value is in coin.
        is_inverse = self._link.is_inverse
        interest, contracts = (get("value"), get("interest")) if is_inverse else (get("interest"), None)
        iv, rate = get("iv"), get("rate")
        funding_at = round(state["next"] * 1000) if get("next") else None
        self._plain("derivative").append(
            (
                self._derivative, *head, get("mark"), get("index"), get("last"), interest, contracts, rate,
                get("next_rate"), funding_at, None if iv is None else iv * 100, get("delta"), get("gamma"), get("vega"), get("theta"),
                None,
            )
        )  # fmt: skip
        if rate is not None and funding_at and get("funding") != [rate, funding_at]:
            state["funding"] = [rate, funding_at]
            index = self._link.index("funding", self._symbol)
            self._plain("funding").append((index, *head, rate, funding_at, get("hours"), False))


def on_ticker(link: Link, symbol: str) -> OnMessage:
    """Make the handler of a ticker topic: a snapshot, then deltas in which an absent field is unchanged."""
    writer = TickerWriter(link, symbol)
    state = link.scribe.rows.memory.setdefault(f"bybit ticker {link.feed} {symbol}", {})
    is_option = link.market == "option"

    def decode(payload: bytes, received_ns: int, offset: int) -> bool:
        frame = _FRAME.decode(payload)
        news = read_numbers(frame.data, is_option)
        if frame.type == "snapshot":
            funding = state.get("funding")
            state.clear()
            state["funding"] = funding
        state.update(news)
        writer.write((frame.ts * 1000, received_ns, offset), news, state)
        return True

    return decode
