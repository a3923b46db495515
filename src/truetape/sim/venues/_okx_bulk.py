"""Fake OKX's public files: a zip of one CSV a day of Hong Kong, without checksums; each fill, each minute's bar is a line.

Bars are published by the month, too.
"""

import re

from truetape.sim.market import Market
from truetape.sim.protocol import Query, Reply
from truetape.sim.spec import write_short
from truetape.sim.venues._files import find_span, keep_file, pack_zip
from truetape.sim.venues._okx_bar import describe_candle
from truetape.sim.world import World

HOST = "static.okx.com"
_ROOT = "cdn/okex/traderecords"
_PATH = re.compile(
    rf"/?{_ROOT}/(?P<what>trades|candlesticks)/(daily|monthly)/(?P<day>\d{{6,8}})/"
    r"(?P<symbol>[A-Z0-9-]+)-(?P=what)-(?P<when>\d{4}-\d\d(-\d\d)?)\.zip"
)
_MINUTE_US = 60_000_000
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
    if market is None or match is None or span is None:
        return None
    write = _write_trades if match["what"] == "trades" else _write_bars
    header, *lines = write(market, span[0] - SHIFT_US, span[1] - SHIFT_US)
    return pack_zip(path.rpartition("/")[2].replace(".zip", ".csv"), [header, *lines]) if lines else None


def _write_trades(market: Market, from_us: int, to_us: int) -> list[str]:
    spec, lines = market.spec, ["instrument_name,trade_id,side,price,size,created_time,source"]
    for t in market.trades_between(from_us, to_us):
        price, size = write_short(t.price, spec.price_digits), write_short(t.size, spec.size_digits)
        lines.append(f"{spec.symbol},{t.id},{'sell' if t.is_sell else 'buy'},{price},{size},{t.at_us // 1000},0")
    return lines


def _write_bars(market: Market, from_us: int, to_us: int) -> list[str]:
    lines = ["instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"]
    for bar in market.bars(_MINUTE_US, from_us, to_us):
        if bar.start_us + _MINUTE_US <= market.now_us:
            begin, *numbers, is_final = describe_candle(market.spec, bar, True)
            lines.append(",".join([market.spec.symbol, *numbers, begin, is_final]))
    return lines
