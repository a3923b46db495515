"""Fake Coinbase: the Exchange feed and Advanced Trade, with their REST sides."""

import re
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from truetape.sim.fake import FakeVenue, Line
from truetape.sim.hub import Hub, Session
from truetape.sim.market import Market, Step, Trade
from truetape.sim.protocol import Query, Quota, Rules, encode_json
from truetape.sim.spec import Spec, write_fixed, write_short
from truetape.sim.venues._coinbase_rest import respond, write_time
from truetape.sim.world import World

EXCHANGE_HOSTS = ("ws-feed.exchange.coinbase.com", "api.exchange.coinbase.com")
ADVANCED_HOSTS = ("advanced-trade-ws.coinbase.com", "api.coinbase.com")

EXCHANGE_RULES = Rules(deadline_s=5.0, messages_per_second_max=100, poll_s=0.5)
ADVANCED_RULES = Rules(deadline_s=5.0, messages_per_second_max=8, poll_s=0.05)

EXCHANGE_CHANNELS = ("matches", "heartbeat", "level2_batch", "ticker", "ticker_batch", "status")
LOCKED_CHANNELS = ("level2", "full", "user")
"""Channels of the Exchange feed that need a key."""
ADVANCED_CHANNELS = {
    "level2": "l2_data",
    "market_trades": "market_trades",
    "ticker": "ticker",
    "ticker_batch": "ticker_batch",
    "candles": "candles",
    "heartbeats": "heartbeats",
    "status": "status",
}
BATCH_US = {"level2_batch": 50_000, "market_trades": 250_000, "level2": 50_000}
SNAPSHOT_TRADES = 50
CANDLE_US = 300_000_000


def _list_specs() -> tuple[Spec, ...]:
    coins = (("BTC", 2, 8), ("ETH", 2, 8), ("SOL", 2, 8), ("XRP", 4, 6), ("DOGE", 5, 1))
    return tuple(
        Spec("coinbase", feed, f"{base}-USD", base, "USD", "spot", digits, size, lot=10 ** max(0, size - 5))
        for feed in ("exchange", "advanced")
        for base, digits, size in coins
    )


class CoinbaseDesk:
    """Publishes one product in the shapes of the feed it is on."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market, self.hub, self.spec = market, hub, market.spec
        self.is_exchange = market.spec.feed == "exchange"
        name = market.spec.symbol
        self._matches, self._book = f"matches:{name}", f"level2_batch:{name}" if self.is_exchange else f"level2:{name}"
        self._trades, self._ticker, self._candles = f"market_trades:{name}", f"ticker:{name}", f"candles:{name}"
        self._ticker_batch = f"ticker_batch:{name}"
        self._heartbeat = f"heartbeat:{name}"
        self._changes: dict[tuple[int, int], int] = {}
        self._pending: list[Trade] = []
        self._book_due_us = self._trades_due_us = 0

    @property
    def sequence(self) -> int:
        """The product's sequence: shared by all order events, so it jumps for who sees only matches."""
        return self.market.update_id

    def advance(self, step: Step) -> None:
        """Publish what a step caused."""
        rooms = self.hub.rooms
        if self._book in rooms:
            for side, price, size in step.changes:
                self._changes[side, price] = size
            if step.at_us >= self._book_due_us and self._changes:
                self._publish_book(step.at_us)
        elif self._changes:
            self._changes = {}
        if self.is_exchange:
            self._advance_exchange(step)
        else:
            self._advance_advanced(step)

    def _publish_book(self, at_us: int) -> None:
        span = BATCH_US["level2"]
        self._book_due_us = at_us - at_us % span + span
        changes, self._changes = self._changes, {}
        spec, stamp = self.spec, write_time(at_us)
        if self.is_exchange:
            levels = ",".join(
                f'["{"sell" if side else "buy"}","{write_fixed(price, spec.price_digits)}",'
                f'"{write_fixed(size, spec.size_digits)}"]'
                for (side, price), size in changes.items()
            )
            frame = f'{{"type":"l2update","product_id":"{spec.symbol}","changes":[{levels}],"time":"{stamp}"}}'
            self.hub.publish(self._book, frame.encode(), self.sequence, self.sequence)
            return
        levels = ",".join(
            f'{{"side":"{"offer" if side else "bid"}","event_time":"{stamp}",'
            f'"price_level":"{write_short(price, spec.price_digits)}",'
            f'"new_quantity":"{write_short(size, spec.size_digits)}"}}'
            for (side, price), size in changes.items()
        )
        event = f'{{"type":"update","product_id":"{spec.symbol}","updates":[{levels}]}}'
        self._publish_event(self._book, "l2_data", at_us, event, self.sequence, self.sequence)

    # Exchange

    def _advance_exchange(self, step: Step) -> None:
        rooms = self.hub.rooms
        if step.fills:
            if self._matches in rooms:
                for fill in step.fills:
                    self.hub.publish(self._matches, self.describe_match(fill, "match"), fill.id, fill.id)
            if self._ticker in rooms:
                last = step.fills[-1]
                self.hub.publish(self._ticker, self.describe_ticker(last), last.id, last.id)
        if step.is_second and self._heartbeat in rooms:
            frame = (
                f'{{"type":"heartbeat","last_trade_id":{self.market.next_trade_id - 1},'
                f'"product_id":"{self.spec.symbol}","sequence":{self.sequence},"time":"{write_time(step.at_us)}"}}'
            )
            self.hub.publish(self._heartbeat, frame.encode())
        if step.is_second and step.at_us // 1_000_000 % 5 == 0 and self._ticker_batch in rooms:
            self.hub.publish(self._ticker_batch, self.describe_ticker(self.market.recent(1)[-1]))

    def describe_match(self, fill: Trade, kind: str) -> bytes:
        """Write a match; its side is the maker's."""
        spec = self.spec
        return (
            f'{{"type":"{kind}","trade_id":{fill.id},"maker_order_id":"{UUID(int=fill.id << 64 | fill.order)}",'
            f'"taker_order_id":"{UUID(int=fill.order << 64 | 1)}","side":"{"buy" if fill.is_sell else "sell"}",'
            f'"size":"{write_fixed(fill.size, spec.size_digits)}","price":"{write_fixed(fill.price, spec.price_digits)}",'
            f'"product_id":"{spec.symbol}","sequence":{self.sequence},"time":"{write_time(fill.at_us)}"}}'
        ).encode()

    def describe_ticker(self, fill: Trade) -> bytes:
        """Write the Exchange feed's ticker; its side is the taker's."""
        market, spec = self.market, self.spec
        bid, bid_size, ask, ask_size = market.top
        day = market.today()

        def price(value: int) -> str:
            return write_fixed(value, spec.price_digits)

        def size(value: int) -> str:
            return write_fixed(value, spec.size_digits)

        return (
            f'{{"type":"ticker","sequence":{self.sequence},"product_id":"{spec.symbol}","price":"{price(fill.price)}",'
            f'"open_24h":"{price(day.open)}","volume_24h":"{size(day.volume)}","low_24h":"{price(market.low)}",'
            f'"high_24h":"{price(market.high)}","volume_30d":"{size(day.volume * 30)}","best_bid":"{price(bid)}",'
            f'"best_bid_size":"{size(bid_size)}","best_ask":"{price(ask)}","best_ask_size":"{size(ask_size)}",'
            f'"side":"{"sell" if fill.is_sell else "buy"}","time":"{write_time(fill.at_us)}","trade_id":{fill.id},'
            f'"last_size":"{size(fill.size)}"}}'
        ).encode()

    def describe_exchange_book(self) -> bytes:
        """Write the snapshot that `level2_batch` begins with."""
        spec = self.spec
        bids, asks = (
            [[write_fixed(p, spec.price_digits), write_fixed(s, spec.size_digits)] for p, s in side]
            for side in self.market.book()
        )
        stamp = write_time(self.market.now_us)
        return encode_json({"type": "snapshot", "product_id": spec.symbol, "asks": asks, "bids": bids, "time": stamp})

    # Advanced Trade

    def _advance_advanced(self, step: Step) -> None:
        rooms = self.hub.rooms
        if self._trades in rooms:
            self._pending += step.fills
            if self._pending and step.at_us >= self._trades_due_us:
                self._publish_trades(step.at_us)
        elif self._pending:
            self._pending = []
        if step.fills and self._ticker in rooms:
            self._publish_event(self._ticker, "ticker", step.at_us, self.describe_tick("update"))
        if step.is_second:
            self._publish_seconds(step.at_us)

    def _publish_trades(self, at_us: int) -> None:
        span = BATCH_US["market_trades"]
        self._trades_due_us = at_us - at_us % span + span
        fills, self._pending = self._pending, []
        event = self.describe_trades("update", fills)
        self._publish_event(self._trades, "market_trades", at_us, event, fills[0].id, fills[-1].id)

    def _publish_seconds(self, at_us: int) -> None:
        seconds = at_us // 1_000_000
        if seconds % 5 == 0 and self._ticker_batch in self.hub.rooms:
            self._publish_event(self._ticker_batch, "ticker_batch", at_us, self.describe_tick("update"))
        if seconds % 5 == 1 and self._candles in self.hub.rooms:
            self._publish_event(self._candles, "candles", at_us, self.describe_candles("update", 1))

    def _publish_event(self, topic: str, channel: str, at_us: int, event: str, first: int = -1, last: int = -1) -> None:
        self.hub.publish(topic, wrap_event(channel, at_us, event), first, last)

    def describe_trades(self, kind: str, fills: list[Trade]) -> str:
        """Write trades, newest first; the side is the maker's."""
        spec = self.spec
        rows = ",".join(
            f'{{"product_id":"{spec.symbol}","trade_id":"{t.id}","price":"{write_short(t.price, spec.price_digits)}",'
            f'"size":"{write_short(t.size, spec.size_digits)}","time":"{write_time(t.at_us)}",'
            f'"side":"{"BUY" if t.is_sell else "SELL"}"}}'
            for t in reversed(fills)
        )
        return f'{{"type":"{kind}","trades":[{rows}]}}'

    def describe_advanced_book(self) -> str:
        """Write the snapshot that `level2` begins with."""
        spec, stamp = self.spec, write_time(self.market.now_us)
        rows = [
            {
                "side": side,
                "event_time": stamp,
                "price_level": write_short(p, spec.price_digits),
                "new_quantity": write_short(s, spec.size_digits),
            }
            for side, levels in zip(("bid", "offer"), self.market.book(), strict=True)
            for p, s in levels
        ]
        return encode_json({"type": "snapshot", "product_id": spec.symbol, "updates": rows}).decode()

    def describe_tick(self, kind: str) -> str:
        """Write Advanced Trade's ticker."""
        market, spec = self.market, self.spec
        bid, bid_size, ask, ask_size = market.top
        price = [write_short(v, spec.price_digits) for v in (market.last, market.low, market.high, bid, ask)]
        volume, *sizes = (write_short(v, spec.size_digits) for v in (market.today().volume, bid_size, ask_size))
        return (
            f'{{"type":"{kind}","tickers":[{{"type":"ticker","product_id":"{spec.symbol}","price":"{price[0]}",'
            f'"volume_24_h":"{volume}","low_24_h":"{price[1]}","high_24_h":"{price[2]}","low_52_w":"{price[1]}",'
            f'"high_52_w":"{price[2]}","price_percent_chg_24_h":"0.10","best_bid":"{price[3]}","best_ask":"{price[4]}",'
            f'"best_bid_quantity":"{sizes[0]}","best_ask_quantity":"{sizes[1]}"}}]}}'
        )

    def describe_candles(self, kind: str, count: int) -> str:
        """Write the newest five-minute candles."""
        spec = self.spec
        rows = [
            {
                "start": str(bar.start_us // 1_000_000),
                "high": write_short(bar.high, spec.price_digits),
                "low": write_short(bar.low, spec.price_digits),
                "open": write_short(bar.open, spec.price_digits),
                "close": write_short(bar.close, spec.price_digits),
                "volume": write_short(bar.volume, spec.size_digits),
                "product_id": spec.symbol,
            }
            for bar in self.market.bars(CANDLE_US, self.market.now_us - count * CANDLE_US)
        ]
        return encode_json({"type": kind, "candles": rows}).decode()


_NUMBER = re.compile(rb'"sequence_num":\d+')


def wrap_event(channel: str, at_us: int, event: str) -> bytes:
    """Put one event into Advanced Trade's envelope; the connection's own number is filled in on sending."""
    return (
        f'{{"channel":"{channel}","timestamp":"{write_time(at_us)[:-1]}417Z","sequence_num":0,"events":[{event}]}}'
    ).encode()


class ExchangeTalk:
    """One conversation on the Exchange feed."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world

    def hear(self, text: str) -> None:
        """Answer one message."""
        try:
            order = msgspec.json.decode(text)
            channels = [c if isinstance(c, str) else c["name"] for c in order["channels"]]
            products = list(order.get("product_ids", []))
            for channel in order["channels"]:
                products += channel.get("product_ids", []) if isinstance(channel, dict) else []
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            self._fail("Failed to subscribe", "malformed message")
            return
        locked = [c for c in channels if c in LOCKED_CHANNELS]
        unknown = [c for c in channels if c not in EXCHANGE_CHANNELS and c not in locked]
        strange = [p for p in products if self._world.find_spec("coinbase", "exchange", p) is None]
        if locked:
            self._fail("Failed to subscribe", f"{locked[0]} channel requires authentication")
        elif unknown:
            self._fail("Failed to subscribe", f"{unknown[0]} is not a valid channel")
        elif strange:
            self._fail("Failed to subscribe", f"{strange[0]} is not a valid product")
        elif order.get("type") == "unsubscribe":
            for topic in [f"{c}:{p}" for c in channels for p in products]:
                self._session.unsubscribe(topic)
            self._acknowledge()
        else:
            self._subscribe(channels, products)

    def _subscribe(self, channels: list[str], products: list[str]) -> None:
        new = [(c, p) for c in channels for p in products if self._session.subscribe(f"{c}:{p}")]
        self._acknowledge()
        self._world.on_subscribe()
        if not self._world.is_synthetic:
            return
        for channel, product in new:
            desk = self._world.desk("coinbase", "exchange", product)
            assert isinstance(desk, CoinbaseDesk)
            last = desk.market.recent(1)[-1]
            if channel == "matches":
                self._session.send(desk.describe_match(last, "last_match"))
            elif channel.startswith("ticker"):
                self._session.send(desk.describe_ticker(last))
            elif channel == "level2_batch":
                self._session.send(desk.describe_exchange_book())

    def _acknowledge(self) -> None:
        names: dict[str, list[str]] = {}
        for topic in self._session.topics:
            channel, _, product = topic.partition(":")
            names.setdefault(channel, []).append(product)
        channels = [{"name": name, "product_ids": products} for name, products in names.items()]
        self._session.send(encode_json({"type": "subscriptions", "channels": channels}))

    def _fail(self, message: str, reason: str) -> None:
        self._session.send(encode_json({"type": "error", "message": message, "reason": reason}))

    def tick(self, now_s: float) -> None:
        """Nothing is due by time: heartbeats are a channel."""


class AdvancedTalk:
    """One conversation on Advanced Trade; every frame carries the connection's own running number."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world
        self._sequence = 0
        self._beats, self._next_beat_s = 0, 0.0
        session.shape = self._number

    def _number(self, payload: bytes) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return _NUMBER.sub(b'"sequence_num":%d' % number, payload, count=1)

    def _send(self, channel: str, event: str) -> None:
        self._session.send(self._number(wrap_event(channel, self._world.time.now_us(), event)))

    def hear(self, text: str) -> None:
        """Answer one message: one channel each."""
        try:
            order = msgspec.json.decode(text)
            kind, channel, products = order["type"], order["channel"], list(order.get("product_ids", []))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            self._fail("malformed message")
            return
        strange = [p for p in products if self._world.find_spec("coinbase", "advanced", p) is None]
        if channel not in ADVANCED_CHANNELS:
            self._fail("authentication failure" if channel == "user" else f"channel {channel} is not valid")
        elif strange:
            self._fail(f"{strange[0]} is not a valid product")
        elif kind == "unsubscribe":
            for product in products or [""]:
                self._session.unsubscribe(f"{channel}:{product}")
            self._acknowledge()
        else:
            self._subscribe(channel, products)

    def _subscribe(self, channel: str, products: list[str]) -> None:
        if channel == "heartbeats":
            self._session.subscribe("heartbeats:")
        else:
            for product in products:
                if self._session.subscribe(f"{channel}:{product}") and self._world.is_synthetic:
                    self._send_snapshot(channel, product)
        self._acknowledge()  # the venue sends it after the snapshots
        self._world.on_subscribe()

    def _send_snapshot(self, channel: str, product: str) -> None:
        desk = self._world.desk("coinbase", "advanced", product)
        assert isinstance(desk, CoinbaseDesk)
        match channel:
            case "level2":
                self._send("l2_data", desk.describe_advanced_book())
            case "market_trades":
                self._send(channel, desk.describe_trades("snapshot", desk.market.recent(SNAPSHOT_TRADES)))
            case "ticker" | "ticker_batch":
                self._send(channel, desk.describe_tick("snapshot"))
            case "candles":
                self._send(channel, desk.describe_candles("snapshot", 100))

    def _acknowledge(self) -> None:
        names: dict[str, list[str]] = {}
        for topic in self._session.topics:
            channel, _, product = topic.partition(":")
            names.setdefault(channel, []).append(product or "heartbeats")
        self._send("subscriptions", encode_json({"subscriptions": names}).decode())

    def _fail(self, message: str) -> None:
        self._session.send(encode_json({"type": "error", "message": message}))

    def tick(self, now_s: float) -> None:
        """Send the heartbeat each second to those who subscribed it."""
        if "heartbeats:" not in self._session.topics or now_s < self._next_beat_s:
            return
        self._beats += 1
        self._next_beat_s = now_s + 1.0
        now_us = self._world.time.now_us()
        moment = datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        event = {"current_time": f"{moment}417 +0000 UTC m=+{now_s:.9f}", "heartbeat_counter": self._beats}
        self._send("heartbeats", encode_json(event).decode())


def connect(query: Query) -> Line | None:
    """Return what answers an address."""
    is_advanced = query.host.startswith("advanced-trade") or (not query.host and query.path.startswith("/advanced"))
    if is_advanced:
        return Line("advanced", ADVANCED_RULES, AdvancedTalk)
    return Line("exchange", EXCHANGE_RULES, ExchangeTalk)


def find_feed(url: str) -> str:
    """Return the product line of an address."""
    return "advanced" if "advanced" in url or "brokerage" in url else "exchange"


def name_topic(payload: bytes) -> str:
    """Return the topic of a recorded frame of either feed."""
    frame = msgspec.json.decode(payload)
    kind = frame.get("type")
    names = {"match": "matches", "last_match": "matches", "snapshot": "level2_batch", "l2update": "level2_batch"}
    if kind in (*names, "ticker", "heartbeat"):
        return f"{names.get(kind, kind)}:{frame['product_id']}"
    channel = {"l2_data": "level2"}.get(frame.get("channel"), frame.get("channel"))
    if channel == "heartbeats" or channel not in ADVANCED_CHANNELS:
        return ""
    event = frame["events"][0]
    inner = event.get("trades") or event.get("tickers") or event.get("candles") or [event]
    return f"{channel}:{inner[0]['product_id']}"


def guess_spec(feed: str, symbol: str) -> Spec | None:
    """List a product that only a recording knows."""
    base, _, quote = symbol.partition("-")
    return Spec("coinbase", feed, symbol, base, quote, "spot", 4, 4) if quote else None


def refuse(status: int) -> bytes:
    """Return the body of an error answer."""
    return encode_json({"message": "Public rate limit exceeded" if status == 429 else "Internal server error"})


FAKE = FakeVenue(
    name="coinbase",
    hosts=(*EXCHANGE_HOSTS, *ADVANCED_HOSTS),
    specs=_list_specs(),
    connect=connect,
    respond=respond,
    make_desk=CoinbaseDesk,
    quotas={"exchange": Quota(10, 1.0), "advanced": Quota(10, 1.0)},
    refuse=refuse,
    name_topic=name_topic,
    name_symbol=lambda topic: topic.partition(":")[2],
    find_feed=find_feed,
    guess_spec=guess_spec,
)
