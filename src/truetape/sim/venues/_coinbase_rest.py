"""Fake Coinbase's REST side: products, candles and trades of the Exchange and of Advanced Trade."""

from datetime import UTC, datetime, timedelta

from truetape.sim.course import Course
from truetape.sim.market import Market, Trade
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.spec import Spec, write_fixed, write_short
from truetape.sim.world import World

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GRANULARITIES_S = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1800,
    "ONE_HOUR": 3600,
    "TWO_HOUR": 7200,
    "SIX_HOUR": 21600,
    "ONE_DAY": 86400,
}
_seconds: dict[int, str] = {}


def write_time(at_us: int) -> str:
    """Write a time as ISO with microseconds."""
    second, part = divmod(at_us, 1_000_000)
    text = _seconds.get(second)
    if text is None:
        if len(_seconds) > 1000:
            _seconds.clear()
        text = _seconds[second] = (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{part:06d}Z"


def read_seconds(text: str, default: int) -> int:
    """Read a time given as seconds or ISO."""
    if text.isdigit():
        return int(text)
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return default


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    path = query.path.removeprefix("/api/v3/brokerage/market")
    if path != query.path:
        return _respond_advanced(world, query, [p for p in path.split("/") if p])
    return _respond_exchange(world, query, [p for p in path.split("/") if p])


def _respond_exchange(world: World, query: Query, parts: list[str]) -> Reply:
    if parts == ["time"]:
        tree = {"iso": write_time(world.time.now_us()), "epoch": world.time.now_us() / 1e6}
        return Reply(encode_json(tree), quota="exchange")
    if parts == ["products"]:
        specs = world.list_specs("coinbase", "exchange")
        return Reply(encode_json([_describe_product(s) for s in specs]), quota="exchange")
    market = world.market("coinbase", "exchange", parts[1]) if len(parts) > 1 and parts[0] == "products" else None
    if market is None:
        return Reply(encode_json({"message": "NotFound"}), 404, quota="exchange")
    match parts[2:]:
        case []:
            return Reply(encode_json(_describe_product(market.spec)), quota="exchange")
        case ["trades"]:
            return Reply(encode_json(_list_exchange_trades(market, query)), quota="exchange")
        case ["candles"]:
            return Reply(encode_json(_list_exchange_candles(market, query)), quota="exchange")
        case ["book"]:
            return Reply(encode_json(_describe_exchange_book(market, query)), quota="exchange", is_book=True)
    return Reply(encode_json({"message": "NotFound"}), 404, quota="exchange")


def _describe_product(spec: Spec) -> dict[str, object]:
    return {
        "id": spec.symbol,
        "base_currency": spec.base,
        "quote_currency": spec.quote,
        "quote_increment": write_fixed(spec.tick, spec.price_digits),
        "base_increment": write_short(spec.lot, spec.size_digits),
        "display_name": f"{spec.base}-{spec.quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def _list_exchange_trades(market: Market, query: Query) -> list[dict[str, object]]:
    """Trades newest first; `after` is the page of older ones (ids below it), `before` of newer ones."""
    limit, spec = query.number("limit", 1000, 1000), market.spec
    after, before = query.number("after", -1), query.number("before", -1)
    if after >= 0:
        first = max(market.first_trade_id, after - limit)
        trades = [t for t in market.trades(first, limit) if t.id < after]
    elif before >= 0:
        trades = market.trades(before + 1)[-limit:]
    else:
        trades = market.recent(limit)
    return [
        {
            "time": write_time(t.at_us),
            "trade_id": t.id,
            "price": write_fixed(t.price, spec.price_digits),
            "size": write_fixed(t.size, spec.size_digits),
            "side": "buy" if t.is_sell else "sell",
        }
        for t in reversed(trades)
    ]


def _list_exchange_candles(market: Market, query: Query) -> list[list[float | int]]:
    """Rows of time, low, high, open, close, volume; newest first, at most 300."""
    span_s = query.number("granularity", 60)
    start, end = read_seconds(query.args.get("start", ""), 0), read_seconds(query.args.get("end", ""), 1 << 40)
    price, size = 10**market.spec.price_digits, 10**market.spec.size_digits
    bars = list(market.bars(span_s * 1_000_000, start * 1_000_000, (end + 1) * 1_000_000))[-300:]
    return [
        [b.start_us // 1_000_000, b.low / price, b.high / price, b.open / price, b.close / price, b.volume / size]
        for b in reversed(bars)
    ]


def _describe_exchange_book(market: Market, query: Query) -> dict[str, object]:
    spec = market.spec
    bids, asks = (
        [[write_fixed(p, spec.price_digits), write_fixed(s, spec.size_digits), 1] for p, s in side]
        for side in market.book(1 if query.number("level", 1) == 1 else 10_000)
    )
    stamp = write_time(market.now_us)
    tree = {"bids": bids, "asks": asks, "sequence": market.update_id, "auction_mode": False, "auction": None}
    return tree | {"time": stamp}


def _respond_advanced(world: World, query: Query, parts: list[str]) -> Reply:
    if parts == ["products"]:
        products = [_describe_advanced(world, s) for s in world.list_specs("coinbase", "advanced")]
        tree = {"products": products, "num_products": len(products), "pagination": None}
        return Reply(encode_json(tree), quota="advanced")
    if parts == ["product_book"]:
        market = world.market("coinbase", "advanced", query.args.get("product_id", ""))
        found = None if market is None else _describe_advanced_book(market, query)
        return _reply_or_fail(found, is_book=True)
    market = world.market("coinbase", "advanced", parts[1]) if len(parts) > 1 and parts[0] == "products" else None
    if market is None:
        return _reply_or_fail(None)
    match parts[2:]:
        case []:
            return _reply_or_fail(_describe_advanced(world, market.spec))
        case ["ticker"]:
            return _reply_or_fail(_list_advanced_trades(market, query))
        case ["candles"]:
            return _reply_or_fail(_list_advanced_candles(market, query))
    return _reply_or_fail(None)


def _reply_or_fail(tree: dict[str, object] | None, is_book: bool = False) -> Reply:
    if tree is None:
        body = {"error": "NOT_FOUND", "error_details": "valid product_id is required", "message": "not found"}
        return Reply(encode_json(body), 404, quota="advanced")
    return Reply(encode_json(tree), quota="advanced", is_book=is_book)


def _describe_advanced(world: World, spec: Spec) -> dict[str, object]:
    tick = write_short(spec.tick, spec.price_digits)
    price = Course(world.prediction.oracle, spec).find_price(world.now_ms // 1000)
    return {
        "product_id": spec.symbol,
        "price": write_short(price, spec.price_digits),
        "price_percentage_change_24h": "0.1",
        "volume_24h": "1000",
        "volume_percentage_change_24h": "1.5",
        "base_increment": write_fixed(spec.lot, spec.size_digits),
        "quote_increment": tick,
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": write_fixed(spec.lot, spec.size_digits),
        "base_max_size": "3400",
        "base_name": spec.base,
        "quote_name": "US Dollar",
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": spec.quote,
        "base_currency_id": spec.base,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": "",
        "alias_to": [f"{spec.base}-USDC"],
        "base_display_symbol": spec.base,
        "quote_display_symbol": spec.quote,
        "view_only": False,
        "price_increment": tick,
        "display_name": spec.symbol,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": "1000000",
        "new_at": "2023-01-01T00:00:00Z",
    }


def _trade_row(spec: Spec, trade: Trade) -> dict[str, object]:
    return {
        "trade_id": str(trade.id),
        "product_id": spec.symbol,
        "price": write_short(trade.price, spec.price_digits),
        "size": write_short(trade.size, spec.size_digits),
        "time": write_time(trade.at_us),
        "side": "BUY" if trade.is_sell else "SELL",
        "bid": "",
        "ask": "",
        "exchange": "coinbase",
    }


def _list_advanced_trades(market: Market, query: Query) -> dict[str, object]:
    limit, spec = query.number("limit", 100, 1000), market.spec
    start, end = query.number("start", -1), query.number("end", 1 << 40)
    between = market.trades_between(start * 1_000_000, end * 1_000_000)[-limit:] if start >= 0 else None
    trades = market.recent(limit) if between is None else between
    return {
        "trades": [_trade_row(spec, t) for t in reversed(trades)],
        "best_bid": write_short(market.bid, spec.price_digits),
        "best_ask": write_short(market.ask, spec.price_digits),
    }


def _list_advanced_candles(market: Market, query: Query) -> dict[str, object]:
    span_s, spec = GRANULARITIES_S.get(query.args.get("granularity", ""), 300), market.spec
    start, end = query.number("start", 0), query.number("end", 1 << 40)
    bars = list(market.bars(span_s * 1_000_000, start * 1_000_000, (end + 1) * 1_000_000))[-350:]
    return {
        "candles": [
            {
                "start": str(b.start_us // 1_000_000),
                "low": write_short(b.low, spec.price_digits),
                "high": write_short(b.high, spec.price_digits),
                "open": write_short(b.open, spec.price_digits),
                "close": write_short(b.close, spec.price_digits),
                "volume": write_short(b.volume, spec.size_digits),
            }
            for b in reversed(bars)
        ]
    }


def _describe_advanced_book(market: Market, query: Query) -> dict[str, object]:
    spec = market.spec
    bids, asks = (
        [{"price": write_short(p, spec.price_digits), "size": write_short(s, spec.size_digits)} for p, s in side]
        for side in market.book(query.number("limit", 10_000))
    )
    book = {"product_id": spec.symbol, "bids": bids, "asks": asks, "time": write_time(market.now_us)}
    return {"pricebook": book}
