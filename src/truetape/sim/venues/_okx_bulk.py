"""Fake OKX's public files: a zip of one CSV of trades a day of Hong Kong, without checksums; each fill is a line."""

import re

from truetape.sim.protocol import Query, Reply
from truetape.sim.spec import write_short
from truetape.sim.venues._files import find_span, keep_file, pack_zip
from truetape.sim.world import World

HOST = "static.okx.com"
_ROOT = "cdn/okex/traderecords/trades/daily/"
_PATH = re.compile(rf"/?{_ROOT}(?P<day>\d{{8}})/(?P<symbol>[A-Z0-9-]+)-trades-(?P<when>\d{{4}}-\d\d-\d\d)\.zip")
SHIFT_US = 8 * 3_600_000_000
"""A day of Hong Kong begins so much before that of UTC."""


def is_file(path: str) -> bool:
    """Tell whether a path is that of a file."""
    return path.strip("/").startswith("cdn/")


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    body = keep_file(world, query.path, _make_file)
    if body is None:
        return Reply(b"<Error><Code>NoSuchKey</Code></Error>", 404, content_type="application/xml")
    return Reply(body, content_type="application/zip")


def _make_file(world: World, path: str) -> bytes | None:
    match = _PATH.fullmatch(path)
    span = find_span(match["when"]) if match and match["day"] == match["when"].replace("-", "") else None
    market = world.market("okx", "public", match["symbol"]) if match else None
    trades = market.trades_between(span[0] - SHIFT_US, span[1] - SHIFT_US) if market and span else []
    if market is None or not trades:
        return None
    spec, lines = market.spec, ["instrument_name,trade_id,side,price,size,created_time,source"]
    for t in trades:
        price, size = write_short(t.price, spec.price_digits), write_short(t.size, spec.size_digits)
        lines.append(f"{spec.symbol},{t.id},{'sell' if t.is_sell else 'buy'},{price},{size},{t.at_us // 1000},0")
    return pack_zip(path.rpartition("/")[2].replace(".zip", ".csv"), lines)
