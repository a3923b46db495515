"""Chainlink Data Streams: prices that prediction markets settle on, as signed reports or from the public page.

The API (socket and REST) needs credentials: every request carries the headers that `sign` makes. The page asks
without a key, and shows the same prices some seconds later. Both become `oracle_price`, in streams of their own.
Documented at https://docs.chain.link/data-streams.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from urllib.parse import quote, urlsplit

import msgspec

from truetape.events.instrument import Instrument
from truetape.venues._contract import (
    Ask,
    BrowserPage,
    Credentials,
    Feed,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Rest,
    Round,
    Told,
    Venue,
)
from truetape.venues.chainlink.decoder import ChainlinkDecoder, find_fault
from truetape.venues.chainlink.signature import sign as sign
from truetape.venues.chainlink.stream import FEED_IDS as FEED_IDS
from truetape.venues.chainlink.stream import NAME, PAGE, STREAMS, choose_symbols, name_instrument, read_listing

REST_URL = "https://api.dataengine.chain.link"
SOCKET_URL = "wss://ws.dataengine.chain.link/api/v1/ws"
PAGE_URL = "https://data.chain.link/api/query-timescale"
LATEST = "latest"
"""The newest report, asked for instead of streamed."""
BROWSER = "browser"
"""The public page in a browser."""
_PRICES = ("oracle_price",)


def name_socket_url(feed_ids: Sequence[str]) -> str:
    """Return the address of a socket for these streams: the address subscribes, no message does."""
    return f"{SOCKET_URL}?feedIDs={','.join(feed_ids)}"


def name_latest_url(feed_id: str) -> str:
    """Return the address of a stream's newest report."""
    return f"{REST_URL}/api/v1/reports/latest?feedID={feed_id}"


def name_report_url(feed_id: str, observed_s: int) -> str:
    """Return the address of the report of one second."""
    return f"{REST_URL}/api/v1/reports?feedID={feed_id}&timestamp={observed_s}"


def name_bulk_url(feed_ids: Sequence[str], observed_s: int) -> str:
    """Return the address of many streams' reports of one second."""
    return f"{REST_URL}/api/v1/reports/bulk?feedIDs={','.join(feed_ids)}&timestamp={observed_s}"


def name_history_url(feed_id: str, begin_s: int, limit: int) -> str:
    """Return the address of a stream's reports from a second on; the next page begins after its last one."""
    return f"{REST_URL}/api/v1/reports/page?feedID={feed_id}&startTimestamp={begin_s}&limit={limit}"


def name_page_url(feed_id: str) -> str:
    """Return the address that the public page of a stream asks, without a key."""
    variables = msgspec.json.encode({"feedId": feed_id}).decode()
    return f"{PAGE_URL}?query=LIVE_STREAM_REPORTS_QUERY&variables={quote(variables)}"


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name a stream by its feed id."""
    return (instrument.venue_symbol,) if channel in feed.channels and instrument.market == feed.market else ()


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Return nothing to send: the socket's address names its streams (`name_socket_url`)."""
    return b""


def sign_request(values: Mapping[str, str], method: str, url: str, body: bytes, now_ms: int) -> dict[str, str]:
    """Return the headers of a request to the API or of a handshake."""
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return sign(method, path, body, values["CLIENT"], values["SECRET"], now_ms)


def ask_page(turn: Round) -> tuple[Ask, ...]:
    """Ask what the page of a stream asks."""
    feed_id = FEED_IDS[turn.subject]
    return (Ask(PAGE, name_page_url(feed_id), reason="poll", streams=(Told("oracle_price", PAGE, feed_id),)),)


def ask_latest(turn: Round) -> tuple[Ask, ...]:
    """Ask for the newest report of a stream."""
    feed_id = FEED_IDS[turn.subject]
    told = (Told("oracle_price", STREAMS, feed_id),)
    return (Ask(STREAMS, name_latest_url(feed_id), reason="poll", streams=told),)


def name_stream_page(symbol: str) -> str:
    """Return the address of a stream's public page."""
    return f"https://data.chain.link/streams/{symbol.lower()}"


def is_report_answer(url: str) -> bool:
    """Tell whether the page got prices from this address."""
    return urlsplit(url).path == urlsplit(PAGE_URL).path and "LIVE_STREAM_REPORTS_QUERY" in url


def find_feed(url: str) -> str | None:
    """Tell the source by host, test networks included."""
    host = urlsplit(url).hostname or ""
    if host == "data.chain.link":
        return PAGE
    return STREAMS if host.endswith("dataengine.chain.link") else None


VENUE = Venue(
    name=NAME,
    title="Chainlink",
    feeds=(
        Feed(
            STREAMS,
            STREAMS,
            name_socket_url(tuple(FEED_IDS.values())),
            ("oracle_price",),
            Heartbeat(interval_s=20.0),
            Limits(topics_per_connection_max=50),
            silence_s=10.0,  # each stream has a report a second
            dates=(date(2024, 1, 1), None),
            needs_key="client id and secret, as the headers that sign makes for the address's path and query",
        ),
    ),
    credentials=Credentials(
        ("CLIENT", "SECRET"),
        "https://docs.chain.link/data-streams: Chainlink gives them on request",
        sign_request,
        signed_hosts=(urlsplit(REST_URL).hostname or "",),
    ),
    name_url=lambda feed, topics: name_socket_url(topics),
    polls=(
        Poll(PAGE, PAGE, PAGE, _PRICES, 1.0, ask_page, choose_symbols, find_fault=find_fault, allowance=(300, 60.0)),
        Poll(LATEST, LATEST, STREAMS, _PRICES, 1.0, ask_latest, choose_symbols, allowance=(300, 60.0), needs_key=True),
    ),
    pages=(
        BrowserPage(
            BROWSER,
            BROWSER,
            PAGE,
            _PRICES,
            choose_symbols,
            name_stream_page,
            is_report_answer,
            lambda symbol: (Told("oracle_price", PAGE, FEED_IDS[symbol]),),
        ),
    ),
    rest=Rest(weight_per_minute_max=300, ban_statuses=(429,), ban_default_s=10.0),
    listings=(Listing(STREAMS, f"{REST_URL}/api/v1/feeds"),),
    continuity=(),
    make_decoder=ChainlinkDecoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=list_topics,
    subscribe=subscribe,
    unsubscribe=subscribe,
    find_feed=find_feed,
    default_markets=(STREAMS,),
)
