"""Fake Bybit's public files: a gzipped CSV of trades a day, without checksums; spot numbers the lines of each file."""

import re
from uuid import UUID

from truetape.sim.market import Trade
from truetape.sim.protocol import Query, Reply
from truetape.sim.spec import Spec, write_fixed, write_short
from truetape.sim.venues._files import find_span, keep_file, pack_gzip
from truetape.sim.world import World

HOST = "public.bybit.com"
_PATH = re.compile(
    r"/?(?P<line>spot|trading)/(?P<symbol>[A-Z0-9-]+)/(?P=symbol)(?P<mark>[_-]?)(?P<when>\d{4}-\d\d(-\d\d)?)\.csv\.gz"
)
_MARKS = {"spot": "_", "trading": ""}
_CONTRACTS = (
    "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI"
)  # fmt: skip


def is_file(path: str) -> bool:
    """Tell whether a path is that of a file."""
    return path.strip("/").startswith(("spot/", "trading/"))


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    body = keep_file(world, query.path, _make_file)
    if body is None:
        return Reply(b"<html>404 Not Found</html>", 404, content_type="text/html")
    return Reply(body, content_type="application/octet-stream")


def name_trade(spec: Spec, trade: Trade) -> str:
    """Return a trade's id in streams, in the API, and in the files of contracts."""
    return str(2_290_000_000_000_000_000 + trade.id) if spec.kind == "spot" else str(UUID(int=trade.id << 60))


def _make_file(world: World, path: str) -> bytes | None:
    match = _PATH.fullmatch(path)
    if match is None or match["mark"] != _MARKS[match["line"]]:
        return None  # months were published of spot's first years only
    feeds = ("spot",) if match["line"] == "spot" else ("linear", "inverse")
    found = [world.market("bybit", feed, match["symbol"]) for feed in feeds]
    market = next((one for one in found if one is not None), None)
    span = find_span(match["when"])
    trades = market.trades_between(*span) if market and span else []
    if market is None or not trades:
        return None
    spec = market.spec
    if spec.kind == "spot":
        lines = [_write_coin(spec, number, trade) for number, trade in enumerate(trades, 1)]
        return pack_gzip(["id,timestamp,price,volume,side,rpi", *lines])
    return pack_gzip([_CONTRACTS, *(_write_contract(spec, trade) for trade in trades)])


def _write_coin(spec: Spec, number: int, t: Trade) -> str:
    price, size = write_short(t.price, spec.price_digits), write_short(t.size, spec.size_digits)
    return f"{number},{t.at_us // 1000},{price},{size},{'sell' if t.is_sell else 'buy'},0"


def _write_contract(spec: Spec, t: Trade) -> str:
    price, size = write_fixed(t.price, spec.price_digits), write_short(t.size, spec.size_digits)
    worth = t.price * t.size / 10 ** (spec.price_digits + spec.size_digits)
    home, foreign = (size, size) if spec.kind == "inverse" else (size, f"{worth:.8g}")
    time = f"{t.at_us // 10**6}.{t.at_us % 10**6 // 100:04d}"
    side, tick = ("Sell", "MinusTick") if t.is_sell else ("Buy", "PlusTick")
    return (
        f"{time},{spec.symbol},{side},{size},{price},{tick},{name_trade(spec, t)},{worth * 1e8:.10g},{home},{foreign},0"
    )
