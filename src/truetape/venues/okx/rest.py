"""OKX v5 over HTTP: bodies of market data as rows; every one is `{code, msg, data}`."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Id, Millis, Real, Size
from truetape.events.rows import Response
from truetape.venues.okx.instrument import convert_size, find_unit
from truetape.venues.okx.link import Link
from truetape.venues.okx.state import name_interval, read_bar
from truetape.venues.okx.trading import Side


class _Body(msgspec.Struct, gc=False):
    code: Id
    msg: str
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Trade(msgspec.Struct, gc=False):
    instId: str
    tradeId: Id
    px: Size
    sz: Size
    side: Side
    ts: Millis


class _Charge(msgspec.Struct, gc=False):
    instId: str
    fundingRate: Real
    fundingTime: Millis
    realizedRate: Real


_BODY = msgspec.json.Decoder(_Body, strict=False)
_TRADES = msgspec.json.Decoder(list[_Trade], strict=False)
_BARS = msgspec.json.Decoder(list[list[str]], strict=False)
_TOTALS = msgspec.json.Decoder(list[tuple[Millis, Size, Size, Size]], strict=False)
_CHARGES = msgspec.json.Decoder(list[_Charge], strict=False)


def decode_body(link: Link, response: Response) -> bool:
    """Decode a response of the market endpoints; errors may come with HTTP 200 and a `code`."""
    path = urlsplit(response.url).path
    reader = _READERS.get(path)
    if reader is None:
        raise DecodeError(f"{path} is not one of {', '.join(_READERS)}", "url")
    body = _BODY.decode(response.body)
    if body.code != 0:
        at = (response.received_ns, response.offset)
        link.scribe.complain(response.feed, response.connection, *at, body.code, body.msg)
        return False
    reader(link, response, body.data)
    return True


def _read_trades(link: Link, response: Response, data: msgspec.Raw) -> None:
    for t in reversed(_TRADES.decode(data)):  # newest first
        amount, contracts = convert_size(find_unit(link.find(t.instId)), t.px, t.sz)
        head = (link.index("trade", t.instId), t.ts * 1000, response.received_ns, response.offset)
        link.scribe.trades.append((*head, t.tradeId, None, t.side, t.px, amount, contracts, None))


def _read_bars(link: Link, response: Response, data: msgspec.Raw) -> None:
    query = parse_qs(urlsplit(response.url).query)
    name = query.get("instId", [""])[0]
    interval, is_spot = name_interval(query.get("bar", ["1m"])[0]), link.find(name).market_type == "spot"
    head = (link.index("candle", name), None, response.received_ns, response.offset)
    append = link.scribe.plain("candle").append
    for bar in reversed(_BARS.decode(data)):  # newest first
        append((*head, *read_bar(bar, interval, is_spot)))


def _read_charges(link: Link, response: Response, data: msgspec.Raw) -> None:
    """Read what was charged: `realizedRate`, where `fundingRate` had been the estimate."""
    append = link.scribe.plain("funding").append
    for c in reversed(_CHARGES.decode(data)):  # newest first
        at = c.fundingTime * 1000
        index = link.index("funding", c.instId)
        append((index, at, response.received_ns, response.offset, c.realizedRate, at, None, True))


def _read_totals(link: Link, response: Response, data: msgspec.Raw) -> None:
    """Open interest of the past: contracts, base asset, US dollars."""
    name = parse_qs(urlsplit(response.url).query).get("instId", [""])[0]
    index, append = link.index("derivative", name), link.scribe.plain("derivative").append
    for at, contracts, amount, _ in reversed(_TOTALS.decode(data)):  # newest first
        head = (index, at * 1000, response.received_ns, response.offset)
        append((*head, None, None, None, amount, contracts, *(None,) * 9))


_READERS: dict[str, Callable[[Link, Response, msgspec.Raw], None]] = {
    "/api/v5/market/trades": _read_trades,
    "/api/v5/market/history-trades": _read_trades,
    "/api/v5/market/candles": _read_bars,
    "/api/v5/market/history-candles": _read_bars,
    "/api/v5/public/funding-rate-history": _read_charges,
    "/api/v5/rubik/stat/contracts/open-interest-history": _read_totals,
}
