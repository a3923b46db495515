"""Decodes reports of the Data Streams API, over socket and REST, and answers of the public page."""

import re
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.json import Decoder

from truetape.errors import DecodeError
from truetape.events.number import Moment
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import OnMessage
from truetape.venues.chainlink.report import decode_report, make_float, write_exact
from truetape.venues.chainlink.stream import NAME, PAGE, STREAMS, check_feed_id, name_instrument, read_listing

RECENT_MAX = 600
"""Points of one stream of the page that are remembered: each answer repeats what earlier ones told."""

_PATH = re.compile(r"/api/v1/(feeds|reports(?:/latest|/bulk|/page)?)")
_PAGE_PATH = "/api/query-timescale"
_NEW = frozenset({"reports/latest"})
"""Answers that tell a price of now; the others tell one of the past."""


class _Envelope(msgspec.Struct, gc=False):
    feedID: str
    validFromTimestamp: Moment
    observationsTimestamp: Moment
    fullReport: str


class _One(msgspec.Struct, gc=False):
    report: _Envelope


class _Many(msgspec.Struct, gc=False):
    reports: list[_Envelope]


class _Node(msgspec.Struct, gc=False):
    """Prices are integers of 10^-18 as text; the time was seen as ISO text and as seconds."""

    validFromTimestamp: str | Moment
    price: str
    bid: str | None = None
    ask: str | None = None


class _Nodes(msgspec.Struct, gc=False):
    nodes: list[_Node]


class _Live(msgspec.Struct, gc=False):
    liveStreamReports: _Nodes | None = None


class _Failure(msgspec.Struct, gc=False):
    message: str


class _Answer(msgspec.Struct, gc=False):
    data: _Live | None = None
    errors: list[_Failure] | None = None


class _Variables(msgspec.Struct, gc=False):
    feedId: str


_decode_one = Decoder(_One).decode
_decode_many = Decoder(_Many).decode
_decode_answer = Decoder(_Answer).decode
_decode_variables = Decoder(_Variables).decode


class ChainlinkDecoder:
    """Decodes what either source sends; both write `oracle_price`, each its own streams."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._streams: dict[tuple[str, str], int] = {}

    def open(self, feed: str, connection: str) -> OnMessage:
        """Return the handler of one connection's messages: each is one report."""
        if feed != STREAMS:
            raise DecodeError(f"feed {feed!r} has no socket (allowed: {STREAMS})", "feed")

        def on_message(payload: bytes, received_ns: int, offset: int) -> bool:
            self._add_report(_decode_one(payload).report, (received_ns, offset), is_snapshot=False)
            return True

        return on_message

    def respond(self, response: Response) -> bool:
        """Decode an answer of the API or of the page."""
        path = urlsplit(response.url).path
        if path == _PAGE_PATH:
            return self._read_page(response)
        found = _PATH.fullmatch(path)
        if found is None:
            allowed = "/api/v1/feeds, /api/v1/reports, …/latest, …/bulk, …/page, /api/query-timescale"
            raise DecodeError(f"endpoint {path!r} has no rule (allowed: {allowed})")
        what, at = found[1], (response.received_ns, response.offset)
        if what == "feeds":
            for instrument in read_listing(response.url, response.body):
                self._scribe.learn(instrument, *at)
            return True
        is_list = what in {"reports/bulk", "reports/page"}
        reports = _decode_many(response.body).reports if is_list else [_decode_one(response.body).report]
        for report in reports:
            self._add_report(report, at, is_snapshot=what not in _NEW)
        return True

    def _add_report(self, envelope: _Envelope, at: tuple[int, int], *, is_snapshot: bool) -> None:
        report = decode_report(envelope.fullReport)
        told = (check_feed_id(envelope.feedID), envelope.validFromTimestamp, envelope.observationsTimestamp)
        if told != (report.feed_id, report.valid_from_s, report.observed_s):
            raise DecodeError("feed id or times of the envelope are not those of the report", "fullReport")
        own = (
            "chainlink_streams", report.feed_id, None, make_float(report.price), make_float(report.bid),
            make_float(report.ask), write_exact(report.price), None, is_snapshot,
        )  # fmt: skip
        index = self._find(STREAMS, report.feed_id)
        self._scribe.plain("oracle_price").append((index, report.observed_s * 1_000_000, *at, *own))

    def _read_page(self, response: Response) -> bool:
        """Answers are GraphQL's: status 200 with `errors` when they failed."""
        answer = _decode_answer(response.body)
        feed_id = read_asked_feed(response.url)
        if answer.errors:
            text = "; ".join(failure.message for failure in answer.errors)
            where = (response.feed, response.connection, response.received_ns, response.offset)
            self._scribe.complain(*where, 200, text)
            return False
        if answer.data is None or answer.data.liveStreamReports is None:
            raise DecodeError("neither reports nor errors", "$.data.liveStreamReports")
        self._add_nodes(feed_id, answer.data.liveStreamReports.nodes, (response.received_ns, response.offset))
        return True

    def _add_nodes(self, feed_id: str, nodes: list[_Node], at: tuple[int, int]) -> None:
        """Append what no earlier answer told, oldest first."""
        pages = self._scribe.rows.memory.setdefault(NAME, {})
        is_first = feed_id not in pages
        known: dict[str, None] = pages.setdefault(feed_id, {})
        timed = sorted(((_read_time(node.validFromTimestamp), node) for node in nodes), key=lambda pair: pair[0])
        index, append = self._find(PAGE, feed_id), self._scribe.plain("oracle_price").append
        rows = [(index, time, *at, *_describe_node(feed_id, node)) for time, node in timed]
        for row in rows:
            key = f"{row[1]} {row[10]}"
            if key in known:
                continue
            known[key] = None
            append((*row, is_first and row is not rows[-1]))
        for key in list(known)[:-RECENT_MAX]:
            del known[key]

    def _find(self, market: str, feed_id: str) -> int:
        index = self._streams.get((market, feed_id))
        if index is None:
            instrument = self._scribe.listed(market, feed_id) or name_instrument(market, feed_id)
            index = self._streams[market, feed_id] = self._scribe.stream("oracle_price", market, instrument).index
        return index


def find_fault(body: bytes) -> str:
    """Return what an answer of the page complains of, with status 200; empty: nothing."""
    return "; ".join(failure.message for failure in _decode_answer(body).errors or [])


def read_asked_feed(url: str) -> str:
    """Return the feed id that a query of the page asked for: its answer does not name it."""
    variables = parse_qs(urlsplit(url).query).get("variables", ["{}"])[0]
    return check_feed_id(_decode_variables(variables).feedId, "url")


def _describe_node(feed_id: str, node: _Node) -> tuple[object, ...]:
    """Return a node's own columns of `oracle_price`, but for the last."""
    price = _read_integer(node.price)
    bid, ask = (None if text is None else make_float(_read_integer(text)) for text in (node.bid, node.ask))
    return ("chainlink_page", feed_id, None, make_float(price), bid, ask, write_exact(price), None)


def _read_integer(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 58):  # an int192 has at most 58 digits
        raise DecodeError(f"price {text[:80]!r} is not an integer", "$.data.liveStreamReports.nodes")
    return int(text)


def _read_time(value: str | int) -> int:
    """Return microseconds."""
    if isinstance(value, int):
        return value * 1_000_000
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise DecodeError(f"time {value[:80]!r} is not ISO") from error
    offset = time.utcoffset()
    if offset is None or offset:
        raise DecodeError(f"time {value[:80]!r} is not in UTC")
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000 + time.microsecond
