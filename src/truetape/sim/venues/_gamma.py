"""The fake Gamma: events and markets by slug, by id and in lists, as of a time a little ago, for answers are cached."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from truetape.sim.prediction import SERIES, Market
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.venues._gamma_object import (
    TAGS,
    describe_event,
    describe_market,
    find_volume,
    is_closed,
    is_zombie,
    refer_event,
    write_time,
)
from truetape.sim.venues._updown import name_series
from truetape.sim.world import World

HOST = "gamma-api.polymarket.com"
VENUE = "polymarket"
CACHE_S = 10
"""Answers are renewed so often."""
LIMIT, LIMIT_MAX = 20, 100
PAST_S, AHEAD_S = 26 * 3600, 25 * 3600
"""Lists hold the windows that begin from so long ago to so far ahead."""
QUOTAS: Mapping[str, Quota] = MappingProxyType(
    {"gamma": Quota(4000, 10.0), "gamma-events": Quota(500, 10.0), "gamma-markets": Quota(300, 10.0)}
)
SUNSET = {"deprecation": "true", "sunset": "Fri, 01 May 2026 00:00:00 GMT"}
WORDS = {"BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana", "XRP": "xrp"}

Args = dict[str, list[str]]


def respond(world: World, query: Query) -> Reply:
    """Answer a request."""
    parts = query.path.strip("/").split("/")
    args = parse_qs(query.target.partition("?")[2], keep_blank_values=True) or {k: [v] for k, v in query.args.items()}
    at_s = _find_time(world, query.path)
    quota = f"gamma-{parts[0]}" if parts[0] in ("events", "markets") else "gamma"
    reply = _find_answer(world, parts, args, at_s)
    if reply is None:
        return Reply(b'{"type":"not found error","error":"slug not found"}', 404, quota=quota)
    headers = {"Cache-Control": "public, max-age=60"}
    if len(parts) == 1 and parts[0] in ("events", "markets"):
        headers |= SUNSET
    return Reply(encode_json(reply), quota=quota, headers=headers)


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"type": "rate limit error" if status == 429 else "internal error", "error": str(status)})


def _find_time(world: World, path: str) -> float:
    """Return the time that an answer is of: a few seconds ago, or when a spell began that keeps old answers."""
    now_s = world.now_ms / 1000
    spell = world.judge.find_spell("stale", VENUE, path)
    if spell is not None:
        world.judge.record(VENUE, "gamma", path, "stale")
        now_s -= world.time.elapsed_s() - spell.value
    return now_s // CACHE_S * CACHE_S


def _find_answer(world: World, parts: list[str], args: Args, at_s: float) -> object | None:
    make = _MAKERS.get(parts[0])
    if parts[0] == "tags":
        return [{"id": one, "label": label, "slug": slug} for one, label, slug in TAGS]
    if parts[0] == "public-search":
        found = [m for m in _list_candidates(world, {}, at_s) if (args.get("q") or [""])[0].lower() in m.slug]
        return {"events": [describe_event(world, m, at_s) for m in found[:LIMIT]], "pagination": {"hasMore": False}}
    if make is None:
        return None
    match parts[1:]:
        case []:
            offset = int((args.get("offset") or ["0"])[0])
            markets = _select(world, args, at_s)[offset : offset + _read_limit(args)]
            return [_write(world, make, market, args, at_s) for market in markets]
        case ["keyset"]:
            return _list_page(world, parts[0], make, args, at_s)
        case ["slug", slug]:
            market = world.prediction.find_slug(slug, at_s)
        case [number] if number.isdecimal():
            is_event = parts[0] == "events"
            market = world.prediction.find_number(int(number) - (len(WORDS) if is_event else 0))
        case _:
            return None
    return make(world, market, at_s, False) if market is not None and market.created_s <= at_s else None


def _make_event(world: World, market: Market, at_s: float, is_listed_open: bool) -> dict[str, Any]:
    return describe_event(world, market, at_s, is_listed_open=is_listed_open)


def _make_market(world: World, market: Market, at_s: float, is_listed_open: bool) -> dict[str, Any]:
    whole = describe_market(world, market, at_s, is_listed_open=is_listed_open)
    return {**whole, "events": [refer_event(market, at_s)]}


Make = Callable[[World, Market, float, bool], dict[str, Any]]
_MAKERS: dict[str, Make] = {"events": _make_event, "markets": _make_market}


def _write(world: World, make: Make, market: Market, args: Args, at_s: float) -> dict[str, Any]:
    asks_open = (args.get("closed") or ["false"])[0] != "true"
    return make(world, market, at_s, asks_open and is_zombie(market, at_s))


def _list_page(world: World, key: str, make: Make, args: Args, at_s: float) -> dict[str, Any]:
    """A page after a cursor; the cursor tells the last one of the page before, so pages stay whole."""
    after = _read_cursor((args.get("after_cursor") or [""])[0])
    limit = _read_limit(args)
    markets = [market for market in _select(world, args, at_s) if _key(market) > after]
    page: dict[str, Any] = {key: [_write(world, make, market, args, at_s) for market in markets[:limit]]}
    if len(markets) > limit:
        page["next_cursor"] = b64encode("{}/{}".format(*_key(markets[limit - 1])).encode()).decode()
    return page


def _key(market: Market) -> tuple[int, int]:
    return market.ends_s, market.number


def _read_cursor(text: str) -> tuple[int, int]:
    try:
        ends_s, number = b64decode(text).decode().split("/")
        return int(ends_s), int(number)
    except ValueError:
        return 0, 0


def _read_limit(args: Args) -> int:
    text = (args.get("limit") or [""])[0]
    return min(int(text), LIMIT_MAX) if text.isdecimal() else LIMIT


def _select(world: World, args: Args, at_s: float) -> list[Market]:
    """Return the markets that the arguments ask for, in the order of their ends."""
    filters = tuple((name, tuple(values)) for name, values in args.items() if name not in ("after_cursor", "limit"))
    return _select_sorted(world, filters, at_s)


@lru_cache(8)  # the pages of one list
def _select_sorted(world: World, filters: tuple[tuple[str, tuple[str, ...]], ...], at_s: float) -> list[Market]:
    args = {name: list(values) for name, values in filters}
    wants_closed = (args.get("closed") or ["false"])[0] == "true"
    found = {
        market.number: market
        for market in _list_candidates(world, args, at_s)
        if market.created_s <= at_s and _is_listed(market, at_s, wants_closed) and _fits(market, args, at_s)
    }
    return sorted(found.values(), key=_key)


def _is_listed(market: Market, at_s: float, wants_closed: bool) -> bool:
    """Tell whether a market is in the list of closed or of open ones, zombies being in both."""
    if is_closed(market, at_s):
        return wants_closed or is_zombie(market, at_s)
    return not wants_closed


def _list_candidates(world: World, args: Args, at_s: float) -> Iterable[Market]:
    prediction = world.prediction
    ids = [int(text) for text in args.get("id", ()) if text.isdecimal()]
    tokens = args.get("clob_token_ids", []) + args.get("position_ids", [])
    named = (
        ("slug", [prediction.find_slug(slug, at_s) for slug in args.get("slug", ())]),
        ("id", [prediction.find_number(n) or prediction.find_number(n - len(WORDS)) for n in ids]),
        ("condition_ids", [prediction.find_condition(one, at_s) for one in args.get("condition_ids", ())]),
        ("clob_token_ids", [found[0] if (found := prediction.find_token(t, at_s)) else None for t in tokens]),
    )
    if any(args.get(name) for name, _ in named) or args.get("position_ids"):
        return [market for _, markets in named for market in markets if market is not None]
    series = {slug.rpartition("-")[2] for slug in args.get("series_slug", ())}
    names = {"hourly": "1h"}
    wanted = tuple(names.get(one, one) for one in series) if series else tuple(SERIES)
    return prediction.list_markets(
        at_s - PAST_S, at_s + AHEAD_S, tuple(WORDS), tuple(one for one in wanted if one in SERIES)
    )


def _fits(market: Market, args: Args, at_s: float) -> bool:
    """Tell whether a market passes all filters."""
    for slug in args.get("series_slug", ()):
        spelled = name_series(market)[1]
        if slug not in (spelled, spelled.replace(market.asset.lower(), WORDS[market.asset], 1)):
            return False
    tags = {slug for _, _, slug in TAGS}
    if any(slug not in tags for slug in args.get("tag_slug", ())):
        return False
    ends, starts = write_time(market.ends_s), write_time(market.created_s + 68)
    bounds = (
        ("end_date_min", ends, 1), ("end_date_max", ends, -1),
        ("start_date_min", starts, 1), ("start_date_max", starts, -1),
    )  # fmt: skip
    for name, value, sign in bounds:
        for bound in args.get(name, ()):
            if (datetime.fromisoformat(value) - _read_time(bound)).total_seconds() * sign < 0:
                return False
    floors = [float(v) for name in ("volume_min", "volume_num_min") for v in args.get(name, ())]
    return not floors or find_volume(market, at_s) >= max(floors)


def _read_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace(" ", "+"))
    return moment if moment.tzinfo else datetime.fromisoformat(f"{text[:10]}T00:00:00+00:00")
