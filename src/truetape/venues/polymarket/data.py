"""The Data API: v2 (`{data, pagination}`, snake_case), and v1 of recordings from before 2026-10-24.

Times are seconds, amounts decimal numbers of at most six places. Trades have no id: equal fills of a transaction
are told apart by counting them, over all pages of one walk.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec import Meta
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Real, Size
from truetape.events.rows import Response
from truetape.venues.polymarket.desk import Desk
from truetape.venues.polymarket.identity import Occurrences, name_fill
from truetape.venues.polymarket.market import encode_object, note_resolution
from truetape.venues.polymarket.naming import CLOB, DATA
from truetape.venues.polymarket.times import read_time

_MICRO = Decimal(1_000_000)
_UNITS_MAX = 2**63 - 1
_Side = Literal["BUY", "SELL"]
_SIDES = {"BUY": "buy", "SELL": "sell"}
_Seconds = Annotated[int, Meta(ge=0, le=10**10)]


class _Trade(msgspec.Struct, gc=False):
    token_id: str
    condition_id: str
    side: _Side
    size: Size
    price: Size
    timestamp: _Seconds
    transaction_hash: str
    proxy_wallet: str


class _TradeV1(msgspec.Struct, gc=False):
    asset: str
    conditionId: str
    side: _Side
    size: Size
    price: Size
    timestamp: _Seconds
    transactionHash: str
    proxyWallet: str


class _Position(msgspec.Struct, gc=False):
    proxy_wallet: str
    token_id: str
    condition_id: str
    current_size: Decimal
    avg_price: Real | None = None
    total_size: Real | None = None
    realized_pnl: Real | None = None
    last_event_at: _Seconds | None = None


class _PositionV1(msgspec.Struct, gc=False):
    proxyWallet: str
    asset: str
    conditionId: str
    size: Decimal
    avgPrice: Real | None = None
    totalBought: Real | None = None
    realizedPnl: Real | None = None


class _Holder(msgspec.Struct, gc=False):
    proxy_wallet: str
    token_id: str
    amount: Decimal
    avg_price: Real | None = None
    realized_pnl: Real | None = None


class _Holders(msgspec.Struct, gc=False):
    token_id: str
    holders: list[_Holder]


class _HolderV1(msgspec.Struct, gc=False):
    proxyWallet: str
    asset: str
    amount: Decimal


class _HoldersV1(msgspec.Struct, gc=False):
    token: str
    holders: list[_HolderV1]


class _Resolution(msgspec.Struct, gc=False):
    """Payouts are in millionths, one per outcome by index."""

    status: str
    last_update_timestamp: str | float
    condition_id: str | None = None
    was_disputed: bool | None = None
    payouts: list[Decimal] | None = None
    resolved_at: str | float | None = None


class _Of(msgspec.Struct, gc=False):
    data: msgspec.Raw


_decode_page = Decoder(_Of).decode
_decode_trades = Decoder(list[_Trade], strict=False).decode
_decode_trades_v1 = Decoder(list[_TradeV1], strict=False).decode
_decode_positions = Decoder(list[_Position], strict=False).decode
_decode_positions_v1 = Decoder(list[_PositionV1], strict=False).decode
_decode_holders = Decoder(list[_Holders], strict=False).decode
_decode_holders_v1 = Decoder(list[_HoldersV1], strict=False).decode
_decode_resolutions = Decoder(list[_Resolution], strict=False).decode

INDEXED = "an index of chain events, up to 300 s old (cache)"
"""Coverage of what the Data API says of wallets."""
HOLDERS = "largest holders only; " + INDEXED


def read_data(desk: Desk, path: str, response: Response) -> bool:
    """Decode an answer of the Data API; True when it carried data."""
    name = path.rstrip("/").rsplit("/", 1)[-1]
    is_v1 = not path.startswith("/v2/")
    reader = _READERS.get((name, is_v1))
    if reader is None:
        raise DecodeError(f"endpoint {path} of the Data API has no rule")
    body = response.body if is_v1 else bytes(_decode_page(response.body).data)
    return bool(reader(desk, body, response))


def count_units(amount: Decimal) -> tuple[int, str | None]:
    """Return an amount in millionths, and a note where it had more places than that."""
    scaled = amount * _MICRO
    if not scaled.is_finite() or abs(scaled) > _UNITS_MAX:
        raise DecodeError(f"amount {amount} does not fit")
    units = int(scaled.to_integral_value())
    return units, None if scaled == units else "rounded to six decimals"


def _name_walk(url: str) -> tuple[str, bool]:
    """Return what a walk over pages is named by, and whether this is its first page."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    is_first = not (query.pop("cursor", None) or query.get("offset", ["0"]) != ["0"])
    query.pop("offset", None)
    return f"{parts.path}?{urlencode(sorted(query.items()), doseq=True)}", is_first


def _read_trades(desk: Desk, body: bytes, response: Response) -> int:
    trades = [
        (t.token_id, t.side, t.price, t.size, t.timestamp, t.transaction_hash, t.proxy_wallet)
        for t in _decode_trades(body)
    ]
    return _note_trades(desk, trades, response)


def _read_trades_v1(desk: Desk, body: bytes, response: Response) -> int:
    trades = [
        (t.asset, t.side, t.price, t.size, t.timestamp, t.transactionHash, t.proxyWallet)
        for t in _decode_trades_v1(body)
    ]
    return _note_trades(desk, trades, response)


def _note_trades(desk: Desk, trades: list[tuple[str, _Side, float, float, int, str, str]], response: Response) -> int:
    """Write trades. Takers' fills of a market are those that the socket tells, and get the same ids in its stream.

    Where makers are told, too, or one wallet only, a row is that wallet's side of a fill: flagged, the wallet in its id.
    """
    walk, is_first = _name_walk(response.url)
    occurrences = Occurrences(desk, walk, is_new=is_first)
    is_of_wallets = _tells_wallets(response.url)
    for token, side, price, size, seconds, transaction, wallet in trades:
        fill = name_fill(transaction, side, price, size)
        text = occurrences.number(token, f"{wallet.lower()}:{fill}" if is_of_wallets else fill)
        index = desk.find("trade", token, DATA if is_of_wallets else CLOB)
        flag = "wallet" if is_of_wallets else None
        desk.scribe.trades.append(
            (
                index, seconds * 1_000_000, response.received_ns, response.offset, None, text, _SIDES[side], price,
                size, None, flag,
            )
        )  # fmt: skip
    return len(trades)


def _tells_wallets(url: str) -> bool:
    """Tell whether an answer has other fills than the takers' of a market; takers only is what the service does unasked."""
    query = parse_qs(urlsplit(url).query)
    takers = (query.get("taker_only") or query.get("takerOnly") or ["true"])[0]
    return takers.lower() == "false" or "user" in query


Held = tuple[str, str, str | None, Decimal, float | None, float | None, float | None]
"""(wallet, token, condition, amount, average price, total bought, realised profit)."""


def _read_positions(desk: Desk, body: bytes, response: Response) -> int:
    held: list[Held] = [
        (p.proxy_wallet, p.token_id, p.condition_id, p.current_size, p.avg_price, p.total_size, p.realized_pnl)
        for p in _decode_positions(body)
    ]
    return note_positions(desk, held, response, "data_api_positions", INDEXED)


def _read_positions_v1(desk: Desk, body: bytes, response: Response) -> int:
    held: list[Held] = [
        (p.proxyWallet, p.asset, p.conditionId, p.size, p.avgPrice, p.totalBought, p.realizedPnl)
        for p in _decode_positions_v1(body)
    ]
    return note_positions(desk, held, response, "data_api_positions", INDEXED)


def _read_holders(desk: Desk, body: bytes, response: Response) -> int:
    held: list[Held] = [
        (h.proxy_wallet, h.token_id, None, h.amount, h.avg_price, None, h.realized_pnl)
        for group in _decode_holders(body)
        for h in group.holders
    ]
    return note_positions(desk, held, response, "data_api_holders", HOLDERS)


def _read_holders_v1(desk: Desk, body: bytes, response: Response) -> int:
    held: list[Held] = [
        (h.proxyWallet, h.asset, None, h.amount, None, None, None)
        for group in _decode_holders_v1(body)
        for h in group.holders
    ]
    return note_positions(desk, held, response, "data_api_holders", HOLDERS)


def note_positions(desk: Desk, held: list[Held], response: Response, source: str, coverage: str) -> int:
    """Write what wallets hold; a snapshot that holds nobody is a row without a wallet."""
    append = desk.scribe.plain("position").append
    at = (None, response.received_ns, response.offset)
    counted = [(one, *count_units(one[3])) for one in held]
    for (wallet, token, condition, amount, average, bought, profit), units, note in counted:
        told = f"{coverage}; {note}" if note else coverage
        own = (wallet.lower(), condition, units, float(amount), average, bought, profit, source, None, told)
        append((desk.find("position", token, DATA), *at, *own))
    if not held:
        query = parse_qs(urlsplit(response.url).query)
        asked = (query.get("condition") or query.get("market") or query.get("user") or ["nobody"])[0]
        empty: tuple[Any, ...] = (None, None, None, None, None, None, None, source, None, f"empty; {coverage}")
        append((desk.find_named("position", asked, asked), *at, *empty))
    return 1


def _read_resolutions(desk: Desk, body: bytes, response: Response) -> int:
    said = _decode_resolutions(body)
    for r in said:
        if r.condition_id is not None:
            _note_resolution(desk, r.condition_id, r, response)
    return len(said)


def _note_resolution(desk: Desk, condition: str, r: _Resolution, response: Response) -> None:
    """Payouts by name where a listing told the names; no label, for the answer does not say `closed`."""
    known = desk.recall("markets").get(condition)
    names = list(msgspec.json.decode(known[6], type=dict[str, Any])) if known else []
    payouts: dict[str, float] | None = None
    if r.payouts is not None:
        by_name = names if len(names) == len(r.payouts) else [str(i) for i in range(len(r.payouts))]
        payouts = {name: float(part / _MICRO) for name, part in zip(by_name, r.payouts, strict=True)}
    winner = next((name for name, part in (payouts or {}).items() if part == 1.0), None) if names else None
    own = [
        known[0] if known else None, "data_api", r.status, False, winner,
        encode_object(payouts) if payouts else None, None, None, r.was_disputed, read_time(r.resolved_at),
    ]  # fmt: skip
    at = (read_time(r.last_update_timestamp), response.received_ns, response.offset)
    note_resolution(desk, condition, at, own)


_READERS = {
    ("trades", False): _read_trades,
    ("trades", True): _read_trades_v1,
    ("positions", False): _read_positions,
    ("positions", True): _read_positions_v1,
    ("holders", False): _read_holders,
    ("holders", True): _read_holders_v1,
    ("resolutions", False): _read_resolutions,
}
"""(last part of the path, whether it is v1) → reader."""
