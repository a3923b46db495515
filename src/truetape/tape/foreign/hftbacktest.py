"""hftbacktest's collector files: `<ns or us> <frame>`, with REST depth snapshots put in line."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

from truetape.tape.foreign.origin import Origin, ReadLine
from truetape.tape.frame import Frame, FrameKind

_SURVEY_LINES_MAX = 200_000
_NANOSECONDS_FROM = 10**17
"""Smaller times are microseconds: the files of 2023."""
_STREAM = re.compile(rb'"stream":\s*"([^"@!]+)@')
_SNAPSHOT = b'{"lastUpdateId"'
_SYMBOL = re.compile(rb'"symbol":\s*"([^"]+)"')
_DEPTH_URLS = {
    "spot": "https://api.binance.com/api/v3/depth",
    "usdm": "https://fapi.binance.com/fapi/v1/depth",
    "coinm": "https://dapi.binance.com/dapi/v1/depth",
}


def start_reading(origin: Origin, lines: Callable[[], Iterator[bytes]]) -> ReadLine:
    """Look through the file for feed and symbols, then read it."""
    feed, symbols = _survey(lines())
    feed = origin.feed if origin.feed is not None else feed
    if feed is None and origin.venue == "binance":
        first = next(lines(), None)
        if first is None:
            raise ValueError("it is empty")
        try:
            _check_line(first)
        except ValueError as error:
            raise ValueError(f"line 1: {error}") from error
        raise ValueError("no depth update tells the feed: name it with --feed")

    feed = feed or ""

    def read_line(line: bytes) -> tuple[Frame, ...]:
        time, payload = _check_line(line)
        received_ns = int(time) if int(time) >= _NANOSECONDS_FROM else int(time) * 1000
        if not payload.startswith(_SNAPSHOT):
            return (Frame(received_ns, 0, FrameKind.TEXT, origin.venue, feed, origin.connection, payload),)
        meta = _describe_snapshot(payload, feed, symbols)
        return (Frame(received_ns, 0, FrameKind.RESPONSE, origin.venue, feed, origin.connection, payload, meta),)

    return read_line


def _check_line(line: bytes) -> tuple[bytes, bytes]:
    time, _, payload = line.partition(b" ")
    if not time.isdigit() or not payload:
        raise ValueError("not `<time> <frame>`")
    return time, payload


def _survey(lines: Iterator[bytes]) -> tuple[str | None, set[str]]:
    """Find feed and symbols: COIN-M depth has `ps`, USD-M depth has `pu` without it, spot depth neither."""
    feed, symbols = None, set()
    for line in islice(lines, _SURVEY_LINES_MAX):
        stream = _STREAM.search(line, 0, 200)
        if stream:
            symbols.add(stream[1].decode("utf-8", "replace").upper())
        if feed is None and b'"depthUpdate"' in line:
            feed = "coinm" if b'"ps":' in line else "usdm" if b'"pu":' in line else "spot"
    return feed, symbols


def _describe_snapshot(payload: bytes, feed: str, symbols: set[str]) -> str:
    """Return the meta of an answer whose address the recorder did not keep."""
    named = _SYMBOL.search(payload, 0, 300)
    if named is None and len(symbols) != 1:
        raise ValueError(f"a snapshot without symbol among {len(symbols)} symbols")
    symbol = named[1].decode("utf-8", "replace") if named else next(iter(symbols))
    base = _DEPTH_URLS.get(feed.partition("-")[0], f"{feed}/depth")
    return msgspec.json.encode({"method": "GET", "url": f"{base}?symbol={symbol}", "status": 200}).decode()
