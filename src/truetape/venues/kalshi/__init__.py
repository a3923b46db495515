"""Kalshi: yes-or-no markets in dollars, over one signed socket and public REST answers.

A market is two outcomes, `TICKER:Yes` and `TICKER:No`, each with a whole book: a bid for one is an offer of the other.
Changes of levels become what a level holds; a trade is one row, told of Yes. Documented at https://docs.kalshi.com.
"""

from collections.abc import Sequence
from datetime import date
from urllib.parse import quote, urlsplit
from weakref import WeakSet

import msgspec

from truetape.errors import DecodeError
from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import (
    Ask,
    Continuity,
    Credentials,
    Feed,
    Followed,
    Heartbeat,
    Limits,
    Listing,
    OnMessage,
    Poll,
    Rest,
    Round,
    Told,
    Venue,
)
from truetape.venues.kalshi.link import Link
from truetape.venues.kalshi.market import MARKET, NAME, find_next_page, forget_markets, name_instrument, read_listing
from truetape.venues.kalshi.rest import respond
from truetape.venues.kalshi.series import DISCOVERY, REST_URL
from truetape.venues.kalshi.signature import sign_request, write_signed_text

__all__ = ["VENUE", "name_book_url", "name_market_url", "sign_request", "write_signed_text"]

FEED = "public"
OVERLAP_S = 60
"""Trades are asked for from so long before the last answer."""
SOCKET_PATH = "/trade-api/ws/v2"

_TOPICS = {
    "book_change": "orderbook_delta",
    "trade": "trade",
    "quote": "ticker",
    "ticker": "ticker",
    "derivative": "ticker",
}
_OF_BOTH = frozenset({"book_change", "quote"})
"""Channels told of both outcomes; the others are told of Yes alone."""


class _Decoder:
    """Decodes the socket's frames and REST answers."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._links: WeakSet[Link] = WeakSet()

    def open(self, feed: str, connection: str) -> OnMessage:
        """Return the handler of one connection's messages."""
        if feed != FEED:
            raise DecodeError(f"feed {feed!r} is not known (allowed: {FEED})", "feed")
        return Link(self._scribe, feed, connection).decode

    def respond(self, response: Response) -> bool:
        """Decode a REST answer."""
        return respond(self._scribe, response)


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name what to subscribe as `channel:ticker`; both outcomes share a topic."""
    ticker, _, outcome = instrument.venue_symbol.rpartition(":")
    is_told = outcome == "Yes" or (outcome == "No" and channel in _OF_BOTH)
    return (f"{_TOPICS[channel]}:{ticker}",) if channel in _TOPICS and is_told else ()


def group_topic(feed: Feed, topic: str) -> str:
    """Group by channel: a message then makes one subscription, numbered on its own."""
    return topic.partition(":")[0]


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make a subscribe message of one channel and many markets."""
    channels = {topic.partition(":")[0] for topic in topics}
    if len(channels) != 1:
        raise ValueError(f"a subscribe message takes one channel, got {', '.join(sorted(channels))}")
    tickers = [topic.partition(":")[2] for topic in topics]
    params = {"channels": sorted(channels), "market_tickers": tickers}
    return msgspec.json.encode({"id": request, "cmd": "subscribe", "params": params})


def unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Ask what is subscribed: the venue lets go of subscription ids only, which its answers tell and topics do not."""
    return msgspec.json.encode({"id": request, "cmd": "list_subscriptions"})


def find_feed(url: str) -> str | None:
    """Tell the feed by host and path; there are several hosts."""
    parts = urlsplit(url)
    is_ours = (parts.hostname or "").endswith((".kalshi.com", ".kalshi.co"))
    return FEED if is_ours and parts.path.startswith("/trade-api/") else None


def name_book_url(ticker: str) -> str:
    """Return the address of a market's book, to compare with."""
    return f"{REST_URL}/markets/{quote(ticker)}/orderbook"


def name_market_url(ticker: str) -> str:
    """Return the address of one market, to follow it to its result."""
    return f"{REST_URL}/markets/{quote(ticker)}"


def name_trades_url(ticker: str, since_s: int) -> str:
    """Return the address of a market's trades since a second, newest first."""
    return f"{REST_URL}/markets/trades?ticker={quote(ticker)}&limit=1000&min_ts={since_s}"


def ask_books(turn: Round) -> list[Ask]:
    """Ask for the books of the markets that trade."""
    return [
        Ask(
            FEED,
            name_book_url(ticker),
            reason="poll",
            streams=tuple(Told("book_snapshot", MARKET, f"{ticker}:{side}") for side in ("Yes", "No")),
        )
        for ticker in _list_tickers(turn.markets)
    ]


def ask_trades(turn: Round) -> list[Ask]:
    """Ask for what traded since the last time, with some overlap: ids tell what is known."""
    since_s = (turn.since_us or turn.now_us) // 1_000_000 - OVERLAP_S
    return [
        Ask(FEED, name_trades_url(t, since_s), reason="poll", streams=(Told("trade", MARKET, f"{t}:Yes"),))
        for t in _list_tickers(turn.markets)
    ]


def follow_trades(ask: Ask, body: bytes) -> Ask | None:
    """Ask for the next page."""
    url = find_next_page(ask.url, body)
    return None if url is None else msgspec.structs.replace(ask, url=url, page=ask.page + 1)


def _list_tickers(markets: Sequence[Followed]) -> list[str]:
    return [market.slug for market in markets if market.state in ("open", "ending")]


VENUE = Venue(
    name=NAME,
    title="Kalshi",
    feeds=(
        Feed(
            FEED,
            MARKET,
            f"wss://api.elections.kalshi.com{SOCKET_PATH}",
            tuple(_TOPICS),
            # The venue pings every 10 s.
            Heartbeat(interval_s=20.0),
            Limits(topics_per_connection_max=600, topics_per_message_max=200, message_bytes_max=32_000),
            silence_s=40.0,
            dates=(date(2026, 3, 1), None),
            needs_key=(
                "KALSHI-ACCESS-KEY, -TIMESTAMP (milliseconds) and -SIGNATURE: base64 of RSA-PSS (SHA-256, salt as long as "
                "the digest) over what write_signed_text makes"
            ),
        ),
    ),
    credentials=Credentials(
        ("ID", "PRIVATE"),
        "https://kalshi.com/account/profile: API keys; PRIVATE is the key in PEM",
        sign_request,
    ),
    forget=forget_markets,
    polls=(
        # Without a key there is no socket, but what it tells can be asked for.
        Poll("books", MARKET, FEED, ("book_snapshot",), 10.0, ask_books, allowance=(100, 10.0), parallel_max=4),
        Poll(
            "trades",
            MARKET,
            FEED,
            ("trade",),
            10.0,
            ask_trades,
            follow=follow_trades,
            is_substitute=True,
            allowance=(100, 10.0),
            parallel_max=4,
        ),
    ),
    rest=Rest(weight_per_minute_max=600, ban_statuses=(429,), ban_default_s=5.0),
    # Combinations of other markets (multivariate) are made by the thousand and left out.
    listings=(Listing(MARKET, f"{REST_URL}/markets?limit=1000&status=open&mve_filter=exclude"),),
    continuity=(
        Continuity("trade", "window"),
        # Numbers step by one within a subscription, which carries many markets: the decoder watches them, for its
        # sums are worth nothing after a hole.
        Continuity("book_change", "none", recovery="reconnect", is_connection_scoped=True),
    ),
    make_decoder=_Decoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=list_topics,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    find_feed=find_feed,
    group_topic=group_topic,
    find_next_page=find_next_page,
    discovery=DISCOVERY,
)
