"""What the fake order book of Polymarket answers over HTTP, at the very state that its socket has told."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from truetape.sim.prediction import Market
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.spec import write_short
from truetape.sim.venues._clob import FEED, VENUE, ClobStage
from truetape.sim.venues._clob_frames import (
    OUTCOMES,
    PRICES,
    Face,
    describe,
    face_book,
    find_ghost,
    find_tops,
    list_sides,
)
from truetape.sim.venues._updown import name_title
from truetape.sim.world import World

HOST = "clob.polymarket.com"
QUOTA = "clob"
PAGE = 500
LAST_CURSOR = "LTE="
WINNER_LAG_S = 300
"""The winner is told here so long after the market was resolved."""
LISTED_S = 3600
"""The list of all markets holds those whose window begins so near to now, and those before."""


class _Asked(msgspec.Struct, frozen=True):
    token_id: str
    side: str = ""


_decode_asked = msgspec.json.Decoder(list[_Asked]).decode


def respond(world: World, query: Query) -> Reply:
    """Answer a request."""
    head, _, rest = query.path.strip("/").partition("/")
    if query.method == "POST":
        return _answer_many(world, head, query.body)
    if rest and head in _BY_CONDITION:
        market = world.prediction.find_condition(rest, world.now_ms / 1000)
        if market is None or market.created_s > world.now_ms / 1000:
            return _refuse(404, "market not found")
        return _say(_BY_CONDITION[head](world, market))
    if head in _PLAIN:
        return _PLAIN[head](world, query)
    if head == "book":
        face, at_ms = _find_book(world, query.args.get("token_id", ""))
        if face is None:
            return _refuse(404, "No orderbook exists for the requested token id")
        return Reply(face.write_answer(at_ms).encode() + b"\n", quota=QUOTA, is_book=True)
    if head in _BY_TOKEN:
        return _answer_one(world, head, query.args.get("token_id", ""), query.args.get("side", "BUY"))
    return _refuse(404, "404 page not found")


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    words = {425: "service not ready", 429: "Too Many Requests"}
    return encode_json({"error": words.get(status, "internal server error")})


def _say(value: object) -> Reply:
    return Reply(encode_json(value), quota=QUOTA)


def _refuse(status: int, why: str) -> Reply:
    return Reply(encode_json({"error": why}), status, quota=QUOTA)


# books


def _stage(world: World) -> ClobStage:
    stage = world.stages[FEED]
    assert isinstance(stage, ClobStage)
    return stage


def _find_book(world: World, token: str) -> tuple[Face | None, int]:
    """Return an outcome's book and its time; null where there is none."""
    found = world.prediction.find_token(token, world.now_ms / 1000) if token.isdecimal() else None
    told = _stage(world).recall(found[0]) if found else None
    if found is None or told is None:
        return None, 0
    market, outcome = found
    if world.judge.find_spell("ghost", VENUE, f"{market.slug}:{OUTCOMES[outcome]}"):
        world.judge.record(VENUE, FEED, f"{market.slug}:{OUTCOMES[outcome]}", "ghost")
        return find_ghost(market, outcome, told.lasts[outcome]), told.at_ms
    return face_book(market, told, outcome), told.at_ms


def _answer_one(world: World, what: str, token: str, side: str) -> Reply:
    found = world.prediction.find_token(token, world.now_ms / 1000) if token.isdecimal() else None
    told = _stage(world).recall(found[0]) if found else None
    if found is None or told is None:
        return _refuse(404, "No orderbook exists for the requested token id")
    market, outcome = found
    value = _find_value(market, outcome, what, side, told)
    return _say(value) if value is not None else _refuse(404, "No orderbook exists for the requested token id")


def _find_value(market: Market, outcome: int, what: str, side: str, told: Any) -> object:
    bids, asks = list_sides(told.picture, outcome)
    bid, ask = (bids[0][0] if bids else 0), (asks[0][0] if asks else 1000)
    match what:
        case "price":
            return {"price": find_tops(told.picture)[outcome][0 if side.upper() == "BUY" else 1]}
        case "midpoint":
            return {"mid": write_short((bid + ask) * 5, 4)}
        case "spread":
            return {"spread": PRICES[ask - bid]}
        case "tick-size":
            return {"minimum_tick_size": told.picture.tick / 1000}
        case "neg-risk":
            return {"neg_risk": False}
        case "fee-rate":
            return {"base_fee": 1000}
        case _:
            return {"price": told.lasts[outcome] or "0.5", "side": "BUY" if told.lasts[outcome] else ""}


_BY_TOKEN = ("price", "midpoint", "spread", "tick-size", "neg-risk", "fee-rate", "last-trade-price")


def _answer_many(world: World, what: str, body: bytes) -> Reply:
    try:
        asked = _decode_asked(body)
    except msgspec.DecodeError:
        return _refuse(400, "Invalid payload")
    if what == "books":
        books = [_find_book(world, one.token_id) for one in asked]
        texts = [face.write_answer(at_ms) for face, at_ms in books if face is not None]
        return Reply(f"[{','.join(texts)}]\n".encode(), quota=QUOTA, is_book=True)
    single = {"midpoints": "midpoint", "spreads": "spread", "prices": "price", "last-trades-prices": "last-trade-price"}
    if what not in single:
        return _refuse(405, "method not allowed")
    answers = [(one, _answer_one(world, single[what], one.token_id, one.side)) for one in asked]
    told = [(one, msgspec.json.decode(reply.body)) for one, reply in answers if reply.status == 200]
    if what == "prices":
        return _say({one.token_id: {one.side: value["price"]} for one, value in told})
    if what == "last-trades-prices":
        return _say([{"token_id": one.token_id, **value} for one, value in told])
    return _say({one.token_id: next(iter(value.values())) for one, value in told})


# markets


def describe_market(world: World, market: Market) -> dict[str, Any]:
    """Write a market as /markets has it."""
    now_s = world.now_ms / 1000
    is_over, is_told = now_s >= market.resolved_s, now_s >= market.resolved_s + WINNER_LAG_S
    return {
        "accepting_order_timestamp": _write_time(market.created_s),
        "accepting_orders": not is_over,
        "active": True,
        "archived": False,
        "closed": is_over,
        "condition_id": market.condition,
        "description": describe(market),
        "enable_order_book": not is_over,
        "end_date_iso": _write_time(market.ends_s // 86_400 * 86_400),
        "fpmm": "",
        "game_start_time": _write_time(market.opens_s),
        "icon": "",
        "image": "",
        "is_50_50_outcome": is_told and market.official == "split",
        "maker_base_fee": 1000,
        "market_slug": market.slug,
        "minimum_order_size": 5,
        "minimum_tick_size": 0.01,
        "neg_risk": False,
        "neg_risk_market_id": "",
        "neg_risk_request_id": "",
        "notifications_enabled": True,
        "question": name_title(market),
        "question_id": market.question_id,
        "rewards": {"max_spread": 0, "min_size": 0, "rates": None},
        "seconds_delay": 0,
        "tags": ["Crypto", "Up or Down"],
        "taker_base_fee": 1000,
        "tokens": _list_tokens(world, market, is_over=is_over, is_told=is_told),
    }


def _list_tokens(world: World, market: Market, *, is_over: bool, is_told: bool) -> list[dict[str, Any]]:
    told = _stage(world).recall(market)
    tops = find_tops(told.picture) if told else (("0", "1"), ("0", "1"))
    return [
        {
            "outcome": name,
            "price": float(market.payouts[index]) if is_over else round(sum(map(float, tops[index])) / 2, 4),
            "token_id": market.tokens[index],
            "winner": is_told and market.official == name,
        }
        for index, name in enumerate(OUTCOMES)
    ]


def _find_by_token(world: World, token: str) -> Reply:
    found = world.prediction.find_token(token, world.now_ms / 1000) if token.isdecimal() else None
    if found is None:
        return _refuse(404, "market not found")
    market, _ = found
    tokens = {"primary_token_id": market.tokens[0], "secondary_token_id": market.tokens[1]}
    return _say({"condition_id": market.condition, **tokens})


def describe_short(world: World, market: Market) -> dict[str, Any]:
    """Write a market as /clob-markets has it."""
    told = _stage(world).recall(market)
    return {
        "r": {"mi": 50, "ma": 4.5, "moas": 30},
        "t": [{"t": token, "o": name} for token, name in zip(market.tokens, OUTCOMES, strict=True)],
        "c": market.condition,
        "mos": 5,
        "mts": told.picture.tick / 1000 if told else 0.01,
        "mbf": 1000,
        "tbf": 1000,
        "ao": world.now_ms / 1000 < market.resolved_s,
        "aot": _write_time(market.created_s),
        "itode": True,
        "fd": {"r": 0.07, "e": 1, "to": True},
        "v": market.version,
    }


def _list_page(world: World, query: Query) -> Reply:
    """All markets of the hours around, in pages; the cursor is the base64 of a number."""
    now_s = world.now_ms / 1000
    try:
        start = int(b64decode(query.args.get("next_cursor") or "MA=="))
    except ValueError:
        return _refuse(400, "invalid cursor")
    markets = [m for m in world.prediction.list_markets(now_s - LISTED_S, now_s + LISTED_S) if m.created_s <= now_s]
    page = markets[start : start + PAGE]
    is_last = start + PAGE >= len(markets)
    make = _simplify if "simplified" in query.path else describe_market
    return _say(
        {
            "data": [make(world, market) for market in page],
            "next_cursor": LAST_CURSOR if is_last else b64encode(str(start + PAGE).encode()).decode(),
            "limit": PAGE,
            "count": len(page),
        }
    )


def _simplify(world: World, market: Market) -> dict[str, Any]:
    kept = ("accepting_orders", "active", "archived", "closed", "condition_id", "rewards", "tokens")
    whole = describe_market(world, market)
    return {key: whole[key] for key in kept}


def _write_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_BY_CONDITION: dict[str, Callable[[World, Market], dict[str, Any]]] = {
    "markets": describe_market,
    "clob-markets": describe_short,
}
_PLAIN: dict[str, Callable[[World, Query], Reply]] = {
    "markets-by-token": lambda world, query: _find_by_token(world, query.path.rpartition("/")[2]),
    "time": lambda world, query: Reply(str(world.now_ms // 1000).encode(), quota=QUOTA),
    "ok": lambda world, query: Reply(b'"OK"', quota=QUOTA),
    "version": lambda world, query: Reply(b'{"version":2}', quota=QUOTA),
    "markets": _list_page,
    "sampling-markets": _list_page,
    "simplified-markets": _list_page,
    "sampling-simplified-markets": _list_page,
}
