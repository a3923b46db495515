"""Polymarket: order books and trades of outcomes, the oracle prices they settle on, wallets, resolutions.

Books have no sequence numbers: a hash over the whole book proves them (`proof`). Outcomes and tokens are told
by listings only, so these come first on a tape; before one, a token's symbol is the token.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from urllib.parse import quote, urlsplit

import msgspec

from truetape.events.instrument import Instrument
from truetape.events.rows import Response, Scribe
from truetape.venues._contract import Continuity, Credentials, Feed, Heartbeat, Limits, Listing, OnMessage, Rest, Venue
from truetape.venues.polymarket.clob import ClobLine
from truetape.venues.polymarket.desk import Desk, forget_markets
from truetape.venues.polymarket.gamma import find_next_page, read_listing
from truetape.venues.polymarket.naming import CLOB, NAME, POLYBOLT, RTDS, name_instrument
from truetape.venues.polymarket.oracle import BoltLine, RtdsLine
from truetape.venues.polymarket.proof import SEALING
from truetape.venues.polymarket.rest import Rest as Answers
from truetape.venues.polymarket.series import DISCOVERY
from truetape.venues.polymarket.wallets import WALLET_POLLS

_CLOB_CHANNELS = ("trade", "book_change", "quote")
_RTDS_TOPICS = {
    "rtds": {"rtds_chainlink": "crypto_prices_chainlink", "rtds_binance": "crypto_prices"},
    "rtds-twap30": {"rtds_chainlink_twap30": "crypto_prices_twap_thirty"},
    "rtds-twap60": {"rtds_chainlink_twap60": "crypto_prices_twap_sixty"},
}
"""Feed → head of an oracle's venue_symbol → topic, which carries all symbols: filters lose data."""


class PolymarketDecoder:
    """Decodes the frames of all feeds."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._desk = Desk(scribe)
        self._answers = Answers(self._desk)

    def open(self, feed: str, connection: str) -> OnMessage:
        """Return the handler for one connection's messages."""
        if feed in _RTDS_TOPICS:
            return RtdsLine(self._scribe, feed, connection).decode
        if feed == POLYBOLT:
            return BoltLine(self._scribe, self._desk, connection).decode
        return ClobLine(self._scribe, self._desk, connection).decode

    def respond(self, response: Response) -> bool:
        """Decode an answer of any of the services."""
        return self._answers.read(response)


def list_topics(feed: Feed, channel: str, instrument: Instrument) -> tuple[str, ...]:
    """Name what to subscribe: a token, an RTDS topic, a PolyBolt channel with its filter as JSON."""
    if instrument.market != feed.market or channel not in feed.channels:
        return ()
    if feed.market == CLOB:
        return (instrument.venue_symbol,)
    head, _, feed_id = instrument.venue_symbol.partition(":")
    if feed.market == RTDS:
        topic = _RTDS_TOPICS[feed.name].get(head)
        return () if topic is None else (topic,)
    _, provider, *window = head.split("_")
    asked: dict[str, str | int] = {"symbol": feed_id, "provider": provider}
    if window:
        asked["window_seconds"] = int(window[0].removeprefix("twap"))
    channel_name = "price.crypto.twap" if window else "price.crypto"
    return (msgspec.json.encode({"channel": channel_name, "filter": asked}).decode(),)


def subscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make a subscribe message."""
    return _make_request("subscribe", feed, topics, request)


def unsubscribe(feed: Feed, topics: Sequence[str], request: int) -> bytes:
    """Make an unsubscribe message."""
    return _make_request("unsubscribe", feed, topics, request)


def _make_request(verb: str, feed: Feed, topics: Sequence[str], request: int) -> bytes:
    if feed.market == RTDS:
        asked = [{"topic": topic, "type": "*", "filters": ""} for topic in topics]
        return msgspec.json.encode({"action": verb, "subscriptions": asked})
    if feed.market == POLYBOLT:
        wanted = [msgspec.Raw(topic.encode()) for topic in topics]
        return msgspec.json.encode({"op": verb, "rid": str(request), "subscriptions": wanted})
    is_first = verb == "subscribe" and request == 1  # a connection's first message has another form than later ones
    head = {"type": "market"} if is_first else {"operation": verb}
    return msgspec.json.encode({**head, "assets_ids": list(topics), "custom_feature_enabled": True})


def write_greeting(values: Mapping[str, str]) -> bytes:
    """Make the first message to PolyBolt: who we are, before anything is asked."""
    auth = {"apiKey": values["API"], "secret": values["SECRET"], "passphrase": values["PASSPHRASE"]}
    return msgspec.json.encode({"op": "auth", "rid": "auth", "auth": auth})


def find_feed(url: str) -> str | None:
    """Tell the feed of a connection or request; all RTDS topics of a recording come as `rtds`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "ws-live-data.polymarket.com":
        return RTDS
    if host == "ws-live-v2.polymarket.com":
        return POLYBOLT
    is_ours = host.endswith(".polymarket.com") or (host == "api.goldsky.com" and "/subgraphs/" in parts.path)
    return CLOB if is_ours else None


def fetch_book(feed: str, venue_symbol: str) -> tuple[str, int]:
    """Return the URL of a token's book, and its weight."""
    return f"https://clob.polymarket.com/book?token_id={quote(venue_symbol)}", 1


_RTDS_LIMITS = Limits(topics_per_message_max=1)
_RTDS_HEARTBEAT = Heartbeat("PING", 5.0)
_RTDS_URL = "wss://ws-live-data.polymarket.com"
_ORACLE = ("oracle_price",)

VENUE = Venue(
    name=NAME,
    title="Polymarket",
    feeds=(
        Feed(
            CLOB,
            CLOB,
            "wss://ws-subscriptions-clob.polymarket.com/ws/market",
            _CLOB_CHANNELS,
            Heartbeat("PING", 10.0),
            # A token has 78 digits: 200 of them fill a message of 16 KB.
            Limits(topics_per_connection_max=400, topics_per_message_max=150, message_bytes_max=16_000),
            silence_s=30.0,  # PONGs every 10 s
        ),
        # RTDS answers PING with nothing, so only its data tell that it lives.
        Feed(RTDS, RTDS, _RTDS_URL, _ORACLE, _RTDS_HEARTBEAT, _RTDS_LIMITS, silence_s=30.0),
        Feed("rtds-twap30", RTDS, _RTDS_URL, _ORACLE, _RTDS_HEARTBEAT, _RTDS_LIMITS, silence_s=30.0,
             dates=(date(2026, 8, 7), None)),
        Feed("rtds-twap60", RTDS, _RTDS_URL, _ORACLE, _RTDS_HEARTBEAT, _RTDS_LIMITS, silence_s=30.0,
             dates=(date(2026, 8, 7), None)),
        Feed(
            POLYBOLT, POLYBOLT, "wss://ws-live-v2.polymarket.com/ws", _ORACLE, Heartbeat('{"op":"ping"}', 30.0),
            Limits(topics_per_connection_max=64, topics_per_message_max=64, messages_per_second_max=10.0),
            silence_s=90.0, is_acked_by_topic=True, dates=(date(2026, 9, 15), None),
            needs_key="apiKey, secret and passphrase of the CLOB's API, in the first message", refusal_codes=(4001,),
            drain_codes=((4003, 10.0),),
        ),
    ),
    credentials=Credentials(
        ("API", "SECRET", "PASSPHRASE"),
        "https://docs.polymarket.com: the CLOB's API key, derived from a wallet's signature",
        greet=write_greeting,
    ),
    forget=forget_markets,
    polls=WALLET_POLLS,
    rest=Rest(weight_per_minute_max=1800, ban_statuses=(403, 425, 429)),
    listings=(
        Listing(CLOB, "https://gamma-api.polymarket.com/events/keyset?tag_slug=up-or-down&closed=false&limit=100"),
        # Nothing lists the oracles; an answer of the clock stands for them.
        Listing(RTDS, "https://clob.polymarket.com/time"),
        Listing(POLYBOLT, "https://clob.polymarket.com/time"),
    ),
    continuity=(
        Continuity("trade", "window"),
        Continuity("book_change", "none", recovery="resubscribe", is_connection_scoped=True),
    ),
    make_decoder=PolymarketDecoder,
    read_listing=read_listing,
    name_instrument=name_instrument,
    list_topics=list_topics,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    fetch_book=fetch_book,
    find_feed=find_feed,
    find_next_page=find_next_page,
    sealing=SEALING,
    default_markets=(CLOB, RTDS),
    discovery=DISCOVERY,
)  # fmt: skip
