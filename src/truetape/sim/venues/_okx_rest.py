"""Fake OKX's REST side; every body is `{"code","msg","data"}`."""

from collections.abc import Callable, Sequence

from truetape.sim.market import FUNDING_US, Market, Trade
from truetape.sim.protocol import Query, Reply, encode_json
from truetape.sim.spec import Spec, write_short
from truetape.sim.venues import _okx_bulk as bulk
from truetape.sim.venues._okx_bar import describe_candle
from truetape.sim.world import World

_MINUTE_US = 60_000_000
BARS_US = {
    **{f"{m}m": m * _MINUTE_US for m in (1, 3, 5, 15, 30)},
    **{f"{h}H": h * 60 * _MINUTE_US for h in (1, 2, 4)},
    **{"6Hutc": 360 * _MINUTE_US, "12Hutc": 720 * _MINUTE_US, "1Dutc": 1440 * _MINUTE_US},
}


def kind_of(spec: Spec) -> str:
    """Return the venue's instType."""
    return "SPOT" if spec.kind == "spot" else "SWAP"


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    if bulk.is_file(query.path):
        return bulk.respond(world, query)
    name = query.path.removeprefix("/api/v5/")
    if name == "public/time":
        return _reply([{"ts": str(world.now_ms)}])
    if name == "public/instruments":
        kind = query.args.get("instType", "")
        if kind not in ("SPOT", "SWAP", "FUTURES", "OPTION", "MARGIN"):
            return _fail("51000", "Parameter instType error")
        wanted = query.args.get("instId")
        specs = [s for s in world.list_specs("okx", "public") if kind_of(s) == kind and wanted in (None, s.symbol)]
        return _reply([_describe_instrument(s) for s in specs], "slow")
    handler = _HANDLERS.get(name)
    if handler is None:
        return Reply(b"", 404)
    market = world.market("okx", "public", query.args.get("instId", ""))
    if market is None:
        return _fail("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    return _reply(handler(market, query), "slow" if "history" in name else "fast", is_book=name == "market/books")


def _reply(rows: Sequence[object], quota: str = "fast", is_book: bool = False) -> Reply:
    return Reply(encode_json({"code": "0", "msg": "", "data": rows}), quota=quota, is_book=is_book)


def _fail(code: str, message: str) -> Reply:
    return Reply(encode_json({"code": code, "msg": message, "data": []}), quota="fast")


def _describe_instrument(spec: Spec) -> dict[str, object]:
    is_spot = spec.kind == "spot"
    family = f"{spec.base}-{spec.quote}"
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": spec.base if is_spot else "",
        "category": "1",
        "ctMult": "" if is_spot else "1",
        "ctType": "" if is_spot else spec.kind,
        "ctVal": "" if is_spot else f"{spec.contract:g}",
        "ctValCcy": "" if is_spot else (spec.quote if spec.kind == "inverse" else spec.base),
        "expTime": "",
        "instFamily": "" if is_spot else family,
        "instId": spec.symbol,
        "instType": kind_of(spec),
        "lever": "10" if is_spot else "100",
        "listTime": "1548133413000",
        "lotSz": write_short(spec.lot, spec.size_digits),
        "maxIcebergSz": "9999999999",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "9999999999",
        "maxMktAmt": "1000000" if is_spot else "",
        "maxMktSz": "1000000",
        "maxStopSz": "1000000",
        "maxTriggerSz": "9999999999",
        "maxTwapSz": "9999999999",
        "minSz": write_short(spec.lot, spec.size_digits),
        "optType": "",
        "quoteCcy": spec.quote if is_spot else "",
        "ruleType": "normal",
        "settleCcy": "" if is_spot else (spec.base if spec.kind == "inverse" else spec.quote),
        "state": "live",
        "stk": "",
        "tickSz": write_short(spec.tick, spec.price_digits),
        "uly": "" if is_spot else family,
    }


def describe_trade(spec: Spec, fills: Sequence[Trade]) -> dict[str, object]:
    """Write fills of one taker order as the one row they become: the id is the last one's."""
    last = fills[-1]
    return {
        "instId": spec.symbol,
        "tradeId": str(last.id),
        "px": write_short(last.price, spec.price_digits),
        "sz": write_short(sum(f.size for f in fills), spec.size_digits),
        "side": "sell" if last.is_sell else "buy",
        "ts": str(last.at_us // 1000),
        "count": str(len(fills)),
        "source": "0",
        "seqId": last.order,
    }


def _list_trades(market: Market, query: Query) -> list[dict[str, object]]:
    """Newest first; `after` is older than that id, or than that time (`type=2`), as history-trades pages."""
    limit = query.number("limit", 100, 500)
    after = query.number("after", -1)
    if query.args.get("type") == "2" and after >= 0:
        trades = market.trades_between(0, after * 1000)[-limit:]
    elif after < 0:
        trades = market.recent(limit)
    else:
        trades = [t for t in market.trades(max(market.first_trade_id, after - limit), limit) if t.id < after]
    rows = [describe_trade(market.spec, (t,)) for t in reversed(trades)]
    return [{k: row[k] for k in ("instId", "side", "sz", "px", "tradeId", "ts")} for row in rows]


def _list_candles(market: Market, query: Query) -> list[list[str]]:
    """Newest first; `after` is older than, `before` newer than."""
    span = BARS_US.get(query.args.get("bar", "1m"), _MINUTE_US)
    start, end = (query.number("before", -1) + 1) * 1000, query.number("after", 1 << 50) * 1000
    bars = list(market.bars(span, start, end))[-query.number("limit", 100, 300) :]
    return [describe_candle(market.spec, b, b.start_us + span <= market.now_us) for b in reversed(bars)]


def _list_book(market: Market, query: Query) -> list[dict[str, object]]:
    spec = market.spec
    bids, asks = (
        [[write_short(p, spec.price_digits), write_short(s, spec.size_digits), "0", "1"] for p, s in side]
        for side in market.book(query.number("sz", 1, 400))
    )
    return [{"asks": asks, "bids": bids, "ts": str(market.now_us // 1000), "seqId": market.update_id}]


def _list_funding(market: Market, query: Query) -> list[dict[str, str]]:
    end = min(query.number("after", 1 << 50) * 1000 - 1, market.now_us) // FUNDING_US
    first = max(end - query.number("limit", 100, 400) + 1, query.number("before", -1) * 1000 // FUNDING_US + 1)
    rate = [(n, write_short(market.find_rate(n), 9)) for n in range(end, first - 1, -1)]
    return [
        {
            "instType": "SWAP",
            "instId": market.spec.symbol,
            "fundingRate": text,
            "realizedRate": text,
            "fundingTime": str(n * FUNDING_US // 1000),
        }
        for n, text in rate
    ]


PERIODS_US = {
    name: minutes * _MINUTE_US
    for name, minutes in {"5m": 5, "15m": 15, "30m": 30, "1H": 60, "2H": 120, "4H": 240}.items()
}
_TOTALS_MAX = 1440
"""So many of the newest are kept."""


def interest_at(market: Market, at_us: int) -> int:
    """Return the open interest at a time in contracts: the same whenever one asks."""
    return 50_000 * int(10**market.spec.size_digits) + (at_us // 1_000_000 * 7919 + market.first_trade_id) % 1_000_003


def _list_totals(market: Market, query: Query) -> list[list[str]]:
    """Newest first; `end` is older than, `begin` newer than."""
    step, spec = PERIODS_US.get(query.args.get("period", "5m"), 300_000_000), market.spec
    newest = market.now_us // step
    last = min((query.number("end", 1 << 50) * 1000 - 1) // step, newest)
    oldest = max(newest - _TOTALS_MAX + 1, query.number("begin", -1) * 1000 // step + 1)
    first = max(last - query.number("limit", 100, 100) + 1, oldest)
    rows = []
    for n in range(last, first - 1, -1):
        contracts = interest_at(market, n * step) / 10**spec.size_digits
        rows.append([str(n * step // 1000), f"{contracts:.4f}", f"{contracts * spec.contract:.8f}", "0"])
    return rows


_HANDLERS: dict[str, Callable[[Market, Query], Sequence[object]]] = {
    "market/trades": _list_trades,
    "market/history-trades": _list_trades,
    "market/candles": _list_candles,
    "market/history-candles": _list_candles,
    "market/books": _list_book,
    "public/funding-rate-history": _list_funding,
    "rubik/stat/contracts/open-interest-history": _list_totals,
}
