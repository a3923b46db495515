"""Fake Binance's public files: a zip of one CSV a day or month, with its checksum beside it.

A file holds what its market remembers of its time when it is first asked for, and stays as it was then.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from truetape.sim.market import FUNDING_US, Market, Trade
from truetape.sim.protocol import Query, Reply
from truetape.sim.spec import write_fixed
from truetape.sim.venues._binance_rest import (
    INTERVALS_US,
    candle_numbers,
    interest_at,
    settle_rate,
    write_price,
    write_size,
)
from truetape.sim.venues._files import find_span, keep_file, pack_zip
from truetape.sim.world import World

HOST = "data.binance.vision"
_SUFFIX = ".CHECKSUM"
_PATH = re.compile(
    r"/?data/(?P<line>spot|futures/um|futures/cm)/(?P<period>daily|monthly)/(?P<what>\w+)/(?P<symbol>\w+)/"
    r"((?P<interval>\w+)/)?(?P=symbol)-\w+-(?P<when>[\d-]+)\.zip"
)
_FEEDS = {"spot": "spot", "futures/um": "usdm", "futures/cm": "coinm"}
_MICROSECONDS_FROM = datetime(2025, 1, 1, tzinfo=UTC)
METRICS_US = 300_000_000


def respond(world: World, query: Query) -> Reply:
    """Answer one request."""
    path = query.path.removesuffix(_SUFFIX)
    body = keep_file(world, path, _make_file)
    if body is None:
        return Reply(b"<Error><Code>NoSuchKey</Code></Error>", 404, content_type="application/xml")
    if path == query.path:
        return Reply(body, content_type="application/zip")
    name = path.rpartition("/")[2]
    return Reply(f"{hashlib.sha256(body).hexdigest()}  {name}\n".encode(), content_type="application/octet-stream")


class _Span(NamedTuple):
    market: Market
    from_us: int
    to_us: int
    interval: str

    @property
    def is_spot(self) -> bool:
        return self.market.spec.feed == "spot"

    def write_time(self, at_us: int) -> str:
        """Write a time as this file does."""
        is_fine = self.is_spot and self.from_us >= _MICROSECONDS_FROM.timestamp() * 10**6
        return str(at_us if is_fine else at_us // 1000)

    def list_trades(self) -> list[Trade]:
        return self.market.trades_between(self.from_us, self.to_us)


def _make_file(world: World, path: str) -> bytes | None:
    match = _PATH.fullmatch(path)
    if match is None or match["what"] not in _WRITERS:
        return None
    market = world.market("binance", _FEEDS[match["line"]], match["symbol"])
    told = find_span(match["when"])
    if market is None or told is None or (match["period"] == "daily") != (match["when"].count("-") == 2):
        return None
    span = _Span(market, *told, match["interval"] or "")
    header, write = _WRITERS[match["what"]]
    lines = list(write(span))
    if not lines:
        return None
    return pack_zip(path.rpartition("/")[2].replace(".zip", ".csv"), lines if span.is_spot else [header, *lines])


def _write_trades(span: _Span) -> Iterator[str]:
    spec = span.market.spec
    for t in span.list_trades():
        worth = write_fixed(t.price * t.size, spec.price_digits + spec.size_digits)
        tail = ",True" if span.is_spot else ""
        price, size = write_price(spec, t.price), write_size(spec, t.size)
        yield f"{t.id},{price},{size},{worth},{span.write_time(t.at_us)},{_flag(span, t.is_sell)}{tail}"


def _write_aggregates(span: _Span) -> Iterator[str]:
    spec, groups = span.market.spec, dict[int, list[Trade]]()
    for t in span.list_trades():
        groups.setdefault(t.order, []).append(t)
    for order, fills in groups.items():
        one, size = fills[0], write_size(spec, sum(fill.size for fill in fills))
        tail = ",True" if span.is_spot else ""
        head = f"{order},{write_price(spec, one.price)},{size},{one.id},{fills[-1].id}"
        yield f"{head},{span.write_time(one.at_us)},{_flag(span, one.is_sell)}{tail}"


def _flag(span: _Span, value: bool) -> str:
    return str(value) if span.is_spot else str(value).lower()


def _write_bars(span: _Span) -> Iterator[str]:
    length = INTERVALS_US.get(span.interval, 0)
    if not length:
        return
    for bar in span.market.bars(length, span.from_us, span.to_us):
        if bar.start_us + length > span.market.now_us:
            return
        n = candle_numbers(span.market.spec, bar)
        begin, end = span.write_time(bar.start_us), span.write_time(bar.start_us + length - 1)
        prices = f"{n.open},{n.high},{n.low},{n.close},{n.volume}"
        yield f"{begin},{prices},{end},{n.turnover},{bar.trades},{n.buy_volume},{n.buy_turnover},0"


def _write_charges(span: _Span) -> Iterator[str]:
    for n in range(-(-span.from_us // FUNDING_US), min(span.to_us - 1, span.market.now_us) // FUNDING_US + 1):
        yield f"{n * FUNDING_US // 1000},{FUNDING_US // 3_600_000_000},{settle_rate(span.market, n)}"


def _write_metrics(span: _Span) -> Iterator[str]:
    spec = span.market.spec
    for n in range(-(-span.from_us // METRICS_US), min(span.to_us - 1, span.market.now_us) // METRICS_US + 1):
        at, total = datetime.fromtimestamp(n * METRICS_US // 10**6, UTC), interest_at(span.market, n)
        yield f"{at:%Y-%m-%d %H:%M:%S},{spec.symbol},{write_size(spec, total)},0,1.0,1.0,1.0,1.0"


_WRITERS: dict[str, tuple[str, Callable[[_Span], Iterator[str]]]] = {
    "trades": ("id,price,qty,quote_qty,time,is_buyer_maker", _write_trades),
    "aggTrades": (
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker", _write_aggregates
    ),
    "klines": (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
        _write_bars,
    ),
    "fundingRate": ("calc_time,funding_interval_hours,last_funding_rate", _write_charges),
    "metrics": (
        "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
        "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio",
        _write_metrics,
    ),
}  # fmt: skip
"""Kind of file → its header, which spot's files have not, and what writes its lines."""
