"""The fake real-time data socket of Polymarket: oracle and exchange prices once a second, a minute back on subscribing.

Streams are `<topic>:<symbol>`, as faults name them. A snapshot says `crypto_prices` whatever was asked for, and a
filter with a space in it gives one snapshot and then nothing, as reported of the real one.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from zlib import crc32

import msgspec

from truetape.sim.fake import Line
from truetape.sim.hub import Hub, Session
from truetape.sim.oracle import ASSETS, E18, Oracle
from truetape.sim.protocol import Rules, encode_json
from truetape.sim.venues._seconds import Seconds
from truetape.sim.world import World

HOSTS = ("ws-live-data.polymarket.com",)
VENUE, FEED = "polymarket", "rtds"
RULES = Rules(poll_s=5.0)
LAG_US = 1_300_000
"""A price arrives so long after the second it is of."""
SNAPSHOT_S = 60

Price = Callable[[Oracle, str, int], int]
TOPICS: Mapping[str, tuple[Price, str, int]] = MappingProxyType(
    {
        "crypto_prices_chainlink": (lambda oracle, asset, second: oracle.price(asset, second), "/usd", 0),
        "crypto_prices": (lambda oracle, asset, second: oracle.exchange_price(asset, second), "usdt", 0),
        "crypto_prices_twap_thirty": (lambda oracle, asset, second: oracle.average(asset, second, 30), "/usd", 30),
        "crypto_prices_twap_sixty": (lambda oracle, asset, second: oracle.average(asset, second, 60), "/usd", 60),
    }
)
"""Topic → the price of an asset and second in E18, how its symbols end, seconds averaged."""
EXCHANGE_TOPIC = "crypto_prices"
_NOBODY = b'"connection_id":""'


class RtdsStage:
    """Publishes a price per topic, symbol and second."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hub: Hub = world.hub(VENUE, FEED)
        self._seconds = Seconds(world.time.now_us(), LAG_US)

    @property
    def due_us(self) -> int:
        """When the next second's prices are out."""
        return self._seconds.due_us

    @property
    def last_s(self) -> int:
        """The newest second whose prices are out."""
        return self._seconds.last_s

    def advance(self, now_us: int) -> int:
        """Publish the seconds that have become due."""
        done = 0
        for second in self._seconds.take(now_us):
            for room in list(self._hub.rooms):
                topic, symbol = room.split(":")
                if self._world.prediction.is_missing(name_asset(symbol), second):
                    continue
                self._hub.publish(
                    room, write_update(self._world.prediction.oracle, topic, symbol, second), second, second
                )
                done += 1
        return done


def name_asset(symbol: str) -> str:
    """Return the asset of btc/usd or btcusdt."""
    return symbol.removesuffix("usdt").removesuffix("/usd").upper()


def write_update(oracle: Oracle, topic: str, symbol: str, second: int) -> bytes:
    """Write one price; `timestamp` of the payload is the second it is of, the outer one the publisher's."""
    find, _, window_s = TOPICS[topic]
    price = find(oracle, name_asset(symbol), second)
    exact = f"{price // 10**10 / 10**8:.8f}" if topic == EXCHANGE_TOPIC else str(price)
    window = f',"window_s":{window_s}' if window_s else ""
    published_ms = second * 1000 + 650 + hash((second, window_s)) % 600
    return (
        f'{{"connection_id":"","payload":{{"full_accuracy_value":"{exact}","symbol":"{symbol}",'
        f'"timestamp":{second * 1000},"value":{price / E18}{window}}},"timestamp":{published_ms},'
        f'"topic":"{topic}","type":"update"}}'
    ).encode()


class _Subscription(msgspec.Struct, frozen=True):
    topic: str
    type: str = "*"
    filters: str = ""


class _Message(msgspec.Struct, frozen=True):
    action: str
    subscriptions: tuple[_Subscription, ...]


class _Filter(msgspec.Struct, frozen=True):
    symbol: str | None = None


_decode = msgspec.json.Decoder(_Message).decode
_decode_filter = msgspec.json.Decoder(_Filter).decode


class RtdsTalk:
    """One connection."""

    def __init__(self, session: Session, world: World) -> None:
        self._session, self._world = session, world
        stage = world.stages[FEED]
        assert isinstance(stage, RtdsStage)
        self._stage = stage
        self._id = f"{crc32(session.name.encode()):08x}ECHA="
        said = f'"connection_id":"{self._id}"'.encode()
        session.shape = lambda payload: payload.replace(_NOBODY, said, 1)

    def hear(self, text: str) -> None:
        """Take one message of the client; its PING is answered with nothing."""
        if text == "PING":
            return
        try:
            message = _decode(text)
            asked = [(one, self._list_symbols(one)) for one in message.subscriptions]
        except (msgspec.DecodeError, KeyError):
            self._refuse()
            return
        for one, symbols in asked:
            for symbol in symbols:
                if message.action == "unsubscribe":
                    self._session.unsubscribe(f"{one.topic}:{symbol}")
                else:
                    self._subscribe(one, symbol)
        self._world.on_subscribe()

    def _list_symbols(self, one: _Subscription) -> list[str]:
        ending = TOPICS[one.topic][1]
        symbols = [asset.lower() + ending for asset in ASSETS]
        wanted = _decode_filter(one.filters).symbol if one.filters else None
        return symbols if wanted is None else [symbol for symbol in symbols if symbol == wanted]

    def _subscribe(self, one: _Subscription, symbol: str) -> None:
        is_new = " " not in one.filters and self._session.subscribe(f"{one.topic}:{symbol}")
        spell = self._session.hub.judge.find_spell("mute", VENUE, f"{one.topic}:{symbol}")
        is_muted = spell is not None and self._session.opened_s < spell.value
        if (is_new or " " in one.filters) and not is_muted:
            self._session.send(self._write_snapshot(one.topic, symbol))

    def _write_snapshot(self, topic: str, symbol: str) -> bytes:
        prediction, last_s, asset = self._world.prediction, self._stage.last_s, name_asset(symbol)
        find = TOPICS[topic][0]
        points = [
            {"timestamp": second * 1000, "value": find(prediction.oracle, asset, second) / E18}
            for second in range(last_s - SNAPSHOT_S + 1, last_s + 1)
            if not prediction.is_missing(asset, second)
        ]
        now_ms = self._world.now_ms
        return encode_json(
            {
                "payload": {"data": points, "symbol": symbol},
                "timestamp": now_ms,
                "topic": EXCHANGE_TOPIC,
                "type": "subscribe",
            }
        )

    def _refuse(self) -> None:
        said = {
            "message": "Invalid request body",
            "connectionId": self._id,
            "requestId": f"{self._id}#{self._world.now_ms}",
        }
        self._session.send(encode_json(said))

    def tick(self, now_s: float) -> None:
        """Nothing is due by time."""


LINE = Line(FEED, RULES, RtdsTalk)
