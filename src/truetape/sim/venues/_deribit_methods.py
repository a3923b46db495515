"""Fake Deribit's public methods, the same over WebSocket and REST; numbers are JSON numbers."""

from collections.abc import Callable, Mapping

from truetape.sim.market import Candle, Market, Trade
from truetape.sim.spec import Spec
from truetape.sim.world import World

Args = Mapping[str, str]


def number_of(spec: Spec, price: int) -> float:
    """Return a price as the number it is written as."""
    return float(price / 10**spec.price_digits)


def amount_of(spec: Spec, size: int) -> float:
    """Return an amount: USD for inverse, base coin for linear."""
    return float(size / 10**spec.size_digits)


def call(world: World, method: str, args: Args) -> tuple[object] | str:
    """Return the result (in a tuple), or the message of the error."""
    if method == "test":
        return ({"version": "1.2.26"},)
    if method == "get_time":
        return (world.now_ms,)
    if method == "get_instruments":
        return (_list_instruments(world, args),)
    handler = _METHODS.get(method)
    if handler is None:
        return "Method not found"
    market = world.market("deribit", "main", args.get("instrument_name", ""))
    return "Invalid params" if market is None else (handler(market, args),)


def _list_instruments(world: World, args: Args) -> list[dict[str, object]]:
    currency, kind = args.get("currency", "any"), args.get("kind", "future")
    found = []
    for spec in world.list_specs("deribit", "main"):
        settled = spec.base if spec.kind == "inverse" else spec.quote
        if currency in ("any", settled) and kind in ("future", "any"):
            found.append(_describe_instrument(spec, settled))
    return found


def _describe_instrument(spec: Spec, settled: str) -> dict[str, object]:
    style = "reversed" if spec.kind == "inverse" else "linear"
    return {
        "price_index": f"{spec.base}_{spec.quote}".lower(),
        "kind": "future",
        "instrument_name": spec.symbol,
        "max_leverage": 50,
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "instrument_type": style,
        "expiration_timestamp": 32503708800000,
        "creation_timestamp": 1534167754000,
        "is_active": True,
        "tick_size": number_of(spec, spec.tick),
        "contract_size": spec.contract if spec.kind == "inverse" else amount_of(spec, spec.lot),
        "instrument_id": 124972,
        "min_trade_amount": amount_of(spec, spec.lot),
        "future_type": style,
        "max_liquidation_commission": 0.0075,
        "block_trade_commission": 0.00025,
        "block_trade_min_trade_amount": 200000,
        "block_trade_tick_size": 0.01,
        "settlement_currency": settled,
        "settlement_period": "perpetual",
        "base_currency": spec.base,
        "counter_currency": spec.quote,
        "quote_currency": spec.quote,
        "tick_size_steps": [],
    }


def describe_trade(market: Market, trade: Trade) -> dict[str, object]:
    """Write one trade; a liquidated taker has the flag T."""
    spec, digits, second = market.spec, 10 ** (market.spec.price_digits + 2), trade.at_us // 1_000_000
    amount = amount_of(spec, trade.size)
    contract = spec.contract if spec.kind == "inverse" else amount_of(spec, spec.lot)
    prefix = "" if spec.base == "BTC" else f"{spec.base}-"
    row: dict[str, object] = {
        "timestamp": trade.at_us // 1000,
        "price": number_of(spec, trade.price),
        "amount": amount,
        "direction": "sell" if trade.is_sell else "buy",
        "index_price": market.course.find_index(second) / digits,
        "instrument_name": spec.symbol,
        "trade_seq": trade.id - market.first_trade_id + 200_000_000,
        "mark_price": market.course.find_mark(second) / digits,
        "tick_direction": 2 if trade.is_sell else 0,
        "contracts": round(amount / contract, 6),
        "trade_id": f"{prefix}{trade.id}",
    }
    return row | ({"liquidation": "T"} if trade.is_liquidation else {})


def describe_bar(spec: Spec, bar: Candle) -> dict[str, object]:
    """Write a candle: volume in coins, cost in USD."""
    amount, close = amount_of(spec, bar.volume), number_of(spec, bar.close)
    coins, cost = (amount / close, amount) if spec.kind == "inverse" else (amount, amount * close)
    return {
        "tick": bar.start_us // 1000,
        "open": number_of(spec, bar.open),
        "high": number_of(spec, bar.high),
        "low": number_of(spec, bar.low),
        "close": close,
        "volume": round(coins, 8),
        "cost": round(cost, 2),
    }


def ticker_of(market: Market) -> dict[str, object]:
    """Write the ticker of a perpetual."""
    spec, digits = market.spec, 10 ** (market.spec.price_digits + 2)
    bid, bid_size, ask, ask_size = market.top
    day = market.today()
    worth = amount_of(spec, day.volume)
    mark, index = market.mark / digits, market.index_price / digits
    coins = worth / mark if spec.kind == "inverse" else worth
    dollars = worth if spec.kind == "inverse" else worth * mark
    return {
        "timestamp": market.now_us // 1000,
        "state": "open",
        "stats": {
            "high": number_of(spec, market.high),
            "low": number_of(spec, market.low),
            "price_change": 2.3275,
            "volume": round(coins, 8),
            "volume_usd": round(dollars, 2),
            "volume_notional": round(dollars, 2),
        },
        "index_price": index,
        "instrument_name": spec.symbol,
        "last_price": number_of(spec, market.last),
        "settlement_price": number_of(spec, market.open),
        "min_price": round(mark * 0.985, 2),
        "max_price": round(mark * 1.015, 2),
        "open_interest": amount_of(spec, market.open_interest),
        "mark_price": mark,
        "interest_value": 0.0028213400122472977,
        "best_ask_price": number_of(spec, ask),
        "best_bid_price": number_of(spec, bid),
        "estimated_delivery_price": index,
        "best_ask_amount": amount_of(spec, ask_size),
        "best_bid_amount": amount_of(spec, bid_size),
        "current_funding": market.funding_ppb / 1e9,
        "funding_8h": market.funding_ppb / 1e9,
    }


def _number(args: Args, name: str, default: int) -> int:
    text = args.get(name, "")
    return int(text) if text.isdigit() else default


def _get_last_trades(market: Market, args: Args) -> dict[str, object]:
    """Newest first, or from `start_seq` on; `has_more` says whether there are others."""
    count = min(_number(args, "count", 10), 1000)
    base = market.first_trade_id - 200_000_000
    if "start_seq" in args:
        first = _number(args, "start_seq", 0) + base
        last = _number(args, "end_seq", 1 << 60) + base
        trades = [t for t in market.trades(first, count + 1) if t.id <= last]
    elif "start_timestamp" in args:
        end = _number(args, "end_timestamp", 1 << 50) * 1000 + 1000
        trades = market.trades_between(_number(args, "start_timestamp", 0) * 1000, end, count + 1)
    else:
        trades = market.recent(count + 1)[::-1]
    rows = [describe_trade(market, t) for t in trades[:count]]
    return {"has_more": len(trades) > count, "trades": rows}


def _get_order_book(market: Market, args: Args) -> dict[str, object]:
    spec = market.spec
    bids, asks = (
        [[number_of(spec, p), amount_of(spec, s)] for p, s in side] for side in market.book(_number(args, "depth", 20))
    )
    return ticker_of(market) | {"asks": asks, "bids": bids, "change_id": market.update_id}


def _get_chart(market: Market, args: Args) -> dict[str, object]:
    span = _number(args, "resolution", 1) * 60_000_000
    end = _number(args, "end_timestamp", 1 << 50) * 1000 + 1
    bars = market.bars(span, _number(args, "start_timestamp", 0) * 1000, end)
    rows = [describe_bar(market.spec, bar) for bar in bars]
    columns: dict[str, object] = {key: [row[key] for row in rows] for key in ("open", "high", "low", "close", "volume")}
    columns |= {"cost": [row["cost"] for row in rows], "ticks": [row["tick"] for row in rows]}
    return columns | {"status": "ok" if rows else "no_data"}


def _get_funding(market: Market, args: Args) -> list[dict[str, object]]:
    hour = 3_600_000
    first = -(-_number(args, "start_timestamp", 0) // hour)
    end = min(_number(args, "end_timestamp", 1 << 50), market.now_us // 1000) // hour
    course, digits = market.course, 10 ** (market.spec.price_digits + 2)
    return [
        {
            "timestamp": n * hour,
            "index_price": course.find_index(n * 3600) / digits,
            "prev_index_price": course.find_index((n - 1) * 3600) / digits,
            "interest_8h": course.find_basis(n * 3600) / 1e9,
            "interest_1h": course.find_basis(n * 3600) / 8e9,
        }
        for n in range(max(first, end - 743), end + 1)
    ]


_METHODS: dict[str, Callable[[Market, Args], object]] = {
    "get_last_trades_by_instrument": _get_last_trades,
    "get_last_trades_by_instrument_and_time": _get_last_trades,
    "get_order_book": _get_order_book,
    "ticker": lambda market, args: ticker_of(market),
    "get_tradingview_chart_data": _get_chart,
    "get_funding_rate_history": _get_funding,
}
