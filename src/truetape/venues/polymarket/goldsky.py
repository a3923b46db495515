"""Goldsky subgraphs: balances of wallets, as integers of millionths, pinned to a block.

Errors come with status 200. Since 2026-04-28 the subgraphs that follow trading miss most of it; balances of V1
tokens can still be right, and V2 positions live in a contract that none of them watches.
"""

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Id
from truetape.events.rows import Response
from truetape.venues.polymarket.desk import Desk
from truetape.venues.polymarket.market import encode_object, note_resolution
from truetape.venues.polymarket.naming import GOLDSKY

_MICRO = 1_000_000

BALANCES = "V1 tokens only"
TRADING = "V1 exchanges only: not complete since 2026-04-28"
ERRORS = "the index has errors"


class _Block(msgspec.Struct, gc=False):
    number: Id
    timestamp: Id | None = None


class _Meta(msgspec.Struct, gc=False):
    block: _Block
    hasIndexingErrors: bool = False


class _Condition(msgspec.Struct, gc=False):
    id: str
    payouts: list[str] | None = None


class _Asset(msgspec.Struct, gc=False):
    id: str
    condition: _Condition | None = None


class _Balance(msgspec.Struct, gc=False):
    user: str
    balance: Id
    asset: _Asset


class _UserPosition(msgspec.Struct, gc=False):
    user: str
    tokenId: str
    amount: Id
    avgPrice: Id | None = None
    realizedPnl: Id | None = None
    totalBought: Id | None = None


class _Data(msgspec.Struct, gc=False):
    meta: _Meta | None = msgspec.field(name="_meta", default=None)
    userBalances: list[_Balance] | None = None
    userPositions: list[_UserPosition] | None = None


class _Error(msgspec.Struct, gc=False):
    message: str


class _Answer(msgspec.Struct, gc=False):
    data: _Data | None = None
    errors: list[_Error] | None = None


_decode = Decoder(_Answer, strict=False).decode


def read_goldsky(desk: Desk, name: str, response: Response) -> bool:
    """Decode a GraphQL answer of the subgraph of this name; its own errors become an `error` row."""
    answer = _decode(response.body)
    if answer.errors:
        said = "; ".join(error.message for error in answer.errors)
        desk.scribe.complain(
            GOLDSKY, response.connection, response.received_ns, response.offset, None, f"{name}: {said}"
        )
        return False
    data = answer.data
    if data is None or (data.userBalances is None and data.userPositions is None):
        raise DecodeError(f"subgraph {name}: neither `userBalances` nor `userPositions`", "$.data")
    block = data.meta.block if data.meta else None
    has_errors = bool(data.meta and data.meta.hasIndexingErrors)
    at = (block.timestamp * 1_000_000 if block and block.timestamp else None, response.received_ns, response.offset)
    append = desk.scribe.plain("position").append
    rows = _list_balances(data.userBalances or []) + _list_positions(data.userPositions or [])
    note = BALANCES if data.userBalances is not None else TRADING
    told = f"{note}; {ERRORS}" if has_errors else note
    payouts = {c.id: _encode_payouts(c) for c in _list_resolved(data.userBalances or [])}
    source = "goldsky_positions" if data.userBalances is not None else "goldsky_pnl"
    number = block.number if block else None
    for token, *own in rows:
        append((desk.find("position", token, GOLDSKY), *at, *own, source, number, told))
    if not rows:
        empty = (None, None, None, None, None, None, None, source, number, f"empty; {told}")
        asked = urlsplit(response.url).fragment or name
        known = desk.recall("markets").get(asked)
        append((desk.find_named("position", known[0] if known else asked, asked), *at, *empty))
    for condition, paid in payouts.items():
        note_resolution(desk, condition, at, [None, "goldsky", None, False, None, paid, None, None, None, None])
    return True


def _list_balances(balances: list[_Balance]) -> list[tuple[Any, ...]]:
    return [
        (
            b.asset.id, b.user.lower(), b.asset.condition.id if b.asset.condition else None,
            b.balance, b.balance / _MICRO, None, None, None,
        )
        for b in balances
    ]  # fmt: skip


def _list_positions(positions: list[_UserPosition]) -> list[tuple[Any, ...]]:
    return [
        (
            p.tokenId, p.user.lower(), None, p.amount, p.amount / _MICRO,
            _scale(p.avgPrice), _scale(p.totalBought), _scale(p.realizedPnl),
        )
        for p in positions
    ]  # fmt: skip


def _scale(units: int | None) -> float | None:
    return None if units is None else units / _MICRO


def _list_resolved(balances: list[_Balance]) -> list[_Condition]:
    found = {b.asset.condition.id: b.asset.condition for b in balances if b.asset.condition}
    return [condition for condition in found.values() if condition.payouts]


def _encode_payouts(condition: _Condition) -> str:
    """Payouts by index: a subgraph knows no names."""
    try:
        return encode_object({str(i): float(Decimal(part)) for i, part in enumerate(condition.payouts or [])})
    except ArithmeticError as error:
        raise DecodeError(f"payouts {condition.payouts} are no numbers") from error
