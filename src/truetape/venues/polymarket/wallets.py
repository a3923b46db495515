"""What is asked of wallets while a market is open: balances of the subgraph, holders and positions of the Data API.

Where the Data API's own market is chosen, its trades are asked for, too: another account of what the socket tells.
"""

from collections.abc import Sequence
from urllib.parse import urldefrag

import msgspec
from msgspec.json import Decoder

from truetape.venues._contract import Ask, Followed, Poll, Round, Told
from truetape.venues.polymarket.gamma import find_next_page
from truetape.venues.polymarket.naming import CLOB, DATA, GOLDSKY

BALANCES_URL = (
    "https://api.goldsky.com/api/public/project_cl6mb8i9h0003e201j6li0diw/subgraphs/positions-subgraph/0.0.7/gn"
)
DATA_URL = "https://data-api.polymarket.com/v2"
PAGE_ROWS = 1000
"""Rows that the subgraph gives at once, at most."""
WALK_PAGES = 5
"""Pages by id; when a market has more holders, one more page brings the largest."""
OVERLAP_S = 330
"""Trades are asked for from so long before the last good turn: answers are up to five minutes old."""
STATES = frozenset({"open", "ending"})
"""States of a market in which wallets are asked for."""

_ROWS = "id user balance asset { id outcomeIndex condition { id payouts } }"
_WHERE = 'where: {asset_in: $tokens, id_gt: $after, balance_gt: "0"}'
FIRST_QUERY = f"""query Balances($tokens: [String!]!, $after: String!, $first: Int!) {{
  _meta {{ block {{ number timestamp }} hasIndexingErrors }}
  userBalances(first: $first, orderBy: id, orderDirection: asc, {_WHERE}) {{ {_ROWS} }}
}}"""
NEXT_QUERY = f"""query Balances($tokens: [String!]!, $after: String!, $first: Int!, $block: Int!) {{
  _meta(block: {{number: $block}}) {{ block {{ number timestamp }} hasIndexingErrors }}
  userBalances(first: $first, orderBy: id, orderDirection: asc, block: {{number: $block}}, {_WHERE}) {{ {_ROWS} }}
}}"""
LARGEST_QUERY = f"""query Balances($tokens: [String!]!, $first: Int!, $block: Int!) {{
  _meta(block: {{number: $block}}) {{ block {{ number timestamp }} hasIndexingErrors }}
  userBalances(
    first: $first, orderBy: balance, orderDirection: desc, block: {{number: $block}}, where: {{asset_in: $tokens}}
  ) {{ {_ROWS} }}
}}"""


class _Row(msgspec.Struct, gc=False):
    id: str


class _Block(msgspec.Struct, gc=False):
    number: int


class _Meta(msgspec.Struct, gc=False):
    block: _Block


class _Data(msgspec.Struct, gc=False):
    meta: _Meta = msgspec.field(name="_meta")
    userBalances: list[_Row]


class _Page(msgspec.Struct, gc=False):
    data: _Data


class _Error(msgspec.Struct, gc=False):
    message: str


class _Fill(msgspec.Struct, gc=False):
    timestamp: int


class _Fills(msgspec.Struct, gc=False):
    data: list[_Fill]


class _Faults(msgspec.Struct, gc=False):
    errors: list[_Error] | None = None


class _Refusal(msgspec.Struct, gc=False):
    error: str = ""


class _Variables(msgspec.Struct, gc=False):
    tokens: list[str]


class _Asked(msgspec.Struct, gc=False):
    variables: _Variables


_decode_page = Decoder(_Page, strict=False).decode
_decode_fills = Decoder(_Fills, strict=False).decode
_decode_faults = Decoder(_Faults).decode
_decode_refusal = Decoder(_Refusal).decode
_decode_asked = Decoder(_Asked).decode


def ask_balances(turn: Round) -> list[Ask]:
    """Ask for the balances of each open market's tokens: the first page, which tells the block of all."""
    return [_make_first(market) for market in _list_open(turn.markets)]


def follow_balances(ask: Ask, body: bytes) -> Ask | None:
    """Ask for the page that follows a full one, of the same block; after the last one for the largest."""
    data = _decode_page(body).data
    if len(data.userBalances) < PAGE_ROWS or ask.page > WALK_PAGES:
        return None
    variables = {
        "tokens": _decode_asked(ask.body).variables.tokens,
        "first": PAGE_ROWS,
        "block": data.meta.block.number,
    }
    if ask.page == WALK_PAGES:
        body = _encode(LARGEST_QUERY, variables)
    else:
        body = _encode(NEXT_QUERY, {**variables, "after": data.userBalances[-1].id})
    return msgspec.structs.replace(ask, body=body, page=ask.page + 1)


def find_balances_fault(body: bytes) -> str:
    """Return the errors that come with status 200."""
    return "; ".join(error.message for error in _decode_faults(body).errors or [])


def ask_holders(turn: Round) -> list[Ask]:
    """Ask who holds most of each open market."""
    return [_make_data_ask("holders", market) for market in _list_named(turn.markets)]


def ask_positions(turn: Round) -> list[Ask]:
    """Ask for the positions in each open market."""
    return [_make_data_ask("positions", market) for market in _list_named(turn.markets)]


def ask_trades(turn: Round) -> list[Ask]:
    """Ask for what traded since the last good turn, newest first; how far back stands after the #."""
    since_s = (turn.since_us or turn.now_us) // 1_000_000 - OVERLAP_S
    return [
        Ask(
            DATA,
            f"{DATA_URL}/trades?condition={market.condition}&limit=500#{since_s}",
            reason="poll",
            streams=tuple(Told("trade", DATA, token, CLOB) for token in market.tokens),
        )
        for market in _list_named(turn.markets)
    ]


def follow_trades(ask: Ask, body: bytes) -> Ask | None:
    """Ask for the next page until one reaches back far enough."""
    bare, since_s = urldefrag(ask.url)
    fills = _decode_fills(body).data
    url = find_next_page(bare, body)
    if url is None or not fills or min(fill.timestamp for fill in fills) < int(since_s):
        return None
    return msgspec.structs.replace(ask, url=f"{url}#{since_s}", page=ask.page + 1)


def follow_data(ask: Ask, body: bytes) -> Ask | None:
    """Ask for the next page by its cursor."""
    url = find_next_page(ask.url, body)
    return None if url is None else msgspec.structs.replace(ask, url=url, page=ask.page + 1)


def find_data_fault(body: bytes) -> str:
    """Return what the Data API complains of."""
    return _decode_refusal(body).error if body[:1] == b"{" else "not an object"


def _list_open(markets: Sequence[Followed]) -> list[Followed]:
    return [market for market in markets if market.state in STATES]


def _list_named(markets: Sequence[Followed]) -> list[Followed]:
    """The Data API knows markets by their condition, which a bare listing of outcomes does not tell."""
    return [market for market in _list_open(markets) if market.condition]


def _make_first(market: Followed) -> Ask:
    body = _encode(FIRST_QUERY, {"tokens": list(market.tokens), "after": "", "first": PAGE_ROWS})
    # The part after # stays with us: it tells whose an empty answer is.
    url = f"{BALANCES_URL}#{market.condition}"
    json = (("Content-Type", "application/json"),)
    return Ask(GOLDSKY, url, 1, "poll", "POST", body, json, _list_streams(market, GOLDSKY))


def _make_data_ask(what: str, market: Followed) -> Ask:
    url = f"{DATA_URL}/{what}?condition={market.condition}&limit=500"
    return Ask(DATA, url, reason="poll", streams=_list_streams(market, DATA))


def _list_streams(market: Followed, source: str) -> tuple[Told, ...]:
    return tuple(Told("position", source, token, CLOB) for token in market.tokens)


def _encode(query: str, variables: dict[str, object]) -> bytes:
    return msgspec.json.encode({"query": query, "variables": variables})


_CHANNELS = ("position",)

WALLET_POLLS = (
    Poll(
        "balances", CLOB, GOLDSKY, _CHANNELS, 10.0, ask_balances, follow=follow_balances,
        find_fault=find_balances_fault, allowance=(50, 10.0), attempts_max=2, pages_max=WALK_PAGES + 1, parallel_max=4,
    ),
    # Its answers are up to five minutes old: asking more often tells nothing.
    Poll(
        "holders", CLOB, DATA, _CHANNELS, 60.0, ask_holders, follow=follow_data,
        find_fault=find_data_fault, allowance=(100, 10.0), attempts_max=3, parallel_max=4, patience_s=30.0,
    ),
    Poll(
        "positions", CLOB, DATA, _CHANNELS, 60.0, ask_positions, follow=follow_data,
        find_fault=find_data_fault, allowance=(100, 10.0), attempts_max=3, parallel_max=4, patience_s=30.0,
    ),
    Poll(
        "trades", DATA, DATA, ("trade",), 60.0, ask_trades, follow=follow_trades,
        find_fault=find_data_fault, allowance=(100, 10.0), attempts_max=3, parallel_max=4, patience_s=30.0,
    ),
)  # fmt: skip
