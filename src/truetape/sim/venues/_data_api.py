"""Polymarket's Data API v2: trades, wallets and resolutions of the world's markets, indexed some seconds late.

Every answer is `{data}` or `{data, pagination}`; cursors are opaque and carry the size of the page, so that a walk
goes on where it was while new rows come in at the other end.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

from truetape.sim.crowd import Trade, find_block
from truetape.sim.prediction import Market
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.venues._index import find_index_time
from truetape.sim.venues._purse import Purse, list_purses
from truetape.sim.world import World

HOSTS = ("data-api.polymarket.com",)
QUOTAS: Mapping[str, Quota] = {
    "data": Quota(800, 10.0),
    "data-trades": Quota(300, 10.0),
    "data-positions": Quota(200, 10.0),
    "data-activity": Quota(200, 10.0),
    "data-prices": Quota(200, 10.0),
    "data-status": Quota(100, 10.0),
}
INDEX_LAG_S = 4
REFRESH_S = 5
"""What is told changes only so often: answers come from a cache."""
CACHE = {"Cache-Control": "public, max-age=5, stale-while-revalidate=300"}
PAGE_ROWS, PAGE_ROWS_MAX = 100, 1000
CONDITIONS_MAX = 20
UNKNOWN_INDEX = 999
"""`outcome_index` where the index does not know the outcome; its name is empty then."""
UNKNOWN_EVERY = 61
PRICES_SPAN_S_MAX, PRICES_ROWS_MAX = 15 * 86_400, 10_000
INTERVALS = {"1h": 3600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1m": 2_592_000, "all": 7_776_000, "max": 7_776_000}
STEPS = {60: 7 * 86_400, 300: 60 * 86_400, 1800: 90 * 86_400}
"""Seconds between prices → how long prices so near to each other are kept."""
STATUSES = ("OPEN", "REDEEMABLE", "REDEEMABLE_LOST", "MERGEABLE", "CLOSED")
ALIASES = ("condition", "condition_id", "conditionId")

Row = dict[str, Any]


class RequestError(Exception):
    """A request that is refused with 400; its text says why."""


class Ask:
    """One request with what it asks about."""

    def __init__(self, world: World, query: Query) -> None:
        self.world, self.args = world, query.args
        self.at_s = int(find_index_time(world, "data", query.path, INDEX_LAG_S) // REFRESH_S * REFRESH_S)
        if "offset" in query.args:
            raise RequestError("offset is not supported: follow pagination.next_cursor")
        self.endpoint = query.path.removeprefix("/v2/").strip("/")

    @property
    def user(self) -> str:
        """The wallet asked about; empty: all."""
        return self.args.get("user", "").lower()

    def list_markets(self) -> list[Market]:
        """List the markets asked about; those that nobody knows are left out."""
        text = next((self.args[name] for name in ALIASES if self.args.get(name)), "")
        conditions = list(dict.fromkeys(part for part in text.split(",") if part))
        if len(conditions) > CONDITIONS_MAX:
            raise RequestError(f"condition: at most {CONDITIONS_MAX} distinct values, got {len(conditions)}")
        for condition in conditions:
            if not (condition.startswith("0x") and len(condition) in (64, 66)):
                raise RequestError(f"condition: {condition[:80]!r} is not a condition id")
        known = self.world.prediction
        if not conditions:
            return self._list_recent()
        return [m for m in (known.find_condition(c, self.at_s) for c in conditions) if m is not None]

    def _list_recent(self) -> list[Market]:
        return list(self.world.prediction.list_markets(self.at_s - 3600, self.at_s + 300, series=("5m", "15m")))

    def read_page(self, rows_max: int = PAGE_ROWS_MAX) -> tuple[int, int]:
        """Return (rows of a page, where it begins; -1 for the beginning)."""
        cursor = self.args.get("cursor", "")
        if not cursor:
            text = self.args.get("limit", str(PAGE_ROWS))
            if not text.isdecimal() or not 1 <= int(text) <= rows_max:
                raise RequestError(f"limit: expected 1 to {rows_max}, got {text[:20]!r}")
            return int(text), -1
        try:
            endpoint, limit, place = urlsafe_b64decode(cursor.encode()).decode().split(":")
            if endpoint == self.endpoint:
                return int(limit), int(place)
        except ValueError:
            pass
        raise RequestError("cursor: not one of this endpoint")

    def name_cursor(self, limit: int, place: int) -> str:
        """Return the cursor of the page that begins at a place."""
        return urlsafe_b64encode(f"{self.endpoint}:{limit}:{place}".encode()).decode()

    def page(self, rows: Sequence[Any], rows_max: int = PAGE_ROWS_MAX) -> Row:
        """Cut a page out of a list that does not grow."""
        limit, place = self.read_page(rows_max)
        begin = max(0, place)
        has_more = len(rows) > begin + limit
        cursor = self.name_cursor(limit, begin + limit) if has_more else None
        return {"data": rows[begin : begin + limit], "pagination": {"next_cursor": cursor, "has_more": has_more}}


def respond(world: World, query: Query) -> Reply:
    """Answer a request."""
    if not query.path.startswith("/v2/"):
        message = "v1 was retired on 2026-10-24: use /v2"
        return Reply(encode_json({"error": message}), 410 if query.path.strip("/") in _RETIRED else 404, quota="data")
    found = _ENDPOINTS.get(query.path.removeprefix("/v2/").strip("/"))
    if found is None:
        return Reply(encode_json({"error": "not found"}), 404, quota="data")
    answer, quota = found
    try:
        return Reply(encode_json(answer(Ask(world, query))), quota=quota, headers=CACHE)
    except RequestError as error:
        return Reply(encode_json({"error": str(error)}), 400, quota=quota)


# trades


def _list_trades(ask: Ask) -> Row:
    """Newest first; a place counts from the oldest, which stays where it is."""
    takers_only = ask.args.get("taker_only", "true") != "false"
    rows = _collect_trades(ask, takers_only=takers_only)
    limit, place = ask.read_page()
    end = len(rows) if place < 0 else min(place, len(rows))
    begin = max(0, end - limit)
    cursor = ask.name_cursor(limit, begin) if begin else None
    return {"data": rows[begin:end][::-1], "pagination": {"next_cursor": cursor, "has_more": bool(begin)}}


def _collect_trades(ask: Ask, *, takers_only: bool) -> list[Row]:
    found = []
    for market in ask.list_markets():
        for index, trade in enumerate(ask.world.crowd.list_trades(market, to_ms=ask.at_s * 1000)):
            found.append((trade.at_ms, market.slug, index, 0, _describe_trade(market, trade, index)))
            if not takers_only:
                found.append((trade.at_ms, market.slug, index, 1, _describe_trade(market, trade, index, is_maker=True)))
    found.sort(key=lambda one: one[:4])
    side, user = ask.args.get("side"), ask.user
    rows = (row for *_, row in found)
    return [r for r in rows if (not side or r["side"] == side) and (not user or r["proxy_wallet"] == user)]


def _describe_trade(market: Market, trade: Trade, index: int, *, is_maker: bool = False) -> Row:
    """A seller's counterpart buys the same outcome; a buyer's gets the other one, at what is left to a dollar."""
    outcome, price, side, wallet = trade.outcome, trade.price, "SELL" if trade.is_sell else "BUY", trade.taker
    if is_maker:
        wallet, side = trade.maker, "BUY"
        if not trade.is_sell:
            outcome, price = 1 - outcome, 1000 - price
    is_unknown = crc32(f"{trade.transaction}{index}".encode()) % UNKNOWN_EVERY == 0
    return {
        "proxy_wallet": wallet, "side": side, "token_id": market.tokens[outcome], "condition_id": market.condition,
        "size": trade.units / 1e6, "price": price / 1000, "timestamp": trade.at_ms // 1000,
        **_describe_market(market), "outcome": "" if is_unknown else ("Up", "Down")[outcome],
        "outcome_index": UNKNOWN_INDEX if is_unknown else outcome, **_describe_profile(wallet),
        "transaction_hash": trade.transaction,
    }  # fmt: skip


def _describe_market(market: Market) -> Row:
    title = f"{market.asset} Up or Down"
    return {"title": title, "slug": market.slug, "icon": "", "event_slug": market.slug}


def _describe_profile(wallet: str) -> Row:
    images = {"profile_image": "", "profile_image_optimized": ""}
    return {"name": "", "pseudonym": f"Wallet-{wallet[2:8]}", "bio": "", **images}


# wallets


def _list_positions(ask: Ask) -> Row:
    status = ask.args.get("status", "")
    if status and status not in STATUSES:
        raise RequestError(f"status: {status[:40]!r} is not known (allowed: {', '.join(STATUSES)})")
    rows = []
    for market in ask.list_markets():
        purses = list_purses(ask.world.crowd, market, ask.at_s)
        rows += [
            _describe_position(ask, market, purse)
            for purse in purses.values()
            if ask.user in ("", purse.wallet) and _has_status(purse, purses, market, ask.at_s, status)
        ]
    rows.sort(key=lambda row: (-row["current_size"], row["proxy_wallet"], row["token_id"]))
    return ask.page(rows)


def _has_status(purse: Purse, purses: Mapping[Any, Purse], market: Market, at_s: int, status: str) -> bool:
    """Say whether a position is wanted: without a status, those that are held."""
    is_resolved = at_s >= market.resolved_s
    other = purses.get((purse.wallet, 1 - purse.outcome))
    return {
        "": purse.units > 0,
        "OPEN": purse.units > 0 and not is_resolved,
        "REDEEMABLE": purse.units > 0 and is_resolved,
        "REDEEMABLE_LOST": purse.units > 0 and is_resolved and market.payouts[purse.outcome] == "0",
        "MERGEABLE": purse.units > 0 and not is_resolved and other is not None and other.units > 0,
        "CLOSED": purse.units == 0,
    }[status]


def _describe_position(ask: Ask, market: Market, purse: Purse) -> Row:
    is_resolved = ask.at_s >= market.resolved_s
    status = "CLOSED" if not purse.units else "REDEEMABLE" if is_resolved else "OPEN"
    value = _describe_value(ask, market, purse)
    return {
        "proxy_wallet": purse.wallet, "token_id": market.tokens[purse.outcome], "condition_id": market.condition,
        "current_size": purse.units / 1e6, "total_size": purse.bought / 1e6, **value,
        "entry_fees_usdc": 0.0, "total_cost_usdc": value["entry_cost_usdc"],
        "percent_pnl": _divide(value["total_pnl"], value["entry_cost_usdc"]),
        "percent_realized_pnl": _divide(value["realized_pnl"], value["entry_cost_usdc"]),
        "status": status, "redeemable": status == "REDEEMABLE", "mergeable": False, "negative_risk": False,
        "archived": False, "verified": False, **_describe_market(market),
        "outcome": ("Up", "Down")[purse.outcome], "outcome_index": purse.outcome,
        "opposite_outcome": ("Down", "Up")[purse.outcome], "opposite_token_id": market.tokens[1 - purse.outcome],
        "event_id": str(market.number + 1), "end_date": "", "name": "", "profile_image": "",
        "last_event_at": purse.last_s, "first_entry_at": purse.first_s,
    }  # fmt: skip


def _describe_value(ask: Ask, market: Market, purse: Purse) -> Row:
    price = _find_price(ask, market, purse.outcome, ask.at_s)
    held, unrealized = purse.units / 1e6, purse.units / 1e6 * (price - purse.average)
    return {
        "avg_price": round(purse.average, 6), "entry_cost_usdc": round(purse.cost / 1e9, 6), "current_price": price,
        "current_value": round(held * price, 6), "realized_pnl": round(purse.realized / 1e9, 6),
        "unrealized_pnl": round(unrealized, 6), "total_pnl": round(purse.realized / 1e9 + unrealized, 6),
    }  # fmt: skip


def _divide(part: float, whole: float) -> float:
    return round(100 * part / whole, 4) if whole else 0.0


def _list_holders(ask: Ask) -> Row:
    """Per token, largest first; who holds both outcomes is told with what is left of the larger one."""
    if not any(ask.args.get(name) for name in ALIASES):
        raise RequestError("condition: required")
    has_profit = ask.args.get("include_pnl") == "true"
    markets = ask.list_markets()
    if has_profit and len(markets) > 1:
        raise RequestError("include_pnl: exactly one condition")
    limit, place = ask.read_page(100 if has_profit else PAGE_ROWS_MAX)
    begin, data, longest = max(0, place), [], 0
    for market in markets:
        purses = list_purses(ask.world.crowd, market, ask.at_s)
        for outcome, token in enumerate(market.tokens):
            holders = _net(purses, outcome, is_net=not has_profit)
            longest = max(longest, len(holders))
            rows = [
                _describe_holder(market, purse, units) | (_describe_value(ask, market, purse) if has_profit else {})
                for purse, units in holders[begin : begin + limit]
            ]
            data.append({"token_id": token, "holders": rows})
    has_more = longest > begin + limit
    cursor = ask.name_cursor(limit, begin + limit) if has_more else None
    return {"data": data, "pagination": {"next_cursor": cursor, "has_more": has_more}}


def _net(purses: Mapping[Any, Purse], outcome: int, *, is_net: bool) -> list[tuple[Purse, int]]:
    found = []
    for purse in purses.values():
        other = purses.get((purse.wallet, 1 - outcome))
        units = purse.units - (other.units if other and is_net else 0)
        if purse.outcome == outcome and units > 0:
            found.append((purse, units))
    return sorted(found, key=lambda one: (-one[1], one[0].wallet))


def _describe_holder(market: Market, purse: Purse, units: int) -> Row:
    return {
        "proxy_wallet": purse.wallet, "token_id": market.tokens[purse.outcome], "amount": units / 1e6,
        "outcome_index": purse.outcome, "display_username_public": False, "verified": False,
        **_describe_profile(purse.wallet),
    }  # fmt: skip


def _list_activity(ask: Ask) -> Row:
    """A wallet's trades and redemptions, newest first."""
    if not ask.user:
        raise RequestError("user: required")
    rows = [
        {**row, "type": "TRADE", "is_combo": False, "usdc_size": round(row["size"] * row["price"], 6)}
        for row in _collect_trades(ask, takers_only=False)
    ]
    for market in ask.list_markets():
        rows += [
            _describe_redemption(market, move.outcome, -move.units, move.at_s, ask.user)
            for move in ask.world.crowd.list_moves(market)
            if move.wallet == ask.user and market.resolved_s < move.at_s <= ask.at_s
        ]
    wanted = {part for part in ask.args.get("type", "").split(",") if part}
    rows = [row for row in rows if not wanted or row["type"] in wanted]
    rows.sort(key=lambda row: -row["timestamp"])
    return ask.page(rows)


def _describe_redemption(market: Market, outcome: int, units: int, at_s: int, wallet: str) -> Row:
    return {
        "proxy_wallet": wallet, "type": "REDEEM", "is_combo": False, "condition_id": market.condition,
        "token_id": market.tokens[outcome], "size": units / 1e6,
        "usdc_size": units / 1e6 * float(market.payouts[outcome]), "timestamp": at_s,
        "transaction_hash": f"0x{crc32(f'{wallet}{market.slug}{outcome}'.encode()):064x}", "price": 0.0, "side": "",
        **_describe_market(market), "outcome": ("Up", "Down")[outcome], "outcome_index": outcome,
        **_describe_profile(wallet),
    }  # fmt: skip


# markets


def _list_prices(ask: Ask) -> Row:
    """The middle of the book at even steps; exactly one of `interval`, `start` and `as_of` says when."""
    given = [name for name in ("interval", "start", "as_of") if name in ask.args]
    if len(given) != 1:
        raise RequestError("exactly one of interval, start, as_of is needed")
    begin_s, end_s = _read_span(ask, given[0])
    step_min = {"max": 600, "all": 600, "1m": 600, "1w": 300}.get(ask.args.get("interval", ""), 60)
    step = _read_second(ask, "bucket_seconds", step_min)
    if not step_min <= step <= 86_400:
        raise RequestError(f"bucket_seconds: expected {step_min} to 86400, got {step}")
    kept_s = next(kept for finest, kept in sorted(STEPS.items(), reverse=True) if step >= finest)
    found = ask.world.prediction.find_token(ask.args.get("token_id", ""), ask.at_s)
    if found is None:
        return {"data": [], "pagination": {"next_cursor": None, "has_more": False}}
    market, outcome = found
    first_s = max(begin_s, market.created_s, ask.at_s - kept_s)
    seconds = range(-(-first_s // step) * step, min(end_s, market.resolved_s) + 1, step)
    seconds = seconds[-1:] if given[0] == "as_of" else seconds
    rows = [
        {"timestamp": s, "price": _find_price(ask, market, outcome, s), "resolution_seconds": step} for s in seconds
    ]
    return ask.page(rows, PRICES_ROWS_MAX)


def _read_span(ask: Ask, given: str) -> tuple[int, int]:
    """Return from when to when prices are wanted."""
    if given == "interval":
        length = INTERVALS.get(ask.args["interval"])
        if length is None:
            raise RequestError(f"interval: allowed are {', '.join(INTERVALS)}")
        return ask.at_s - length, ask.at_s
    if given == "as_of":
        at_s = min(_read_second(ask, "as_of", 0), ask.at_s)
        return at_s - 86_400, at_s
    begin_s, end_s = _read_second(ask, "start", 0), _read_second(ask, "end", ask.at_s)
    if not 0 <= end_s - begin_s <= PRICES_SPAN_S_MAX:
        raise RequestError("start, end: in this order, and at most 15 days")
    return begin_s, min(end_s, ask.at_s)


def _read_second(ask: Ask, name: str, default: int) -> int:
    text = ask.args.get(name, str(default))
    if not text.isdecimal():
        raise RequestError(f"{name}: expected seconds, got {text[:40]!r}")
    return int(text)


def _find_price(ask: Ask, market: Market, outcome: int, at_s: int) -> float:
    """Return the middle of the book, or what is paid once resolved."""
    if at_s >= market.resolved_s:
        return float(market.payouts[outcome])
    ladder = ask.world.crowd.ladder(market)
    bid, price, _ = ladder.find_top(ladder.find_second(at_s))
    middle = (bid + min(1000, price)) / 2000
    return round(1 - middle if outcome else middle, 4)


def _list_resolutions(ask: Ask) -> Row:
    if not any(ask.args.get(name) for name in (*ALIASES, "question_id", "event_id")):
        raise RequestError("condition: required")
    return {"data": [_describe_resolution(ask, m) for m in ask.list_markets() if ask.at_s >= m.ends_s]}


def _describe_resolution(ask: Ask, market: Market) -> Row:
    state = market.find_state(ask.at_s)
    is_resolved = state == "resolved"
    times = {"resolved": market.resolved_s, "disputed": market.disputed_s, "proposed": market.proposed_s}
    payouts = [str(int(float(part) * 1_000_000)) for part in market.payouts]
    return {
        "question_id": market.question_id, "condition_id": market.condition,
        "status": {"ended": "posed", "listed": "initialized", "open": "initialized"}.get(state, state),
        "extended_review": False, "expected_settlement_time": None, "settlement_time_basis": None,
        "was_disputed": market.disputed_s is not None and ask.at_s >= market.disputed_s, "new_version_q": False,
        "proposed_price": None, "reproposed_price": None, "price": None, "transaction_hash": None, "log_index": None,
        "last_update_timestamp": str(times.get(state) or market.ends_s), "market_type": "BINARY",
        "payouts": payouts if is_resolved else None, "resolution_source": "reported" if is_resolved else None,
        "reporter": "CHAINLINK" if is_resolved else None, "was_arbitrated": False,
        "resolved_block": find_block(market.resolved_s) if is_resolved else None,
        "resolved_at": str(market.resolved_s) if is_resolved else None,
    }  # fmt: skip


def _list_interest(ask: Ask) -> Row:
    found = []
    for market in ask.list_markets():
        total = sum(units for _, units in ask.world.crowd.hold(market, 0, ask.at_s))
        found.append({"condition_id": market.condition, "value": total / 1e6})
    return {"data": found}


def _tell_status(ask: Ask) -> Row:
    """How far the index is."""
    block = find_block(ask.at_s)
    lag_s = int(ask.world.time.now_us() / 1e6) - ask.at_s
    return {"data": {"status": "ok", "indexed_block": block, "indexed_at": ask.at_s, "lag_seconds": lag_s}}


_ENDPOINTS: dict[str, tuple[Callable[[Ask], Row], str]] = {
    "trades": (_list_trades, "data-trades"),
    "positions": (_list_positions, "data-positions"),
    "activity": (_list_activity, "data-activity"),
    "prices-history": (_list_prices, "data-prices"),
    "status": (_tell_status, "data-status"),
    "holders": (_list_holders, "data"),
    "resolutions": (_list_resolutions, "data"),
    "oi": (_list_interest, "data"),
}
"""Last part of the path → what answers, and the quota it counts against."""
_RETIRED = frozenset({"trades", "positions", "activity", "holders", "value", "closed-positions"})
