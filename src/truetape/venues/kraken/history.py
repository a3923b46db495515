"""How Kraken's spot trades of the past are asked for, oldest first, and what answers tell."""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from truetape.errors import DecodeError
from truetape.events.number import Size
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Backfill, Stretch
from truetape.venues._paging import ask, read_query

PATH = "/0/public/Trades"
PAGE = 1000
LEAD_US = 60_000_000
"""So much earlier is asked for: a row of before shows that none is missing."""
_CODES = {"BTC": "XBT", "DOGE": "XDG"}
"""Ours, and the newer API's → the older API's."""
_ABSENT = "EQuery:Unknown asset pair"
_SIDES = {"b": "buy", "s": "sell"}


class _Body(msgspec.Struct):
    error: list[str]
    result: dict[str, Any] = {}


class _Trade(msgspec.Struct, array_like=True):
    """Since 2023 with its id."""

    price: Size
    volume: Size
    time: float
    side: str
    order_type: str
    misc: str
    trade_id: int


_decode_body = msgspec.json.Decoder(_Body).decode


def name_pair(venue_symbol: str) -> str:
    """Name a pair as the older API does: BTC/USD is XBTUSD."""
    return "".join(_CODES.get(part, part) for part in venue_symbol.split("/"))


def list_backfills(market: str) -> tuple[Backfill, ...]:
    """Return how the past is asked for; about a request a second."""
    return (Backfill("trade", market, market, _begin, _follow, allowance=(10, 15.0)),)


def _begin(stretch: Stretch) -> str:
    since = max(stretch.from_us - LEAD_US, 0) * 1000
    return ask(f"https://api.kraken.com{PATH}", pair=name_pair(stretch.venue_symbol), since=since, count=PAGE)


def _follow(stretch: Stretch, url: str, body: bytes) -> str | None:
    trades, last = _read(body)
    if len(trades) < PAGE or last == read_query(url).get("since"):
        return None
    newest = trades[-1]
    is_over = newest.time * 1e6 > stretch.to_us if stretch.high is None else newest.trade_id > stretch.high
    return None if is_over else ask(url, since=last)


def _read(body: bytes) -> tuple[list[_Trade], str]:
    said = _decode_body(body)
    if said.error:
        text = f"{PATH} answered {', '.join(said.error)}"
        raise LookupError(text) if _ABSENT in said.error else DecodeError(text)
    rows: list[Any] = next((value for name, value in said.result.items() if name != "last"), [])
    return msgspec.convert(rows, list[_Trade], strict=False), str(said.result.get("last", ""))


def decode_trades(scribe: Scribe, market: str, response: Response) -> bool:
    """Decode a page of trades; a listing on the tape says which pair it is of."""
    pair = read_query(response.url).get("pair", "")
    listed = (one for one in scribe.rows.instruments.values() if (one.venue, one.market) == (scribe.venue, market))
    instrument = next((one for one in listed if name_pair(one.venue_symbol) == pair), None)
    if instrument is None:
        raise DecodeError(f"pair {pair!r} is not one that a listing on this tape names", "url")
    index = scribe.stream("trade", market, instrument).index
    for trade in _read(response.body)[0]:
        head = (index, round(trade.time * 1e6), response.received_ns, response.offset, trade.trade_id, None)
        side = _SIDES.get(trade.side)
        if side is None:
            raise DecodeError(
                f"side {trade.side!r} is not one of {', '.join(_SIDES)}", f"{urlsplit(response.url).path}"
            )
        scribe.trades.append((*head, side, trade.price, trade.volume, None, None))
    return True
