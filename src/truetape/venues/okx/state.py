"""OKX v5: tickers, derivative state, funding, liquidations and candles of the public feeds."""

from collections.abc import Callable

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Millis, Size, read_millis, read_real
from truetape.venues._contract import OnMessage
from truetape.venues.okx.instrument import Item, convert_size, find_unit, read_item
from truetape.venues.okx.link import Link, Makers
from truetape.venues.okx.trading import Side


def read_number(text: str | None) -> float | None:
    """Return the number; OKX writes "" for one there is none of."""
    return read_real(text, "$.data[...]") if text else None


def read_time(text: str | None) -> int | None:
    """Return microseconds of a time in milliseconds, "" being none."""
    return read_millis(text, "$.data[...]") * 1000 if text else None


class _Ticker(msgspec.Struct, gc=False):
    last: str
    lastSz: str
    askPx: str
    bidPx: str
    open24h: str
    high24h: str
    low24h: str
    volCcy24h: str
    vol24h: str
    ts: Millis


class _Tickers(msgspec.Struct, gc=False):
    data: list[_Ticker]


class _Mark(msgspec.Struct, gc=False):
    markPx: str
    ts: Millis


class _Marks(msgspec.Struct, gc=False):
    data: list[_Mark]


class _Index(msgspec.Struct, gc=False):
    idxPx: str
    ts: Millis


class _Indexes(msgspec.Struct, gc=False):
    data: list[_Index]


class _Interest(msgspec.Struct, gc=False):
    oi: str
    oiCcy: str
    ts: Millis


class _Interests(msgspec.Struct, gc=False):
    data: list[_Interest]


class _Funding(msgspec.Struct, gc=False):
    fundingRate: str
    fundingTime: str
    nextFundingRate: str
    nextFundingTime: str
    ts: Millis
    settState: str = ""
    settFundingRate: str = ""
    prevFundingTime: str = ""


class _Fundings(msgspec.Struct, gc=False):
    data: list[_Funding]


class _Forced(msgspec.Struct, gc=False):
    side: Side
    bkPx: Size
    sz: Size
    ts: Millis


class _ForcedOf(msgspec.Struct, gc=False):
    instId: str
    details: list[_Forced]


class _AllForced(msgspec.Struct, gc=False):
    data: list[_ForcedOf]


class _Bars(msgspec.Struct, gc=False):
    data: list[list[str]]


class _Items(msgspec.Struct, gc=False):
    data: list[Item]


_TICKERS = msgspec.json.Decoder(_Tickers, strict=False)
_MARKS = msgspec.json.Decoder(_Marks, strict=False)
_INDEXES = msgspec.json.Decoder(_Indexes, strict=False)
_INTERESTS = msgspec.json.Decoder(_Interests, strict=False)
_FUNDINGS = msgspec.json.Decoder(_Fundings, strict=False)
_ALL_FORCED = msgspec.json.Decoder(_AllForced, strict=False)
_BARS = msgspec.json.Decoder(_Bars, strict=False)
_ITEMS = msgspec.json.Decoder(_Items, strict=False)


def _on_ticker(link: Link, channel: str, name: str) -> OnMessage:
    """`vol24h` is base on spot and contracts on derivatives, `volCcy24h` quote on spot and base on derivatives."""
    index, unit = link.index("ticker", name), find_unit(link.find(name))
    append = link.scribe.plain("ticker").append

    def on_ticker(payload: bytes, received_ns: int, offset: int) -> bool:
        for t in _TICKERS.decode(payload).data:
            last = read_number(t.last)
            base, quote = (t.vol24h, t.volCcy24h) if unit is None else (t.volCcy24h, None)
            append(
                (
                    index, t.ts * 1000, received_ns, offset, last, convert_size(unit, last, read_number(t.lastSz))[0],
                    read_number(t.bidPx), read_number(t.askPx), read_number(t.open24h), read_number(t.high24h),
                    read_number(t.low24h), read_number(base), read_number(quote),
                )
            )  # fmt: skip
        return True

    return on_ticker


def _write_derivative(link: Link, name: str) -> Callable[..., None]:
    """Each channel says some columns of a derivative: the others stay null, nothing is carried over."""
    index, append = link.index("derivative", name), link.scribe.plain("derivative").append

    def write(at_ms: int, received_ns: int, offset: int, **columns: float | int | None) -> None:
        get = columns.get
        append(
            (
                index, at_ms * 1000, received_ns, offset, get("mark"), get("index"), None, get("interest"),
                get("contracts"), get("rate"), get("next_rate"), get("next_at"), *(None,) * 6,
            )
        )  # fmt: skip

    return write


def _on_mark(link: Link, channel: str, name: str) -> OnMessage:
    write = _write_derivative(link, name)

    def on_mark(payload: bytes, received_ns: int, offset: int) -> bool:
        for m in _MARKS.decode(payload).data:
            write(m.ts, received_ns, offset, mark=read_number(m.markPx))
        return True

    return on_mark


def _on_index(link: Link, channel: str, name: str) -> OnMessage:
    """An index has a name like a spot pair's: its rows stand under that name."""
    write = _write_derivative(link, name)

    def on_index(payload: bytes, received_ns: int, offset: int) -> bool:
        for i in _INDEXES.decode(payload).data:
            write(i.ts, received_ns, offset, index=read_number(i.idxPx))
        return True

    return on_index


def _on_interest(link: Link, channel: str, name: str) -> OnMessage:
    write = _write_derivative(link, name)

    def on_interest(payload: bytes, received_ns: int, offset: int) -> bool:
        for i in _INTERESTS.decode(payload).data:
            write(i.ts, received_ns, offset, interest=read_number(i.oiCcy), contracts=read_number(i.oi))
        return True

    return on_interest


def _on_funding(link: Link, channel: str, name: str) -> OnMessage:
    """`fundingRate` is charged at `fundingTime`; the interval is the distance to the next one and may change."""
    write = _write_derivative(link, name)
    index, append = link.index("funding", name), link.scribe.plain("funding").append
    said = link.scribe.rows.memory.setdefault(f"okx funding {link.feed} {name}", {})

    def note(head: tuple[int, int, int], rate: float | None, at: int | None, until: int | None, settled: bool) -> None:
        key = "settled" if settled else "estimate"
        if rate is not None and at is not None and said.get(key) != [rate, at]:
            said[key] = [rate, at]
            append((index, *head, rate, at, None if until is None else (until - at) / 3.6e9, settled))

    def on_funding(payload: bytes, received_ns: int, offset: int) -> bool:
        for f in _FUNDINGS.decode(payload).data:
            rate, at, until = read_number(f.fundingRate), read_time(f.fundingTime), read_time(f.nextFundingTime)
            head = (f.ts * 1000, received_ns, offset)
            write(f.ts, received_ns, offset, rate=rate, next_rate=read_number(f.nextFundingRate), next_at=at)
            note(head, rate, at, until, False)
            if f.settState == "settled":
                note(head, read_number(f.settFundingRate), read_time(f.prevFundingTime), at, True)
        return True

    return on_funding


def _on_forced(link: Link, channel: str, kind: str) -> OnMessage:
    """Liquidations come by instrument type; the price is the bankruptcy price, `side` the order's. Not complete."""
    append = link.scribe.plain("liquidation").append

    def on_forced(payload: bytes, received_ns: int, offset: int) -> bool:
        for of in _ALL_FORCED.decode(payload).data:
            index, unit = link.index("liquidation", of.instId), find_unit(link.find(of.instId))
            for f in of.details:
                amount, contracts = convert_size(unit, f.bkPx, f.sz)
                append((index, f.ts * 1000, received_ns, offset, f.side, f.bkPx, amount, contracts, None))
        return True

    return on_forced


def name_interval(text: str) -> str:
    """Translate `1m`, `1H`, `1Dutc`: a month alone keeps its capital letter."""
    text = text.removesuffix("utc")
    return text if text.endswith("M") else text.lower()


def read_bar(bar: list[str], interval: str, is_spot: bool) -> tuple[object, ...]:
    """Return a candle's own columns; v5 bars had 7 fields before they had 9."""
    if len(bar) not in (7, 9):
        raise DecodeError(f"expected a bar of 7 or 9 fields, got {len(bar)}", "$.data[...]")
    quote, is_closed = (read_number(bar[7]), bar[8] == "1") if len(bar) == 9 else (None, None)
    base = read_number(bar[5] if is_spot else bar[6])  # bar[5] counts contracts on derivatives
    prices = [read_number(text) for text in bar[1:5]]
    return (interval, read_time(bar[0]), *prices, base, quote, None, None, is_closed)


def _on_bars(link: Link, channel: str, name: str) -> OnMessage:
    index, is_spot = link.index("candle", name), link.find(name).market_type == "spot"
    append, interval = link.scribe.plain("candle").append, name_interval(channel.removeprefix("candle"))

    def on_bars(payload: bytes, received_ns: int, offset: int) -> bool:
        for bar in _BARS.decode(payload).data:
            append((index, None, received_ns, offset, *read_bar(bar, interval, is_spot)))
        return True

    return on_bars


def _on_items(link: Link, channel: str, kind: str) -> OnMessage:
    def on_items(payload: bytes, received_ns: int, offset: int) -> bool:
        for item in _ITEMS.decode(payload).data:
            link.learn(read_item(item), received_ns, offset)
        return True

    return on_items


STATE: Makers = {
    "tickers": _on_ticker,
    "mark-price": _on_mark,
    "index-tickers": _on_index,
    "open-interest": _on_interest,
    "funding-rate": _on_funding,
    "liquidation-orders": _on_forced,
    "candle": _on_bars,
    "instruments": _on_items,
}
