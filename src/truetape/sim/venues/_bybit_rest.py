"""Fake Bybit's REST side: listings by page, klines, trades, books, funding. Errors come with status 200."""

from collections.abc import Callable

from truetape.sim.market import FUNDING_US, Candle, Market
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.spec import Spec, write_fixed, write_short
from truetape.sim.venues import _bybit_bulk as bulk
from truetape.sim.world import World

INTERVALS_US = {
    **{str(m): m * 60_000_000 for m in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": 1440 * 60_000_000,
}


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    if bulk.is_file(query.path):
        return bulk.respond(world, query)
    name = query.path.removeprefix("/v5/market/")
    if name == "time":
        return _reply(world, {"timeSecond": str(world.now_ms // 1000), "timeNano": f"{world.now_ms}000000"})
    category = query.args.get("category", "spot")
    if name not in ("instruments-info", *_HANDLERS):
        return Reply(b"", 404)
    if category not in ("spot", "linear", "inverse"):
        return _fail(world, 10001, "params error: Category is invalid")
    if name == "instruments-info":
        return _list_instruments(world, query, category)
    market = world.market("bybit", category, query.args.get("symbol", ""))
    if market is None:
        return _fail(world, 10001, "params error: symbol invalid")
    return _reply(world, {"category": category} | _HANDLERS[name](market, query), is_book=name == "orderbook")


def _reply(world: World, result: dict[str, object], is_book: bool = False) -> Reply:
    tree = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": world.now_ms}
    return Reply(encode_json(tree), quota="ip", is_book=is_book)


def _fail(world: World, code: int, message: str) -> Reply:
    tree = {"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": world.now_ms}
    return Reply(encode_json(tree), quota="ip")


def _list_instruments(world: World, query: Query, category: str) -> Reply:
    """One page; `nextPageCursor` leads to the next one, empty on the last. Spot has no pages."""
    specs = world.list_specs("bybit", category)
    if "symbol" in query.args:
        specs = [s for s in specs if s.symbol == query.args["symbol"]]
    limit = len(specs) if category == "spot" else query.number("limit", 500, 1000)
    start = query.number("cursor", 0)
    page, rest = specs[start : start + limit], specs[start + limit :]
    describe = _describe_spot if category == "spot" else _describe_contract
    result: dict[str, object] = {"category": category, "list": [describe(s) for s in page]}
    return _reply(world, result | {"nextPageCursor": str(start + limit) if rest else ""})


def _describe_spot(spec: Spec) -> dict[str, object]:
    return {
        "symbol": spec.symbol,
        "baseCoin": spec.base,
        "quoteCoin": spec.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "lotSizeFilter": {
            "basePrecision": write_short(spec.lot, spec.size_digits),
            "quotePrecision": "0.00000001",
            "minOrderQty": write_short(spec.lot, spec.size_digits),
            "maxOrderQty": "1000",
            "minOrderAmt": "5",
            "maxOrderAmt": "1000000",
        },
        "priceFilter": {"tickSize": write_short(spec.tick, spec.price_digits)},
    }


def _describe_contract(spec: Spec) -> dict[str, object]:
    step, tick = write_short(spec.lot, spec.size_digits), write_fixed(spec.tick, spec.price_digits)
    return {
        "symbol": spec.symbol,
        "contractType": "InversePerpetual" if spec.kind == "inverse" else "LinearPerpetual",
        "status": "Trading",
        "baseCoin": spec.base,
        "quoteCoin": spec.quote,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(spec.price_digits),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": "1190.000",
            "minOrderQty": step,
            "qtyStep": step,
            "postOnlyMaxOrderQty": "1190.000",
            "maxMktOrderQty": "500.000",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": spec.base if spec.kind == "inverse" else spec.quote,
        "copyTrading": "both",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.15", "priceLimitRatioY": "0.3"},
        "displayName": "",
        "symbolType": "",
        "forbidUplWithdrawal": False,
        "symbolId": 5,
    }


def describe_candle(spec: Spec, bar: Candle) -> dict[str, object]:
    """Write a candle's numbers; inverse turnover is in coins, by the average price."""
    price = [write_short(v, spec.price_digits) for v in (bar.open, bar.close, bar.high, bar.low)]
    turnover = write_short(bar.turnover, spec.price_digits + spec.size_digits)
    if spec.kind == "inverse":
        turnover = f"{bar.volume * bar.volume * 10**spec.price_digits / max(1, bar.turnover):.8f}"
    tree: dict[str, object] = dict(zip(("open", "close", "high", "low"), price, strict=True))
    return tree | {"volume": write_short(bar.volume, spec.size_digits), "turnover": turnover}


def _answer_klines(market: Market, query: Query) -> dict[str, object]:
    span, spec = INTERVALS_US.get(query.args.get("interval", "1"), 60_000_000), market.spec
    end_ms = query.number("end", 1 << 50)
    bars = list(market.bars(span, query.number("start", 0) * 1000, end_ms * 1000 + 1))
    rows = []
    for bar in reversed(bars[-query.number("limit", 200, 1000) :]):
        one = describe_candle(spec, bar)
        rows.append(
            [str(bar.start_us // 1000), *(one[k] for k in ("open", "high", "low", "close", "volume", "turnover"))]
        )
    return {"symbol": spec.symbol, "list": rows}


def _answer_trades(market: Market, query: Query) -> dict[str, object]:
    spec = market.spec
    limit = query.number("limit", 60 if spec.kind == "spot" else 500, 60 if spec.kind == "spot" else 1000)
    rows = [
        {
            "execId": bulk.name_trade(spec, t),
            "symbol": spec.symbol,
            "price": write_fixed(t.price, spec.price_digits),
            "size": write_fixed(t.size, spec.size_digits),
            "side": "Sell" if t.is_sell else "Buy",
            "time": str(t.at_us // 1000),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(market.update_id),
        }
        for t in reversed(market.recent(limit))
    ]
    return {"list": rows}


def _answer_book(market: Market, query: Query) -> dict[str, object]:
    spec = market.spec
    bids, asks = (
        [[write_fixed(p, spec.price_digits), write_fixed(s, spec.size_digits)] for p, s in side]
        for side in market.book(query.number("limit", 25, 1000))
    )
    ms, number = market.now_us // 1000, market.update_id
    return {"s": spec.symbol, "b": bids, "a": asks, "ts": ms, "u": number, "seq": number, "cts": ms}


def _answer_funding(market: Market, query: Query) -> dict[str, object]:
    end = min(query.number("endTime", 1 << 50) * 1000, market.now_us) // FUNDING_US
    first = max(end - query.number("limit", 200, 200) + 1, -(-query.number("startTime", 0) * 1000 // FUNDING_US))
    rows = [
        {
            "symbol": market.spec.symbol,
            "fundingRate": write_short(market.find_rate(n) // 10, 8),
            "fundingRateTimestamp": str(n * FUNDING_US // 1000),
        }
        for n in range(end, first - 1, -1)
    ]
    return {"list": rows}


PERIODS_US = {
    name: minutes * 60_000_000
    for name, minutes in {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}.items()
}


def interest_at(market: Market, at_us: int) -> int:
    """Return the open interest at a time: the same whenever one asks."""
    return 50_000 * int(10**market.spec.size_digits) + (at_us // 1_000_000 * 7919 + market.first_trade_id) % 1_000_003


def _answer_interest(market: Market, query: Query) -> dict[str, object]:
    step = PERIODS_US.get(query.args.get("intervalTime", ""), 300_000_000)
    last = min(query.number("endTime", 1 << 50) * 1000, market.now_us) // step
    first = max(last - query.number("limit", 50, 200) + 1, -(-query.number("startTime", 0) * 1000 // step))
    rows = [
        {
            "openInterest": write_fixed(interest_at(market, n * step), market.spec.size_digits),
            "timestamp": str(n * step // 1000),
        }
        for n in range(last, first - 1, -1)
    ]
    return {"symbol": market.spec.symbol, "list": rows, "nextPageCursor": ""}


_HANDLERS: dict[str, Callable[[Market, Query], dict[str, object]]] = {
    "kline": _answer_klines,
    "recent-trade": _answer_trades,
    "orderbook": _answer_book,
    "funding/history": _answer_funding,
    "open-interest": _answer_interest,
}
