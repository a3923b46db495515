"""PolyBolt, Polymarket's price socket: credentials first, then prices once a second, numbered per channel.

A key is `CREDENTIALS`; anything else is closed with 4001 as the venue does it. Faults of the hub make its losses:
`drop` leaves a hole in the numbers, `lose` makes the venue tell of it in `dropped`, `close 4002` and `close 4003` are
what a slow reader and a draining server see.
"""

from collections import deque
from datetime import UTC, datetime
from typing import Literal

import msgspec

from truetape.sim.fake import Line
from truetape.sim.hub import Session
from truetape.sim.oracle import ASSETS, E18, Oracle
from truetape.sim.protocol import Query, Rules, encode_json
from truetape.sim.venues._seconds import Seconds
from truetape.sim.world import World

HOSTS = ("ws-live-v2.polymarket.com",)
FEED = "polybolt"
CREDENTIALS = {"apiKey": "00000000-0000-4000-8000-000000000001", "secret": "bm90LWEtc2VjcmV0", "passphrase": "none"}
KEYS = {"API": CREDENTIALS["apiKey"], "SECRET": CREDENTIALS["secret"], "PASSPHRASE": CREDENTIALS["passphrase"]}
RULES = Rules(ping_interval_s=25.0, poll_s=0.5)

AUTH_DEADLINE_S = 10.0
SUBSCRIPTIONS_MAX = 64
SUBSCRIBES_PER_SECOND_MAX = 20
MESSAGE_BYTES_MAX = 65_536
SNAPSHOT_S = 120
LAG_US = 300_000
TWAP_S = 60
CHAINLINK_SINCE_US = int(datetime(2026, 10, 2, tzinfo=UTC).timestamp()) * 1_000_000
"""Who is asked when a filter names no provider: Chainlink from here on, Pyth before."""

BAD_KEY, TOO_SLOW, DRAINING, POLICY = 4001, 4002, 4003, 4008


class _Filter(msgspec.Struct, frozen=True):
    symbol: str
    provider: Literal["chainlink", "pyth"] | None = None
    window_seconds: int | None = None


class _Subscription(msgspec.Struct, frozen=True):
    channel: str
    filter: msgspec.Raw = msgspec.Raw(b"{}")


class _Message(msgspec.Struct, frozen=True):
    op: str
    rid: str | None = None
    auth: dict[str, str] = {}
    subscriptions: tuple[_Subscription, ...] = ()


class Price(msgspec.Struct, frozen=True):
    """One thing that can be subscribed."""

    channel: str
    symbol: str
    provider: str

    @property
    def topic(self) -> str:
        """Name it within the hub."""
        return f"{self.channel}:{self.symbol}:{self.provider}"

    @property
    def asset(self) -> str:
        """Name the asset as the world does."""
        return self.symbol.removesuffix("usd").upper()

    @property
    def is_average(self) -> bool:
        """Tell whether it is the average of a minute."""
        return self.channel == "price.crypto.twap"

    def find(self, oracle: Oracle, second: int) -> int:
        """Return the price of a second, in E18."""
        if self.is_average:
            return oracle.average(self.asset, second, TWAP_S)
        if self.provider == "pyth":
            return oracle.exchange_price(self.asset, second)
        return oracle.price(self.asset, second)


class BoltStage:
    """Publishes a price per topic and second."""

    def __init__(self, world: World) -> None:
        self._world, self._hub = world, world.hub("polymarket", FEED)
        self._seconds = Seconds(world.time.now_us(), LAG_US)

    @property
    def last_s(self) -> int:
        """The newest second that was published."""
        return self._seconds.last_s

    @property
    def due_us(self) -> int:
        """Market time of the next second's frames."""
        return self._seconds.due_us

    def advance(self, now_us: int) -> int:
        """Send the prices of the seconds that have become due."""
        done = 0
        for second in self._seconds.take(now_us) if self._hub.rooms else ():
            for topic in list(self._hub.rooms):
                price = Price(*topic.split(":"))
                if self._world.prediction.is_missing(price.asset, second):
                    continue
                point = _make_point(price, self._world.prediction.oracle, second)
                body = {"symbol": price.symbol, **_reorder(point), **_name_source(price)}
                payload = b"%s\n%d\n%s" % (topic.encode(), second * 1000 + LAG_US // 1000, encode_json(body))
                self._hub.publish(topic, payload, second, second)
                done += 1
        if not self._hub.rooms:
            self._seconds.take(now_us)
        return done


class BoltTalk:
    """One connection."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world
        session.shape = self._shape
        self._is_trusted = False
        self._numbers: dict[str, int] = {}
        self._recent_us: deque[int] = deque(maxlen=SUBSCRIBES_PER_SECOND_MAX)

    def hear(self, text: str) -> None:
        """Take one message of the client."""
        if len(text.encode()) > MESSAGE_BYTES_MAX:
            self._session.close(POLICY, "message too large")
            return
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            self._fail("bad_op")
            return
        match message.op:
            case "ping":
                self._session.show_life(_describe("pong", message))
            case "auth":
                self._take_key(message)
            case "subscribe" | "unsubscribe":
                self._take_subscriptions(message)
            case _:
                self._fail("bad_op", rid=message.rid)

    def tick(self, now_s: float) -> None:
        """Close on whoever does not say who it is."""
        if not self._is_trusted and now_s > AUTH_DEADLINE_S:
            self._session.close(BAD_KEY, "no auth in time")

    def _take_key(self, message: _Message) -> None:
        if message.auth == CREDENTIALS:
            self._is_trusted = True
            self._say("authed", message)
        else:
            self._fail("auth_invalid", rid=message.rid)
            self._session.close(BAD_KEY, "invalid credentials")

    def _take_subscriptions(self, message: _Message) -> None:
        if not self._is_trusted:
            for one in message.subscriptions:
                self._fail("auth_required", one.channel, message.rid)
            self._session.close(BAD_KEY, "auth required")
            return
        if message.op == "subscribe" and self._is_too_fast():
            self._fail("rate_limited", rid=message.rid)
            self._session.close(POLICY, "too many subscribe frames")
            return
        for one in message.subscriptions:
            price = self._find_price(one, message)
            if price is None:
                continue
            if message.op == "unsubscribe":
                self._session.unsubscribe(price.topic)
                self._say("unsubscribed", message, price.channel)
            else:
                self._subscribe(price, message)

    def _is_too_fast(self) -> bool:
        now_us = self._world.time.now_us()
        is_full = len(self._recent_us) == SUBSCRIBES_PER_SECOND_MAX
        is_too_fast = is_full and now_us - self._recent_us[0] < 1_000_000
        self._recent_us.append(now_us)
        return is_too_fast

    def _find_price(self, one: _Subscription, message: _Message) -> Price | None:
        if one.channel not in ("price.crypto", "price.crypto.twap"):
            self._fail("bad_channel", one.channel, message.rid)
            return None
        try:
            asked = msgspec.json.decode(one.filter, type=_Filter)
        except msgspec.DecodeError:
            self._fail("bad_filter", one.channel, message.rid)
            return None
        is_average = one.channel == "price.crypto.twap"
        is_new = self._world.time.now_us() >= CHAINLINK_SINCE_US
        provider = asked.provider or ("chainlink" if is_average or is_new else "pyth")
        price = Price(one.channel, asked.symbol, provider)
        is_known = asked.symbol.endswith("usd") and price.asset in ASSETS
        fits = (
            asked.window_seconds == TWAP_S and provider == "chainlink" if is_average else asked.window_seconds is None
        )
        if not is_known or not fits:
            self._fail("bad_filter", one.channel, message.rid)
            return None
        return price

    def _subscribe(self, price: Price, message: _Message) -> None:
        if price.topic not in self._session.topics and len(self._session.topics) >= SUBSCRIPTIONS_MAX:
            self._fail("sub_limit", price.channel, message.rid)
            return
        self._say("subscribed", message, price.channel)
        if self._session.subscribe(price.topic):
            self._world.on_subscribe()
            self._send_snapshot(price)

    def _send_snapshot(self, price: Price) -> None:
        """Send the last two minutes, up to where the stream goes on."""
        stage = self._world.stages[FEED]
        assert isinstance(stage, BoltStage)
        oracle, last_s = self._world.prediction.oracle, stage.last_s
        seconds = [
            s
            for s in range(last_s - SNAPSHOT_S + 1, last_s + 1)
            if not self._world.prediction.is_missing(price.asset, s)
        ]
        body = {
            "symbol": price.symbol,
            **_name_source(price),
            "data": [_make_point(price, oracle, second) for second in seconds],
        }
        self._session.send(
            b'{"v":1,"channel":"%s","seq":%d,"ts":%d,"snapshot":true,"payload":%s}'
            % (price.channel.encode(), self._count(price.channel), self._world.now_ms, encode_json(body))
        )

    def _count(self, channel: str) -> int:
        number = self._numbers[channel] = self._numbers.get(channel, 0) + 1
        return number

    def _shape(self, payload: bytes) -> bytes:
        """Put a published price into this connection's envelope."""
        topic, published_ms, body = payload.split(b"\n", 2)
        channel = topic.partition(b":")[0]
        lost = self._session.lost.pop(topic.decode(), 0)
        told = b'"dropped":%d,' % lost if lost else b""
        number = self._count(channel.decode())
        return b'{"v":1,"channel":"%s","seq":%d,"ts":%s,%s"payload":%s}' % (channel, number, published_ms, told, body)

    def _say(self, op: str, message: _Message, channel: str | None = None) -> None:
        self._session.send(_describe(op, message, channel))

    def _fail(self, code: str, channel: str | None = None, rid: str | None = None) -> None:
        said = {"op": "error", "code": code, "channel": channel, "rid": rid}
        self._session.send(encode_json({key: value for key, value in said.items() if value is not None}))


def _describe(op: str, message: _Message, channel: str | None = None) -> bytes:
    said = {"op": op, "channel": channel, "rid": message.rid}
    return encode_json({key: value for key, value in said.items() if value is not None})


def connect(query: Query) -> Line | None:
    """Return what answers an address."""
    return Line(FEED, RULES, BoltTalk) if query.path.rstrip("/") == "/ws" else None


def _make_point(price: Price, oracle: Oracle, second: int) -> dict[str, object]:
    exact = price.find(oracle, second)
    return {"timestamp": second * 1000, "value": exact / E18, "full_accuracy_value": write_decimal(exact)}


def _reorder(point: dict[str, object]) -> dict[str, object]:
    """A price alone has its time last."""
    return {**{key: point[key] for key in ("value", "full_accuracy_value")}, "timestamp": point["timestamp"]}


def _name_source(price: Price) -> dict[str, object]:
    window: dict[str, object] = {"window_seconds": TWAP_S} if price.is_average else {}
    return {**window, "source": price.provider}


def write_decimal(exact: int) -> str:
    """Write an E18 integer with all its digits, and at least eight decimals."""
    whole, part = divmod(exact, E18)
    digits = f"{part:018d}"
    return f"{whole}.{digits[:8]}{digits[8:].rstrip('0')}"
