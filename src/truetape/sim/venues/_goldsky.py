"""Goldsky's subgraphs of Polymarket: balances at a block, as GraphQL.

Failures are answers of status 200 with `errors`. What follows trading (`pnl`, `orderbook`, `activity`) knows nothing
of markets after `TRADING_UNTIL_S`; balances know tokens of protocol 1 alone.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from truetape.sim.crowd import Trade, find_block, find_block_time
from truetape.sim.prediction import Market
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.venues._graphql import Field, QueryError, read_query, select
from truetape.sim.venues._index import find_index_time
from truetape.sim.world import World

HOSTS = ("api.goldsky.com",)
QUOTAS: Mapping[str, Quota] = {"goldsky": Quota(50, 10.0)}

HEAD_LAG_S = 6
"""The index is so far behind the chain."""
FIRST_MAX, SKIP_MAX = 1000, 5000
TRADING_UNTIL_S = int(datetime(2026, 4, 28, 11, tzinfo=UTC).timestamp())
OPERATORS = ("_gte", "_lte", "_gt", "_lt", "_not_in", "_in", "_not")
RECENT = 8
"""Windows of each kind that are looked through for a wallet when no token is named."""

Row = dict[str, Any]


class _Question(msgspec.Struct, frozen=True):
    query: str
    variables: dict[str, Any] | None = None


class _View:
    """The index as of one block."""

    def __init__(self, world: World, subgraph: str, block: int) -> None:
        self.world, self.subgraph, self.block = world, subgraph, block
        self.at_s = find_block_time(block)

    def list_rows(self, name: str, where: Mapping[str, Any]) -> Iterable[Row]:
        """List a collection's rows, before most of `where` is looked at."""
        found = _COLLECTIONS.get((self.subgraph, name))
        if found is None:
            raise QueryError(f"Type `Query` has no field `{name}`")
        make, token_key = found
        for market, outcome in self._find_tokens(where, token_key):
            yield from make(self, market, outcome)

    def _find_tokens(self, where: Mapping[str, Any], key: str) -> list[tuple[Market, int]]:
        """Return the tokens concerned: those that `where` names, or those of the latest markets."""
        asked = [where[key]] if key in where else where.get(f"{key}_in")
        known = self.world.prediction
        if asked is None:
            condition = where.get(f"{key}_", {}).get("condition")
            market = known.find_condition(str(condition), self.at_s) if condition else None
            markets = [market] if market else [] if condition else self._list_recent()
            return [(one, outcome) for one in markets for outcome in (0, 1) if _is_covered(one)]
        found = (known.find_token(str(token), self.at_s) for token in asked)
        return [pair for pair in found if pair is not None and _is_covered(pair[0])]

    def _list_recent(self) -> list[Market]:
        known = self.world.prediction
        spans = {series: length * RECENT for series, length in (("5m", 300), ("15m", 900))}
        return [
            m for s, span in spans.items() for m in known.list_markets(self.at_s - span, self.at_s + span, series=(s,))
        ]


def respond(world: World, query: Query) -> Reply:
    """Answer a question to a subgraph."""
    parts = query.path.strip("/").split("/")
    if "subgraphs" not in parts or len(parts) < parts.index("subgraphs") + 4 or query.method != "POST":
        return Reply(b'{"message":"not found"}', 404, quota="goldsky")
    subgraph = parts[parts.index("subgraphs") + 1]
    try:
        asked = msgspec.json.decode(query.body, type=_Question)
        head = find_block(find_index_time(world, "goldsky", query.path, HEAD_LAG_S))
        answer: object = {"data": _answer(world, subgraph, read_query(asked.query, asked.variables or {}), head)}
    except (QueryError, msgspec.DecodeError) as error:
        answer = {"errors": [{"message": str(error)}]}
    return Reply(encode_json(answer), quota="goldsky")


def _answer(world: World, subgraph: str, fields: tuple[Field, ...], head: int) -> Row:
    if subgraph not in {name for name, _ in _COLLECTIONS}:
        raise QueryError(f"subgraph {subgraph} does not exist")
    found: Row = {}
    for field in fields:
        view = _View(world, subgraph, _find_pin(field, head))
        if field.name == "_meta":
            found[field.alias] = select(field.fields, _describe_block(view), "_Meta_")
        else:
            found[field.alias] = _list(view, field)
    return found


def _find_pin(field: Field, head: int) -> int:
    pin = field.args.get("block") or {}
    number = pin.get("number", head)
    if not isinstance(number, int) or number > head:
        raise QueryError(
            f"Failed to decode `block.number` value: `subgraph has only indexed up to block number {head} and data "
            f"for block number {number} is therefore not yet available`"
        )
    return number


def _describe_block(view: _View) -> Row:
    digest = sha256(f"{view.world.seed}/block/{view.block}".encode()).hexdigest()
    block = {"number": view.block, "timestamp": view.at_s, "hash": f"0x{digest}", "parentHash": f"0x{digest[::-1]}"}
    return {"block": block, "hasIndexingErrors": False, "deployment": "Qm" + digest[:44]}


def _list(view: _View, field: Field) -> list[Row]:
    first, skip = field.number("first", 100), field.number("skip", 0)
    if not 0 <= first <= FIRST_MAX:
        raise QueryError(f"The value of the `first` argument must be between 0 and {FIRST_MAX}, but is {first}")
    if not 0 <= skip <= SKIP_MAX:
        raise QueryError(f"The value of the `skip` argument must be between 0 and {SKIP_MAX}, but is {skip}")
    where = field.args.get("where") or {}
    rows = [row for row in view.list_rows(field.name, where) if _fits(row, where)]
    order = str(field.args.get("orderBy", "id"))
    if rows and order not in rows[0]:
        raise QueryError(f"Invalid value provided for argument `orderBy`: Enum({order!r})")
    rows.sort(key=lambda row: (_order_of(row[order]), row["id"]), reverse=field.args.get("orderDirection") == "desc")
    return [select(field.fields, row, field.name) for row in rows[skip : skip + first]]


def _fits(row: Row, where: Mapping[str, Any]) -> bool:
    return all(_fits_one(row, key, wanted) for key, wanted in where.items())


def _fits_one(row: Row, key: str, wanted: Any) -> bool:
    if key.endswith("_") and isinstance(wanted, Mapping):
        return _fits(row[key[:-1]], wanted)
    operator = next((o for o in OPERATORS if key.endswith(o)), "")
    name = key.removesuffix(operator)
    if name not in row:
        raise QueryError(f"Invalid value provided for argument `where`: no field {name!r}")
    value = row[name]["id"] if isinstance(row[name], Mapping) else row[name]
    if operator in ("_in", "_not_in"):
        return (value in [str(one) for one in wanted]) == (operator == "_in")
    mine, theirs = _order_of(value), _order_of(wanted)
    return _COMPARE[operator](mine, theirs)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda a, b: bool(a == b),
    "_not": lambda a, b: bool(a != b),
    "_gt": lambda a, b: bool(a > b),
    "_lt": lambda a, b: bool(a < b),
    "_gte": lambda a, b: bool(a >= b),
    "_lte": lambda a, b: bool(a <= b),
}


def _order_of(value: Any) -> tuple[int, str]:
    """Compare numbers as numbers, though they are text, and ids as text."""
    text = str(value)
    is_number = text.lstrip("-").isdecimal()
    return (int(text), "") if is_number else (0, text)


def _is_covered(market: Market) -> bool:
    return market.version == "v1"


def _list_balances(view: _View, market: Market, outcome: int) -> Iterable[Row]:
    is_resolved = view.at_s >= market.resolved_s
    asset = {
        "id": market.tokens[outcome],
        "condition": {"id": market.condition, "payouts": list(market.payouts) if is_resolved else None},
        "complement": market.tokens[1 - outcome],
        "outcomeIndex": str(outcome),
    }
    for wallet, units in view.world.crowd.hold(market, outcome, view.at_s):
        yield {"id": f"{wallet}-{asset['id']}", "user": wallet, "balance": str(units), "asset": asset}


def _list_positions(view: _View, market: Market, outcome: int) -> Iterable[Row]:
    if market.opens_s >= TRADING_UNTIL_S:
        return
    costs: dict[str, list[int]] = {}
    for trade in view.world.crowd.list_trades(market, to_ms=view.at_s * 1000 + 1000):
        if trade.outcome == outcome and not trade.is_sell:
            bought = costs.setdefault(trade.taker, [0, 0])
            bought[0] += trade.units
            bought[1] += trade.units * trade.price * 1000
    for wallet, units in view.world.crowd.hold(market, outcome, view.at_s):
        total, cost = costs.get(wallet, [0, 0])
        token = market.tokens[outcome]
        yield {
            "id": f"{wallet}-{token}", "user": wallet, "tokenId": token, "amount": str(units),
            "avgPrice": str(cost // total if total else 0), "realizedPnl": "0", "totalBought": str(total),
        }  # fmt: skip


def _list_fills(view: _View, market: Market, outcome: int) -> Iterable[Row]:
    if market.opens_s >= TRADING_UNTIL_S:
        return
    trades = [t for t in view.world.crowd.list_trades(market, to_ms=view.at_s * 1000 + 1000) if t.outcome == outcome]
    # Equal fills of one order have one id, and the index keeps the last of them.
    yield from {trade.order: _describe_fill(trade, market.tokens[outcome]) for trade in trades}.values()


def _describe_fill(trade: Trade, token: str) -> Row:
    given, got = (token, "0") if trade.is_sell else ("0", token)
    cost, shares = str(trade.units * trade.price // 1000), str(trade.units)
    return {
        "id": f"{trade.transaction}_{trade.order}", "transactionHash": trade.transaction,
        "timestamp": str(trade.at_ms // 1000), "orderHash": trade.order, "maker": trade.maker, "taker": trade.taker,
        "makerAssetId": got, "takerAssetId": given,
        "makerAmountFilled": cost if trade.is_sell else shares,
        "takerAmountFilled": shares if trade.is_sell else cost, "fee": "0",
    }  # fmt: skip


_COLLECTIONS: dict[tuple[str, str], tuple[Callable[[_View, Market, int], Iterable[Row]], str]] = {
    ("positions-subgraph", "userBalances"): (_list_balances, "asset"),
    ("positions-subgraph", "netUserBalances"): (_list_balances, "asset"),
    ("pnl-subgraph", "userPositions"): (_list_positions, "tokenId"),
    ("orderbook-subgraph", "orderFilledEvents"): (_list_fills, "makerAssetId"),
}
"""(subgraph, collection) → what lists one token's rows, and which field of `where` names the token."""
