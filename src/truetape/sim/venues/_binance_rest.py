"""Fake Binance's REST side: listings, depth snapshots, trades by id and time, klines, funding."""

from typing import NamedTuple

from truetape.sim.market import FUNDING_US, Candle, Market, Trade
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.spec import Spec, write_fixed, write_padded
from truetape.sim.world import World

INTERVALS_US = {
    name: minutes * 60_000_000
    for name, minutes in {
        "1m": 1,
        "3m": 3,
        "5m": 5,
        "15m": 15,
        "30m": 30,
        "1h": 60,
        "2h": 120,
        "4h": 240,
        "6h": 360,
        "8h": 480,
        "12h": 720,
        "1d": 1440,
    }.items()
}


def write_price(spec: Spec, price: int) -> str:
    """Write a price as this product line does: spot has always eight decimals."""
    if spec.feed == "spot":
        return write_padded(price, spec.price_digits, 8)
    return write_fixed(price, spec.price_digits)


def write_size(spec: Spec, size: int) -> str:
    """Write a size as this product line does."""
    if spec.feed == "spot":
        return write_padded(size, spec.size_digits, 8)
    return write_fixed(size, spec.size_digits)


class CandleNumbers(NamedTuple):
    """A candle's numbers as text; COIN-M counts contracts in `volume` and coins in `turnover`."""

    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    buy_volume: str
    buy_turnover: str


def candle_numbers(spec: Spec, bar: Candle) -> CandleNumbers:
    """Write a candle's numbers."""
    prices = [write_price(spec, p) for p in (bar.open, bar.high, bar.low, bar.close)]
    volumes = [write_size(spec, v) for v in (bar.volume, bar.buy_volume)]
    if spec.kind == "inverse":
        # Coins need the price of each trade; the average price is exact enough for a field nobody sums.
        average = bar.turnover / bar.volume / 10**spec.price_digits if bar.volume else 1.0
        worth = [f"{v * spec.contract / average:.8f}" for v in (bar.volume, bar.buy_volume)]
    else:
        digits = spec.price_digits + spec.size_digits
        width = 8 if spec.feed == "spot" else digits
        worth = [_cut(v, digits, width) for v in (bar.turnover, bar.buy_turnover)]
    high, low, close = prices[1:]
    return CandleNumbers(prices[0], high, low, close, volumes[0], worth[0], volumes[1], worth[1])


def _cut(value: int, digits: int, width: int) -> str:
    if digits > width:
        return write_fixed(value // 10 ** (digits - width), width)
    return write_padded(value, digits, width)


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    parts = query.path.strip("/").split("/")
    feed = {"api": "spot", "fapi": "usdm", "dapi": "coinm"}.get(parts[0], "")
    if len(parts) < 3 or not feed:
        return Reply(b"", 404)
    name = "/".join(parts[2:])
    if name in ("ping", "time"):
        return _reply({} if name == "ping" else {"serverTime": world.now_ms}, feed)
    if name == "exchangeInfo":
        return _reply(_list_instruments(world, feed), feed, 20 if feed == "spot" else 1)
    if name == "fundingInfo":
        return _reply([], feed)
    handler = _HANDLERS.get(name)
    if handler is None:
        return Reply(b"", 404)
    symbol = query.args.get("symbol", "")
    market = world.market("binance", feed, symbol)
    if not symbol:
        return _fail(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.", feed)
    if market is None:
        return _fail(-1121, "Invalid symbol.", feed)
    return handler(market, query)


def _reply(tree: object, feed: str, weight: int = 1, is_book: bool = False) -> Reply:
    return Reply(encode_json(tree), quota=feed, weight=weight, is_book=is_book)


def _fail(code: int, message: str, feed: str) -> Reply:
    return Reply(encode_json({"code": code, "msg": message}), 400, quota=feed)


def _answer_depth(market: Market, query: Query) -> Reply:
    spec, limit = market.spec, query.number("limit", 100 if market.spec.feed == "spot" else 500, 5000)
    bids, asks = (
        [[write_price(spec, price), write_size(spec, size)] for price, size in side] for side in market.book(limit)
    )
    tree: dict[str, object] = {"lastUpdateId": market.update_id}
    ms = market.now_us // 1000
    if spec.feed != "spot":
        tree |= {"E": ms, "T": ms}
    if spec.feed == "coinm":
        tree |= {"symbol": spec.symbol, "pair": spec.symbol.partition("_")[0]}
    steps = ((100, 5), (500, 25), (1000, 50), (5000, 250))
    if spec.feed != "spot":
        steps = ((50, 2), (100, 5), (500, 10), (1000, 20))
    weight = next((w for most, w in steps if limit <= most), steps[-1][1])
    return _reply(tree | {"bids": bids, "asks": asks}, spec.feed, weight, is_book=True)


def _answer_trades(market: Market, query: Query) -> Reply:
    limit = query.number("limit", 500, 1000)
    start = query.number("fromId", -1)
    trades = market.trades(start, limit) if start >= 0 else market.recent(limit)
    return _reply([_describe_trade(market.spec, t) for t in trades], market.spec.feed, 25)


def _describe_trade(spec: Spec, trade: Trade) -> dict[str, object]:
    worth = write_fixed(trade.price * trade.size, spec.price_digits + spec.size_digits)
    tree: dict[str, object] = {"id": trade.id, "price": write_price(spec, trade.price)}
    tree["qty"] = write_size(spec, trade.size)
    if spec.kind == "inverse":
        tree["baseQty"] = f"{trade.size * spec.contract / (trade.price / 10**spec.price_digits):.8f}"
    else:
        tree["quoteQty"] = worth
    tree |= {"time": trade.at_us // 1000, "isBuyerMaker": trade.is_sell}
    return tree | ({"isBestMatch": True} if spec.feed == "spot" else {})


def _answer_aggregates(market: Market, query: Query) -> Reply:
    limit = query.number("limit", 500, 1000)
    start_ms, end_ms = query.number("startTime", -1), query.number("endTime", -1)
    if "fromId" in query.args:
        first = market.find_order(query.number("fromId", 0))
        trades = market.trades(first, limit * 3)
    elif start_ms >= 0 or end_ms >= 0:
        until = (end_ms + 1) * 1000 if end_ms >= 0 else 1 << 62
        trades = market.trades_between(max(0, start_ms) * 1000, until, limit * 3)
    else:
        trades = market.recent(limit * 3)
    groups: dict[int, list[Trade]] = {}
    for trade in trades:
        groups.setdefault(trade.order, []).append(trade)
    rows = list(groups.values())
    rows = rows[:limit] if query.args.keys() & {"fromId", "startTime", "endTime"} else rows[-limit:]
    return _reply([_describe_aggregate(market.spec, row) for row in rows], market.spec.feed, 4)


def _describe_aggregate(spec: Spec, fills: list[Trade]) -> dict[str, object]:
    one = fills[0]
    tree: dict[str, object] = {
        "a": one.order,
        "p": write_price(spec, one.price),
        "q": write_size(spec, sum(f.size for f in fills)),
        "f": one.id,
        "l": fills[-1].id,
        "T": one.at_us // 1000,
        "m": one.is_sell,
    }
    return tree | ({"M": True} if spec.feed == "spot" else {})


def _answer_klines(market: Market, query: Query) -> Reply:
    span = INTERVALS_US.get(query.args.get("interval", ""), 0)
    if not span:
        return _fail(-1120, "Invalid interval.", market.spec.feed)
    limit = query.number("limit", 500, 1000)
    bars = list(market.bars(span, query.number("startTime", 0) * 1000, query.number("endTime", 1 << 50) * 1000 + 1))
    bars = bars[:limit] if "startTime" in query.args else bars[-limit:]
    rows = []
    for bar in bars:
        n = candle_numbers(market.spec, bar)
        start, end = bar.start_us // 1000, (bar.start_us + span) // 1000 - 1
        rows.append([start, *n[:5], end, n.turnover, bar.trades, n.buy_volume, n.buy_turnover, "0"])
    return _reply(rows, market.spec.feed, 2)


def _answer_premium(market: Market, query: Query) -> Reply:
    spec, digits = market.spec, market.spec.price_digits + 2
    mark, index = (write_padded(v, digits, 8) for v in (market.mark, market.index_price))
    tree = {
        "symbol": spec.symbol,
        "markPrice": mark,
        "indexPrice": index,
        "estimatedSettlePrice": index,
        "lastFundingRate": write_fixed(market.funding_ppb // 10, 8),
        "interestRate": "0.00010000",
        "nextFundingTime": market.next_funding_us // 1000,
        "time": market.now_us // 1000,
    }
    if spec.feed == "coinm":
        return _reply([{"symbol": spec.symbol, "pair": spec.symbol.partition("_")[0]} | tree], spec.feed)
    return _reply(tree, spec.feed)


def _answer_interest(market: Market, query: Query) -> Reply:
    spec = market.spec
    tree: dict[str, object] = {"symbol": spec.symbol}
    if spec.feed == "coinm":
        tree |= {"pair": spec.symbol.partition("_")[0], "contractType": "PERPETUAL"}
    return _reply(
        tree | {"openInterest": write_size(spec, market.open_interest), "time": market.now_us // 1000}, spec.feed
    )


PERIODS_US = {name: INTERVALS_US[name] for name in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")}
STATISTICS_US = 30 * 86_400_000_000
"""Statistics are told of so long."""


def interest_at(market: Market, number: int) -> int:
    """Return the open interest at the so manieth five minutes since 1970: the same whenever one asks."""
    return 80_000 * int(10**market.spec.size_digits) + (number * 7919 + market.first_trade_id) % 1_000_003


def settle_rate(market: Market, number: int) -> str:
    """Return the rate of the so manieth settlement since 1970."""
    return write_fixed(market.find_rate(number) // 10, 8)


def answer_statistics(world: World, query: Query) -> Reply:
    """Answer openInterestHist: by symbol at fapi, by pair and contract type at dapi."""
    name = query.path.rpartition("/")[2]
    feed = "coinm" if "pair" in query.args else "usdm"
    symbol = query.args.get("symbol", "") or f"{query.args.get('pair', '')}_PERP"
    market = world.market("binance", feed, symbol)
    step = PERIODS_US.get(query.args.get("period", ""), 0)
    if name != "openInterestHist" or market is None or not step:
        return _fail(-1130, "parameter invalid", feed)
    now, limit = market.now_us, query.number("limit", 30, 500)
    start, end = query.number("startTime", 0) * 1000, min(query.number("endTime", 1 << 50) * 1000, now)
    if start < now - STATISTICS_US:
        return _fail(-1130, "parameter 'startTime' is invalid.", feed)
    spec, rows = market.spec, []
    who = {"symbol": spec.symbol} if feed == "usdm" else {"pair": query.args["pair"], "contractType": "PERPETUAL"}
    for n in range(-(-start // step), end // step + 1)[-limit:]:
        total = write_size(spec, interest_at(market, n * step // INTERVALS_US["5m"]))
        rows.append(who | {"sumOpenInterest": total, "sumOpenInterestValue": "0", "timestamp": n * step // 1000})
    return _reply(rows, feed)


def _answer_funding(market: Market, query: Query) -> Reply:
    """Settled rates: the same rate at each instant whenever one asks."""
    limit = query.number("limit", 100, 1000)
    start = query.number("startTime", 0) * 1000
    end = min(query.number("endTime", 1 << 50) * 1000, market.now_us)
    first = max(-(-start // FUNDING_US), end // FUNDING_US - limit + 1)
    rows = [
        {
            "symbol": market.spec.symbol,
            "fundingTime": n * FUNDING_US // 1000,
            "fundingRate": settle_rate(market, n),
            "markPrice": write_padded(
                market.course.find_mark(n * FUNDING_US // 1_000_000), market.spec.price_digits + 2, 8
            ),
        }
        for n in range(first, end // FUNDING_US + 1)
    ]
    return _reply(rows[:limit], market.spec.feed)


def _answer_day(market: Market, query: Query) -> Reply:
    spec = market.spec
    day = market.today()
    n = candle_numbers(spec, day)
    tree = {
        "symbol": spec.symbol,
        "lastPrice": n.close,
        "openPrice": n.open,
        "highPrice": n.high,
        "lowPrice": n.low,
        "volume": n.volume,
        "quoteVolume": n.turnover,
        "openTime": day.start_us // 1000,
        "closeTime": market.now_us // 1000,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }
    return _reply(tree, spec.feed, 2)


_HANDLERS = {
    "depth": _answer_depth,
    "trades": _answer_trades,
    "historicalTrades": _answer_trades,
    "aggTrades": _answer_aggregates,
    "klines": _answer_klines,
    "premiumIndex": _answer_premium,
    "openInterest": _answer_interest,
    "fundingRate": _answer_funding,
    "ticker/24hr": _answer_day,
}


def _list_instruments(world: World, feed: str) -> dict[str, object]:
    limit = 6000 if feed == "spot" else 2400
    tree: dict[str, object] = {
        "timezone": "UTC",
        "serverTime": world.now_ms,
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}],
        "exchangeFilters": [],
    }
    describe = _describe_spot if feed == "spot" else _describe_future
    return tree | {"symbols": [describe(spec) for spec in world.list_specs("binance", feed)]}


def _describe_filters(spec: Spec) -> list[dict[str, str]]:
    tick, step = write_price(spec, spec.tick), write_size(spec, spec.lot)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": write_price(spec, 10**12), "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": write_size(spec, 10**10), "stepSize": step},
    ]


def _describe_spot(spec: Spec) -> dict[str, object]:
    return {
        "symbol": spec.symbol,
        "status": "TRADING",
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": _describe_filters(spec),
        "permissions": ["SPOT"],
    }


def _describe_future(spec: Spec) -> dict[str, object]:
    status = "contractStatus" if spec.feed == "coinm" else "status"
    tree: dict[str, object] = {
        "symbol": spec.symbol,
        "pair": spec.symbol.partition("_")[0],
        "contractType": "PERPETUAL",
        "deliveryDate": spec.expiry_ms or 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        status: "TRADING",
    }
    if spec.feed == "coinm":
        tree |= {"contractSize": int(spec.contract)}
    return tree | {
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": spec.base,
        "quoteAsset": spec.quote,
        "marginAsset": spec.base if spec.feed == "coinm" else spec.quote,
        "pricePrecision": spec.price_digits,
        "quantityPrecision": spec.size_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "filters": _describe_filters(spec),
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC"],
        "liquidationFee": "0.012000",
        "marketTakeBound": "0.30",
    }
