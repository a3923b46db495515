"""Fake Kalshi: signed socket with numbered subscriptions, public REST; its windows are the world's.

A key is made by `POST /trade-api/v2/api_keys` with the PEM text of a public RSA key; handshakes without one that was
made so are refused. A `drop` of the frames of `orderbook_delta:TICKER` is a jump in a subscription's numbers; `late` and
`dispute` of `KXBTC15M-*` hold back what is final.
"""

import base64
from binascii import Error
from typing import Any
from zlib import crc32

import msgspec

from truetape import clock
from truetape.sim.fake import FakeVenue, Line, NoDesk
from truetape.sim.hub import Hub, Session
from truetape.sim.protocol import Query, Quota, Reply, Rules, encode_json
from truetape.sim.venues._kalshi_market import (
    AHEAD_S,
    Exchange,
    Market,
    Side,
    Trade,
    write_micros,
    write_price,
    write_size,
)
from truetape.sim.venues._kalshi_rest import PREFIX, answer, register_key, write_side
from truetape.sim.venues._seconds import Seconds
from truetape.sim.world import World

HOSTS = (
    "api.elections.kalshi.com",
    "external-api.kalshi.com",
    "external-api-ws.kalshi.com",
)
SOCKET_PATH = "/trade-api/ws/v2"
FEED = "public"
SKEW_MS_MAX = 30_000
LAG_US = 250_000
RULES = Rules(ping_interval_s=10.0, poll_s=0.5)

MARKET_CHANNELS = ("orderbook_delta", "trade", "ticker")
LIFE = "market_lifecycle_v2"
PRIVATE_CHANNELS = ("fill", "market_positions", "communications", "order_group_updates", "user_orders")
ERRORS = {
    1: "Unable to process message", 2: "Params required", 3: "Channels required", 4: "Subscription IDs required",
    5: "Unknown command", 7: "Unknown subscription ID", 8: "Unknown channel name", 11: "Invalid parameter",
    12: "Exactly one subscription ID is required", 13: "Unsupported action", 14: "Market Ticker required",
    16: "Market not found",
}  # fmt: skip


class KalshiStage:
    """Publishes what happened in each second to the markets that somebody listens to."""

    def __init__(self, world: World) -> None:
        self._hub: Hub = world.hub("kalshi", FEED)
        self._seconds = Seconds(world.time.now_us(), LAG_US)
        self.exchange = Exchange(world.prediction, world.crowd)
        self.keys: dict[str, Any] = {}
        """Key id → public key."""
        self._books: dict[str, tuple[Side, Side]] = {}
        """Ticker → book as of the newest second that was published."""
        self._tickers: dict[str, bytes] = {}

    @property
    def due_us(self) -> int:
        """Market time of the next second's frames."""
        return self._seconds.due_us

    def open_book(self, market: Market) -> tuple[Side, Side]:
        """Return the book that the next changes will be told against."""
        book = self._books.get(market.ticker)
        if book is None:
            book = self._books[market.ticker] = self.exchange.read_book(market, self._seconds.last_s)
        return book

    def advance(self, now_us: int) -> int:
        """Send what became of the seconds that have become due."""
        before = self._hub.published
        for second in self._seconds.take(now_us):
            rooms = self._hub.rooms
            for ticker in {topic.partition(":")[2] for topic in rooms} - {""}:
                market = self.exchange.read_ticker(ticker)
                if market is not None:
                    self._publish(market, second)
            if LIFE in rooms:
                self._publish_lives(second)
        for ticker in [t for t in self._books if f"orderbook_delta:{t}" not in self._hub.rooms]:
            del self._books[ticker]
        for ticker in [t for t in self._tickers if f"ticker:{t}" not in self._hub.rooms]:
            del self._tickers[ticker]
        return self._hub.published - before

    def _publish(self, market: Market, second: int) -> None:
        rooms, ticker = self._hub.rooms, market.ticker
        at_us = second * 1_000_000 + crc32(f"{ticker}{second}".encode()) % 200_000
        if f"orderbook_delta:{ticker}" in rooms:
            self._publish_changes(market, second, at_us)
        fresh = [t for t in self.exchange.list_trades(market) if second * 1000 - 1000 <= t.at_ms < second * 1000]
        if f"trade:{ticker}" in rooms:
            for trade in fresh:
                self._send(f"trade:{ticker}", _describe_trade(market, trade))
        if f"ticker:{ticker}" in rooms:
            self._publish_ticker(market, second, at_us)

    def _publish_changes(self, market: Market, second: int, at_us: int) -> None:
        """Send what changed; what goes is told first, so that bids for Yes and No never cross on the way."""
        old = self.open_book(market)
        new = self._books[market.ticker] = self.exchange.read_book(market, second)
        changes = [
            (theirs.get(price, 0) - mine.get(price, 0), side, price)
            for side, mine, theirs in zip(("yes", "no"), old, new, strict=True)
            for price in sorted(mine.keys() | theirs.keys())
            if theirs.get(price) != mine.get(price)
        ]
        topic, names = f"orderbook_delta:{market.ticker}", {"market_ticker": market.ticker, "market_id": market.id}
        time = {"ts": write_micros(at_us), "ts_ms": at_us // 1000}
        for delta, side, price in sorted(changes, key=lambda change: change[0] > 0):
            change = {"price_dollars": write_price(price), "delta_fp": write_size(delta), "side": side}
            self._send(topic, {**names, **change, **time})

    def _publish_ticker(self, market: Market, second: int, at_us: int) -> None:
        """Send a ticker where it changed."""
        body = _describe_ticker(self.exchange, market, second)
        digest = encode_json(body)
        if self._tickers.get(market.ticker) != digest:
            self._tickers[market.ticker] = digest
            time = {"ts": at_us // 1_000_000, "ts_ms": at_us // 1000, "time": write_micros(at_us)}
            self._send(f"ticker:{market.ticker}", {**body, **time})

    def _publish_lives(self, second: int) -> None:
        exchange = self.exchange
        for market in exchange.list_markets(second - AHEAD_S, second + 1):
            for event, at_s in (
                ("activated", market.opens_s), ("deactivated", market.closes_s),
                ("determined", market.determined_s), ("settled", market.finalized_s),
            ):  # fmt: skip
                if at_s == second:
                    self._send(LIFE, _describe_life(market, event))
        for market in exchange.list_markets(second + AHEAD_S, second + AHEAD_S + 1):
            self._send(LIFE, _describe_life(market, "created"))

    def _send(self, topic: str, body: dict[str, Any]) -> None:
        """Publish to all; each connection numbers it on its own."""
        self._hub.publish(topic, topic.encode() + b"\n" + encode_json(body))


def _describe_trade(market: Market, trade: Trade) -> dict[str, Any]:
    side = "yes" if trade.is_yes else "no"
    return {
        "trade_id": trade.id, "market_ticker": market.ticker, "yes_price_dollars": write_price(trade.price),
        "no_price_dollars": write_price(1000 - trade.price), "count_fp": write_size(trade.size), "taker_side": side,
        "taker_outcome_side": side, "taker_book_side": "bid" if trade.is_yes else "ask", "is_block_trade": False,
        "ts": trade.at_ms // 1000, "ts_ms": trade.at_ms,
    }  # fmt: skip


def _describe_ticker(exchange: Exchange, market: Market, second: int) -> dict[str, Any]:
    yes, no = exchange.read_book(market, second)
    trades = [t for t in exchange.list_trades(market) if t.at_ms < second * 1000]
    volume = sum(t.size for t in trades)
    bid, no_bid = max(yes, default=0), max(no, default=0)
    return {
        "market_id": market.id, "market_ticker": market.ticker,
        "price_dollars": write_price(trades[-1].price if trades else 0), "yes_bid_dollars": write_price(bid),
        "yes_ask_dollars": write_price(1000 - no_bid), "volume_fp": write_size(volume),
        "open_interest_fp": write_size(volume // 2), "dollar_volume": volume // 200,
        "dollar_open_interest": volume // 400, "yes_bid_size_fp": write_size(yes.get(bid, 0)),
        "yes_ask_size_fp": write_size(no.get(no_bid, 0)),
        "last_trade_size_fp": write_size(trades[-1].size if trades else 0),
    }  # fmt: skip


def _describe_life(market: Market, event: str) -> dict[str, Any]:
    body: dict[str, Any] = {"event_type": event, "market_ticker": market.ticker}
    if event == "created":
        metadata = {"name": "", "title": market.ticker, "event_ticker": market.event, "can_close_early": False}
        body |= {"open_ts": market.opens_s, "close_ts": market.closes_s, "additional_metadata": metadata}
    if event == "determined":
        value = "1.0000" if market.result == "yes" else "0.0000"
        body |= {"result": market.result, "determination_ts": market.determined_s, "settlement_value": value}
    if event == "settled":
        body |= {"settled_ts": market.finalized_s}
    return body


# the socket


class _Params(msgspec.Struct, frozen=True):
    channels: tuple[str, ...] = ()
    market_ticker: str = ""
    market_tickers: tuple[str, ...] = ()
    sid: int | None = None
    sids: tuple[int, ...] = ()
    action: str = ""


class _Command(msgspec.Struct, frozen=True):
    cmd: str
    id: int = 0
    params: _Params | None = None


class _Subscription:
    """One channel of a connection, with a number of its own."""

    def __init__(self, channel: str) -> None:
        self.channel, self.seq = channel, 0
        self.tickers: list[str] = []


class KalshiTalk:
    """One connection."""

    def __init__(self, session: Session, world: World) -> None:
        stage = world.stages["kalshi"]
        assert isinstance(stage, KalshiStage)
        self._session, self._world, self._stage = session, world, stage
        session.shape = self._shape
        self._subscriptions: dict[int, _Subscription] = {}
        self._last_sid = 0
        self._sid_of: dict[str, int] = {}
        """Topic → subscription."""

    def hear(self, text: str) -> None:
        """Take one command."""
        try:
            command = msgspec.json.decode(text, type=_Command)
        except msgspec.DecodeError:
            self._fail(0, 1)
            return
        obey = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "update_subscription": self._update_subscription,
        }.get(command.cmd)
        if command.cmd == "list_subscriptions":
            listed = [{"channel": s.channel, "sid": sid} for sid, s in self._subscriptions.items()]
            self._say({"id": command.id, "type": "ok", "msg": listed})
        elif obey is None or command.params is None:
            self._fail(command.id, 5 if obey is None else 2)
        else:
            obey(command.id, command.params)

    def tick(self, now_s: float) -> None:
        """Do nothing: the server pings."""

    def _subscribe(self, number: int, params: _Params) -> None:
        unknown = [c for c in params.channels if c not in (*MARKET_CHANNELS, LIFE, *PRIVATE_CHANNELS)]
        if not params.channels or unknown:
            self._fail(number, 8 if unknown else 3)
            return
        tickers = self._read_tickers(number, params)
        if tickers is None:
            return
        if not tickers and set(params.channels) & set(MARKET_CHANNELS):
            self._fail(number, 14)
            return
        for channel in params.channels:
            self._last_sid += 1
            sid = self._last_sid
            subscription = self._subscriptions[sid] = _Subscription(channel)
            self._say({"id": number, "type": "subscribed", "msg": {"channel": channel, "sid": sid}})
            self._add(sid, subscription, tickers)
        self._world.on_subscribe()

    def _read_tickers(self, number: int, params: _Params) -> list[str] | None:
        tickers = [*params.market_tickers, *([params.market_ticker] if params.market_ticker else [])]
        for ticker in tickers:
            if self._stage.exchange.read_ticker(ticker) is None:
                self._fail(number, 16, market_ticker=ticker)
                return None
        return tickers

    def _add(self, sid: int, subscription: _Subscription, tickers: list[str]) -> None:
        if subscription.channel == LIFE:
            self._sid_of[LIFE] = sid
            self._session.subscribe(LIFE)
        if subscription.channel not in MARKET_CHANNELS:
            return
        for ticker in tickers:
            topic = f"{subscription.channel}:{ticker}"
            if not self._session.subscribe(topic):
                continue
            self._sid_of[topic] = sid
            subscription.tickers.append(ticker)
            if subscription.channel == "orderbook_delta":
                self._send_picture(sid, subscription, ticker)

    def _send_picture(self, sid: int, subscription: _Subscription, ticker: str) -> None:
        """Send a whole book; a side without bids has no key."""
        market = self._stage.exchange.read_ticker(ticker)
        assert market is not None
        yes, no = self._stage.open_book(market)
        body: dict[str, Any] = {"market_ticker": ticker, "market_id": market.id}
        body |= {"yes_dollars_fp": write_side(yes)} if yes else {}
        body |= {"no_dollars_fp": write_side(no)} if no else {}
        subscription.seq += 1
        self._say({"type": "orderbook_snapshot", "sid": sid, "seq": subscription.seq, "msg": body})

    def _unsubscribe(self, number: int, params: _Params) -> None:
        if not params.sids:
            self._fail(number, 4)
        for sid in params.sids:
            subscription = self._subscriptions.pop(sid, None)
            if subscription is None:
                self._fail(number, 7)
                continue
            self._leave(subscription, subscription.tickers or [""])
            self._say({"id": number, "sid": sid, "seq": subscription.seq + 1, "type": "unsubscribed"})

    def _leave(self, subscription: _Subscription, tickers: list[str]) -> None:
        for ticker in list(tickers):
            topic = f"{subscription.channel}:{ticker}" if ticker else subscription.channel
            self._session.unsubscribe(topic)
            self._sid_of.pop(topic, None)
        subscription.tickers = [t for t in subscription.tickers if t not in tickers]

    def _update_subscription(self, number: int, params: _Params) -> None:
        sids = params.sids or (() if params.sid is None else (params.sid,))
        subscription = self._subscriptions.get(sids[0]) if len(sids) == 1 else None
        if subscription is None:
            self._fail(number, 7 if len(sids) == 1 else 12)
            return
        tickers = self._read_tickers(number, params)
        if tickers is None:
            return
        if params.action == "add_markets":
            self._add(sids[0], subscription, tickers)
        elif params.action == "delete_markets":
            self._leave(subscription, tickers)
        else:
            self._fail(number, 13)
            return
        subscription.seq += 1
        body = {"id": number, "sid": sids[0], "seq": subscription.seq, "type": "ok"}
        self._say({**body, "msg": {"market_tickers": subscription.tickers}})

    def _shape(self, payload: bytes) -> bytes:
        """Give a published message its subscription and number; tickers have no number."""
        topic, body = payload.split(b"\n", 1)
        sid = self._sid_of[topic.decode()]
        kind = topic.partition(b":")[0]
        if kind == b"ticker":
            return b'{"type":"ticker","sid":%d,"msg":%s}' % (sid, body)
        subscription = self._subscriptions[sid]
        subscription.seq += 1
        return b'{"type":"%s","sid":%d,"seq":%d,"msg":%s}' % (kind, sid, subscription.seq, body)

    def _say(self, message: dict[str, Any]) -> None:
        self._session.send(encode_json(message))

    def _fail(self, number: int, code: int, **more: Any) -> None:
        self._say({"id": number, "type": "error", "msg": {"code": code, "msg": ERRORS[code], **more}})


# the doors


def connect(query: Query) -> Line | None:
    """Return what answers an address."""
    return Line(FEED, RULES, KalshiTalk) if query.path == SOCKET_PATH else None


def admit(world: World, query: Query) -> Reply | None:
    """Refuse a handshake that no known key has signed just now."""
    stage = world.stages["kalshi"]
    assert isinstance(stage, KalshiStage)
    key = stage.keys.get(query.headers.get("kalshi-access-key", ""))
    stamp = query.headers.get("kalshi-access-timestamp", "")
    now_ms = clock.wall_ns() // 1_000_000  # the signer's clock, however fast the market's runs
    if key is None or not stamp.isdecimal():
        return _refuse_key("unknown key, or no timestamp")
    if abs(now_ms - int(stamp)) > SKEW_MS_MAX:
        return _refuse_key("timestamp expired")
    is_signed = _is_signed(key, query.headers.get("kalshi-access-signature", ""), f"{stamp}GET{query.path}")
    return None if is_signed else _refuse_key("incorrect signature")


def _is_signed(key: Any, signature: str, text: str) -> bool:
    from cryptography.exceptions import InvalidSignature  # an extra: only whoever signs has it
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS

    try:
        raw = base64.b64decode(signature, validate=True)
        key.verify(raw, text.encode(), PSS(MGF1(hashes.SHA256()), PSS.DIGEST_LENGTH), hashes.SHA256())
    except (InvalidSignature, Error):
        return False
    return True


def _refuse_key(details: str) -> Reply:
    body = {"error": {"code": "authentication_error", "message": "authentication_error", "details": details}}
    return Reply(encode_json(body), 401)


def respond(world: World, query: Query) -> Reply:
    """Answer a REST request."""
    stage = world.stages["kalshi"]
    assert isinstance(stage, KalshiStage)
    if query.method == "POST":
        is_key = query.path == f"{PREFIX}api_keys"
        return register_key(stage.keys, query) if is_key else Reply(refuse(404), 404)
    if not query.path.startswith(PREFIX):
        return Reply(refuse(404), 404)
    return answer(stage.exchange, query, world.time.now_us() / 1e6)


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    code = {429: "too_many_requests", 404: "not_found"}.get(status, "internal_server_error")
    return encode_json({"error": {"code": code, "message": code.replace("_", " ")}})


FAKE = FakeVenue(
    name="kalshi",
    hosts=HOSTS,
    specs=(),
    connect=connect,
    respond=respond,
    make_desk=NoDesk,
    quotas={"read": Quota(20, 1.0)},
    refuse=refuse,
    find_feed=lambda url: FEED,
    stages={"kalshi": KalshiStage},
    methods=("GET", "POST"),
    admit=admit,
)
