"""Fake Kraken's REST side: listings, trades and candles of the past, of spot and of futures. Nothing streams."""

from datetime import UTC, datetime
from uuid import UUID

from truetape.sim.fake import FakeVenue, Line
from truetape.sim.hub import Hub
from truetape.sim.market import Market, Step
from truetape.sim.protocol import Query, Quota, Reply, encode_json
from truetape.sim.spec import Spec, write_fixed
from truetape.sim.world import World

SPOT_HOST, FUTURES_HOST = "api.kraken.com", "futures.kraken.com"
SPECS = (
    Spec("kraken", "spot", "BTC/USD", "BTC", "USD", "spot", 1, 8, lot=1000),
    Spec("kraken", "spot", "ETH/USD", "ETH", "USD", "spot", 2, 8, lot=1000),
    Spec("kraken", "futures", "PF_XBTUSD", "BTC", "USD", "linear", 1, 4),
    Spec("kraken", "futures", "PI_XBTUSD", "BTC", "USD", "inverse", 1, 0),
)
"""Its markets are listed when somebody first asks: what streams is tried with the venues that have streams here."""
BARS_MAX, FILLS_MAX, TRADES_MAX, CANDLES_MAX = 720, 100, 1000, 2000
_CODES = {"BTC": "XBT"}
_MINUTE_US = 60_000_000
_RESOLUTIONS_US = {
    name: minutes * _MINUTE_US
    for name, minutes in {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "12h": 720, "1d": 1440}.items()
}


class _Quiet:
    """Publishes nothing."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market = market

    def advance(self, step: Step) -> None:
        """Let the market move."""


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    for spec in SPECS:
        if world.find_spec(spec.venue, spec.feed, spec.symbol) is None:
            world.add_spec(spec)
    path = query.path.strip("/")
    if path == "0/public/AssetPairs":
        return _tell({name_pair(spec): _describe_pair(spec) for spec in SPECS if spec.feed == "spot"})
    if path == "derivatives/api/v3/instruments":
        return _send(
            {"result": "success", "instruments": [_describe_contract(s) for s in SPECS if s.feed == "futures"]}
        )
    if path in {"0/public/Trades", "0/public/OHLC"}:
        symbols = {name_pair(spec): spec.symbol for spec in SPECS if spec.feed == "spot"}
        market = world.market("kraken", "spot", symbols.get(query.args.get("pair", ""), ""))
        if market is None:
            return _send({"error": ["EQuery:Unknown asset pair"]})
        return _list_trades(market, query) if path.endswith("Trades") else _list_bars(market, query)
    if path == "derivatives/api/v3/history":
        market = world.market("kraken", "futures", query.args.get("symbol", ""))
        return _list_fills(market, query) if market else _send({"result": "error", "error": "symbol not found"})
    parts = path.removeprefix("api/charts/v1/trade/").split("/")
    market = world.market("kraken", "futures", parts[0]) if len(parts) == 2 else None
    return _list_candles(market, query, parts[1]) if market else Reply(b"", 404)


def name_pair(spec: Spec) -> str:
    """Name a pair as the older API does."""
    return _CODES.get(spec.base, spec.base) + spec.quote


def name_fill(number: int) -> str:
    """Return the id of a futures' trade."""
    return str(UUID(int=number << 60))


def _send(tree: object) -> Reply:
    return Reply(encode_json(tree), quota="ip")


def _tell(result: object) -> Reply:
    return _send({"error": [], "result": result})


def _describe_pair(spec: Spec) -> dict[str, object]:
    code = _CODES.get(spec.base, spec.base)
    return {
        "altname": f"{code}{spec.quote}", "wsname": f"{code}/{spec.quote}", "base": f"X{code}", "quote": f"Z{spec.quote}",
        "pair_decimals": spec.price_digits, "lot_decimals": spec.size_digits, "status": "online",
    }  # fmt: skip


def _describe_contract(spec: Spec) -> dict[str, object]:
    kind = "futures_inverse" if spec.kind == "inverse" else "flexible_futures"
    return {
        "symbol": spec.symbol,
        "type": kind,
        "tradeable": True,
        "contractSize": 1,
        "tickSize": 0.5,
        "base": spec.base,
    }


def _list_trades(market: Market, query: Query) -> Reply:
    """Oldest first, of what happened after `since` in nanoseconds."""
    spec, since = market.spec, query.number("since", 0)
    trades = market.trades_between(since // 1000 + 1, 1 << 62, min(query.number("count", TRADES_MAX), TRADES_MAX))
    rows = [
        [write_fixed(t.price, spec.price_digits), write_fixed(t.size, spec.size_digits), t.at_us / 1e6,
         "s" if t.is_sell else "b", "m", "", t.id]
        for t in trades
    ]  # fmt: skip
    last = trades[-1].at_us * 1000 if trades else since
    return _tell({f"X{name_pair(spec)}": rows, "last": str(last)})


def _list_bars(market: Market, query: Query) -> Reply:
    """The newest 720 that begin after `since`, the running one included."""
    spec, length = market.spec, query.number("interval", 1) * _MINUTE_US
    bars = [b for b in market.bars(length) if b.start_us // 10**6 > query.number("since", 0)][-BARS_MAX:]
    rows = []
    for b in bars:
        prices = [write_fixed(p, spec.price_digits) for p in (b.open, b.high, b.low, b.close, b.close)]
        rows.append([b.start_us // 10**6, *prices, write_fixed(b.volume, spec.size_digits), b.trades])
    return _tell({f"X{name_pair(spec)}": rows, "last": bars[-1].start_us // 10**6 if bars else 0})


def _list_fills(market: Market, query: Query) -> Reply:
    """The newest hundred until `lastTime`, newest first."""
    spec, until = market.spec, query.args.get("lastTime", "")
    end = int(datetime.fromisoformat(until).timestamp() * 1e6) + 1000 if until else 1 << 62
    rows = [
        {
            "time": _write_moment(t.at_us), "trade_id": t.id, "uid": name_fill(t.id), "type": "fill",
            "price": t.price / 10**spec.price_digits, "size": t.size / 10**spec.size_digits,
            "side": "sell" if t.is_sell else "buy",
        }
        for t in reversed(market.trades_between(0, end)[-FILLS_MAX:])
    ]  # fmt: skip
    return _send({"result": "success", "history": rows})


def _write_moment(at_us: int) -> str:
    at = datetime.fromtimestamp(at_us // 10**6, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03d}Z"


def _list_candles(market: Market, query: Query, resolution: str) -> Reply:
    length, spec = _RESOLUTIONS_US.get(resolution, 0), market.spec
    if not length:
        return Reply(b"", 404)
    bars = list(market.bars(length, query.number("from", 0) * 10**6, query.number("to", 1 << 40) * 10**6 + 1))
    rows = [
        {
            "time": b.start_us // 1000,
            **{name: write_fixed(getattr(b, name), spec.price_digits) for name in ("open", "high", "low", "close")},
            "volume": write_fixed(b.volume, spec.size_digits),
        }
        for b in bars[:CANDLES_MAX]
    ]
    return _send({"candles": rows, "more_candles": len(bars) > CANDLES_MAX})


def connect(query: Query) -> Line | Reply | None:
    """Have nothing to connect to."""
    return None


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"error": ["EGeneral:Too many requests"]})


FAKE = FakeVenue(
    name="kraken",
    hosts=(SPOT_HOST, FUTURES_HOST),
    specs=(),
    connect=connect,
    respond=respond,
    make_desk=_Quiet,
    quotas={"ip": Quota(600)},
    refuse=refuse,
)
